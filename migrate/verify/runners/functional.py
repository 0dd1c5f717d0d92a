"""One call of a model as a SavedModel of its own: functions with `If` and `While`, which `--bisect` can look into.

A call in training mode has no SignatureDef, and nothing can be fetched out of a loop of TF1. So the call is saved as a
signature: of a TF1 model by way of its migration, whose control flow is functional and whose nodes keep their names.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.inputs import calls as call_files
from migrate.inputs.calls import Call
from migrate.options import RebuildOptions
from migrate.readers import read_model
from migrate.rebuild.module import rebuild_model
from migrate.verify.runners.calling import call_piece, to_tensor
from migrate.verify.runners.process import prepare_process
from migrate.verify.runners.request import CALL, INPUT, OUTPUT, FunctionsRequest, Subject
from migrate.verify.runners.servable import TRAINING_TAGS, LoadedSavedModel
from migrate.verify.runners.side import MIGRATED, SESSION
from migrate.verify.ways import find_piece
from migrate.write import provenance, writer


def run(wish: FunctionsRequest) -> None:
    """Job: writes the SavedModel into the folder.

    Raises:
      ValueError: an input is no dense tensor, or the model has no such call.
    """
    subject = wish.subject
    prepare_process(subject.op_library)
    call = next(call for call in call_files.load_calls(subject.calls) if call.id == subject.call)
    if any(not isinstance(value, np.ndarray) for value in call.inputs.values()):
        raise ValueError("inputs that are sparse or ragged cannot be handed to its inside")
    if subject.kind == SESSION:
        rebuilt = os.path.join(os.path.dirname(wish.folder), f"{os.path.basename(wish.folder)}_rebuilt")
        _rebuild(subject, rebuilt)
        subject = dataclasses.replace(subject, path=rebuilt, kind=MIGRATED)
    loaded, compute = _open_migrated(subject, call, wish) if subject.kind == MIGRATED else _open_served(subject, call)
    keys = {f"{INPUT}{position}": key for position, key in enumerate(call.inputs)}

    def apply(**tensors: Any) -> dict[str, Any]:
        outputs = compute({keys[name]: tensor for name, tensor in tensors.items()})
        dense = {key: getattr(v, "flat_values", getattr(v, "values", v)) for key, v in outputs.items()}
        return {f"{OUTPUT}{position}": dense[key] for position, key in enumerate(sorted(dense))}

    specs = {name: _make_spec(call.inputs[key], name) for name, key in keys.items()}
    root = tf.Module()
    root.loaded = loaded
    root.call = tf.function(apply, autograph=False).get_concrete_function(**specs)
    tf.saved_model.save(root, wish.folder, signatures={CALL: root.call})


def _make_spec(value: np.ndarray, name: str) -> tf.TensorSpec:
    return tf.TensorSpec(value.shape, tf.string if value.dtype.kind == "O" else value.dtype, name)


def _rebuild(subject: Subject, folder: str) -> None:
    model = read_model(subject.path, subject.read.of_original)
    options = RebuildOptions(partial=True)
    rebuilt = rebuild_model(model, options, "functional")
    written = writer.write_model(rebuilt, folder)
    record = provenance.describe_migration(
        model, rebuilt, options, "functional", tf.__version__, rebuilt.findings, written.oldest
    )
    provenance.write_record(folder, record)


Compute = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def _open_migrated(subject: Subject, call: Call, wish: FunctionsRequest) -> tuple[Any, Compute]:
    record = provenance.read_record(subject.path)
    piece, training = find_piece(record, call) if record is not None else (None, False)
    if piece is None:
        raise ValueError(f"it has no call {call.id}")
    loaded = tf.saved_model.load(subject.path)

    def compute(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        tensors = {key: to_tensor(value, piece["inputs"][key]) for key, value in inputs.items()}
        return call_piece(loaded, piece, tensors, training=training or wish.training)

    return loaded, compute


def _open_served(subject: Subject, call: Call) -> tuple[Any, Compute]:
    model = LoadedSavedModel(subject.path)
    if call.tags == TRAINING_TAGS:
        # The first call finds out which output is which, by their values; it must not move what is saved.
        before = {name: variable.read_value() for name, variable in model.variables.items()}
        model.compute_training(call.signature, model.convert(call.signature, call.inputs))
        for name, value in before.items():
            model.variables[name].assign(value)

    def compute(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        if call.tags == TRAINING_TAGS:
            return model.compute_training(call.signature, inputs)
        return model.compute(subject.names.signature or call.signature, inputs)

    return model.object, compute
