"""Puts TF1's SignatureDefs back: keys, method names and encodings that `tf.saved_model.save` cannot spell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from migrate import errors
from migrate.model import Encoding, SignatureTensor
from migrate.rebuild.encoding import make_spec
from migrate.rebuild.pieces import Piece


def restore_signature_defs(meta_graph: Any, pieces: Iterable[Piece], where: str) -> None:
    """Edits the MetaGraphDef of a fresh save in place.

    Raises:
      WriteError: the save lacks a signature that was asked for.
    """
    for piece in pieces:
        key = piece.plan.serving_key
        if key not in meta_graph.signature_def:
            raise errors.WriteError(f"the saved model lacks the signature {key!r}", where=where)
        _restore_signature_def(meta_graph.signature_def[key], piece)


def _restore_signature_def(definition: Any, piece: Piece) -> None:
    signature = piece.signature
    if signature.method:
        definition.method_name = signature.method
    inputs = {name: _copy(info) for name, info in definition.inputs.items()}
    outputs = {name: _copy(info) for name, info in definition.outputs.items()}
    definition.inputs.clear()
    definition.outputs.clear()
    for key, tensor in signature.inputs.items():
        parts = [inputs[name] for name in piece.arguments[key]]
        definition.inputs[key].CopyFrom(_encode(tensor, parts))
    for key, tensor in signature.outputs.items():
        info = outputs[key]
        if info.HasField("coo_sparse"):
            definition.outputs[key].CopyFrom(info)
            continue
        parts = list(info.composite_tensor.components) if info.HasField("composite_tensor") else [info]
        if tensor.encoding is Encoding.SPARSE and info.HasField("composite_tensor"):
            # SparseTensorSpec flattens to (indices, values, dense_shape).
            parts = [parts[1], parts[0], parts[2]]
        definition.outputs[key].CopyFrom(_encode(tensor, parts))
    defaults = {name: _copy(value) for name, value in definition.defaults.items()}
    definition.defaults.clear()
    for key, names in piece.arguments.items():
        if len(names) == 1 and names[0] in defaults:
            definition.defaults[key].CopyFrom(defaults[names[0]])


def _copy(message: Any) -> Any:
    result = type(message)()
    result.CopyFrom(message)
    return result


def _encode(tensor: SignatureTensor, parts: list[Any]) -> Any:
    """The TensorInfo of a key from those of its components."""
    if tensor.encoding is Encoding.DENSE:
        return parts[0]
    info = type(parts[0])()
    info.dtype = tf.as_dtype(tensor.dtype).as_datatype_enum
    info.tensor_shape.CopyFrom(tf.TensorShape(tensor.shape).as_proto())
    if tensor.encoding is Encoding.SPARSE:
        values, indices, dense_shape = parts
        info.coo_sparse.values_tensor_name = values.name
        info.coo_sparse.indices_tensor_name = indices.name
        info.coo_sparse.dense_shape_tensor_name = dense_shape.name
    else:
        info.composite_tensor.type_spec.CopyFrom(make_spec(tensor, "").experimental_as_proto())
        info.composite_tensor.components.extend(parts)
    return info
