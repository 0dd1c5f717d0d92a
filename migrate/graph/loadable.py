"""What of a TF1 graph this TensorFlow can load: its importer refuses a graph for a single op that it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from migrate.graph.index import GraphIndex, is_registered, output_dtypes
from migrate.model import GraphVariant

# Ops that TF2's loader breaks, with the reason.
_REFUSED = {
    "OneShotIterator": "tf.saved_model.load gives each resource of a function a shared name, which this op refuses",
}


def find_unloadable(graph_def: Any) -> list[str]:
    """Descriptions of ops that run in TF1 and in a TF2 function, but not in one that was loaded (TF 2.21)."""
    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    found = {node.op for nodes in bodies for node in nodes} & set(_REFUSED)
    return [f"{op} ({_REFUSED[op]})" for op in sorted(found)]


def cut_fed_nodes(graph_def: Any, variant: GraphVariant) -> None:
    """Makes a fed node a placeholder, in place: what lies behind it never runs, but would have to be imported."""
    index = GraphIndex(graph_def)
    for signature in variant.signatures.values():
        for name in (name for tensor in signature.inputs.values() for name in tensor.tensor_names):
            node = index.nodes[name.split(":")[0]]
            dtypes = output_dtypes(node)
            if node.input and len(dtypes) == 1:
                node.op = "Placeholder"
                del node.input[:]
                node.attr.clear()
                node.attr["dtype"].type = dtypes[0]
                node.attr["shape"].shape.unknown_rank = True


def find_runnable(index: GraphIndex, ops: Sequence[str]) -> list[str]:
    """The ops; of a group (NoOp) of which only some parts can run here, those parts."""
    found: list[str] = []
    for op in ops:
        lost = [name for name in index.ancestors([f"^{op}"]) if not is_registered(index.nodes[name].op)]
        if not lost:
            found.append(op)
        elif index.nodes[op].op == "NoOp":
            found.extend(find_runnable(index, [ref.node for ref in index.inputs(op)]))
    return list(dict.fromkeys(found))
