"""Variables that a loop writes become variables of the loop: read before it, written back after it.

A While that takes a variable's handle hands it out again, and where such a While was loaded from a SavedModel, its
gradient within a tf.function fails with "Tried to take gradients (or similar) of a variable without handle data"
(TF 2.21); in nested loops gradients of reads get lost. A loop that carries the value has neither trouble.

As in TF1, a read hands its gradient to the variable, whatever was written before it, and a write hands none on.

Invariant: a read sees what the writes that come before it in the graph's order wrote; all that follows the loop comes
after the writing back. A variable is left to its handle where something else than reads and plain assignments takes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import tensorflow as tf

from migrate.graph.control_flow.depths import Layout, lay_out
from migrate.graph.control_flow.flows import Consumers, find_consumers, pass_outputs
from migrate.graph.control_flow.frames import FrameKey, list_ancestry
from migrate.graph.control_flow.nodes import Node, Tensor, sources
from migrate.graph.control_flow.reads import READS, use_value
from migrate.graph.index import read_attr
from migrate.model import Finding, Severity

CODE = "variable-written-in-loop"
_SUMS = {"AssignAddVariableOp": "AddV2", "AssignSubVariableOp": "Sub"}
WRITES = frozenset(("AssignVariableOp", *_SUMS))


@dataclasses.dataclass(slots=True, eq=False)
class _Use:
    """A read or write, and the Enters and Switches on the handle's way to it, from the outermost loop on."""

    node: Node
    path: list[Tensor]


def thread_variables(
    nodes: list[Node], left: Collection[FrameKey], kept: Collection[str]
) -> tuple[list[Node], list[Finding]]:
    """Take variables that loops write through them by value (nodes are changed in place).

    Args:
      left: keys of frames that stay as they are.
      kept: names of nodes that somebody fetches.

    Returns:
      The nodes, new ones included, and a Finding for each variable whose loop keeps its handle.
    """
    if not any(node.kind == "VarHandleOp" for node in nodes) or not any(node.kind == "LoopCond" for node in nodes):
        return nodes, []
    layout = lay_out(nodes)
    threader = _Threader(layout, find_consumers(nodes))
    live = _find_live(layout, kept)
    findings = []
    for handle in [node for node in nodes if node.kind == "VarHandleOp"]:
        for entry, found in threader.find_loops(handle).items():
            uses = [use for use in found if use.node in live]
            if not any(use.node.kind not in READS for use in uses):
                continue
            frames = {frame for use in uses for frame in list_ancestry(layout.frames[use.node])}
            if any(frame.key in left for frame in frames):
                continue
            if threader.can_thread(uses):
                threader.thread(handle, entry, uses)
            else:
                findings.append(_describe(handle, entry))
    return nodes + threader.added, findings


def _describe(handle: Node, entry: Node) -> Finding:
    return Finding(
        code=CODE,
        severity=Severity.WARNING,
        where=handle.name,
        message=f"the loop that {entry.name} belongs to writes the variable in a way that keeps its handle in the loop",
        hint="outputs are as before; once loaded, gradients of this loop within a tf.function fail (TF 2.21)",
    )


def _find_live(layout: Layout, kept: Collection[str]) -> set[Node]:
    """What TF1 ran: all that leads to a node outside of loops and branches (see live.py)."""
    stack = [
        node
        for node, frame in layout.frames.items()
        if node.name in kept
        or (frame is None and not layout.depths[node] and node.kind not in ("Exit", "Merge", "Switch"))
    ]
    live: set[Node] = set()
    while stack:
        node = stack.pop()
        if node not in live:
            live.add(node)
            stack.extend(sources(node))
    return live


class _Threader:
    def __init__(self, layout: Layout, consumers: Consumers) -> None:
        self.layout = layout
        self.consumers = consumers
        self.added: list[Node] = []
        self.conds = {frame: node for node, frame in layout.frames.items() if node.kind == "LoopCond"}

    def find_loops(self, handle: Node) -> dict[Node, list[_Use]]:
        """Enter of each outermost loop that the handle goes into -> its uses in there."""
        found: dict[Node, list[_Use]] = {}
        stack: list[tuple[Tensor, list[Tensor]]] = [(Tensor(handle, 0), [])]
        while stack:
            tensor, path = stack.pop()
            for node, position in self.consumers.get(tensor, ()):
                if node.kind in ("Enter", "Switch", "Identity") and position == 0:
                    for passed in pass_outputs(node):
                        counts = node.kind == "Enter" or (path and node.kind == "Switch")
                        stack.append((passed, [*path, passed] if counts else path))
                elif path:
                    found.setdefault(path[0].node, []).append(_Use(node, path))
        return found

    def can_thread(self, uses: list[_Use]) -> bool:
        """Whether all uses are reads and plain assignments, in an order that loops allow."""
        if not {use.node.kind for use in uses} <= WRITES | READS:
            return False
        uses.sort(key=lambda use: self.layout.places[use.node])
        for use in uses:
            depth = 0
            for tensor in use.path:
                if tensor.node.kind == "Switch":
                    depth += 1
                elif depth != self.layout.depths[tensor.node] and tensor is not use.path[0]:
                    return False
                else:
                    depth = 0
            if depth != self.layout.depths[use.node]:
                return False
        return self._are_grouped(uses, 0)

    def _are_grouped(self, uses: list[_Use], level: int) -> bool:
        """Whether no use comes between the uses of an inner loop or branch."""
        groups = self._group(uses, level)
        steps = [step for step, _ in groups if step is not None]
        return len(set(steps)) == len(steps) and all(
            self._are_grouped(group, level + 1) for step, group in groups if step is not None
        )

    def _group(self, uses: list[_Use], level: int) -> list[tuple[Any, list[_Use]]]:
        """Neighbours that go the same step."""
        groups: list[tuple[Any, list[_Use]]] = []
        for use in uses:
            step: Any = None
            if level < len(use.path):
                tensor = use.path[level]
                step = self.layout.frames[tensor.node] if tensor.node.kind == "Enter" else tensor
            if groups and step is not None and groups[-1][0] is step:
                groups[-1][1].append(use)
            else:
                groups.append((step, [use]))
        return groups

    def thread(self, handle: Node, entry: Node, uses: list[_Use]) -> None:
        dtype = read_attr(handle.proto, "dtype").type
        frame = self.layout.frames[entry]
        assert frame is not None
        source = entry.inputs[0]
        before: dict[Node, None] = {}
        for enter in frame.enters:
            before.update(dict.fromkeys([enter.inputs[0].node, *enter.controls]))
        for passed in (handle, source.node):
            before.pop(passed, None)
        prefix = f"{frame.name}/raised_write/{handle.name}"
        first = self._add(f"{prefix}/first", "ReadVariableOp", [source], dtype=dtype)
        first.controls.extend(before)
        shape = tf.compat.v1.AttrValue.ListValue(shape=[read_attr(handle.proto, "shape").shape])
        first.proto.attr["_output_shapes"].CopyFrom(tf.compat.v1.AttrValue(list=shape))
        value = _State(Tensor(first, 0), None)
        if tf.as_dtype(dtype).is_floating or tf.as_dtype(dtype).is_complex:
            stopped = self._add(f"{prefix}/stopped", "StopGradient", [value.tensor], T=dtype)
            value.zero = Tensor(self._add(f"{prefix}/zero", "Sub", [value.tensor, Tensor(stopped, 0)], T=dtype), 0)
        exits = list(frame.exits)
        last = self._thread(uses, value, 0, handle, dtype)
        write = self._add(f"{prefix}/last", "AssignVariableOp", [source, last], dtype=dtype)
        for node in exits:
            node.controls.append(write)

    def _thread(self, uses: list[_Use], state: _State, level: int, handle: Node, dtype: int) -> Tensor:
        """Let the value go to `uses`, one after the other; returns what it is then."""
        for step, group in self._group(uses, level):
            if step is None:
                self._apply(group[0].node, state, handle, dtype)
                continue
            node = group[0].path[level].node
            name = f"{group[0].node.name}/raised_{level}"
            if isinstance(step, Tensor):
                switch = self._add(f"{name}/switch", "Switch", [state.tensor, node.inputs[1]], T=dtype)
                inner = _State(Tensor(switch, step.index), state.zero)
                out = self._thread(group, inner, level + 1, handle, dtype)
                merge = self._add(f"{name}/merge", "Merge", [Tensor(switch, 1 - step.index), out], T=dtype)
                merge.proto.attr["N"].i = 2
                state.tensor = Tensor(merge, 0)
                continue
            enter = self._enter(f"{name}/enter", node, state.tensor, dtype, constant=False)
            zero = None if state.zero is None else self._enter(f"{name}/zero", node, state.zero, dtype, constant=True)
            merge = self._add(f"{name}/merge", "Merge", [enter], T=dtype)
            merge.proto.attr["N"].i = 2
            switch = self._add(f"{name}/switch", "Switch", [Tensor(merge, 0), Tensor(self.conds[step], 0)], T=dtype)
            out = self._thread(group, _State(Tensor(switch, 1), zero), level + 1, handle, dtype)
            merge.inputs.append(Tensor(self._add(f"{name}/next", "NextIteration", [out], T=dtype), 0))
            state.tensor = Tensor(self._add(f"{name}/exit", "Exit", [Tensor(switch, 0)], T=dtype), 0)
        return state.tensor

    def _apply(self, node: Node, state: _State, handle: Node, dtype: int) -> None:
        if node.kind in READS:
            value = state.tensor
            if state.zero is not None:
                stopped = self._add(f"{node.name}/raised_stopped", "StopGradient", [value], T=dtype)
                value = Tensor(
                    self._add(f"{node.name}/raised_value", "AddV2", [Tensor(stopped, 0), state.zero], T=dtype), 0
                )
            self.added.extend(use_value(node, value, handle))
            return
        proto = tf.compat.v1.NodeDef(name=node.name, op=_SUMS.get(node.kind, "Identity"))
        proto.attr["T"].type = dtype
        node.inputs = [state.tensor, node.inputs[1]] if node.kind in _SUMS else [node.inputs[1]]
        node.kind, node.proto = proto.op, proto
        state.tensor = Tensor(node, 0)

    def _enter(self, name: str, like: Node, value: Tensor, dtype: int, *, constant: bool) -> Tensor:
        node = self._add(name, "Enter", [value], T=dtype)
        for key in ("frame_name", "parallel_iterations"):
            node.proto.attr[key].CopyFrom(read_attr(like.proto, key))
        node.proto.attr["is_constant"].b = constant
        return Tensor(node, 0)

    def _add(self, name: str, op: str, inputs: list[Tensor], **types: int) -> Node:
        proto = tf.compat.v1.NodeDef(name=name, op=op)
        for key, dtype in types.items():
            proto.attr[key].type = dtype
        self.added.append(Node(name, op, proto, inputs, []))
        return self.added[-1]


@dataclasses.dataclass(slots=True, eq=False)
class _State:
    """The variable's value in one frame and branch, and a zero there whose gradient is the variable's."""

    tensor: Tensor
    zero: Tensor | None
