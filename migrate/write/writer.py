"""Rebuilt -> directory with a TF2 SavedModel."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from migrate import errors, tensorflow_private
from migrate.model import Finding
from migrate.rebuild.module import Rebuilt
from migrate.rebuild.state import MutableTable
from migrate.write import oldest, portable, provenance, signature_defs, values, weights

_FILE = "saved_model.pb"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A SavedModel that stands at `path`, and the oldest TensorFlow that can load it."""

    path: str
    findings: tuple[Finding, ...]
    oldest: oldest.OldestTensorFlow


def write_model(
    rebuilt: Rebuilt,
    directory: str,
    mode: str = weights.REWRITE,
    *,
    check_weights: bool = False,
    scratch: str = "",
) -> Written:
    """Saves into `directory`, which must not exist; `saved_model.pb`, which makes it a model, comes last.

    Args:
      rebuilt: the model.
      directory: to write.
      mode: how weights get there, one of WEIGHT_MODES.
      check_weights: hold every byte of carried weights against its checksum.
      scratch: folder of what readers wrote, for this model only.

    Raises:
      MissingValuesError, CorruptModelError: the checkpoint lacks values.
      WriteError: TensorFlow refuses to save.
    """
    findings, carried = values.restore_values(rebuilt, carry=mode != weights.REWRITE)
    if carried is not None:
        weights.check_bytes(carried, everything=check_weights)
    signatures = {piece.plan.serving_key: piece.serve for piece in rebuilt.pieces}
    try:
        with tensorflow_private.autograph_off():
            tf.saved_model.save(rebuilt.module, directory, signatures=signatures, options=_save_options(rebuilt))
    except (ValueError, TypeError, AssertionError, KeyError, tf.errors.OpError) as error:
        raise errors.WriteError(
            f"TensorFlow refuses to save the rebuilt model: {type(error).__name__}: {error}", where=directory
        ) from error
    saved_model = _take_saved_model(directory)
    needed = _edit_saved_model(rebuilt, saved_model, directory)
    if carried is not None:
        findings += weights.carry_weights(rebuilt, carried, directory, mode, scratch=scratch)
    _copy_extra_assets(rebuilt.state.model.source.path, directory)
    provenance.write_attachments(directory, rebuilt.state.model)
    with open(os.path.join(directory, _FILE), "wb") as file:
        file.write(saved_model.SerializeToString(deterministic=True))
    tensorflow_private.write_fingerprint(directory)
    return Written(path=directory, findings=findings, oldest=needed)


def _take_saved_model(directory: str) -> saved_model_pb2.SavedModel:
    """What was saved; the file, and the fingerprint of the file as it was, are no longer there."""
    path = os.path.join(directory, _FILE)
    saved_model = saved_model_pb2.SavedModel()
    with open(path, "rb") as file:
        saved_model.ParseFromString(file.read())
    os.remove(path)
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(directory, "fingerprint.pb"))
    return saved_model


def _edit_saved_model(rebuilt: Rebuilt, saved_model: Any, directory: str) -> oldest.OldestTensorFlow:
    """What a save cannot spell is put into the proto, and what only newer TensorFlows know is taken out; tells what of
    that is left."""
    (meta_graph,) = saved_model.meta_graphs
    signature_defs.restore_signature_defs(meta_graph, rebuilt.pieces, directory)
    portable.make_portable(meta_graph)
    has_contents = any(isinstance(table, MutableTable) for table in rebuilt.state.tables.values())
    return oldest.find_oldest(meta_graph, has_contents=has_contents)


def _save_options(rebuilt: Rebuilt) -> Any:
    # Functions come from GraphDefs: the only gradients to keep are those that TF1 authors gave to functions.
    return tf.saved_model.SaveOptions(experimental_custom_gradients=rebuilt.state.has_gradients)


def _copy_extra_assets(source: str, directory: str) -> None:
    """assets.extra (serving warm-up requests, ...) is nobody's asset in the graph and travels as it is."""
    extra = os.path.join(source, provenance.FOLDER)
    if os.path.isdir(extra):
        shutil.copytree(extra, os.path.join(directory, provenance.FOLDER), dirs_exist_ok=True)
