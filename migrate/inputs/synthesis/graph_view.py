"""A GraphDef indexed for walking: nodes, functions, and the order in which they can be visited."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np


def parse_tensor_name(name: str) -> tuple[str, int]:
    """("node", index) of "node:index" or "node"."""
    node, _, index = name.partition(":")
    return node, int(index) if index.isdigit() else 0


def get_dtype(node: Any, *names: str) -> str:
    """The dtype of the first of the attributes that is there, "" where none is."""
    for name in names:
        if name in node.attr and node.attr[name].type:
            return name_dtype(node.attr[name].type)
    return ""


@functools.cache
def name_dtype(number: int) -> str:
    """The dtype name of a DataType enum value; references count as their values."""
    from tensorflow.core.framework import types_pb2

    spelled = str(types_pb2.DataType.Name(number % 100)).removeprefix("DT_").lower()
    return _DTYPE_NAMES.get(spelled, spelled)


_DTYPE_NAMES = {"float": "float32", "double": "float64", "half": "float16"}


def parse_shape(proto: Any) -> tuple[int | None, ...] | None:
    if proto.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in proto.dim)


def read_constant(node: Any) -> np.ndarray | None:
    """The value of a Const; None where it cannot be read."""
    import tensorflow as tf

    try:
        return np.asarray(tf.make_ndarray(node.attr["value"].tensor))
    except (TypeError, ValueError):
        return None


class GraphView:
    """The nodes of a graph or of a function's body, by name.

    Attributes:
      nodes: name -> NodeDef.
      functions: name -> FunctionDef.
    """

    def __init__(
        self, nodes: Iterable[Any], functions: dict[str, Any], bodies: dict[str, GraphView] | None = None
    ) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.functions = functions
        self._bodies: dict[str, GraphView] = {} if bodies is None else bodies

    @classmethod
    def from_graph_def(cls, graph_def: Any) -> GraphView:
        return cls(graph_def.node, {f.signature.name: f for f in graph_def.library.function})

    def enter(self, function: Any) -> GraphView:
        """The body of a function; one view of it, however often it is called."""
        name = function.signature.name
        if name not in self._bodies:
            self._bodies[name] = GraphView(function.node_def, self.functions, self._bodies)
        return self._bodies[name]

    def find_input(self, spelled: str) -> tuple[str, int]:
        """(node, flat output index) that an input names; functions count "node:output:index" per output."""
        parts = spelled.split(":")
        if len(parts) < 3:
            return parts[0], int(parts[1]) if len(parts) == 2 and parts[1].isdigit() else 0
        node = self.nodes.get(parts[0])
        offset = 0 if node is None else _output_offset(node, parts[1])
        return parts[0], offset + int(parts[2])

    def order_nodes(self, roots: Iterable[str], fed: set[tuple[str, int]]) -> list[Any]:
        """Nodes that `roots` need, inputs first; what feeds a fed tensor is left out.

        Loops (Merge <- NextIteration) are cut there; their bodies come after all that leads to them.
        """
        done: set[str] = set()
        ordered: list[Any] = []
        waiting = list(roots)
        while waiting:
            stack = [(waiting.pop(0), False)]
            while stack:
                name, left = stack.pop()
                node = self.nodes.get(name)
                if left:
                    ordered.append(node)
                    continue
                if node is None or name in done:
                    continue
                done.add(name)
                stack.append((name, True))
                for spelled in reversed(node.input):
                    if spelled.startswith("^"):
                        stack.append((spelled[1:], False))
                        continue
                    producer = self.find_input(spelled)
                    source = self.nodes.get(producer[0])
                    if producer in fed or source is None:
                        continue
                    if node.op in ("Merge", "RefMerge") and source.op in (
                        "NextIteration",
                        "RefNextIteration",
                    ):
                        waiting.append(producer[0])
                    else:
                        stack.append((producer[0], False))
        return ordered


def _output_offset(node: Any, output: str) -> int:
    """Flat index of the first tensor of the named output, from the op's registered definition."""
    from migrate import tensorflow_private

    definition = tensorflow_private.find_op_def(node.op)
    offset = 0
    for arg in definition.output_arg if definition is not None else ():
        if arg.name == output:
            break
        if arg.number_attr:
            offset += node.attr[arg.number_attr].i
        elif arg.type_list_attr:
            offset += len(node.attr[arg.type_list_attr].list.type)
        else:
            offset += 1
    return offset
