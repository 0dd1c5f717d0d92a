"""Lists of a loop's outputs: the shape of an element is told before the loop where the loop shows it.

TF1 left the batch size of an RNN open, so the list that holds its outputs says [-1, units]. XLA and TensorFlow live
with that; TFLite's converter must allocate the list before the loop, and refuses -1 (TF 2.21:
tensorflow/compiler/mlir/lite/transforms/lower_static_tensor_list.cc, ConvertTensorListInitOp), but takes a shape that
is computed. Invariant: each element that the loop writes has the shape that is computed, by `dimensions`.

Only lists of the outermost graph are looked at, which one loop fills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from migrate.graph import dimensions
from migrate.graph import index as graph_index
from migrate.graph.index import read_attr

_LOOPS = ("While", "StatelessWhile")
_MAKER = "TensorListReserve"


def tell_element_shapes(graph_def: Any) -> Any:
    """Returns a copy in which such lists are made with the whole shape of an element; the graph itself if none is."""
    index = graph_index.GraphIndex(graph_def)
    lists = _find_lists(index)
    if not lists:
        return graph_def
    needed = index.ancestors([text for loop, _ in lists.values() for text in loop.input])
    library = {function.signature.name: function for function in graph_def.library.function}
    scope = dimensions.Scope(graph_def.node, library, inferred=dimensions.infer_shapes(graph_def, needed))
    found: dict[str, tuple[int | dimensions.Extent, ...]] = {}
    for name, (loop, position) in lists.items():
        element = scope.find(graph_index.TensorRef(name, 0)).element
        if element is None or None not in element:
            continue
        dims = _find_written(scope, loop, position)
        told = [dim for dim in dims or () if dim is not None]
        if dims is not None and len(told) == len(dims) == len(element) and not _needs(index, name, told):
            found[name] = tuple(told)
    if not found:
        return graph_def
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    emitter = _Emitter(result)
    for name, shape in found.items():
        emitter.tell(name, shape)
    return result


def _find_lists(index: graph_index.GraphIndex) -> dict[str, tuple[Any, int]]:
    """Lists that one loop takes and nobody else: by their maker's name the loop, and at which input it takes them."""
    makers = [node.name for node in index.graph_def.node if node.op == _MAKER]
    if not makers:
        return {}
    consumers = index.consumers()
    found = ((name, _find_loop(consumers, name)) for name in makers)
    return {name: loop for name, loop in found if loop is not None}


def _find_loop(consumers: Mapping[str, list[tuple[Any, int]]], maker: str) -> tuple[Any, int] | None:
    users = [
        (user, position) for user, position in consumers.get(maker, ()) if not user.input[position].startswith("^")
    ]
    if len(users) != 1:
        return None
    user, position = users[0]
    if user.op == "TensorListResize":
        return _find_loop(consumers, user.name)
    return (user, position) if user.op in _LOOPS else None


def _find_written(scope: dimensions.Scope, loop: Any, position: int) -> dimensions.Dims:
    """The shape of what the loop writes to the list that is its value `position`; None where that is not certain."""
    name = read_attr(loop, "body").func.name
    function = scope.library[name]
    body = scope.call(name, scope.find_invariants(loop))
    argument = function.signature.input_arg[position].name
    ref = body.parse(function.ret[function.signature.output_arg[position].name])
    written: list[dimensions.Dims] = []
    while ref.node != argument:
        node = body.nodes.get(ref.node)
        if node is None or node.op not in ("Identity", "TensorListSetItem"):
            return None
        inputs = body.inputs(node)
        if node.op == "TensorListSetItem":
            written.append(body.find(inputs[2]).dims)
        ref = inputs[0]
    return written[0] if written and all(dims == written[0] for dims in written) else None


def _needs(index: graph_index.GraphIndex, maker: str, dims: Sequence[int | dimensions.Extent]) -> bool:
    """Whether the shape is known only when the list is."""
    tensors = [dim.tensor.spelled for dim in dims if isinstance(dim, dimensions.Extent)]
    return maker in index.ancestors(tensors)


class _Emitter:
    """Adds the nodes that compute a shape."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._nodes = {node.name: node for node in graph.node}
        self._sizes: dict[dimensions.Extent, str] = {}

    def tell(self, maker: str, shape: Sequence[int | dimensions.Extent]) -> None:
        place = f"{maker}/element_shape"
        sizes = [
            self._size(dim, place) if isinstance(dim, dimensions.Extent) else self._constant(f"{place}/{axis}", dim)
            for axis, dim in enumerate(shape)
        ]
        count = tf.compat.v1.AttrValue(i=len(sizes))
        node = self._nodes[maker]
        node.input[0] = self._add(f"{place}/known", "Pack", sizes, T=_INT32, N=count)
        node.attr["shape_type"].CopyFrom(_INT32)

    def _size(self, dim: dimensions.Extent, place: str) -> str:
        if dim not in self._sizes:
            ref = dim.tensor
            dtype = graph_index.output_dtypes(self._nodes[ref.node])[ref.index]
            kind = tf.compat.v1.AttrValue(type=dtype)
            shape = self._add(f"{place}/shape", "Shape", [ref.spelled], T=kind, out_type=_INT32)
            bounds = [self._constant(f"{place}/bound", [value]) for value in (dim.axis, dim.axis + 1, 1)]
            one = tf.compat.v1.AttrValue(i=1)
            self._sizes[dim] = self._add(
                f"{place}/size", "StridedSlice", [shape, *bounds], T=_INT32, Index=_INT32, shrink_axis_mask=one
            )
        return self._sizes[dim]

    def _constant(self, name: str, value: Any) -> str:
        tensor = tf.compat.v1.AttrValue(tensor=tf.make_tensor_proto(value, tf.int32))
        return self._add(name, "Const", [], dtype=_INT32, value=tensor)

    def _add(self, name: str, op: str, inputs: list[str], **attributes: Any) -> str:
        name = graph_index.make_unique(name, self._nodes)
        self._nodes[name] = node = self._graph.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            node.attr[key].CopyFrom(value)
        return name


_INT32 = tf.compat.v1.AttrValue(type=tf.int32.as_datatype_enum)
