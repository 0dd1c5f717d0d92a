"""Where each node lies, before anything is raised: its frame, its depth in conditionals, its place in the order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from migrate.graph.control_flow.frames import Frame, assign_frames
from migrate.graph.control_flow.nodes import Node, sort_nodes, sources


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Layout:
    """Frame, depth and place in topological order of each node."""

    frames: Mapping[Node, Frame | None]
    depths: Mapping[Node, int]
    places: Mapping[Node, int]


def lay_out(nodes: list[Node]) -> Layout:
    """The layout of a whole graph. Raises `NotRaised` where it has none."""
    frames = assign_frames(sort_nodes(nodes))
    places = {node: place for place, node in enumerate(frames)}
    return Layout(frames=frames, depths=_find_depths(frames), places=places)


def _find_depths(frames: Mapping[Node, Frame | None]) -> dict[Node, int]:
    """In how many conditionals, within its frame, each node lies: 0 where it runs in every iteration.

    An Enter bears the depth at which its loop lies in the outer frame.
    """
    depths: dict[Node, int] = {}
    loops: dict[Frame | None, int] = {}
    for node, frame in frames.items():
        depth = max((0 if source.kind == "Enter" else depths.get(source, 0) for source in sources(node)), default=0)
        if node.kind == "Enter":
            loops[frame] = max(loops.get(frame, 0), depth)
        elif node.kind == "Exit":
            depth = loops[frames[node.inputs[0].node]]
        elif node.kind == "Switch" and not _is_loop_switch(node):
            depth += 1
        elif node.kind == "Merge" and all(source.node.kind != "Enter" for source in node.inputs):
            depth -= 1
        elif node.kind == "ControlTrigger":
            depth = 0
        depths[node] = depth
    return depths


def _is_loop_switch(node: Node) -> bool:
    pred = node.inputs[1].node
    while pred.kind == "Identity":
        pred = pred.inputs[0].node
    return pred.kind == "LoopCond"
