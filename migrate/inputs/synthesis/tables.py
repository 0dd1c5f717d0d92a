"""The lookup tables of a graph, read from constants and vocabulary files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from migrate.arrays import make_bytes_array
from migrate.inputs.synthesis import graph_view
from migrate.inputs.synthesis.abstract import Table
from migrate.model import GraphVariant

_WHOLE_LINE, _LINE_NUMBER = -2, -1
_MOST_ENTRIES = 20_000  # Cases need a few tokens; a vocabulary of millions need not be read to its end.
_FROM_TENSORS = (
    "InitializeTable",
    "InitializeTableV2",
    "LookupTableImport",
    "LookupTableImportV2",
    "LookupTableInsertV2",
)
_FROM_FILES = ("InitializeTableFromTextFile", "InitializeTableFromTextFileV2")
_INITIALIZERS = (*_FROM_TENSORS, *_FROM_FILES)
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_PASSES = ("Identity", "Enter", "RefEnter", "Switch", "RefSwitch", "Merge", "StopGradient")


def read_tables(variant: GraphVariant, view: graph_view.GraphView) -> dict[str, Table]:
    """node that makes the table's handle -> Table; tables without known contents are left out."""
    files = {graph_view.parse_tensor_name(asset.tensor)[0]: asset.path for asset in variant.assets}
    tables: dict[str, Table] = {}
    names: dict[str, str] = {}
    for node in _list_initializers(view):
        table = _read_initializer(node, view, files)
        if table is not None:
            handle = find_origin(view, node.input[0])
            tables.setdefault(handle, table)
            made = view.nodes.get(handle)
            if made is not None and made.attr["shared_name"].s:
                names.setdefault(made.attr["shared_name"].s, handle)
    for node in view.nodes.values():  # Handles of one shared name are one table.
        if "HashTable" in node.op and node.name not in tables:
            same = names.get(node.attr["shared_name"].s)
            if same is not None:
                tables[node.name] = tables[same]
    return tables


def _list_initializers(view: graph_view.GraphView) -> Iterator[Any]:
    """The graph's nodes; and, as TF2 calls a function for each table, those nodes of the functions that it calls whose
    inputs are all arguments, spelled by what the call gives."""
    for node in view.nodes.values():
        yield node
        function = view.functions.get(node.attr["f"].func.name) if node.op in _CALLS else None
        if function is None:
            continue
        given = dict(zip((argument.name for argument in function.signature.input_arg), node.input, strict=False))
        for inner in function.node_def:
            if inner.op in _INITIALIZERS and all(name in given for name in inner.input if not name.startswith("^")):
                spelled = type(inner)()
                spelled.CopyFrom(inner)
                del spelled.input[:]
                spelled.input.extend(given[name] for name in inner.input if not name.startswith("^"))
                yield spelled


def find_origin(view: graph_view.GraphView, spelled: str) -> str:
    """The node that makes the tensor, seen through Identity and the like."""
    name = view.find_input(spelled)[0]
    for _ in range(50):
        node = view.nodes.get(name)
        if node is None or node.op not in _PASSES or not node.input:
            break
        name = view.find_input(node.input[0])[0]
    return name


def _read_initializer(node: Any, view: graph_view.GraphView, files: Mapping[str, str]) -> Table | None:
    if node.op in _FROM_TENSORS:
        keys, values = (_read_constant(view, spelled) for spelled in node.input[1:3])
        if keys is None or keys.size == 0:
            return None
        if values is None or keys.size != values.size:
            values = np.full(keys.shape, b"", dtype=object)  # Unknown: no bound is read from them.
        return Table(_normal(keys), _normal(values))
    if node.op in _FROM_FILES:
        origin = _find_assigned(view, find_origin(view, node.input[1]))
        path = files.get(origin)
        if path is None:
            constant = _read_constant(view, node.input[1])
            path = os.fsdecode(constant.reshape(-1)[0]) if constant is not None and constant.size else ""
        return _read_text_file(path, node) if os.path.isfile(path) else None
    return None


def _find_assigned(view: graph_view.GraphView, name: str) -> str:
    """TF2 keeps the name of an asset in a variable: what is assigned to it, for a node that reads one."""
    node = view.nodes.get(name)
    if node is None or node.op != "ReadVariableOp":
        return name
    variable = find_origin(view, node.input[0])
    assigned = (n for n in view.nodes.values() if n.op == "AssignVariableOp")
    return next((find_origin(view, n.input[1]) for n in assigned if find_origin(view, n.input[0]) == variable), name)


def _read_constant(view: graph_view.GraphView, spelled: str) -> np.ndarray | None:
    """A Const, or the Range and Cast that index tables are made with."""
    node = view.nodes.get(find_origin(view, spelled))
    if node is None:
        return None
    if node.op == "Const":
        return graph_view.read_constant(node)
    if node.op == "Cast":
        value = _read_constant(view, node.input[0])
        return None if value is None else value.astype(graph_view.get_dtype(node, "DstT") or value.dtype)
    if node.op == "Range":
        bounds = [_read_constant(view, bound) for bound in node.input[:3]]
        known = [bound.item() for bound in bounds if bound is not None]
        return np.arange(*known) if len(known) == len(bounds) else None
    return None


def _normal(array: np.ndarray) -> np.ndarray:
    flat = array.reshape(-1)
    return make_bytes_array(flat) if flat.dtype.kind in "OSU" else flat


def _read_text_file(path: str, node: Any) -> Table | None:
    """Keys and values as the attributes key_index, value_index, delimiter and vocab_size choose them."""
    key_index, value_index = node.attr["key_index"].i, node.attr["value_index"].i
    delimiter = node.attr["delimiter"].s or b"\t"
    limit = node.attr["vocab_size"].i if node.attr["vocab_size"].i > 0 else _MOST_ENTRIES
    columns: tuple[list[Any], list[Any]] = ([], [])
    with open(path, "rb") as file:
        for number, line in enumerate(file):
            if number >= min(limit, _MOST_ENTRIES):
                break
            whole = line.rstrip(b"\r\n")
            parts = whole.split(delimiter)
            for column, index in zip(columns, (key_index, value_index), strict=True):
                if index == _LINE_NUMBER:
                    column.append(number)
                elif index == _WHOLE_LINE:
                    column.append(whole)
                else:
                    column.append(parts[index] if index < len(parts) else b"")
    keys, values = (_to_array(column) for column in columns)
    return Table(keys, values) if keys.size else None


def _to_array(column: list[Any]) -> np.ndarray:
    if column and isinstance(column[0], int):
        return np.array(column, dtype=np.int64)
    return make_bytes_array(np.array(column, dtype=object))
