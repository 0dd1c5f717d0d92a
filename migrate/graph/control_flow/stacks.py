"""The stacks of TF1's gradient loops, as TensorLists that the loops hand on.

What the backward loop of tf.gradients needs of each forward iteration lies on a stack, a resource: the forward
loop pushes, the backward loop pops. No gradient of a pop is registered (TF 2.21: "No gradient defined for
operation", and one such op in a function makes the gradient of the whole function fail), and TFLite and XLA's
loops have no stacks. A list that is a variable of both loops has all that.

The list enters every loop and branch that the stack's handle entered, and leaves it again changed.

Invariant: a stack is converted whole or not at all. It is left, with a Finding, where it has not the form that
tf.gradients writes: one push, one pop, and a handle that came to each through Enters and Switches of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import tensorflow as tf

from migrate.graph.control_flow.depths import Layout
from migrate.graph.control_flow.flows import Consumers, Handed, find_consumers, pass_outputs
from migrate.graph.control_flow.frames import Frame
from migrate.graph.control_flow.nodes import (
    INT32,
    VARIANT,
    Node,
    Tensor,
    copy_proto,
    find_shape,
)
from migrate.graph.index import read_attr
from migrate.model import Finding, Severity

CODE = "stack-not-converted"
STACK = "StackV2"
PUSH = "StackPushV2"
POP = "StackPopV2"


@dataclasses.dataclass(slots=True, eq=False, kw_only=True)
class End:
    """A push or pop (`node`), and the Enters and Switches that bring the stack to it, as outputs, outermost first."""

    node: Node
    path: list[Tensor]

    def follower(self, position: int) -> Tensor | Node:
        """What comes after a position of the path."""
        return self.path[position + 1] if position + 1 < len(self.path) else self.node


def find_handed(nodes: list[Node], consumers: Consumers) -> dict[Node, Handed]:
    """What stacks hand on, by push."""
    found = {}
    for node in nodes:
        if node.kind == STACK:
            ends, passes = _follow(node, consumers)
            pops = [end.node for end in ends if end.node.kind == POP]
            for end in ends:
                if end.node.kind == PUSH:
                    found[end.node] = Handed(stack=node, push=end.node, pops=pops, passes=passes)
    return found


def _follow(node: Node, consumers: Consumers) -> tuple[list[End], list[Node]]:
    """What uses the stack that `node` makes, and the nodes that bring it there."""
    ends, passes = [], []
    stack: list[tuple[Tensor, list[Tensor]]] = [(Tensor(node, 0), [])]
    while stack:
        tensor, path = stack.pop()
        for consumer, position in consumers.get(tensor, ()):
            if consumer.kind in ("Enter", "Switch") and position == 0:
                passes.append(consumer)
                stack.extend((passed, [*path, passed]) for passed in pass_outputs(consumer))
            else:
                ends.append(End(node=consumer, path=path))
    return ends, passes


def convert_stacks(
    nodes: list[Node], layout: Layout, kept: Collection[str]
) -> tuple[list[Node], set[Tensor], list[Finding]]:
    """Convert every stack that can be (nodes are changed in place).

    Args:
      layout: of the graph as it was.
      kept: names of nodes that must stay what they are.

    Returns:
      The nodes that had to be added, the tensors that are lists now, and a Finding for each stack that stays.
    """
    stacks = [node for node in nodes if node.kind == STACK]
    if not stacks:
        return [], set(), []
    converter = _Converter(find_consumers(nodes), layout)
    findings = []
    for node in stacks:
        ends, passes = _follow(node, converter.consumers)
        reason = converter.refuse(ends)
        names = {node.name, *(end.node.name for end in ends), *(part.name for part in passes)}
        if reason is None and not names.isdisjoint(kept):
            reason = "it is named by a signature"
        if reason is None:
            converter.convert(node, ends)
        else:
            findings.append(_describe(node, reason))
    return converter.added, converter.lists, findings


def _describe(node: Node, reason: str) -> Finding:
    return Finding(
        code=CODE,
        severity=Severity.WARNING,
        where=node.name,
        message=f"the stack of a gradient's loop stays as it is: {reason}",
        hint="outputs are as before; gradients through this gradient do not work in TF2",
    )


def _find_loop_conds(frames: Mapping[Node, Frame | None]) -> dict[Frame | None, Node]:
    """The LoopCond of each frame that has just one."""
    found: dict[Frame | None, list[Node]] = {}
    for node, frame in frames.items():
        if node.kind == "LoopCond":
            found.setdefault(frame, []).append(node)
    return {frame: conds[0] for frame, conds in found.items() if len(conds) == 1}


class _Converter:
    """Converts stacks one by one; `added` nodes and `lists` grow."""

    def __init__(self, consumers: Consumers, layout: Layout) -> None:
        self.consumers = consumers
        self.conds = _find_loop_conds(layout.frames)
        self.depths = layout.depths
        self.frames = layout.frames
        self.added: list[Node] = []
        self.lists: set[Tensor] = set()

    def refuse(self, ends: list[End]) -> str | None:
        """Why a stack cannot be converted, None where it can."""
        if sorted(end.node.kind for end in ends) != [POP, PUSH]:
            return "it is not pushed to by one op and popped from by another"
        for end in ends:
            depth = 0
            for position, tensor in enumerate(end.path):
                node = tensor.node
                users = [user for passed in pass_outputs(node) for user, _ in self.consumers.get(passed, ())]
                followers = {other.follower(position) for other in ends if tensor in other.path}
                if len(users) != len(followers):
                    return f"{node.name} leads elsewhere, too"
                if node.kind == "Switch":
                    depth += 1
                    continue
                if self.frames[node] not in self.conds or self.depths[node] != depth:
                    return f"nothing tells whether the loop of {node.name} runs"
                depth = 0
            if self.depths[end.node] != depth + self._guard(end, depth):
                return f"nothing tells in which iterations {end.node.name} runs"
        return None

    def _guard(self, end: End, depth: int) -> int:
        """Bring the stack into the branch that a pushed value comes from; returns by how many branches that is.

        For zeros in a branch that was not taken, tf.gradients pushes the shape of a Switch's output to a stack
        that did not pass a Switch: where the shape is dead, so is the push.
        """
        if end.node.kind != PUSH or self.depths[end.node] != depth + 1:
            return 0
        tensor = end.node.inputs[1]
        while tensor.node.kind == "Shape":
            tensor = tensor.node.inputs[0]
        if tensor.node.kind != "Switch":
            return 0
        guard = self._add(f"{end.node.name}/guard", "Switch", [tensor, tensor.node.inputs[1]])
        end.path.append(Tensor(guard, tensor.index))
        return 1

    def convert(self, node: Node, ends: list[End]) -> None:
        push, pop = sorted(ends, key=lambda end: end.node.kind != PUSH)
        dtype = read_attr(node.proto, "elem_type").type
        value = push.node.inputs[1]
        shape = _constant(f"{node.name}/element_shape", _element_shape(value, dtype))
        limit = _constant(f"{node.name}/max_num_elements", -1)
        self.added.extend((shape, limit))
        types = {"element_dtype": tf.compat.v1.AttrValue(type=dtype)}
        made = types | {"shape_type": tf.compat.v1.AttrValue(type=INT32)}
        _rewrite(node, "EmptyTensorList", [Tensor(shape, 0), Tensor(limit, 0)], made)
        for consumer, position in self.consumers.get(Tensor(push.node, 0), ()):
            consumer.inputs[position] = value
        _rewrite(push.node, "TensorListPushBack", [Tensor(node, 0), value], types)
        for consumer, position in self.consumers.get(Tensor(pop.node, 0), ()):
            consumer.inputs[position] = Tensor(pop.node, 1)
        _rewrite(pop.node, "TensorListPopBack", [Tensor(node, 0), Tensor(shape, 0)], types)
        self._thread([push, pop], Tensor(node, 0))
        self.lists.update(Tensor(made, 0) for made in (node, push.node, pop.node))

    def _thread(self, ends: list[End], value: Tensor, level: int = 0) -> Tensor:
        """Let the list `value` go into the loops and branches from `level` on, to the ends one by one, and out."""
        steps = {end.path[level] if level < len(end.path) else None for end in ends}
        if len(steps) > 1:
            for end in ends:
                value = self._thread([end], value, level)
            return value
        step = steps.pop()
        if step is None:
            ends[0].node.inputs[0] = value
            return Tensor(ends[0].node, 0)
        node = step.node
        node.inputs[0] = value
        node.proto = _retyped(node)
        self.lists.update(pass_outputs(node))
        if node.kind == "Switch":
            inner = self._thread(ends, step, level + 1)
            return Tensor(self._merge(node, [Tensor(node, 1 - step.index), inner]), 0)
        node.proto.attr["is_constant"].b = False
        merge = self._merge(node, [step])
        test = Tensor(self.conds[self.frames[node]], 0)
        switch = self._add(f"{node.name}/switch", "Switch", [Tensor(merge, 0), test])
        inner = self._thread(ends, Tensor(switch, 1), level + 1)
        merge.inputs.append(Tensor(self._add(f"{node.name}/next", "NextIteration", [inner]), 0))
        return Tensor(self._add(f"{node.name}/exit", "Exit", [Tensor(switch, 0)]), 0)

    def _merge(self, node: Node, inputs: list[Tensor]) -> Node:
        merge = self._add(f"{node.name}/merge", "Merge", inputs)
        merge.proto.attr["N"].i = 2
        return merge

    def _add(self, name: str, op: str, inputs: list[Tensor]) -> Node:
        proto = tf.compat.v1.NodeDef(name=name, op=op)
        proto.attr["T"].type = VARIANT
        node = Node(name, op, proto, inputs, [])
        self.added.append(node)
        self.lists.update(pass_outputs(node))
        return node


def _constant(name: str, value: Any) -> Node:
    proto = tf.compat.v1.NodeDef(name=name, op="Const")
    proto.attr["dtype"].type = INT32
    proto.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.int32))
    return Node(name, "Const", proto, [], [])


def _rewrite(node: Node, op: str, inputs: list[Tensor], attrs: dict[str, Any]) -> None:
    proto = tf.compat.v1.NodeDef(name=node.name, op=op)
    for key, value in attrs.items():
        proto.attr[key].CopyFrom(value)
    node.kind, node.proto, node.inputs = op, proto, inputs


def _retyped(node: Node) -> Any:
    proto = copy_proto(node.proto)
    proto.attr["T"].type = VARIANT
    proto.attr.pop("_output_shapes", None)
    return proto


def _element_shape(value: Tensor, dtype: int) -> Any:
    found = find_shape(value.node, value.index) if dtype != VARIANT else None
    shape = tf.TensorShape(found)
    if dtype == VARIANT:
        return []
    return -1 if shape.rank is None else [-1 if size is None else size for size in shape]
