"""SignatureDef -> Signature (tensorflow/core/protobuf/meta_graph.proto: SignatureDef, TensorInfo)."""

from __future__ import annotations

from typing import Any

from migrate import errors
from migrate.graph import index as graph_index
from migrate.graph import shapes
from migrate.model import Encoding, Shape, Signature, SignatureTensor

# tensorflow/python/saved_model/constants.py; both hold ops, not callables.
INIT_OP_KEY = "__saved_model_init_op"
_OP_KEYS = (INIT_OP_KEY, "__saved_model_train_op")


def parse_signatures(meta_graph: Any, index: graph_index.GraphIndex, label: str) -> dict[str, Signature]:
    """All callable signatures of a MetaGraph.

    Raises:
      CorruptModelError: a TensorInfo names a tensor that the graph does not have; all are named at once.
    """
    signatures: dict[str, Signature] = {}
    lost: list[str] = []
    # A map field has no order of its own; sorted keys keep runs equal.
    for key in sorted(meta_graph.signature_def):
        if key in _OP_KEYS:
            continue
        definition = meta_graph.signature_def[key]
        sides = []
        for side in (definition.inputs, definition.outputs):
            tensors = {name: _parse_tensor_info(side[name], index) for name in sorted(side)}
            lost.extend(
                f"{label}/{key}/{name} -> {tensor}"
                for name, info in tensors.items()
                for tensor in info.tensor_names
                if not index.has_tensor(tensor)
            )
            sides.append(tensors)
        signatures[key] = Signature(key=key, method=definition.method_name, inputs=sides[0], outputs=sides[1])
    if lost:
        raise errors.CorruptModelError(
            f"signatures name tensors that the graph does not have: {'; '.join(lost)}",
            where=label,
            hint="the model was cut or edited after its export: export it again",
        )
    return signatures


def _parse_tensor_info(info: Any, index: graph_index.GraphIndex) -> SignatureTensor:
    declared = shapes.parse_shape(info.tensor_shape) if info.HasField("tensor_shape") else None
    dtype = graph_index.dtype_name(info.dtype)
    encoding = info.WhichOneof("encoding")
    if encoding == "coo_sparse":
        parts = info.coo_sparse
        names = (parts.values_tensor_name, parts.indices_tensor_name, parts.dense_shape_tensor_name)
        return SignatureTensor(
            name=names[0],
            dtype=dtype or index.dtype(names[0]),
            shape=declared,
            encoding=Encoding.SPARSE,
            components=names,
        )
    if encoding == "composite_tensor":
        return _parse_composite(info, index)
    return parse_dense_tensor(info.name, index, dtype=dtype, shape=declared, has_shape=info.HasField("tensor_shape"))


def parse_dense_tensor(
    name: str, index: graph_index.GraphIndex, *, dtype: str = "", shape: Shape = None, has_shape: bool = False
) -> SignatureTensor:
    """A dense tensor by its name; what the TensorInfo leaves open is read off the graph."""
    ref = graph_index.parse_tensor_name(name)
    node = index.nodes.get(ref.node)
    default = None
    if node is not None and node.op == "PlaceholderWithDefault":
        default = str(graph_index.parse_tensor_name(node.input[0]))
    return SignatureTensor(
        name=str(ref),
        # Seen in the wild: a TensorInfo that says float32 of a string placeholder. TF1 never looked at it.
        dtype=index.dtype(name) or dtype,
        shape=shape if has_shape else shapes.declared_shape(index, name),
        default=default,
    )


# TypeSpecProto.TypeSpecClass (tensorflow/core/protobuf/struct.proto).
_SPARSE_SPEC, _RAGGED_SPEC = 1, 3


def _parse_composite(info: Any, index: graph_index.GraphIndex) -> SignatureTensor:
    """A sparse or ragged tensor by its TypeSpec: (shape, dtype) or (shape, dtype, ragged rank, row splits' dtype)."""
    spec = info.composite_tensor.type_spec
    names = tuple(component.name for component in info.composite_tensor.components)
    if spec.type_spec_class not in (_SPARSE_SPEC, _RAGGED_SPEC):
        raise errors.CorruptModelError(
            f"a signature holds a composite tensor {spec.type_spec_class_name or spec.type_spec_class}; "
            "TF1 signatures hold sparse and ragged tensors only",
            hint="please report the model",
        )
    state = spec.type_state.tuple_value.values
    shape = shapes.parse_shape(state[0].tensor_shape_value)
    dtype = graph_index.dtype_name(state[1].tensor_dtype_value)
    if spec.type_spec_class == _SPARSE_SPEC:
        # SparseTensorSpec flattens to (indices, values, dense_shape).
        indices, values, dense_shape = names
        return SignatureTensor(
            name=values,
            dtype=dtype,
            shape=shape,
            encoding=Encoding.SPARSE,
            components=(values, indices, dense_shape),
        )
    return SignatureTensor(
        name=names[0],
        dtype=dtype,
        shape=shape,
        encoding=Encoding.RAGGED,
        components=names,
        ragged_rank=state[2].int64_value,
        row_splits_dtype=graph_index.dtype_name(state[3].tensor_dtype_value),
    )
