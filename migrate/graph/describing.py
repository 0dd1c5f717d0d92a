"""A node's op, attributes and constant inputs as texts, so that two sides can be held beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from migrate import tensorflow_private
from migrate.graph import index as graph_index

# They say where a node stands, not what it computes; a function's name differs by design.
_SILENT = frozenset({"shared_name", "container", "dtype", "f", "then_branch", "else_branch", "cond", "body"})
_MOST = 8
Description = dict[str, str]


def describe_nodes(graph_def: Any) -> dict[str, Description]:
    """Name -> {"op", attribute: text, "input 1": text of a constant}, of the graph and of its functions; where nodes
    bear one name, of the first."""
    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    found: dict[str, Description] = {}
    for nodes in bodies:
        constants = {node.name: _spell_constant(node) for node in nodes if node.op == "Const"}
        for node in nodes:
            if node.name not in found:
                found[node.name] = _describe(node, constants)
    return found


def _describe(node: Any, constants: Mapping[str, str]) -> Description:
    op_def = tensorflow_private.find_op_def(node.op)
    defaults = {a.name: a.default_value for a in op_def.attr if a.HasField("default_value")} if op_def else {}
    attributes = {**defaults, **node.attr}
    found = {"op": node.op}
    for name, value in sorted(attributes.items()):
        if not name.startswith("_") and name not in _SILENT:
            found[name] = _spell_tensor(value.tensor) if value.HasField("tensor") else _spell_attribute(value)
    for position, text in enumerate(node.input):
        source = text.split(":")[0]
        if source in constants:
            found[f"input {position}"] = constants[source]
    return found


def _spell_constant(node: Any) -> str:
    return _spell_tensor(node.attr["value"].tensor)


def _spell_tensor(tensor: Any) -> str:
    """Few elements as they are; of many, shape, mean and the first ones."""
    try:
        value = tf.make_ndarray(tensor)
    except (TypeError, ValueError):
        return graph_index.dtype_name(tensor.dtype)
    flat = value.ravel()
    if value.size <= _MOST:
        return str(value.tolist()) if value.dtype.kind != "f" else str([float(f"{v:.9g}") for v in flat])
    first = ", ".join(f"{v:.6g}" if value.dtype.kind == "f" else str(v) for v in flat[:4])
    mean = f", mean {value.mean():.9g}" if value.dtype.kind in "fiu" else ""
    return f"{list(value.shape)}{mean}: {first}, …"


def _spell_attribute(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    found = getattr(value, kind)
    if kind == "f":
        return f"{found:.7g}"
    if kind == "type":
        return graph_index.dtype_name(found)
    if kind == "s":
        return str(found.decode("utf-8", "backslashreplace"))
    if kind == "shape":
        return "?" if found.unknown_rank else str([d.size for d in found.dim])
    if kind == "list":
        items = [item for field in ("i", "f", "b", "s") for item in getattr(found, field)]
        return str(items or [graph_index.dtype_name(t) for t in found.type])
    return str(found)
