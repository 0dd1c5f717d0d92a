"""Drops what ties a node to the machine and session that built it.

Invariant: the values that the graph computes do not change. Devices and colocation ("_class") name things
that no longer exist; XLA marks belonged to TF1's auto-clustering. `_output_shapes` tells the control flow pass what
shapes TF1 had inferred; the importer of TF 2.21 checks it against its own inference, so it goes last.
"""

from __future__ import annotations

from typing import Any

from tensorflow.core.framework import graph_pb2

from migrate import tensorflow_private
from migrate.graph import gradient_functions
from migrate.model import Finding

_INTERNAL = ("_class", "_XlaCompile", "_XlaScope", "_XlaSeparateCompiledGradients")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_SHAPES = "_output_shapes"
_GRADIENT = gradient_functions.MARK


def strip_placement(graph_def: Any) -> tuple[Any, tuple[Finding, ...]]:
    """Returns a copy without devices, colocation and internal attributes, and findings on lost gradients."""
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    lost: dict[str, str] = {}
    bodies = [result.node, *(function.node_def for function in result.library.function)]
    for nodes in bodies:
        for node in nodes:
            node.device = ""
            for name in _INTERNAL:
                if name in node.attr:
                    del node.attr[name]
            if _GRADIENT in node.attr and not tensorflow_private.has_python_gradient(node.attr[_GRADIENT].s.decode()):
                # tf.function marks its calls so too; what it registered is the gradient of the function itself.
                if node.op not in _CALLS:
                    lost[node.name] = node.attr[_GRADIENT].s.decode()
                del node.attr[_GRADIENT]
    reason = "it was Python code, which no SavedModel holds"
    return result, tuple(gradient_functions.lost_gradient(node, name, reason) for node, name in sorted(lost.items()))


def strip_shapes(graph_def: Any) -> Any:
    """Returns a copy without `_output_shapes`: the importer infers them anew."""
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    for holder in (*result.node, *result.library.function, *_library_nodes(result)):
        if _SHAPES in holder.attr:
            del holder.attr[_SHAPES]
    return result


def _library_nodes(graph_def: Any) -> list[Any]:
    return [node for function in graph_def.library.function for node in function.node_def]
