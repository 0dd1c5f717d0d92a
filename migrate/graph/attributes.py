"""Fits node attributes to the ops of today.

TF's importer refuses an attribute that the op no longer has. Invariant: an attribute is dropped only when it
held the default of the op as its writer knew it (tensorflow/core/framework/graph.proto on compatibility), or
when it is known to have no effect; otherwise there is a finding.
"""

from __future__ import annotations

from typing import Any

from tensorflow.core.framework import graph_pb2

from migrate import tensorflow_private
from migrate.model import Finding, Severity


def fit_attributes(graph_def: Any, producer_ops: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Returns a copy in which every registered op has only attributes that it knows.

    Args:
      graph_def: GraphDef.
      producer_ops: OpList stored by the writer, or None.
    """
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    writer = {op.name: op for op in (producer_ops.op if producer_ops is not None else ())}
    findings = []
    for nodes in (result.node, *(function.node_def for function in result.library.function)):
        for node in nodes:
            op_def = tensorflow_private.find_op_def(node.op)
            if op_def is None:
                continue
            known = {attr.name for attr in op_def.attr}
            for name in [n for n in node.attr if n not in known and not n.startswith("_")]:
                if not _is_default(writer.get(node.op), name, node.attr[name]):
                    findings.append(_finding(node, name))
                del node.attr[name]
    return result, tuple(findings)


def _is_default(op_def: Any, name: str, value: Any) -> bool:
    for attr in op_def.attr if op_def is not None else ():
        if attr.name == name and attr.HasField("default_value"):
            return bool(attr.default_value == value)
    return False


def _finding(node: Any, name: str) -> Finding:
    return Finding(
        code="attribute-dropped",
        severity=Severity.WARNING,
        where=node.name,
        message=f"today's op {node.op} has no attribute {name!r}; it was {_text(node.attr[name])}",
        hint="the comparison of old and new outputs tells whether it mattered",
    )


def _text(value: Any) -> str:
    return " ".join(str(value).split())
