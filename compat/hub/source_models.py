"""Keras files, frozen graphs and training checkpoints where a module is expected: migrated on the fly, then loaded.

A frozen graph has no variables and a Keras file no graph, so neither can be imported as it lies; what `migrate` makes
of them has the variables, losses, signatures and variants that a module needs (compat/hub/migrated.py).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import tensorflow as tf

import migrate
from compat.hub import migrated
from migrate import detect, errors
from migrate.model import Format
from migrate.options import ReadOptions
from migrate.outcome import Status

_FORMATS = (Format.KERAS_H5, Format.KERAS_V3, Format.KERAS_WEIGHTS, Format.FROZEN_GRAPH, Format.CHECKPOINT)


def create_module_spec_from_source(path: str, read: ReadOptions | None = None) -> migrated.MigratedModuleSpec:
    """Makes a ModuleSpec of a model that is neither a module nor a SavedModel.

    Args:
      path: Keras file, frozen graph, folder or prefix of a training checkpoint.
      read: what the reader is told: `ReadOptions(inputs=("x=in:0",), outputs=("y=out:0",))` of a graph,
        `ReadOptions(architecture="model.json")` of weights, and whatever `migrate-model` takes as flags of those names.

    Returns:
      A ModuleSpec. Its tags are {"serve"}, and {"train"} where the model trains otherwise than it serves; its signature
      is "serving_default", as a SavedModel's.

    Raises:
      OSError: it cannot be read, or something that it needs is missing.
      ValueError: `read` names what the model does not have.
    """
    path = tf.compat.as_str_any(path)
    folder = tempfile.mkdtemp(prefix="hub-source-")
    # A session may ask for the values whenever it initialises the variables.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    options = migrate.MigrateOptions(verify="none", read=read or ReadOptions())
    try:
        outcome = migrate.migrate_model(path, os.path.join(folder, "model"), options)
    except errors.UsageError as error:
        raise ValueError(str(error)) from error
    except errors.MigrateError as error:
        raise OSError(str(error)) from error
    if outcome.status is not Status.MIGRATED:
        raise OSError(
            f"{path} cannot be read as a module ({outcome.status.value}): {outcome.error}\nWhat migrate-model is told "
            "by flags, hub.create_module_spec_from_source(path, migrate.ReadOptions(...)) is told by fields of those "
            "names."
        )
    return migrated.MigratedModuleSpec(outcome.dest)


class SourceLoader:
    """Path of such a model -> ModuleSpec, for registry.loader; nothing is told, what is missing is guessed."""

    def is_supported(self, path: str) -> bool:
        if "://" in path:
            return False
        try:
            return detect.detect_format(path).format in _FORMATS
        except (errors.MigrateError, OSError):
            return False  # the last loader says what is wrong

    def __call__(self, path: str) -> migrated.MigratedModuleSpec:
        """The spec.

        Raises:
          OSError: it cannot be read, or something that it needs is missing.
        """
        return create_module_spec_from_source(path)
