"""Reads first, writes after: gives a call that changes variables one meaning.

TF1 ran UPDATE_OPS, and a metric's update beside its value, in no stated order; the reads, which wait for
nothing, came first in practice. Invariant: no value changes but for this choice: a variable is read before it
is written wherever the reader does not wait for the writer.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

from tensorflow.core.framework import graph_pb2

from migrate.graph import index as graph_index

_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd")
# Ops that take a handle and neither read nor write the value.
_LOOKS = ("VarIsInitializedOp", "VariableShape")
# They hand it to a frame or branch: they write where what is behind them does.
_PASSES = ("Enter", "Switch", "Identity", "Merge")


def order_writes(graph_def: Any) -> tuple[Any, frozenset[str]]:
    """Returns a copy of a graph without reference variables in which each writer waits for the other readers.

    The second value names the readers that nothing had ordered: what depends on them was a race in TF1.
    """
    raced: set[str] = set()
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    index = graph_index.GraphIndex(result)
    consumers = index.consumers()
    readers: dict[str, list[str]] = {}
    writers: dict[str, list[str]] = {}
    for node in result.node:
        for text in node.input:
            ref = graph_index.parse_tensor_name(text)
            source = index.nodes.get(ref.node)
            if source is None or ref.is_control or source.op != "VarHandleOp":
                continue
            if node.op in _READS:
                readers.setdefault(ref.node, []).append(node.name)
            elif node.op not in _LOOKS and (node.op not in _PASSES or _leads_to_write(consumers, node.name)):
                writers.setdefault(ref.node, []).append(node.name)
    for variable, names in sorted(writers.items()):
        for name in names:
            after = _descendants(consumers, name)
            others = [reader for reader in readers.get(variable, ()) if reader not in after]
            before = _find_near(index, name, others)
            for reader in others:
                if reader not in after and f"^{reader}" not in index.nodes[name].input:
                    if reader not in before:
                        raced.add(reader)
                    index.nodes[name].input.append(f"^{reader}")
                    consumers.setdefault(reader, []).append((index.nodes[name], len(index.nodes[name].input) - 1))
                    after = _descendants(consumers, name)
    return result, frozenset(raced)


def _find_near(index: graph_index.GraphIndex, name: str, wanted: Iterable[str]) -> set[str]:
    """Those of `wanted` that a node needs. A value that is updated is mostly read a few ops before: the nearest come
    first, and the search ends with the last of them."""
    missing, found = set(wanted), set()
    pending, seen = collections.deque([name]), {name}
    while pending and missing:
        for ref in index.inputs(pending.popleft()):
            if ref.node in seen or ref.node not in index.nodes:
                continue
            seen.add(ref.node)
            pending.append(ref.node)
            if ref.node in missing:
                missing.discard(ref.node)
                found.add(ref.node)
    return found


def _leads_to_write(consumers: dict[str, list[tuple[Any, int]]], name: str) -> bool:
    """Whether the handle that a node hands on is written through, in a branch or loop.

    The node itself then waits for the readers outside: within, where the graph has an order or none, nothing changes.
    """
    pending, seen = [name], {name}
    while pending:
        for node, position in consumers.get(pending.pop(), ()):
            if node.input[position].startswith("^") or node.name in seen:
                continue
            seen.add(node.name)
            if node.op in _PASSES:
                pending.append(node.name)
            elif node.op not in _READS and node.op not in _LOOKS:
                return True
    return False


def _descendants(consumers: dict[str, list[tuple[Any, int]]], name: str) -> set[str]:
    seen: set[str] = set()
    pending = [name]
    while pending:
        for node, _ in consumers.get(pending.pop(), ()):
            if node.name not in seen:
                seen.add(node.name)
                pending.append(node.name)
    return seen
