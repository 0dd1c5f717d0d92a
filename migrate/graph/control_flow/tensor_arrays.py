"""TensorArrays to TensorLists, on the v1 graph, before loops and conditionals are raised.

A TensorArray is a resource whose state its `flow` scalar orders; a functional loop has no gradient for it
(TF 2.21: a bare AssertionError). A TensorList is a value, and a v1 graph already threads the flow through
the loop as that value would be. So each array's flow becomes its list: the tensor keeps its way through
Enter, Merge, Switch, NextIteration and Exit, and its type turns from float to variant.

Invariant: an array is converted whole, with the gradient arrays that a training graph made of it, or not at
all. It is left (with a Finding) where its handle or flow goes anywhere but to its own ops: a merge of two
arrays, for example.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

import tensorflow as tf

from migrate.graph.control_flow.array_gradients import GRADIENT, ArrayGradient, convert_gradient, trace_gradient
from migrate.graph.control_flow.depths import Layout
from migrate.graph.control_flow.flows import (
    FLOW_INPUT,
    FLOW_OUTPUT,
    FLOW_PASSES,
    Consumers,
    Flow,
    Handed,
    Unconvertible,
    find_consumers,
    pass_outputs,
)
from migrate.graph.control_flow.list_ops import DENSE_TASKS, Writer, can_fill, keep_whole, read_whole, rewrite_ops
from migrate.graph.control_flow.nodes import VARIANT, Node, Tensor, copy_proto, sources
from migrate.graph.control_flow.stacks import STACK, find_handed
from migrate.graph.index import read_attr
from migrate.model import Finding, Severity

CODE = "tensor-array-not-converted"
STRING = tf.string.as_datatype_enum
ARRAY_OPS = frozenset(("TensorArray", "TensorArrayV2", "TensorArrayV3"))
_HANDLE_PASSES = frozenset(("Identity", "Enter", "Switch"))


@dataclasses.dataclass(slots=True, eq=False)
class Array:
    """One TensorArray and all that belongs to it.

    Attributes:
      node: the op that makes it.
      ops: (what it does: "Write", "Read", ...; node).
      handles: nodes that only pass the handle on.
      passes: nodes that only pass the flow on.
      starts: edges (consumer, input position) that carry the flow of the array as it was made.
      stacks: the stacks that keep its flow for the gradient's loop.
      gradient: its gradient arrays.
    """

    node: Node
    ops: list[tuple[str, Node]] = dataclasses.field(default_factory=list)
    handles: list[Node] = dataclasses.field(default_factory=list)
    passes: dict[Node, None] = dataclasses.field(default_factory=dict)
    starts: list[tuple[Node, int]] = dataclasses.field(default_factory=list)
    stacks: dict[Node, Handed] = dataclasses.field(default_factory=dict)
    gradient: ArrayGradient = dataclasses.field(default_factory=ArrayGradient)

    @property
    def dtype(self) -> int:
        return int(read_attr(self.node.proto, "dtype").type)

    @property
    def is_dynamic(self) -> bool:
        return bool(read_attr(self.node.proto, "dynamic_size").b)


def has_gradients(nodes: list[Node]) -> bool:
    """Whether tf.gradients wrote gradients of arrays or loops into the graph."""
    return any(node.kind == STACK or parse_task(node.kind) == GRADIENT for node in nodes)


def convert_tensor_arrays(
    nodes: list[Node], kept: Collection[str], layout: Layout | None
) -> tuple[list[Node], set[Tensor], list[Finding]]:
    """Convert every array that can be.

    Args:
      nodes: the whole graph; changed in place (never their protos).
      kept: names of nodes that must go on naming what they name.
      layout: of the graph; None where it holds no gradients.

    Returns:
      The nodes of the converted graph, the tensors that are lists now, and a Finding for each array that stays.
    """
    makers = [node for node in nodes if node.kind in ARRAY_OPS]
    if not makers:
        return nodes, set(), []
    consumers = find_consumers(nodes)
    handed = find_handed(nodes, consumers)
    lists: set[Tensor] = set()
    findings, dropped, added = [], set(), []
    for maker in makers:
        try:
            array = _trace_array(maker, consumers, kept, layout, handed)
        except Unconvertible as error:
            findings.append(_describe(maker, *error.args))
            continue
        if array.dtype == STRING and _is_only_read(array):
            added.extend(_use_whole(array))
        elif array.dtype == STRING and _can_be_dense(array):
            added.extend(_use_dense(array))
        else:
            added.extend(_convert_array(array, lists))
        dropped.update(array.handles)
    if dropped:
        for node in nodes:
            node.controls = _replace_dropped(node.controls, dropped)
    return [node for node in (*nodes, *added) if node not in dropped], lists, findings


def _replace_dropped(controls: list[Node], dropped: Collection[Node]) -> list[Node]:
    """`controls` with what the dropped ones waited for in their place."""
    if not any(control in dropped for control in controls):
        return controls
    found: dict[Node, None] = {}
    stack = controls[::-1]
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node not in dropped:
            found[node] = None
        elif node not in seen:
            seen.add(node)
            stack.extend(sources(node))
    return list(found)


def _describe(maker: Node, culprit: Node, reason: str) -> Finding:
    return Finding(
        code=CODE,
        severity=Severity.WARNING,
        where=maker.name,
        message=f"the TensorArray stays as it is: {culprit.name} ({culprit.proto.op}) {reason}",
        hint="outputs are as before; gradients through its loop do not work in TF2",
    )


def _trace_array(
    maker: Node,
    consumers: Consumers,
    kept: Collection[str],
    layout: Layout | None,
    handed: Mapping[Node, Handed],
) -> Array:
    """Find all that belongs to the array of `maker`; raises `Unconvertible`."""
    array = Array(maker)
    _trace_handle(array, consumers, handed)
    flow = _trace_flow(array, consumers, handed)
    if array.gradient.makers and layout is not None:
        if maker.kind != "TensorArrayV3":
            raise Unconvertible(array.gradient.makers[0], "takes its handle")
        trace_gradient(array.gradient, flow, consumers, layout)
    for node in (maker, *array.handles, *array.passes, *array.gradient.passes):
        if node.name in kept:
            raise Unconvertible(node, "is named by a signature")
    return array


def _trace_handle(array: Array, consumers: Consumers, handed: Mapping[Node, Handed]) -> None:
    """Find what takes the handle, or the handle of a gradient array made of it."""
    stack = [(Tensor(array.node, 0), array.ops)]
    while stack:
        tensor, ops = stack.pop()
        for node, position in consumers.get(tensor, ()):
            task = parse_task(node.kind)
            if node.kind in _HANDLE_PASSES and position == 0:
                array.handles.append(node)
                stack.extend((passed, ops) for passed in pass_outputs(node))
            elif node in handed and position == 1:
                ends = (node, *handed[node].pops)
                array.handles.extend((handed[node].stack, *handed[node].passes, *ends))
                stack.extend((Tensor(end, 0), ops) for end in ends)
            elif task in FLOW_INPUT and position == 0:
                ops.append((task, node))
            elif task == GRADIENT and position == 0 and ops is array.ops:
                array.handles.append(node)
                array.gradient.makers.append(node)
                stack.append((Tensor(node, 0), array.gradient.ops))
                for other, _ in consumers.get(Tensor(node, 1), ()):
                    raise Unconvertible(other, "takes the flow of the gradient's handle")
            else:
                raise Unconvertible(node, "takes its handle")


def parse_task(kind: str) -> str:
    """What a TensorArray op does: "TensorArrayWriteV3" -> "Write"; "" for any other op."""
    if not kind.startswith("TensorArray"):
        return ""
    return kind.removeprefix("TensorArray").removesuffix("V2").removesuffix("V3")


def _trace_flow(array: Array, consumers: Consumers, handed: Mapping[Node, Handed]) -> Flow:
    is_newest = array.node.kind == "TensorArrayV3"

    def is_start(tensor: Tensor, node: Node, position: int) -> bool:
        # Before V3, TensorFlow started the flow with a constant next to the handle.
        is_older = tensor.node.kind == "Const" and not is_newest
        if tensor == Tensor(array.node, 1) or is_older:
            array.starts.append((node, position))
            return True
        return False

    def is_end(node: Node, position: int) -> bool:
        """Its gradient's ops take the flow for its size alone."""
        return array.gradient.takes_source(node, position)

    own = {node: task for task, node in array.ops}
    flow = Flow(own=own, kinds=FLOW_PASSES, is_start=is_start, is_end=is_end, handed=handed)
    flow.trace(consumers, [Tensor(array.node, 1)] if is_newest else [])
    array.passes, array.stacks = flow.passes, flow.stacks
    return flow


def _convert_array(array: Array, lists: set[Tensor]) -> list[Node]:
    shape, dtype, is_dynamic = _element_shape(array), array.dtype, array.is_dynamic
    for node, position in array.starts:
        node.inputs[position] = Tensor(array.node, 0)
    for node in array.passes:
        node.proto = copy_proto(node.proto)
        node.proto.attr["T"].type = VARIANT
    for handed in array.stacks.values():
        handed.retype()
    sizes = {node for task, node in array.ops if task == "Size"}
    added = rewrite_ops(array.node, array.ops, dtype, shape, is_dynamic)
    if array.gradient.makers:
        writer = Writer(array.node, dtype, shape, is_dynamic)
        added += convert_gradient(array.gradient, writer, sizes)
    lists.update((*_list_tensors(array), *array.gradient.tensors))
    return added


def _is_only_read(array: Array) -> bool:
    """Whether the array is filled once, by unstacking, and then read."""
    fillers = [node for task, node in array.ops if task not in ("Read", "Close")]
    return (
        len(fillers) == 1
        and array.starts == [(fillers[0], len(fillers[0].inputs) - 1)]
        and can_fill(array.node, fillers[0])
        and all(node.kind in ("Identity", "Enter", "Switch") for node in array.passes)
    )


def _use_whole(array: Array) -> list[Node]:
    """Let the flow of an array of strings be the tensor it was unstacked from, and reads gather from it.

    A list of strings that a differentiated loop captures fails with "Trying to compute zeros_like for
    unsupported dtype string": an imported While has no handle data for its outputs (TF 2.21).
    """
    _pass_strings(array)
    return read_whole(array.node, array.ops, array.dtype)


def _can_be_dense(array: Array) -> bool:
    """Whether an array of strings can be one tensor from the start."""
    return (
        not array.is_dynamic
        and not array.stacks
        and _element_shape(array).is_fully_defined()
        and all(task in DENSE_TASKS for task, _ in array.ops)
    )


def _use_dense(array: Array) -> list[Node]:
    """Let the flow of an array of strings be a tensor of all elements; see `_use_whole` for the reason."""
    shape, dtype = _element_shape(array), array.dtype
    for node, position in array.starts:
        node.inputs[position] = Tensor(array.node, 0)
    _pass_strings(array)
    return keep_whole(array.node, array.ops, dtype, shape)


def _pass_strings(array: Array) -> None:
    for node in array.passes:
        node.proto = copy_proto(node.proto)
        node.proto.attr["T"].type = STRING
        node.proto.attr.pop("_output_shapes", None)


def _list_tensors(array: Array) -> Iterator[Tensor]:
    yield Tensor(array.node, 0)
    for task, node in array.ops:
        if task in FLOW_OUTPUT:
            yield Tensor(node, 0)
    for node in array.passes:
        yield from pass_outputs(node)


def _element_shape(array: Array) -> tf.TensorShape:
    """Shape of every element: the array's own, refined by what its readers were told of it."""
    shape = tf.TensorShape(None)
    if "element_shape" in array.node.proto.attr:
        shape = tf.TensorShape(read_attr(array.node.proto, "element_shape").shape)
    if not read_attr(array.node.proto, "identical_element_shapes").b:
        return shape
    for task, node in array.ops:
        if task in ("Gather", "Pack") and "element_shape" in node.proto.attr:
            told = tf.TensorShape(read_attr(node.proto, "element_shape").shape)
            if shape.is_compatible_with(told):
                shape = shape.merge_with(told)
    return shape
