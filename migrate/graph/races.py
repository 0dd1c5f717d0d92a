"""What a call of a TF1 graph computes before or after a write, as it happens: a metric's value beside its update.

`write_order` settles such races in a graph that is rebuilt; here they are only found, in the graph as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from migrate import tensorflow_private
from migrate.graph import index as graph_index

_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")
_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd")
# They take a variable and neither read nor write its value.
_LOOKS = ("VarIsInitializedOp", "VariableShape", "IsVariableInitialized", "RefSwitch", "RefEnter", "RefIdentity")


def find_racing_outputs(index: graph_index.GraphIndex, outputs: Mapping[str, Sequence[str]]) -> set[str]:
    """Keys of outputs that depend on a read which no edge orders before or after a write of the same call.

    Args:
      index: the graph.
      outputs: key -> tensor names, fetched together.
    """
    everything = index.ancestors([name for names in outputs.values() for name in names])
    readers: dict[str, set[str]] = {}
    writers: dict[str, set[str]] = {}
    for name in everything:
        for position, ref in enumerate(index.inputs(name)):
            source = index.nodes.get(ref.node)
            if source is None or ref.is_control or source.op not in _VARIABLES:
                continue
            kinds = writers if _writes(index.nodes[name].op, position, source.op) else readers
            if index.nodes[name].op not in _LOOKS:
                kinds.setdefault(ref.node, set()).add(name)
    racing = {
        reader
        for variable, names in writers.items()
        for reader in readers.get(variable, ())
        if any(reader not in index.ancestors([w]) and w not in index.ancestors([reader]) for w in names)
    }
    return {key for key, names in outputs.items() if racing & index.ancestors(names)}


def _writes(op: str, position: int, variable: str) -> bool:
    """Whether an op writes what it takes there: of resources all do but the reads, of references who asks for one."""
    if variable == "VarHandleOp":
        return op not in _READS
    op_def = tensorflow_private.find_op_def(op)
    return op_def is not None and position < len(op_def.input_arg) and bool(op_def.input_arg[position].is_ref)
