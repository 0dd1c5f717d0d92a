"""Which nodes of a graph have one value in a call, and in which order: what can be observed from outside."""

from __future__ import annotations

import re
from collections.abc import Sequence

from migrate.graph import index as graph_index

CALLS = ("StatefulPartitionedCall", "PartitionedCall")
# They give nothing that tells one side from the other.
SILENT = ("Placeholder", "PlaceholderWithDefault", "NoOp", "Assert", *CALLS)
_WRITES = re.compile(r"Assign\w*|(Resource)?Scatter(Nd)?(Add|Sub|Update|Mul|Div|Min|Max)|Resource(Sparse)?Apply\w+")
ENDS = ("Merge", "RefMerge", "Exit", "RefExit")


def is_write(op: str) -> bool:
    """Whether an op changes a variable."""
    return bool(_WRITES.fullmatch(op))


def order_nodes(index: graph_index.GraphIndex, names: Sequence[str]) -> list[str]:
    """The nodes with inputs before what uses them; a loop's back edge counts for nothing."""
    return index.sort(names, set(names), controls=False)


def find_loops(index: graph_index.GraphIndex, order: Sequence[str]) -> set[str]:
    """Nodes within a loop of v1 control flow, which have a value in each iteration; its Exits are outside."""
    loops: set[str] = set()
    grown = True
    while grown:
        before = len(loops)
        for name in order:
            op = index.nodes[name].op
            if op in ("Exit", "RefExit"):
                continue
            if op in ("Enter", "RefEnter") or {ref.node for ref in index.inputs(name)} & loops:
                loops.add(name)
        grown = len(loops) > before
    return loops


def find_hidden(index: graph_index.GraphIndex, order: Sequence[str], *, ends: Sequence[str] = ENDS) -> set[str]:
    """Nodes of a branch or loop of v1 control flow: one that is not taken has no value, a loop's has many.

    What a Switch or Enter leads to is hidden, until one of the `ends`. Control edges count: a constant of a branch
    hangs on it by nothing else. A loop in a branch is taken for open after its Exit.
    """
    loops: set[str] = set()
    hidden: set[str] = set()
    grown = True
    while grown:
        before = len(hidden) + len(loops)
        for name in order:
            op = index.nodes[name].op
            sources = {ref.node for ref in index.inputs(name)}
            leaves_loop = op in ("Exit", "RefExit") and op in ends
            if op in ("Enter", "RefEnter") or (sources & loops and not leaves_loop):
                loops.add(name)
            # A Merge ends a branch; that of a loop, which stands in the loop, ends nothing.
            if name in loops or op in ("Switch", "RefSwitch") or (sources & hidden and op not in ends):
                hidden.add(name)
        grown = len(hidden) + len(loops) > before
    return hidden
