"""How a migrated model is called: as an object, plainly or with all it can say, and by `signatures[...]`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.arrays import RaggedValue, SparseValue


def spell_variable(name: str) -> str:
    """A variable's name without TF's ":0"."""
    return re.sub(r":\d+$", "", name)


def call_piece(
    loaded: Any,
    piece: Mapping[str, Any],
    inputs: Mapping[str, Any],
    *,
    training: bool,
    plain: bool = False,
    open_sizes: bool = False,
) -> dict[str, Any]:
    """Calls root or sub-object; optional inputs that a case leaves out are left out here too.

    Args:
      loaded: the model.
      piece: its entry in the record.
      inputs: by input key.
      training: its mode.
      plain: call it as most users do, `piece(x)`: what has a default is left out, so one tensor may come back.
      open_sizes: have it traced with the sizes open that its signature leaves open. One trace then serves batches of
        every size, where TensorFlow would trace, and prepare the whole graph to run, anew for the first few.
    """
    target = getattr(loaded, piece["attribute"]) if piece["attribute"] else loaded
    positional, keywords = bind_inputs(piece, inputs)
    if piece["has_training"] and (training or not plain):
        keywords["training"] = training
    if piece["has_endpoints"] and not plain:
        keywords["return_endpoints"] = True
    if open_sizes:
        _trace_open(target, piece, positional, keywords)
    return name_outputs(piece, target(*positional, **keywords))


def _trace_open(target: Any, piece: Mapping[str, Any], positional: list[Any], keywords: Mapping[str, Any]) -> None:
    function = target if hasattr(target, "get_concrete_function") else target.__call__
    opened = [_open(value, piece, piece["positional"]) for value in positional]
    named = {name: _open(value, piece, [piece["keywords"].get(name, "")]) for name, value in keywords.items()}
    with contextlib.suppress(ValueError, TypeError):  # The call says it better.
        function.get_concrete_function(*opened, **named)


def _open(value: Any, piece: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """A dense tensor's spec as the record has it; all else stays what it is."""
    if isinstance(value, dict):
        return {key: _open(part, piece, [key]) for key, part in value.items()}
    if isinstance(value, tf.Tensor) and len(keys) == 1:
        return tf.TensorSpec(piece["inputs"][keys[0]]["shape"], value.dtype)
    return value


def bind_inputs(piece: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional arguments (at most one) and keyword arguments."""
    keywords: dict[str, Any] = {
        name: to_tensor(inputs[key], piece["inputs"][key]) for name, key in piece["keywords"].items() if key in inputs
    }
    given = {key: to_tensor(inputs[key], piece["inputs"][key]) for key in piece["positional"] if key in inputs}
    if len(piece["positional"]) == 1:
        return list(given.values()), keywords
    return ([given] if piece["positional"] else []), keywords


def name_outputs(piece: Mapping[str, Any], outputs: Any) -> dict[str, Any]:
    """What a call returned, by output key: one tensor bears the key that the record says."""
    return dict(outputs) if isinstance(outputs, Mapping) else {piece.get("bare_output") or "default": outputs}


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
