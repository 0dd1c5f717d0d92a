"""Runs a migrated model through `tf.saved_model.load`, as its users do: as a callable and by its signatures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.arrays import RaggedValue, SparseValue
from migrate.inputs import calls as call_files
from migrate.verify import results as result_files
from migrate.verify.draws import draw_outputs
from migrate.verify.runners.gradients import tape_gradients
from migrate.verify.runners.request import RunRequest
from migrate.verify.signature_defs import describe_migrated
from migrate.write import provenance

CALLABLE, SIGNATURE = "callable", "signature"
# A dropped unit may well be kept a second time: a few draws tell.
_REPEATS = 3


def run(wish: RunRequest) -> None:
    """Job."""
    for path in wish.op_library:
        tf.load_op_library(path)
    record = provenance.read_record(wish.path)
    if record is None:
        raise ValueError("the model has no migration record")
    planned = call_files.load_calls(wish.calls, wish.skip)
    found = result_files.Results(interface=describe_migrated(wish.path, record))
    for tags in dict.fromkeys(call.tags for call in planned):
        wanted = [call for call in planned if call.tags == tags]
        for route in (CALLABLE, SIGNATURE):
            # A fresh load for each: what one call leaves in variables must not reach another route.
            _run_route(record, wanted, route, found, wish)
    loaded = tf.saved_model.load(wish.path)
    if wish.losses:
        found.losses = [loss().numpy() for loss in getattr(loaded, "regularization_losses", ())]
        trained = {id(variable) for variable in getattr(loaded, "trainable_variables", ())}
        pairs = zip(record["variables"], getattr(loaded, "variables", ()), strict=True)
        found.trainable = [name for name, variable in pairs if id(variable) in trained]
    if wish.variables:
        found.variables = _read_variables(loaded, record)
    if wish.update_call:
        _run_updates(loaded, record, planned, wish, found)
    os.makedirs(wish.results, exist_ok=True)
    found.save(wish.results)


def _run_route(
    record: Mapping[str, Any],
    wanted: list[call_files.Call],
    route: str,
    found: result_files.Results,
    wish: RunRequest,
) -> None:
    loaded = tf.saved_model.load(wish.path)
    variables = getattr(loaded, "variables", ())
    initial = [variable.read_value() for variable in variables]
    for call in wanted:
        piece, training = find_piece(record, call)
        if training:
            # A training call runs UPDATE_OPS too, which the baseline of its outputs does not.
            for variable, value in zip(variables, initial, strict=True):
                variable.assign(value)
        if piece is None or (route == SIGNATURE and not has_signature(piece, call)):
            continue

        def compute(inputs: Mapping[str, Any], piece: Any = piece, training: bool = training) -> dict[str, Any]:
            if route == CALLABLE:
                return call_piece(loaded, piece, inputs, training=training)
            return call_signature(loaded, piece, inputs)

        def answer(compute: Any = compute, call: call_files.Call = call) -> dict[str, Any]:
            return {key: to_value(value) for key, value in compute(call.inputs).items()}

        try:
            for _ in range(_REPEATS if wish.repeat else 0):
                answer()
            found.outputs[route, call.id] = answer()
            if call.id in wish.draw_calls:
                found.draws[route, call.id] = draw_outputs(answer, wish.draws, wish.draw_seconds)
            if route == CALLABLE and call.id in wish.gradient_calls:
                named = dict(zip(record["variables"], variables, strict=True))
                inputs = {key: to_tensor(value, piece["inputs"][key]) for key, value in call.inputs.items()}
                found.gradients[call.id] = tape_gradients(compute, inputs, named)
        except Exception as error:
            found.record_failure(route, call.id, error)


def find_piece(record: Mapping[str, Any], call: call_files.Call) -> tuple[Mapping[str, Any] | None, bool]:
    """The piece, and its `training` value, that stands for a signature of a variant."""
    for piece in record["pieces"]:
        for mode in piece["modes"]:
            if piece["signature"] == call.signature and mode["tags"] == list(call.tags):
                return piece, mode["training"]
    return None, False


def has_signature(piece: Mapping[str, Any], call: call_files.Call) -> bool:
    """Whether `signatures[...]` can make the call: it stands for the first mode, and `tf.saved_model.load`
    gives it no defaults, so every input must be there."""
    return list(call.tags) == piece["modes"][0]["tags"] and set(piece["arguments"]) <= set(call.inputs)


def call_piece(loaded: Any, piece: Mapping[str, Any], inputs: Mapping[str, Any], *, training: bool) -> dict[str, Any]:
    """Calls root or sub-object; optional inputs that a case leaves out are left out here too."""
    target = getattr(loaded, piece["attribute"]) if piece["attribute"] else loaded
    keywords: dict[str, Any] = {
        name: to_tensor(inputs[key], piece["inputs"][key]) for name, key in piece["keywords"].items() if key in inputs
    }
    given = {key: to_tensor(inputs[key], piece["inputs"][key]) for key in piece["positional"] if key in inputs}
    positional: list[Any] = []
    if len(piece["positional"]) == 1:
        positional = list(given.values())
    elif piece["positional"]:
        positional = [given]
    if piece["has_training"]:
        keywords["training"] = training
    if piece["has_endpoints"]:
        keywords["return_endpoints"] = True
    outputs = target(*positional, **keywords)
    return dict(outputs) if isinstance(outputs, Mapping) else {"default": outputs}


def call_signature(loaded: Any, piece: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Calls `signatures[key]`."""
    function = loaded.signatures[piece["signature_def"]]
    flat: dict[str, Any] = {}
    for key, names in piece["arguments"].items():
        parts = _split(to_tensor(inputs[key], piece["inputs"][key]))
        flat |= dict(zip(names, parts, strict=True))
    return dict(function(**flat))


def _split(value: Any) -> list[tf.Tensor]:
    if isinstance(value, tf.SparseTensor):
        return [value.values, value.indices, value.dense_shape]
    if isinstance(value, tf.RaggedTensor):
        return [value.flat_values, *value.nested_row_splits]
    return [value]


def to_tensor(value: Any, described: Mapping[str, Any]) -> Any:
    """A saved value as the tensor that the model takes; a tensor stays what it is."""
    if tf.is_tensor(value) or isinstance(value, tf.RaggedTensor):
        return value
    if isinstance(value, SparseValue):
        return tf.SparseTensor(value.indices, tf.constant(value.values, described["dtype"]), value.dense_shape)
    if isinstance(value, RaggedValue):
        flat = tf.constant(value.flat_values, described["dtype"])
        return tf.RaggedTensor.from_nested_row_splits(flat, value.row_splits)
    return tf.constant(value, described["dtype"])


def to_value(value: Any) -> Any:
    if isinstance(value, tf.SparseTensor):
        return SparseValue(
            indices=value.indices.numpy(), values=_numpy(value.values), dense_shape=value.dense_shape.numpy()
        )
    if isinstance(value, tf.RaggedTensor):
        splits = tuple(part.numpy() for part in value.nested_row_splits)
        return RaggedValue(flat_values=_numpy(value.flat_values), row_splits=splits)
    return _numpy(value)


def _numpy(tensor: tf.Tensor) -> np.ndarray:
    value = tensor.numpy()
    if isinstance(value, bytes):
        array = np.empty((), dtype=object)
        array[()] = value
        return array
    return np.asarray(value)


def _read_variables(loaded: Any, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    named = zip(record["variables"], getattr(loaded, "variables", ()), strict=True)
    return {name: _numpy(variable.read_value()) for name, variable in named}


def _run_updates(
    loaded: Any,
    record: Mapping[str, Any],
    planned: list[call_files.Call],
    wish: RunRequest,
    found: result_files.Results,
) -> None:
    call = next(call for call in planned if call.id == wish.update_call)
    piece, _ = find_piece(record, call)
    if piece is None:
        return
    before, runs = _read_variables(loaded, record), []
    for _ in range(1 + (_REPEATS if wish.repeat else 0)):
        for variable, value in zip(loaded.variables, before.values(), strict=True):
            variable.assign(value)
        call_piece(loaded, piece, call.inputs, training=True)
        runs.append(_read_variables(loaded, record))
    found.record_updates(before, runs)
