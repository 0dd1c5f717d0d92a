"""What must hold of a graph after a pass, as functions GraphDef -> breaches in words. Nothing here changes a graph.

The tests ask after every pass; users pay for none of it.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from typing import Any

from migrate import tensorflow_private
from migrate.graph import availability, function_library, removed_ops
from migrate.graph import index as graph_index

_PLACED = ("_class", "_XlaCompile", "_XlaScope", "_XlaSeparateCompiledGradients")
_REFERENCE_TABLES = ("HashTable", "MutableHashTable", "MutableHashTableOfTensors")
_SWITCHES = ("Switch", "RefSwitch", "_SwitchN")


def find_nothing(graph_def: Any) -> list[str]:
    """For a pass whose promise cannot be told from the graph alone."""
    return []


def list_bodies(graph_def: Any) -> list[Any]:
    """The nodes of the graph, and those of each function of its library."""
    return [graph_def.node, *(function.node_def for function in graph_def.library.function)]


def _find_nodes(graph_def: Any, is_breach: Callable[[Any], bool], what: str) -> list[str]:
    return [f"{node.name} ({node.op}): {what}" for body in list_bodies(graph_def) for node in body if is_breach(node)]


def _find_ops(graph_def: Any, ops: Iterable[str], what: str) -> list[str]:
    unwanted = frozenset(ops)
    return _find_nodes(graph_def, lambda node: node.op in unwanted, what)


def find_dangling(graph_def: Any) -> list[str]:
    """Names that are there twice, inputs that no node of the graph gives, functions that the library lacks.

    Inputs within functions are spelled otherwise ("node:output:0") and are left to TensorFlow's importer.
    """
    names = [node.name for node in graph_def.node]
    known = set(names)
    counts = collections.Counter(names)
    found = [f"{name}: {count} nodes have this name" for name, count in counts.items() if count > 1]
    for node in graph_def.node:
        found += [
            f"{node.name}: its input {text} is not in the graph"
            for text in node.input
            if graph_index.parse_tensor_name(text).node not in known
        ]
    library = {function.signature.name for function in graph_def.library.function}
    for body in list_bodies(graph_def):
        for node in body:
            found += [
                f"{node.name}: the library has no function {reference.name}"
                for reference in function_library.iterate_references(node)
                if reference.name not in library
            ]
    return found


def find_unknown_attributes(graph_def: Any) -> list[str]:
    found = []
    for body in list_bodies(graph_def):
        for node in body:
            op_def = tensorflow_private.find_op_def(node.op)
            known = {attr.name for attr in op_def.attr} if op_def is not None else set(node.attr)
            strange = [name for name in node.attr if name not in known and not name.startswith("_")]
            found += [f"{node.name} ({node.op}): attribute {name}" for name in strange]
    return found


def find_placement(graph_def: Any) -> list[str]:
    return _find_nodes(graph_def, lambda node: bool(node.device) or any(key in node.attr for key in _PLACED), "placed")


def find_missing_ops(graph_def: Any) -> list[str]:
    return [str(missing) for missing in availability.find_missing_ops(graph_def)]


def find_ops_without_gradient(graph_def: Any) -> list[str]:
    return _find_ops(graph_def, removed_ops.WITHOUT_GRADIENT, "no gradient")


def find_reference_variables(graph_def: Any) -> list[str]:
    return _find_ops(graph_def, ("Variable", "VariableV2"), "a reference variable")


def find_reference_tables(graph_def: Any) -> list[str]:
    return _find_ops(graph_def, _REFERENCE_TABLES, "a table of the first version")


def find_counters(graph_def: Any) -> list[str]:
    return _find_ops(graph_def, ("ResourceCountUpTo",), "cannot be loaded")


def find_idle_triggers(graph_def: Any) -> list[str]:
    found = []
    for body in list_bodies(graph_def):
        if not any(node.op in _SWITCHES for node in body):
            found += [f"{node.name}: a trigger without a Switch" for node in body if node.op == "ControlTrigger"]
    return found


def find_stated_shapes(graph_def: Any) -> list[str]:
    return _find_nodes(graph_def, lambda node: "_output_shapes" in node.attr, "states shapes")
