"""Constants of a function: which of its nodes always give the same value, whatever it is called with."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

_SAME = ("Identity", "PlaceholderWithDefault", "StopGradient")
_FOLDED = frozenset({
    "Add", "AddV2", "Sub", "Mul", "RealDiv", "Neg", "Maximum", "Minimum", "Less", "LessEqual", "Greater",
    "GreaterEqual", "Equal", "NotEqual", "LogicalAnd", "LogicalOr", "LogicalNot", "Select", "SelectV2", "Reshape",
    "ExpandDims", "Squeeze", "Cast", "Fill",
})  # fmt: skip


def fold_constants(body: Any) -> dict[str, np.ndarray]:
    """Node -> its value. Inside a function nothing can be fed, so that a placeholder gives its default."""
    values: dict[str, np.ndarray] = {}
    pending = list(body.node_def)
    while True:
        left = []
        for node in pending:
            inputs = [values.get(text.partition(":")[0]) for text in node.input if not text.startswith("^")]
            if node.op == "Const":
                values[node.name] = tf.make_ndarray(node.attr["value"].tensor)
            elif inputs and all(value is not None for value in inputs) and node.op in _SAME:
                values[node.name] = inputs[0]
            elif inputs and all(value is not None for value in inputs) and node.op in _FOLDED:
                values[node.name] = _evaluate(node, inputs)
            else:
                left.append(node)
        if len(left) == len(pending):
            return values
        pending = left


def _evaluate(node: Any, inputs: list[np.ndarray]) -> np.ndarray:
    graph_def = tf.compat.v1.GraphDef()
    for position, value in enumerate(inputs):
        given = graph_def.node.add(name=f"input_{position}", op="Const")
        given.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        given.attr["dtype"].type = given.attr["value"].tensor.dtype
    graph_def.node.add().CopyFrom(node)
    del graph_def.node[-1].input[:]
    graph_def.node[-1].input.extend(f"input_{position}" for position in range(len(inputs)))
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(graph_def, name="")
        return np.asarray(session.run(f"{node.name}:0"))
