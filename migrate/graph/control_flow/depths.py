"""How deep in conditionals each node lies, before they are raised."""

from __future__ import annotations

from collections.abc import Mapping

from migrate.graph.control_flow.frames import Frame
from migrate.graph.control_flow.nodes import Node, sources


def find_depths(frames: Mapping[Node, Frame | None]) -> dict[Node, int]:
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
