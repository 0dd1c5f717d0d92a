"""The gradient arrays that tf.gradients wrote into a training graph (TensorArrayGradV3), as TensorLists.

TF1's gradient of a TensorArray is a second array, found through the resource of the first: the gradient of a
read adds to its element, the gradient of a write reads its element. The gradient's flow tells what has been
added, and tf.gradients sums such flows like any other gradient (tensorflow/python/ops/tensor_array_grad.py).
So the gradient's flow becomes the list of gradients: what one op adds is a list in which all else is unset, a
sum of flows is the sum of their lists, and a flow of zero is a list of zeros.

Invariant: every list has as many elements as the array has when its gradient is made.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from migrate.graph.control_flow.depths import Layout
from migrate.graph.control_flow.flows import FLOW_INPUT, FLOW_OUTPUT, FLOW_PASSES, SUMS, Consumers, Flow, Unconvertible
from migrate.graph.control_flow.list_ops import Writer, rewrite_reader, takes_all
from migrate.graph.control_flow.nodes import INT32, VARIANT, Node, Tensor, copy_proto
from migrate.graph.index import read_attr

GRADIENT = "Grad"


@dataclasses.dataclass(slots=True, eq=False)
class ArrayGradient:
    """All gradient arrays of one array; `source`, which tells them apart, is not needed where lists are values.

    Attributes:
      makers: the TensorArrayGrad ops.
      ops: (what it does, node) of the ops on a gradient array.
      passes: nodes that pass the gradient's flow on, sums included.
      tensors: all that become lists.
      zeros: edges (consumer, position, list of the array in the consumer's frame) that carry a flow of zero.
      unset: ops that need the shape even of what no gradient reached, and the array's list in their frame.
      measures: ops that take the array's flow to make zeros of its kind.
    """

    makers: list[Node] = dataclasses.field(default_factory=list)
    ops: list[tuple[str, Node]] = dataclasses.field(default_factory=list)
    passes: dict[Node, None] = dataclasses.field(default_factory=dict)
    tensors: dict[Tensor, None] = dataclasses.field(default_factory=dict)
    zeros: list[tuple[Node, int, Tensor]] = dataclasses.field(default_factory=list)
    unset: list[tuple[Node, Tensor]] = dataclasses.field(default_factory=list)
    measures: list[Node] = dataclasses.field(default_factory=list)

    def takes_source(self, node: Node, position: int) -> bool:
        """Whether the array's own flow may end at that input: it only says that the array is complete."""
        if node in self.makers:
            return position == 1
        if self.makers and node.kind in ("Shape", "ZerosLike"):
            self.measures.append(node)
            return True
        task = next((task for task, other in self.ops if other is node), "")
        return task in FLOW_OUTPUT and position == FLOW_INPUT[task]


def trace_gradient(gradient: ArrayGradient, source: Flow, consumers: Consumers, layout: Layout) -> None:
    """Fill in the gradient's flow.

    Args:
      source: the flow of the array itself.
      layout: of the graph.

    Raises:
      Unconvertible: the flow comes from, or goes to, anything unknown.
    """

    def is_start(tensor: Tensor, node: Node, position: int) -> bool:
        if tensor in source.tensors:
            if node not in own:
                raise Unconvertible(node, "takes its flow for its gradient's")
            return True
        if _is_zero(tensor):
            gradient.zeros.append((node, position, find_list(tensor, node)))
            return True
        return False

    def find_list(zero: Tensor, node: Node) -> Tensor:
        like = _find_like(zero, source)
        return _find_list(node, source, layout) if like is None else like

    own = {node: task for task, node in gradient.ops}
    flow = Flow(
        own=own,
        kinds=FLOW_PASSES | SUMS,
        is_start=is_start,
        is_end=lambda node, position: node in gradient.makers and position == 1,
    )
    flow.trace(consumers, [])
    gradient.passes = flow.passes
    gradient.tensors = flow.tensors
    zeros = {(node, position) for node, position, _ in gradient.zeros}
    for node in gradient.measures:
        if node.kind == "ZerosLike" and not zeros.issuperset(consumers.get(Tensor(node, 0), ())):
            raise Unconvertible(node, "takes its flow")
    for task, node in gradient.ops:
        if task == "Concat":
            gradient.unset.append((node, _find_list(node, source, layout)))


def _is_zero(tensor: Tensor) -> bool:
    node = tensor.node
    if node.kind == "Fill":
        return _is_zero(node.inputs[1])
    if node.kind == "Const":
        return not tf.make_ndarray(read_attr(node.proto, "value").tensor).any()
    return node.kind == "ZerosLike"


def _find_like(zero: Tensor, source: Flow) -> Tensor | None:
    """The array's flow that zeros were made for: zeros_like(flow) or zeros(shape(flow))."""
    node = zero.node
    while node.kind in ("Fill", "Shape", "ZerosLike"):
        if node.inputs[0] in source.tensors:
            return node.inputs[0]
        node = node.inputs[0].node
    return None


def _find_list(node: Node, source: Flow, layout: Layout) -> Tensor:
    """The array's last flow in the frame where the inputs of `node` lie, outside of conditionals if there is one."""
    frame = layout.frames[node]
    if frame is not None and node.kind == "Enter":
        frame = frame.parent
    found = [tensor for tensor in source.tensors if layout.frames[tensor.node] is frame]
    if not found:
        raise Unconvertible(node, "takes its gradient where its size is not known")
    return max(found, key=lambda tensor: (-layout.depths[tensor.node], layout.places[tensor.node]))


def convert_gradient(gradient: ArrayGradient, writer: Writer, sizes: set[Node]) -> list[Node]:
    """Rewrite the ops of the gradient (in place), after those of the array; returns the nodes that were added."""
    for node in gradient.passes:
        node.proto = copy_proto(node.proto)
        node.proto.attr["T"].type = VARIANT
        node.proto.attr.pop("_output_shapes", None)
        if node.kind in ("Add", "AddV2"):
            node.kind = node.proto.op = "AddN"
            node.proto.attr["N"].i = 2
    for consumer, position, flow in gradient.zeros:
        name = f"{consumer.name}/zeros{position}"
        consumer.inputs[position] = writer.insert(name, "ZerosLike", [flow], T=tf.compat.v1.AttrValue(type=VARIANT))
        gradient.tensors[consumer.inputs[position]] = None
    for node in gradient.measures:
        node.proto = copy_proto(node.proto)
        node.proto.attr["T"].type = VARIANT
    for node, flow in gradient.unset:
        position = FLOW_INPUT["Concat"]
        zeros = writer.insert(f"{node.name}/unset", "ZerosLike", [flow], T=tf.compat.v1.AttrValue(type=VARIANT))
        attrs = {"T": tf.compat.v1.AttrValue(type=VARIANT), "N": tf.compat.v1.AttrValue(i=2)}
        node.inputs[position] = writer.insert(f"{node.name}/set", "AddN", [node.inputs[position], zeros], **attrs)
        gradient.tensors.update(dict.fromkeys((zeros, node.inputs[position])))
    for task, node in gradient.ops:
        if task in FLOW_OUTPUT:
            _FILLERS[task](writer, node, sizes)
        else:
            rewrite_reader(task, writer, node, sizes)
    return writer.added


def _length(writer: Writer, node: Node, flow: Tensor) -> Tensor:
    return writer.insert(f"{node.name}/length", "TensorListLength", [flow])


def _write(writer: Writer, node: Node, sizes: set[Node]) -> None:
    _, index, value, flow = node.inputs
    inputs = [writer.element_shape(node), _length(writer, node, flow)]
    attrs = writer.attrs(shape_type=tf.compat.v1.AttrValue(type=INT32))
    empty = writer.insert(f"{node.name}/empty", "TensorListReserve", inputs, **attrs)
    writer.rewrite(node, "TensorListSetItem", [empty, index, value], **writer.attrs())


def _scatter(writer: Writer, node: Node, sizes: set[Node]) -> None:
    _, indices, value, flow = node.inputs
    if not takes_all(indices, sizes, writer):
        # An index may come twice: what was gathered twice has two gradients.
        types = {"T": writer.dtype, "Tindices": INT32, "Tnumsegments": INT32}
        inputs = [value, indices, _length(writer, node, flow)]
        attrs = {key: tf.compat.v1.AttrValue(type=dtype) for key, dtype in types.items()}
        value = writer.insert(f"{node.name}/sum", "UnsortedSegmentSum", inputs, **attrs)
    writer.fill(node, value)


def _split(writer: Writer, node: Node, sizes: set[Node]) -> None:
    writer.split(node)


def _unpack(writer: Writer, node: Node, sizes: set[Node]) -> None:
    writer.fill(node, node.inputs[1])


_FILLERS = {"Write": _write, "Scatter": _scatter, "Split": _split, "Unpack": _unpack}
