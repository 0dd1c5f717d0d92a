"""Constants of a function: which of its nodes always give the same value, whatever it is called with."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

_SAME = ("Identity", "PlaceholderWithDefault", "StopGradient")
_LIKE = {"ZerosLike": 0, "OnesLike": 1}
# Of one number everywhere, whatever the shape, they give that number again.
_SHAPING = ("Reshape", "ExpandDims", "Squeeze", "Tile", "BroadcastTo")
_FOLDED = frozenset({
    "Add", "AddV2", "Sub", "Mul", "RealDiv", "Neg", "Maximum", "Minimum", "Less", "LessEqual", "Greater",
    "GreaterEqual", "Equal", "NotEqual", "LogicalAnd", "LogicalOr", "LogicalNot", "Select", "SelectV2", "Reshape",
    "ExpandDims", "Squeeze", "Cast",
})  # fmt: skip


def fold_constants(body: Any) -> dict[str, np.ndarray]:
    """Node -> its value, a scalar where it is one number everywhere and its shape is not known. Inside a function
    nothing can be fed, so that a placeholder gives its default."""
    values: dict[str, np.ndarray] = {}
    uniform: set[str] = set()
    pending = list(body.node_def)
    nodes = {node.name: node for node in pending}
    while True:
        left = [node for node in pending if not _fold(node, nodes, values, uniform)]
        if len(left) == len(pending):
            return values
        pending = left


def _fold(node: Any, nodes: dict[str, Any], values: dict[str, np.ndarray], uniform: set[str]) -> bool:
    """Adds the node's value, where it has one."""
    names = [text.partition(":")[0] for text in node.input if not text.startswith("^")]
    inputs = [values.get(name) for name in names]
    known = bool(inputs) and all(value is not None for value in inputs)
    scattered = uniform & set(names)
    if node.op == "Const":
        values[node.name] = tf.make_ndarray(node.attr["value"].tensor)
    elif node.op in _LIKE:
        values[node.name] = np.asarray(_LIKE[node.op], tf.as_dtype(node.attr["T"].type).as_numpy_dtype)
        uniform.add(node.name)
    elif node.op == "Fill" and inputs[1] is not None:
        values[node.name] = np.asarray(inputs[1])
        uniform.add(node.name)
    elif (known and node.op in _SAME) or (scattered and node.op in _SHAPING and names[0] in uniform):
        values[node.name] = np.asarray(inputs[0])
    elif known and node.op in _FOLDED and not (scattered and node.op == "Select"):
        values[node.name] = _evaluate(node, inputs)
    elif (
        node.op == "Sub"
        and (read := _find_read(names[0], nodes, values))
        and read == _find_read(names[1], nodes, values)
    ):
        values[node.name] = np.asarray(0, tf.as_dtype(node.attr["T"].type).as_numpy_dtype)
        uniform.add(node.name)
    if scattered and node.name in values:
        uniform.add(node.name)
    return node.name in values


def _find_read(name: str, nodes: dict[str, Any], values: dict[str, np.ndarray]) -> str:
    """The variable whose value a node hands on unchanged, "" where it does not. Reads come before writes."""
    while name in nodes and nodes[name].op in (*_SAME, *_SHAPING, "Select", "SelectV2"):
        node, place = nodes[name], 0
        if node.op in ("Select", "SelectV2"):
            test = values.get(node.input[0].partition(":")[0])
            if test is None or not (test.all() or not test.any()):
                return ""
            place = 1 if test.all() else 2
        name = node.input[place].partition(":")[0]
    return str(nodes[name].input[0]) if name in nodes and nodes[name].op == "ReadVariableOp" else ""


def _evaluate(node: Any, inputs: list[Any]) -> np.ndarray:
    graph_def = tf.compat.v1.GraphDef()
    for position, value in enumerate(inputs):
        given = graph_def.node.add(name=f"input_{position}", op="Const")
        given.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        given.attr["dtype"].type = given.attr["value"].tensor.dtype
    graph_def.node.add().CopyFrom(node)
    for name in [name for name in node.attr if name.startswith("_")]:
        del graph_def.node[-1].attr[name]
    del graph_def.node[-1].input[:]
    graph_def.node[-1].input.extend(f"input_{position}" for position in range(len(inputs)))
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(graph_def, name="")
        return np.asarray(session.run(f"{node.name}:0"))
