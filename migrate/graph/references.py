"""Where a reference (a `Ref(T)` tensor of TF1) flows: variable -> Assign -> RefSwitch -> ...

An op that takes a reference and returns one returns the same reference; `Ref*` control flow forwards it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from tensorflow.core.framework import types_pb2

from migrate import tensorflow_private
from migrate.graph import index as graph_index

# Ref control flow op -> the op that does the same with a resource handle as a plain value.
FORWARDING = {
    "RefIdentity": "Identity",
    "RefSwitch": "Switch",
    "RefMerge": "Merge",
    "RefEnter": "Enter",
    "RefExit": "Exit",
    "RefNextIteration": "NextIteration",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Alias:
    """A reference at some edge of the graph.

    Attributes:
      source: node that made it (the variable or table).
      handle: tensor that carries the resource handle once references are gone.
      after: ops whose effect this edge includes ("Assign" returns the reference after assigning).
    """

    source: str
    handle: str
    after: tuple[str, ...] = ()


def find_aliases(
    consumers: Mapping[str, list[tuple[Any, int]]], sources: Iterable[str], shared: Collection[str] = ()
) -> dict[graph_index.TensorRef, Alias]:
    """Every edge that carries a reference made by one of `sources`.

    Args:
      consumers: of every node (GraphIndex.consumers).
      sources: nodes that make references.
      shared: sources that some op changes in place. TF1's Identity does not copy, so what it gives shares the
        variable's memory and shows a later change: it carries the reference on.
    """
    found = {graph_index.TensorRef(name, 0): Alias(name, name) for name in sources}
    pending = list(found)
    while pending:
        edge = pending.pop()
        alias = found[edge]
        for node, position in consumers.get(edge.node, ()):
            ref = graph_index.parse_tensor_name(node.input[position])
            if ref != edge:
                continue
            if node.op == "Identity" and alias.source in shared:
                output = graph_index.TensorRef(node.name, 0)
                if output not in found:
                    found[output] = Alias(alias.source, alias.handle, (*alias.after, *_controls(node)))
                    pending.append(output)
                continue
            if not takes_reference(node, position):
                continue
            for output, forwarded in _forward(node, edge, alias):
                if output not in found:
                    found[output] = forwarded
                    pending.append(output)
    return found


def _controls(node: Any) -> list[str]:
    return [text[1:] for text in node.input if text.startswith("^")]


def _forward(node: Any, edge: graph_index.TensorRef, alias: Alias) -> list[tuple[graph_index.TensorRef, Alias]]:
    outputs = [i for i, dtype in enumerate(graph_index.output_dtypes(node)) if graph_index.is_ref(dtype)]
    edges = [graph_index.TensorRef(node.name, i) for i in outputs]
    if node.op in FORWARDING:
        return [(output, Alias(alias.source, output.spelled)) for output in edges]
    # The op's own effect orders everything behind it. An op of several references (ApplyAdam) returns its first.
    first = graph_index.parse_tensor_name(node.input[0])
    if edge == first:
        return [(output, Alias(alias.source, alias.handle, (node.name,))) for output in edges]
    return []


def takes_reference(node: Any, position: int) -> bool:
    """Whether the op wants a reference, not a value, at that input."""
    op_def = tensorflow_private.find_op_def(node.op)
    if op_def is None:
        return False
    at = 0
    for arg in op_def.input_arg:
        if arg.number_attr:
            count = node.attr[arg.number_attr].i
        elif arg.type_list_attr:
            count = len(node.attr[arg.type_list_attr].list.type)
        else:
            count = 1
        if at <= position < at + count:
            return bool(arg.is_ref)
        at += count
    return False


def forward_as_resource(node: Any) -> None:
    """Turns a Ref control flow node into the plain one over resource handles, in place."""
    node.op = FORWARDING[node.op]
    node.attr["T"].type = types_pb2.DT_RESOURCE
    if "_output_shapes" in node.attr:
        del node.attr["_output_shapes"]
