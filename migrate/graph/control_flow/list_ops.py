"""One TensorArray's ops written as TensorList ops.

Invariant: each op keeps its name; output 0 of the op that made the array, or of one that changed it, is the
list; every other output keeps its position, dtype and value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from migrate.graph.control_flow.nodes import INT32, Node, Tensor, strip_identity
from migrate.graph.index import read_attr

_SAME_DEPTH = 6
DENSE_TASKS = frozenset(("Write", "Read", "Gather", "Pack", "Size", "Close"))


class Writer:
    """Rewrites the ops of the array that `maker` makes; `added` are the nodes that had to be made for it."""

    def __init__(self, maker: Node, dtype: int, shape: tf.TensorShape, dynamic: bool) -> None:
        self.maker = maker
        self.size = maker.inputs[0]
        self.dtype = dtype
        self.shape = shape
        self.dynamic = dynamic
        self.added: list[Node] = []
        self.only_read = False  # Whether the array is filled once, and then only single elements are read.

    def rewrite(self, node: Node, op: str, inputs: list[Tensor], **attrs: Any) -> None:
        proto = tf.compat.v1.NodeDef(name=node.name, op=op, device=node.proto.device)
        if "_output_shapes" in node.proto.attr:
            proto.attr["_output_shapes"].CopyFrom(node.proto.attr["_output_shapes"])
        for key, value in attrs.items():
            proto.attr[key].CopyFrom(value)
        node.kind, node.proto, node.inputs = op, proto, inputs

    def insert(self, name: str, op: str, inputs: list[Tensor], **attrs: Any) -> Tensor:
        proto = tf.compat.v1.NodeDef(name=name, op=op)
        for key, value in attrs.items():
            proto.attr[key].CopyFrom(value)
        self.added.append(Node(name, op, proto, inputs, []))
        return Tensor(self.added[-1], 0)

    def constant(self, name: str, value: Any, dtype: tf.DType = tf.int32) -> Tensor:
        tensor = tf.make_tensor_proto(value, dtype)
        attrs = {"dtype": tf.compat.v1.AttrValue(type=tensor.dtype), "value": tf.compat.v1.AttrValue(tensor=tensor)}
        return self.insert(f"{name}/raised", "Const", [], **attrs)

    def element_shape(self, node: Node, prefix: tuple[int, ...] = (), shape: tf.TensorShape | None = None) -> Tensor:
        shape = self.shape if shape is None else shape
        if shape.rank is None:
            return self.constant(f"{node.name}/element_shape", -1)
        value = [*prefix, *(-1 if size is None else size for size in shape)]
        return self.constant(f"{node.name}/element_shape", value)

    def attrs(self, **more: Any) -> dict[str, Any]:
        return {"element_dtype": tf.compat.v1.AttrValue(type=self.dtype)} | more

    def fill(self, node: Node, value: Tensor) -> None:
        """Let `node` be the list of the rows of `value`."""
        attrs = self.attrs(shape_type=tf.compat.v1.AttrValue(type=INT32))
        self.rewrite(node, "TensorListFromTensor", [value, self.element_shape(node)], **attrs)

    def gather_rows(self, node: Node, value: Tensor, indices: Tensor, dtype: int | None = None) -> None:
        """Let `node` be those rows of `value`, which has the array's dtype where none is given."""
        index_type = tf.compat.v1.AttrValue(type=INT32)
        dtype = self.dtype if dtype is None else dtype
        attrs = {"Tparams": tf.compat.v1.AttrValue(type=dtype), "Tindices": index_type, "Taxis": index_type}
        axis = self.constant(f"{node.name}/axis", 0)
        self.rewrite(node, "GatherV2", [value, indices, axis], **attrs)

    def split(self, node: Node) -> None:
        """TensorArraySplit to the list of the parts."""
        _, value, lengths, _ = node.inputs
        inputs = [value, self.element_shape(node), lengths]
        self.rewrite(node, "TensorListSplit", inputs, **self.attrs(shape_type=tf.compat.v1.AttrValue(type=INT32)))


def rewrite_ops(
    maker: Node, ops: list[tuple[str, Node]], dtype: int, shape: tf.TensorShape, dynamic: bool
) -> list[Node]:
    """Turn an array's ops into list ops (in place); returns the nodes that had to be added.

    Args:
      maker: the op that makes the array; flows that start at it already name its output 0.
      ops: what each op does ("Write", ...), and the op.
      shape: of every element, as far as known.
    """
    writer = Writer(maker, dtype, shape, dynamic)
    sizes = {node for task, node in ops if task == "Size"}
    writer.only_read = [task for task, _ in ops if task not in ("Read", "Close")] == ["Scatter"]
    for task, node in ops:
        if task in _FILLERS:
            _FILLERS[task](writer, node)
        else:
            rewrite_reader(task, writer, node, sizes)
    _make_list(writer)
    return writer.added


def _make_list(writer: Writer) -> None:
    maker, inputs = writer.maker, [writer.element_shape(writer.maker), writer.size]
    attrs = writer.attrs(shape_type=tf.compat.v1.AttrValue(type=INT32))
    if writer.dynamic:
        # XLA's lists do not grow: it drops what is written behind the end, without a word (TF 2.21). An op that it
        # lacks, and that does nothing here, makes it say so.
        reserved = writer.insert(f"{maker.name}/reserved", "TensorListReserve", inputs, **attrs)
        writer.rewrite(maker, "TensorListResize", [reserved, writer.size])
    else:
        writer.rewrite(maker, "TensorListReserve", inputs, **attrs)
    maker.proto.attr.pop("_output_shapes", None)


def rewrite_reader(task: str, writer: Writer, node: Node, sizes: set[Node]) -> None:
    """Rewrite (in place) an op that changes nothing. `sizes`: all ops that tell the array's size."""
    if task == "Gather" and takes_all(node.inputs[1], sizes, writer):
        task = "Pack"
        node.inputs = [node.inputs[0], node.inputs[2]]
    _READERS[task](writer, node)


def _write(writer: Writer, node: Node) -> None:
    _, index, value, flow = node.inputs
    resize = {"resize_if_index_out_of_bounds": tf.compat.v1.AttrValue(b=True)} if writer.dynamic else {}
    writer.rewrite(node, "TensorListSetItem", [flow, index, value], **writer.attrs(**resize))


def _read(writer: Writer, node: Node) -> None:
    _, index, flow = node.inputs
    writer.rewrite(node, "TensorListGetItem", [flow, index, writer.element_shape(node)], **writer.attrs())


def _told_shape(writer: Writer, node: Node) -> tf.TensorShape:
    if "element_shape" not in node.proto.attr:
        return writer.shape
    told = tf.TensorShape(read_attr(node.proto, "element_shape").shape)
    return writer.shape.merge_with(told) if writer.shape.is_compatible_with(told) else writer.shape


def _gather(writer: Writer, node: Node) -> None:
    _, indices, flow = node.inputs
    shape = writer.element_shape(node, shape=_told_shape(writer, node))
    if _are_distinct(indices):
        writer.rewrite(node, "TensorListGather", [flow, indices, shape], **writer.attrs())
        return
    # The gradient of TensorListGather keeps one of the gradients of an element that was gathered twice (TF 2.21).
    int_type = tf.compat.v1.AttrValue(type=INT32)
    unique = writer.insert(f"{node.name}/unique", "Unique", [indices], T=int_type, out_idx=int_type)
    rows = writer.insert(f"{node.name}/rows", "TensorListGather", [flow, unique, shape], **writer.attrs())
    writer.gather_rows(node, rows, Tensor(unique.node, 1))


def _pack(writer: Writer, node: Node) -> None:
    shape = writer.element_shape(node, shape=_told_shape(writer, node))
    writer.rewrite(
        node, "TensorListStack", [node.inputs[1], shape], **writer.attrs(num_elements=tf.compat.v1.AttrValue(i=-1))
    )


def _scatter(writer: Writer, node: Node) -> None:
    _, indices, value, flow = node.inputs
    whole = range_limit(indices) is not None if writer.only_read else can_fill(writer.maker, node)
    if strip_identity(flow) == Tensor(writer.maker, 0) and whole:
        # Unstacking into an array of just that size, or nobody asks for its size. Scattering has no XLA kernel,
        # this has.
        writer.fill(node, value)
        return
    writer.rewrite(node, "TensorListScatterIntoExistingList", [flow, value, indices], **writer.attrs())


def can_fill(maker: Node, node: Node) -> bool:
    """Whether `node` unstacks a tensor that has as many rows as the array `maker` makes has elements."""
    task = node.kind.removeprefix("TensorArray").removesuffix("V2").removesuffix("V3")
    if task == "Unpack":
        return True
    limit = range_limit(node.inputs[1]) if task == "Scatter" else None
    size = maker.inputs[0]
    return limit is not None and (read_attr(maker.proto, "dynamic_size").b or _are_same(limit, size))


def read_whole(maker: Node, ops: list[tuple[str, Node]], dtype: int) -> list[Node]:
    """Turn an array that is unstacked once and then only read into the tensor it was unstacked from."""
    writer = Writer(maker, dtype, tf.TensorShape(None), False)
    for task, node in ops:
        if task == "Read":
            writer.gather_rows(node, node.inputs[2], node.inputs[1])
        elif task == "Close":
            _close(writer, node)
        else:
            value = node.inputs[1 if task == "Unpack" else 2]
            writer.rewrite(node, "Identity", [value], T=tf.compat.v1.AttrValue(type=dtype))
            node.proto.attr.pop("_output_shapes", None)
    writer.rewrite(maker, "NoOp", [])
    maker.proto.attr.pop("_output_shapes", None)
    return writer.added


def keep_whole(maker: Node, ops: list[tuple[str, Node]], dtype: int, shape: tf.TensorShape) -> list[Node]:
    """Turn an array of strings into one tensor `[size, *shape]`, which writes replace a row of.

    Args:
      ops: what each op does, of those in DENSE_TASKS, and the op.
      shape: of every element, fully known.
    """
    writer = Writer(maker, dtype, shape, False)
    kind, int_type = tf.compat.v1.AttrValue(type=dtype), tf.compat.v1.AttrValue(type=INT32)
    for task, node in ops:
        if task == "Write":
            _, index, value, flow = node.inputs
            place = [index, writer.constant(f"{node.name}/place", [1, 1])]
            indices = writer.insert(f"{node.name}/indices", "Reshape", place, T=int_type, Tshape=int_type)
            parts = [value, writer.constant(f"{node.name}/axis", 0)]
            row = writer.insert(f"{node.name}/row", "ExpandDims", parts, T=kind, Tdim=int_type)
            writer.rewrite(node, "TensorScatterUpdate", [flow, indices, row], T=kind, Tindices=int_type)
            node.proto.attr.pop("_output_shapes", None)
        elif task == "Size":
            sizes = writer.insert(f"{node.name}/sizes", "Shape", [node.inputs[1]], T=kind, out_type=int_type)
            writer.gather_rows(node, sizes, writer.constant(f"{node.name}/first", 0), INT32)
        elif task == "Close":
            _close(writer, node)
        elif task == "Pack":
            writer.rewrite(node, "Identity", [node.inputs[1]], T=kind)
        else:
            writer.gather_rows(node, node.inputs[2], node.inputs[1])
    lengths = [writer.size, *(writer.constant(f"{maker.name}/size_{k}", size) for k, size in enumerate(shape))]
    count = tf.compat.v1.AttrValue(i=len(lengths))
    dims = writer.insert(f"{maker.name}/dims", "Pack", lengths, T=int_type, N=count)
    blank = writer.constant(f"{maker.name}/blank", "", tf.string)
    writer.rewrite(maker, "Fill", [dims, blank], T=kind, index_type=int_type)
    maker.proto.attr.pop("_output_shapes", None)
    return writer.added


def _unpack(writer: Writer, node: Node) -> None:
    writer.fill(node, node.inputs[1])


def _concat(writer: Writer, node: Node) -> None:
    flow = node.inputs[1]
    rest = read_attr(node.proto, "element_shape_except0").shape
    known = "element_shape_except0" in node.proto.attr and not rest.unknown_rank
    shape = writer.element_shape(node, (-1,) if known else (), tf.TensorShape(rest if known else None))
    leading = writer.constant(f"{node.name}/leading_dims", [], tf.int64)
    shape_type = tf.compat.v1.AttrValue(type=INT32)
    writer.rewrite(node, "TensorListConcatV2", [flow, shape, leading], **writer.attrs(shape_type=shape_type))


def _split(writer: Writer, node: Node) -> None:
    writer.split(node)


def _size(writer: Writer, node: Node) -> None:
    writer.rewrite(node, "TensorListLength", [node.inputs[1]])


def _close(writer: Writer, node: Node) -> None:
    node.controls.append(writer.maker)
    writer.rewrite(node, "NoOp", [])
    node.proto.attr.pop("_output_shapes", None)


_FILLERS = {"Write": _write, "Scatter": _scatter, "Unpack": _unpack, "Split": _split}
_READERS = {"Read": _read, "Gather": _gather, "Pack": _pack, "Concat": _concat, "Size": _size, "Close": _close}


def range_limit(indices: Tensor) -> Tensor | None:
    """`n` where `indices` is 0, 1, ..., n - 1; None where it is not written as such a Range."""
    node = strip_identity(indices).node
    if node.kind != "Range" or _scalar(node.inputs[0]) != 0 or _scalar(node.inputs[2]) != 1:
        return None
    return node.inputs[1]


def _are_distinct(indices: Tensor) -> bool:
    """Whether it is certain that no index comes twice."""
    value = _value(indices)
    if value is not None:
        return np.unique(value).size == value.size
    return strip_identity(indices).node.kind == "Range"


def takes_all(indices: Tensor, sizes: set[Node], writer: Writer) -> bool:
    """Whether `indices` runs over the whole array: to its size as it is, or as it was made."""
    limit = range_limit(indices)
    if limit is None:
        return False
    return strip_identity(limit).node in sizes or (not writer.dynamic and _are_same(limit, writer.size))


def _scalar(tensor: Tensor) -> int | None:
    value = _value(tensor)
    return value.item() if value is not None and value.ndim == 0 else None


def _value(tensor: Tensor) -> np.ndarray | None:
    """The value of a constant, or of one element `constant[i]` (a static dimension), else None."""
    node = strip_identity(tensor).node
    if node.kind == "Const":
        return np.asarray(tf.make_ndarray(read_attr(node.proto, "value").tensor))
    if node.kind != "StridedSlice" or read_attr(node.proto, "shrink_axis_mask").i != 1:
        return None
    whole, begin = _value(node.inputs[0]), _value(node.inputs[1])
    if whole is None or begin is None or whole.ndim != 1 or begin.shape != (1,):
        return None
    return whole[begin[0]] if 0 <= begin[0] < whole.size else None


def _are_same(one: Tensor, other: Tensor, depth: int = _SAME_DEPTH) -> bool:
    """Whether two tensors are computed alike, without side effects, from the same tensors."""
    one, other = strip_identity(one), strip_identity(other)
    if one == other:
        return True
    first, second = one.node, other.node
    left, right = _value(one), _value(other)
    if left is not None and right is not None:
        return left.dtype == right.dtype and left.shape == right.shape and bool((left == right).all())
    if first.kind != second.kind or first.kind not in ("Shape", "StridedSlice", "Cast") or not depth:
        return False
    if any(first.proto.attr[key] != second.proto.attr[key] for key in first.proto.attr if not key.startswith("_")):
        return False
    pairs = zip(first.inputs, second.inputs, strict=True)
    return one.index == other.index and all(_are_same(left, right, depth - 1) for left, right in pairs)
