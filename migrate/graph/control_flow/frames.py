"""Find the loops: which nodes run in which frame, and what each frame's loop consists of.

A frame is entered by Enter nodes of one frame name within one parent frame; TensorFlow's executor tells
loops apart in just this way (tensorflow/core/graph/control_flow.cc). Two loops that bear one frame name in
one parent are told apart by connectivity.

Invariant after `collapse_loops`: no scope (the nodes of one frame) holds an Enter, NextIteration, LoopCond,
loop Merge or loop Switch; a loop is one node of kind LOOP in its parent's scope whose output k is the final
value of variable k, and each Exit is an Identity of such an output. A loop that stays is one node of kind
RAW, whose output k is the input of its k-th Exit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

from migrate.graph.control_flow.nodes import (
    LOOP,
    RAW,
    Node,
    NotRaised,
    Ops,
    Tensor,
    sort_nodes,
    sources,
)
from migrate.graph.index import read_attr

# (key of the frame around it, name, part).
FrameKey = tuple[Any, ...]


@dataclasses.dataclass(slots=True, eq=False)
class Frame:
    """One loop's frame. `part` numbers loops that share a name in one parent."""

    name: str
    parent: Frame | None
    part: int = 0
    enters: list[Node] = dataclasses.field(default_factory=list)
    exits: list[Node] = dataclasses.field(default_factory=list)
    nodes: list[Node] = dataclasses.field(default_factory=list)

    @property
    def key(self) -> FrameKey:
        """What names this frame again after a restart of the pass."""
        return (self.parent.key if self.parent else (), self.name, self.part)


@dataclasses.dataclass(slots=True, eq=False, kw_only=True)
class Loop:
    """One loop. `merges`, `inits`, `nexts` and `next_nodes` run in parallel: one entry for each variable.

    Attributes:
      node: stands for the loop in the parent's scope; output k is variable k's final value.
      merges: header Merge of each variable.
      switches: loop Switches by the node they switch.
      inits: first value, a tensor of the parent's scope.
      nexts: value for the next iteration.
      next_nodes: the NextIteration of each variable.
      pred: input of LoopCond.
      cond, body: the nodes that pred and nexts need, in order; a stateless node may be in both.
    """

    frame: Frame
    node: Node
    merges: list[Node]
    inits: list[Tensor]
    nexts: list[Tensor]
    next_nodes: list[Node]
    switches: list[Node]
    loop_cond: Node
    pred: Tensor
    parallel_iterations: int
    cond: list[Node] = dataclasses.field(default_factory=list)
    body: list[Node] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, eq=False)
class RawLoop:
    """A loop that stays: its nodes, inner loops included, and the tensors that its Exits take."""

    nodes: list[Node]
    results: list[Tensor]


def assign_frames(ordered: list[Node]) -> dict[Node, Frame | None]:
    """Frame of every node of a sorted graph (an Enter lies inside, an Exit outside)."""
    frames: dict[tuple[Frame | None, str], Frame] = {}
    depths: dict[Frame | None, int] = {None: 0}
    result: dict[Node, Frame | None] = {}
    for node in ordered:
        deepest = None
        for source in sources(node):
            frame = result.get(source)  # None for a back edge's NextIteration, not yet visited
            if depths[frame] > depths[deepest]:
                deepest = frame
        if node.kind == "Enter":
            key = (deepest, read_attr(node.proto, "frame_name").s.decode())
            if key not in frames:
                frames[key] = Frame(key[1], deepest)
                depths[frames[key]] = depths[deepest] + 1
            deepest = frames[key]
        elif node.kind == "Exit":
            if deepest is None:
                raise NotRaised(None, node.name, "an Exit outside of any frame")
            deepest = deepest.parent
        result[node] = deepest
    split_frames(result)
    for node, frame in result.items():
        if frame is not None:
            (frame.enters if node.kind == "Enter" else frame.nodes).append(node)
        if node.kind == "Exit":
            left = result[node.inputs[0].node]
            assert left is not None, "checked when the Exit was visited"
            left.exits.append(node)
    return result


def split_frames(assigned: dict[Node, Frame | None]) -> None:
    """Give each of several unconnected loops in one frame a frame of its own (changes `assigned`)."""
    conds: dict[Frame | None, int] = {}
    for node, frame in assigned.items():
        if node.kind == "LoopCond":
            conds[frame] = conds.get(frame, 0) + 1
    for frame, count in conds.items():
        if count > 1 and frame is not None:
            _split_frame(frame, assigned)


def _split_frame(frame: Frame, assigned: dict[Node, Frame | None]) -> None:
    leader: dict[Node, Node] = {}

    def find(node: Node) -> Node:
        while leader.setdefault(node, node) is not node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    members = {node for node, inner in assigned.items() if frame in list_ancestry(inner)}
    for node in members:
        find(node)
        if not (node.kind == "Enter" and assigned[node] is frame):
            for source in sources(node):
                if source in members:
                    leader[find(node)] = find(source)
    parts: dict[Node, Frame] = {}
    for node in assigned:
        if node in members:
            lead = find(node)
            if lead not in parts:
                parts[lead] = Frame(frame.name, frame.parent, len(parts))
            own = assigned[node]
            assert own is not None, "members lie in the frame, or in one within it"
            if own is frame:
                assigned[node] = parts[lead]
            else:
                _reparent(own, frame, parts[lead])


def _reparent(inner: Frame, old: Frame, new: Frame) -> None:
    for frame in list_ancestry(inner):
        if frame.parent is old:
            frame.parent = new


def list_ancestry(frame: Frame | None) -> list[Frame]:
    """`frame` and its parents, outermost first."""
    chain = []
    while frame is not None:
        chain.append(frame)
        frame = frame.parent
    return chain[::-1]


def parse_loop(frame: Frame) -> Loop:
    """What the loop in `frame` consists of.

    Raises:
      NotRaised: about `frame.key`, where it is not the shape that tf.while_loop writes.
    """

    def refuse(node: Node, reason: str) -> NotRaised:
        return NotRaised(frame.key, node.name, reason)

    conds = [node for node in frame.nodes if node.kind == "LoopCond"]
    if len(conds) != 1:
        raise refuse((frame.enters + frame.nodes)[0], f"its frame has {len(conds)} LoopConds")
    loop = Loop(
        frame=frame,
        node=Node("", LOOP, None, [], []),
        merges=[],
        inits=[],
        nexts=[],
        next_nodes=[],
        switches=[node for node in frame.nodes if _is_switched_by(node, conds[0])],
        loop_cond=conds[0],
        pred=conds[0].inputs[0],
        parallel_iterations=max(read_attr(node.proto, "parallel_iterations").i for node in frame.enters) or 10,
    )
    loop.node.payload = loop
    for node in frame.nodes:
        if node.kind == "Merge" and any(source.node.kind == "NextIteration" for source in node.inputs):
            kinds = [source.node.kind for source in node.inputs]
            if kinds != ["Enter", "NextIteration"]:
                raise refuse(node, f"a loop variable is merged from {' and '.join(kinds)}")
            enter, back = (source.node for source in node.inputs)
            loop.merges.append(node)
            loop.inits.append(enter.inputs[0])
            loop.next_nodes.append(back)
            loop.nexts.append(back.inputs[0])
    _check_parts(loop, refuse)
    _connect_loop(loop)
    return loop


def _is_switched_by(node: Node, loop_cond: Node) -> bool:
    if node.kind != "Switch":
        return False
    pred = node.inputs[1].node
    while pred.kind == "Identity":
        pred = pred.inputs[0].node
    return pred is loop_cond


def _check_parts(loop: Loop, refuse: Callable[[Node, str], NotRaised]) -> None:
    known = {*loop.merges, *loop.switches, *loop.next_nodes, *loop.frame.exits}
    for node in (*loop.frame.nodes, *loop.frame.exits):
        for source, index in node.inputs:
            if source.kind == "Switch" and source in known and index == 0 and node.kind != "Exit":
                raise refuse(node, "it runs between the loop's last test and its Exit")
            if source in loop.merges and index == 1:
                raise refuse(node, "it asks which input a loop's Merge took")
            if source.kind == "Enter" and not read_attr(source.proto, "is_constant").b and node not in known:
                raise refuse(node, "it runs in the first iteration only")
        if node.kind == "NextIteration" and node not in known:
            raise refuse(node, "it leads to no Merge of a loop variable")
    merges = set(loop.merges)
    for node in loop.frame.exits:
        source, index = node.inputs[0]
        if source not in loop.switches or index != 0 or source.inputs[0].node not in merges:
            raise refuse(node, "it leaves the loop with something that is no loop variable")


def _connect_loop(loop: Loop) -> None:
    """Edges of the loop's node: everything that enters; Exits become Identities of its outputs."""
    loop.node.name = loop.loop_cond.name
    for enter in loop.frame.enters:
        loop.node.inputs.append(enter.inputs[0])
        loop.node.controls.extend(enter.controls)
    position = {merge: k for k, merge in enumerate(loop.merges)}
    for node in loop.frame.exits:
        node.inputs = [Tensor(loop.node, position[node.inputs[0].node.inputs[0].node])]
        node.kind = "Identity"


def collapse_loops(
    ordered: list[Node], assigned: dict[Node, Frame | None], left: Collection[FrameKey]
) -> tuple[dict[Frame | None, list[Node]], list[Loop]]:
    """Turn each loop into one node of its parent's scope (redirects the inputs of its Exits).

    Args:
      ordered: the sorted graph.
      assigned: frame of each node.
      left: keys of frames that stay as they are, with everything inside them.

    Returns:
      Sorted nodes of each scope (None is the graph itself), and the loops, outermost first.

    Raises:
      NotRaised: about a frame that is not shaped like a loop.
    """
    frames = {frame for node_frame in set(assigned.values()) for frame in list_ancestry(node_frame)}
    loops: list[Loop] = []
    parts: set[Node] = set()
    raws: dict[Frame, Node] = {}
    members: dict[Frame | None, list[Node]] = {None: []}
    for frame in sorted(frames, key=lambda frame: len(list_ancestry(frame))):
        if frame.parent in raws:
            raws[frame] = raws[frame.parent]
        elif frame.key in left:
            raws[frame] = Node("", RAW, None, [], [], RawLoop([], []))
            members[frame.parent].append(raws[frame])
            for k, node in enumerate(frame.exits):
                raws[frame].payload.results.append(node.inputs[0])
                node.inputs = [Tensor(raws[frame], k)]
        else:
            loop = parse_loop(frame)
            loops.append(loop)
            parts.update(frame.enters, loop.merges, loop.switches, loop.next_nodes, [loop.loop_cond])
            members[frame] = []
            members[frame.parent].append(loop.node)
    for node in ordered:
        own = assigned[node]
        if own is not None and own in raws:
            raws[own].payload.nodes.append(node)
        elif node not in parts:
            members[own].append(node)
    for raw in dict.fromkeys(raws.values()):
        _connect_raw(raw)
    return {frame: sort_nodes(nodes) for frame, nodes in members.items()}, loops


def _connect_raw(raw: Node) -> None:
    inside = set(raw.payload.nodes)
    raw.name = raw.payload.nodes[0].name
    for node in raw.payload.nodes:
        raw.inputs.extend(tensor for tensor in node.inputs if tensor.node not in inside)
        raw.controls.extend(control for control in node.controls if control not in inside)


def collect_parts(loop: Loop, scope: list[Node], ops: Ops) -> None:
    """Fill `loop.cond` and `loop.body`.

    Args:
      scope: sorted nodes of the loop's frame.

    Raises:
      NotRaised: about the frame, where a node with side effects runs in test and body alike.
    """
    members = set(scope)

    def find_ancestors(seeds: list[Node]) -> set[Node]:
        found, stack = set(), [node for node in seeds if node in members]
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                stack.extend(source for source in sources(node) if source in members)
        return found

    header = [loop.loop_cond, *loop.merges, *loop.switches]
    cond = find_ancestors([loop.pred.node, *(control for node in header for control in node.controls)])
    body = find_ancestors(
        [tensor.node for tensor in loop.nexts] + [control for node in loop.next_nodes for control in node.controls]
    )
    after_test: set[Node] = set()
    switches = set(loop.switches)
    for node in scope:
        if any(source in after_test for source in sources(node)) or any(
            source in switches and index == 1 for source, index in node.inputs
        ):
            after_test.add(node)
        elif node in body and node.kind != LOOP and node.kind != RAW and ops.is_stateful(node):
            raise NotRaised(loop.frame.key, node.name, f"{node.kind} has side effects and runs once more than the body")
    if cond & after_test:
        node = next(iter(cond & after_test))
        raise NotRaised(loop.frame.key, node.name, "the loop's test needs a value of its body")
    loop.cond = [node for node in scope if node in cond]
    loop.body = [node for node in scope if node in body]
