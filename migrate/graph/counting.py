"""ResourceCountUpTo -> a read, a check and an addition.

The op's shape function wants to know the variable that the handle stands for ("Handle has no shape/type information",
TF 2.21), and when a SavedModel is loaded, nothing tells it. Invariant: the op gives the value before counting, and
fails without counting where the limit is reached; with InvalidArgument, for no other op raises OutOfRange.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from migrate.graph import index as graph_index

_COUNT = "ResourceCountUpTo"


def replace_counters(graph_def: Any) -> Any:
    """Returns a copy in which each counter is made of plain ops; its node name carries the old value on."""
    if not any(node.op == _COUNT for node in graph_def.node):
        return graph_def
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    names = {node.name for node in result.node}
    for node in list(result.node):
        if node.op == _COUNT:
            _replace(result, node, names)
    return result


def _replace(graph: Any, node: Any, names: set[str]) -> None:
    dtype, limit = node.attr["T"].type, node.attr["limit"].i
    handle, *controls = node.input

    def add(suffix: str, op: str, inputs: list[str], **attributes: Any) -> str:
        name = graph_index.make_unique(f"{node.name}/{suffix}", names)
        names.add(name)
        new = graph.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            new.attr[key].CopyFrom(value)
        return name

    def constant(suffix: str, value: Any, of: int) -> str:
        tensor = tf.compat.v1.AttrValue(tensor=tf.make_tensor_proto(value, of))
        return add(suffix, "Const", [], dtype=tf.compat.v1.AttrValue(type=of), value=tensor)

    kind = tf.compat.v1.AttrValue(type=dtype)
    read = add("read", "ReadVariableOp", [handle, *controls], dtype=kind)
    below = add("below", "Less", [read, constant("limit", limit, dtype)], T=kind)
    message = constant("message", f"Reached limit of {limit}", tf.string.as_datatype_enum)
    texts = tf.compat.v1.AttrValue(list=tf.compat.v1.AttrValue.ListValue(type=[tf.string.as_datatype_enum]))
    check = add("check", "Assert", [below, message], T=texts)
    count = add("count", "AssignAddVariableOp", [handle, constant("one", 1, dtype), f"^{check}"], dtype=kind)
    node.op = "Identity"
    del node.input[:]
    node.input.extend([read, f"^{count}"])
    node.attr.clear()
    node.attr["T"].type = dtype
