"""Which ops change state: variables and mutable tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from migrate import tensorflow_private
from migrate.graph import index as graph_index
from migrate.graph import randomness, references
from migrate.graph.table_nodes import is_table

_VARIABLE_NODES = frozenset({"Variable", "VariableV2", "VarHandleOp"})
# Ops that take a resource handle and only look, or only pass it on.
_LOOKING = frozenset(
    {
        "ReadVariableOp",
        "VarIsInitializedOp",
        "IsVariableInitialized",
        "ResourceGather",
        "ResourceGatherNd",
        "VariableShape",
        "LookupTableFindV2",
        "LookupTableSizeV2",
        "LookupTableExportV2",
        "LookupTableFind",
        "LookupTableSize",
        "LookupTableExport",
    }
)
# Ops that make a handle, and those whose state ends with the run.
_PRIVATE = re.compile(
    r"VarHandleOp|(Mutable(Dense)?)?HashTable(V2)?|Variable(V2)?|TensorArray\w*|Stack\w*|TensorList\w*"
)
_PASSING = frozenset({"Identity", "Switch", "Merge", "Enter", "Exit", "NextIteration", *references.FORWARDING})


def is_stateful(op: str) -> bool:
    """Whether it matters when the op runs, as its OpDef says."""
    op_def = tensorflow_private.find_op_def(op)
    return op_def is not None and op_def.is_stateful


def has_effect(op: str) -> bool:
    """Whether the op may change or tell something: it has to run even where nothing needs its results."""
    return is_stateful(op) and op not in _LOOKING and op not in randomness.RANDOM_OPS and not _PRIVATE.fullmatch(op)


def find_writers(index: graph_index.GraphIndex, among: Iterable[str]) -> dict[str, list[str]]:
    """State node name -> the ops among `among` that may change it, in graph order."""
    allowed = set(among)
    found: dict[str, list[str]] = {}
    for node in index.graph_def.node:
        if node.name not in allowed or node.op in _LOOKING or node.op in _PASSING:
            continue
        for position, text in enumerate(node.input):
            ref = graph_index.parse_tensor_name(text)
            if ref.is_control:
                continue
            source = find_state_node(index, ref)
            if source is None:
                continue
            handle = index.nodes[source].op in ("VarHandleOp",) or not _is_reference(index, ref)
            if handle or references.takes_reference(node, position):
                found.setdefault(source, []).append(node.name)
    return found


def _is_reference(index: graph_index.GraphIndex, ref: graph_index.TensorRef) -> bool:
    dtypes = graph_index.output_dtypes(index.nodes[ref.node])
    return ref.index < len(dtypes) and graph_index.is_ref(dtypes[ref.index])


def find_state_node(index: graph_index.GraphIndex, ref: graph_index.TensorRef) -> str | None:
    """The variable or table whose handle or reference an edge carries, None for an ordinary value."""
    seen: set[str] = set()
    while ref.node in index.nodes and ref.node not in seen:
        seen.add(ref.node)
        node = index.nodes[ref.node]
        if node.op in _VARIABLE_NODES or is_table(node):
            return str(node.name)
        if not node.input or not _carries_state(node, ref):
            return None
        ref = graph_index.parse_tensor_name(node.input[0])
    return None


def _carries_state(node: Any, ref: graph_index.TensorRef) -> bool:
    dtypes = graph_index.output_dtypes(node)
    if ref.index >= len(dtypes):
        return False
    dtype = dtypes[ref.index]
    return graph_index.is_ref(dtype) or graph_index.dtype_name(dtype) == "resource"


def select_writers(index: graph_index.GraphIndex, among: Iterable[str], states: Collection[str]) -> tuple[str, ...]:
    """The ops among `among` that may change one of `states`, each once, in graph order."""
    writers = find_writers(index, among)
    chosen = {op for state in states for op in writers.get(state, ())}
    return tuple(node.name for node in index.graph_def.node if node.name in chosen)


def find_table_imports(index: graph_index.GraphIndex, among: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Table node -> (keys tensor, values tensor) of each import among `among` that replaces its contents."""
    allowed = set(among)
    found: dict[str, list[tuple[str, str]]] = {}
    for node in index.graph_def.node:
        if node.name in allowed and node.op in ("LookupTableImport", "LookupTableImportV2"):
            table = find_state_node(index, graph_index.parse_tensor_name(node.input[0]))
            if table is not None:
                found.setdefault(table, []).append((node.input[1], node.input[2]))
    return found
