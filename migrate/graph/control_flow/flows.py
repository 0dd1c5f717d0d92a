"""Follow the flow of a TensorArray: the scalar that orders the ops on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping

from migrate.graph.control_flow.nodes import VARIANT, Node, Tensor, copy_proto

# Position of the flow among the inputs of each op; -1: it takes none.
FLOW_INPUT = {
    "Write": 3,
    "Read": 2,
    "Gather": 2,
    "Scatter": 3,
    "Concat": 1,
    "Split": 3,
    "Size": 1,
    "Pack": 1,
    "Unpack": 2,
    "Close": -1,
}
FLOW_OUTPUT = frozenset(("Write", "Scatter", "Split", "Unpack"))
FLOW_PASSES = frozenset(("Identity", "Enter", "Exit", "Switch", "Merge", "NextIteration"))
SUMS = frozenset(("Add", "AddV2", "AddN"))

Consumers = Mapping[Tensor, list[tuple[Node, int]]]


def find_consumers(nodes: list[Node]) -> dict[Tensor, list[tuple[Node, int]]]:
    """Which inputs each tensor goes to, as (node, position)."""
    consumers: dict[Tensor, list[tuple[Node, int]]] = {}
    for node in nodes:
        for position, tensor in enumerate(node.inputs):
            consumers.setdefault(tensor, []).append((node, position))
    return consumers


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Handed:
    """What one stack hands on: `push` puts a value on it, each of `pops` takes one off; `passes` pass the stack."""

    stack: Node
    push: Node
    pops: list[Node]
    passes: list[Node]

    def retype(self) -> None:
        """Let it hand on lists."""
        for node, attr in ((self.stack, "elem_type"), (self.push, "T"), *((pop, "elem_type") for pop in self.pops)):
            node.proto = copy_proto(node.proto)
            node.proto.attr[attr].type = VARIANT
            node.proto.attr.pop("_output_shapes", None)


class Unconvertible(Exception):
    """An array that stays: (node, reason)."""


@dataclasses.dataclass(slots=True, eq=False, kw_only=True)
class Flow:
    """One flow and how to recognise its ends.

    Attributes:
      own: what each op of the array does ("Write", ...).
      kinds: ops that pass the flow on.
      is_start: whether a tensor that `node` takes at a position is where the flow starts.
      is_end: whether an op that is neither of the array nor passes the flow on may take it at a position.
      handed: what passes through a stack, by push.
      passes: found: the nodes that pass it on.
      stacks: found: the stacks that it passes through, by push.
      tensors: found: all that carry it.
    """

    own: Mapping[Node, str]
    kinds: Collection[str]
    is_start: Callable[[Tensor, Node, int], bool]
    is_end: Callable[[Node, int], bool]
    handed: Mapping[Node, Handed] = dataclasses.field(default_factory=dict)
    stacks: dict[Node, Handed] = dataclasses.field(default_factory=dict)
    passes: dict[Node, None] = dataclasses.field(default_factory=dict)
    tensors: dict[Tensor, None] = dataclasses.field(default_factory=dict)
    _pushes: dict[Node, Node] = dataclasses.field(default_factory=dict, init=False)

    def trace(self, consumers: Consumers, first: list[Tensor]) -> None:
        """Fill `passes` and `tensors`, beginning at `first` and at the array's ops.

        Raises:
          Unconvertible: the flow comes from, or goes to, anything unknown.
        """
        stack = list(first)
        self._pushes = {pop: push for push, handed in self.handed.items() for pop in handed.pops}
        for node, task in self.own.items():
            if task in FLOW_OUTPUT:
                stack.append(Tensor(node, 0))
            if FLOW_INPUT[task] >= 0:
                self._trace_back(node, FLOW_INPUT[task], stack)
        while stack:
            tensor = stack.pop()
            if tensor in self.tensors:
                continue
            self.tensors[tensor] = None
            if tensor.node.kind in self.kinds:
                self._pass(tensor.node, stack)
            elif tensor.node in self._pushes:
                self._pass_stack(self._pushes[tensor.node], stack)
            for node, position in consumers.get(tensor, ()):
                if node.kind in self.kinds and position in _flow_positions(node):
                    self._pass(node, stack)
                elif node in self.handed and position == 1:
                    self._pass_stack(node, stack)
                elif node in self.own:
                    if FLOW_INPUT[self.own[node]] != position:
                        raise Unconvertible(node, "takes its flow")
                elif not self.is_end(node, position):
                    raise Unconvertible(node, "takes its flow")

    def _pass(self, node: Node, stack: list[Tensor]) -> None:
        if node in self.passes:
            return
        self.passes[node] = None
        stack.extend(pass_outputs(node))
        for position in _flow_positions(node):
            self._trace_back(node, position, stack)

    def _pass_stack(self, push: Node, stack: list[Tensor]) -> None:
        if push not in self.stacks:
            self.stacks[push] = self.handed[push]
            stack.extend(Tensor(node, 0) for node in (push, *self.handed[push].pops))
            self._trace_back(push, 1, stack)

    def _trace_back(self, node: Node, position: int, stack: list[Tensor]) -> None:
        """Check what feeds the flow input `position` of `node`; queue it to be followed."""
        tensor = node.inputs[position]
        if self.is_start(tensor, node, position):
            return
        known = tensor.node.kind in self.kinds or tensor.node in self._pushes
        if not known and self.own.get(tensor.node) not in FLOW_OUTPUT:
            raise Unconvertible(tensor.node, "gives its flow")
        stack.append(tensor)


def _flow_positions(node: Node) -> range:
    return range(len(node.inputs) if node.kind == "Merge" or node.kind in SUMS else 1)


def pass_outputs(node: Node) -> list[Tensor]:
    """Outputs of a node that passes a flow or a handle on."""
    return [Tensor(node, index) for index in range(2 if node.kind == "Switch" else 1)]
