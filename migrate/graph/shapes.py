"""Shapes that a GraphDef states of its tensors, without running shape inference."""

from __future__ import annotations

from typing import Any

from migrate.graph import index as graph_index
from migrate.model import Shape

# common_shape_fns / array_ops.cc: before producer version 24 a Placeholder's shape [] meant "unknown".
_SCALAR_PLACEHOLDER_PRODUCER = 24
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
# Their components have the shapes of their attribute, which TensorFlow holds each element to
# (tensorflow/core/ops/dataset_ops.cc, IteratorGetNextShapeFn).
_ITERATORS = ("IteratorGetNext", "IteratorGetNextSync")


def parse_shape(proto: Any) -> Shape:
    """TensorShapeProto -> Shape."""
    if proto.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in proto.dim)


def declared_shape(index: graph_index.GraphIndex, name: str) -> Shape:
    """The shape that the node's `shape`, `output_shapes` or `_output_shapes` attribute states, None where none does."""
    ref = graph_index.parse_tensor_name(name)
    node = index.nodes.get(ref.node)
    if node is None:
        return None
    if node.op in _PLACEHOLDERS and "shape" in node.attr:
        shape = parse_shape(node.attr["shape"].shape)
        producer = index.graph_def.versions.producer
        if shape == () and node.op == "Placeholder" and producer < _SCALAR_PLACEHOLDER_PRODUCER:
            return None
        return shape
    if node.op in _PLACEHOLDERS:
        return None
    attribute = "output_shapes" if node.op in _ITERATORS else "_output_shapes"
    stated = node.attr[attribute].list.shape if attribute in node.attr else ()
    return parse_shape(stated[ref.index]) if ref.index < len(stated) else None
