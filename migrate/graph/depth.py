"""Graphs so deep that TensorFlow's own rewriting of them takes minutes."""

from __future__ import annotations

from typing import Any

# TF 2.21's arithmetic optimizer is quadratic in a chain of element-wise ops: 5,000 of them take it 5 to 9 s for each
# session and function, 1,000 a fiftieth of that; all else is linear.
_DEEP = 2_000


def is_deep(graph_def: Any) -> bool:
    """Whether a path of the graph, loops taken once, has more nodes than TensorFlow rewrites in a moment."""
    if len(graph_def.node) <= _DEEP:
        return False
    inputs = {
        node.name: [text.lstrip("^").partition(":")[0] for text in node.input]
        for node in graph_def.node
        if node.op not in ("NextIteration", "RefNextIteration")
    }
    depth: dict[str, int] = {}
    for root in inputs:
        pending = [root]
        while pending:
            name = pending[-1]
            open_inputs = [source for source in inputs[name] if source in inputs and source not in depth]
            if name in depth or not open_inputs:
                pending.pop()
                depth.setdefault(name, 1 + max((depth.get(source, 0) for source in inputs[name]), default=0))
            else:
                pending.extend(open_inputs)
        if depth[root] > _DEEP:
            return True
    return False
