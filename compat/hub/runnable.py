"""A module's MetaGraph as this TensorFlow can import it. What is exported is the MetaGraph as it was read."""

from __future__ import annotations

import re
from typing import Any

from tensorflow.core.protobuf import meta_graph_pb2

from migrate import tensorflow_private
from migrate.graph import removed_ops

_VERSION = re.compile(r"(\d+(\.\d+)*)?")


def make_runnable(meta_graph: Any) -> Any:
    """A copy without what today's importer fails on.

    - Ops that TensorFlow dropped become ops that it has, where migrate knows how; others stay and are named by
      stateful.check_ops_registered.
    - TF 2.21's importer compares the writer's version with 1.9 and fails on what is none, such as "0.12.head".
    """
    result = meta_graph_pb2.MetaGraphDef()
    result.CopyFrom(meta_graph)
    info = result.meta_info_def
    info.tensorflow_version = _VERSION.match(info.tensorflow_version).group()  # type: ignore[union-attr]
    graph_def, findings = removed_ops.replace_removed_ops(result.graph_def)
    if findings:
        result.graph_def.CopyFrom(graph_def)
        _refresh_op_list(result)
    return result


def _refresh_op_list(meta_graph: Any) -> None:
    """The op list must define every op of the graph, and only ops of the graph are looked for."""
    bodies = [meta_graph.graph_def.node, *(function.node_def for function in meta_graph.graph_def.library.function)]
    used = {node.op for nodes in bodies for node in nodes}
    ops = meta_graph.meta_info_def.stripped_op_list.op
    kept = [op for op in ops if op.name in used]
    known = {op.name for op in kept}
    added = (tensorflow_private.find_op_def(name) for name in sorted(used - known))
    copies = [type(op).FromString(op.SerializeToString()) for op in (*kept, *added) if op is not None]
    del ops[:]
    ops.extend(copies)
