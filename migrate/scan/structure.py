"""What makes a graph no graph: names that are double or lead nowhere, circles, functions that never end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from migrate.scan.graphs import BACK_EDGES, MetaGraph, Scope, split_name

# tensorflow/core/graph/graph_constructor.cc: IsValidNodeName; internal names start with "_".
_NODE_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9_.\\/>-]*\Z")
_LEAVING = BACK_EDGES | {"Exit", "RefExit"}
_ENTERING = frozenset({"Enter", "RefEnter"})
# Ops that run the functions in their attributes, whatever else they do.
_CALLS = frozenset(
    {
        "PartitionedCall",
        "StatefulPartitionedCall",
        "While",
        "StatelessWhile",
        "If",
        "StatelessIf",
        "Case",
        "StatelessCase",
    }
)
MAX_CALL_DEPTH = 100
MAX_INLINED_NODES = 2_000_000
_SHOWN = 5


def find_invalid(meta_graph: MetaGraph) -> Iterator[tuple[str, str]]:
    """Yields (where, what is wrong)."""
    for name in meta_graph.doubled[:_SHOWN]:
        yield f"function {name!r} (tags {meta_graph.label})", "several functions have this name"
    for scope in meta_graph.scopes():
        yield from _find_bad_names(scope)
        yield from _find_lost_inputs(scope)
        yield from _find_circle(scope)
        yield from _find_lost_calls(scope, meta_graph.functions)
        yield from _find_open_loops(scope)
        yield from _find_false_constants(scope)
    yield from _find_endless_calls(meta_graph)


def _find_bad_names(scope: Scope) -> Iterator[tuple[str, str]]:
    if len(scope.by_name) < len(scope.nodes) or not scope.by_name.keys().isdisjoint(scope.arguments):
        seen = set(scope.arguments)
        for node in scope.nodes:
            if node.name in seen:
                yield scope.describe(node.name), "two nodes have this name"
                break
            seen.add(node.name)
    for name in scope.by_name:
        if not _NODE_NAME.match(name):
            yield scope.describe(name), "this is no name of a node"
            break


def _find_lost_inputs(scope: Scope) -> Iterator[tuple[str, str]]:
    known = scope.by_name.keys() | set(scope.arguments)
    found = 0
    for node in scope.nodes:
        if known.issuperset(scope.inputs[node.name]):
            continue
        for text in node.input:
            if split_name(text) not in known:
                yield scope.describe(node.name), f"its input {text!r} is not in the graph"
                found += 1
                break
        if found == _SHOWN:
            return
    for text in scope.returns:
        if split_name(text) not in known:
            yield scope.describe(text), "the function returns it, but it is not in its body"
            return


def _find_circle(scope: Scope) -> Iterator[tuple[str, str]]:
    """Takes away what has all its inputs until nothing is left, or a circle and what hangs on it."""
    order = scope.order
    if len(order) == len(scope.by_name):
        return
    left = set(scope.by_name) - set(order)
    # Walking back from anywhere in what is left ends in the circle.
    path: dict[str, None] = {}
    name = min(left)
    while name not in path:
        path[name] = None
        name = next(text for text in scope.forward_inputs(name) if text in left)
    steps = list(path)
    circle = steps[steps.index(name) :][::-1]
    shown = " -> ".join([*circle[:_SHOWN], *(["..."] if len(circle) > _SHOWN else []), circle[0]])
    yield scope.describe(circle[0]), f"the graph has a circle: {shown}"


def _find_lost_calls(scope: Scope, functions: Mapping[str, Scope]) -> Iterator[tuple[str, str]]:
    for position, node in enumerate(scope.nodes):
        if node.op in _CALLS:
            lost = [name for name in scope.named.get(position, ()) if name not in functions]
            if lost:
                yield scope.describe(node.name), f"it calls the function {lost[0]!r}, which is not in the library"
                return


def _find_open_loops(scope: Scope) -> Iterator[tuple[str, str]]:
    """An Exit or NextIteration outside of any loop, on which TensorFlow 2.21 dies (common_runtime/executor.cc)."""
    within = [node.name for node in scope.nodes if node.op in _LEAVING]
    if not within:
        return
    consumers: dict[str, list[str]] = {}
    for node in scope.nodes:
        for text in node.input:
            consumers.setdefault(split_name(text), []).append(node.name)
    pending = [node.name for node in scope.nodes if node.op in _ENTERING]
    entered: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in entered:
            entered.add(name)
            pending.extend(consumers.get(name, ()))
    for name in within:
        if name not in entered:
            yield scope.describe(name), "it leads out of a loop, or round in one, that nothing enters"
            return


def _find_false_constants(scope: Scope) -> Iterator[tuple[str, str]]:
    """A constant whose value is of another type than it says, on which TensorFlow 2.21 dies (a check in Tensor)."""
    for node in scope.nodes:
        if node.op == "Const" and "dtype" in node.attr and "value" in node.attr:
            said, held = node.attr["dtype"].type, node.attr["value"].tensor.dtype
            if said != held:
                yield scope.describe(node.name), f"it says type {said} and holds a value of type {held} (types.proto)"
                return


def _find_endless_calls(meta_graph: MetaGraph) -> Iterator[tuple[str, str]]:
    """Functions that call themselves, and calls within calls whose bodies would fill the memory."""
    calls: Mapping[str, list[str]] = {
        name: [called for _, names in scope.find_calls(meta_graph.functions) for called in names]
        for name, scope in meta_graph.functions.items()
    }
    depth: dict[str, int] = {}
    size: dict[str, int] = {}
    for root in calls:
        # An explicit stack: a chain of calls may be deeper than Python's own.
        path: list[str] = []
        on_path: set[str] = set()
        pending: list[tuple[str, bool]] = [(root, False)]
        while pending:
            name, is_left = pending.pop()
            if is_left:
                path.pop()
                on_path.discard(name)
                depth[name] = 1 + max((depth[called] for called in calls[name]), default=0)
                size[name] = len(meta_graph.functions[name].nodes) + sum(size[called] for called in calls[name])
                continue
            if name in on_path:
                circle = path[path.index(name) :]
                shown = " -> ".join([*circle[:_SHOWN], *(["..."] if len(circle) > _SHOWN else []), name])
                yield f"function {name!r} (tags {meta_graph.label})", f"it calls itself: {shown}"
                return
            if name in depth:
                continue
            path.append(name)
            on_path.add(name)
            pending.append((name, True))
            pending.extend((called, False) for called in dict.fromkeys(calls[name]))
    where = f"tags {meta_graph.label}"
    if max(depth.values(), default=0) > MAX_CALL_DEPTH:
        yield where, f"functions call functions {max(depth.values())} deep; {MAX_CALL_DEPTH} is the limit"
        return
    inlined = sum(size[called] for _, names in meta_graph.graph.find_calls(meta_graph.functions) for called in names)
    largest = max([inlined, *size.values()], default=0)
    if largest > MAX_INLINED_NODES:
        yield where, f"with its calls written out the graph has {largest:,} nodes; {MAX_INLINED_NODES:,} is the limit"
