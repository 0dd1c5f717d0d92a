"""Reference variables (Variable, VariableV2) -> resource variables (VarHandleOp).

`tf.saved_model.save` of TF 2.21 loses the values of reference variables without a word, and their ops have no
gradients inside a function. Invariant: every value is read when TF1 would have read it. TF1 dereferences when
the consumer runs, so where the graph also writes the variable, each consumer gets a read of its own that
waits for all its other inputs; where nothing writes it, one read serves all. Writers change the memory in place
(AssignOp too, where the shapes agree: tensorflow/core/kernels/assign_op.h), and TF1's Identity does not copy, so
a write shows through what was read before, up to the fetch.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tensorflow.core.framework import graph_pb2, node_def_pb2

from migrate import errors, tensorflow_private
from migrate.graph import index as graph_index
from migrate.graph import references
from migrate.graph.subgraph import Subgraph

_VARIABLES = ("Variable", "VariableV2")
# Names that differ by more than a "Resource" in front.
_RENAMED = {
    "Assign": "AssignVariableOp",
    "AssignAdd": "AssignAddVariableOp",
    "AssignSub": "AssignSubVariableOp",
    "IsVariableInitialized": "VarIsInitializedOp",
}


def convert_reference_variables(subgraph: Subgraph) -> Subgraph:
    """Returns a subgraph with no reference variables.

    Raises:
      BlockedError: an op writes through a reference and has no counterpart for resources.
    """
    sources = [node.name for node in subgraph.graph_def.node if node.op in _VARIABLES]
    if not sources:
        return subgraph
    return _Conversion(subgraph, sources).run()


class _Conversion:
    def __init__(self, subgraph: Subgraph, sources: list[str]) -> None:
        self._subgraph = subgraph
        self._graph = graph_pb2.GraphDef()
        self._graph.CopyFrom(subgraph.graph_def)
        self._index = graph_index.GraphIndex(self._graph)
        consumers = self._index.consumers()
        self._dtypes = {name: self._index.nodes[name].attr["dtype"].type for name in sources}
        self._aliases = references.find_aliases(consumers, sources)
        self._writers = self._find_writers()
        if self._writers:
            self._aliases = references.find_aliases(consumers, sources, self._writers)
        self._shared: dict[graph_index.TensorRef, str] = {}
        self._new: list[Any] = []

    def _find_writers(self) -> dict[str, list[Any]]:
        """Variable -> ops of this graph that may write it."""
        found: dict[str, list[Any]] = {}
        for node in self._graph.node:
            if node.op in references.FORWARDING or node.op == "IsVariableInitialized":
                continue
            for position, ref in enumerate(self._index.inputs(node.name)):
                if ref in self._aliases and references.takes_reference(node, position):
                    found.setdefault(self._aliases[ref].source, []).append(node)
        return found

    def run(self) -> Subgraph:
        self._check_convertible()
        for node in list(self._graph.node):
            self._convert(node)
        fetches = dict(self._subgraph.fetches)
        for name, tensor in fetches.items():
            ref = graph_index.parse_tensor_name(tensor)
            if ref in self._aliases:
                # TF1 copies a fetch out when the whole run is over.
                writers = self._writers.get(self._aliases[ref].source, ())
                fetches[name] = f"{self._read(ref, waits=tuple(node.name for node in writers))}:0"
        for node in self._graph.node:
            if node.op in _VARIABLES:
                _convert_variable(node)
        self._graph.node.extend(self._new)
        return dataclasses.replace(self._subgraph, graph_def=self._graph, fetches=fetches)

    def _check_convertible(self) -> None:
        lost = sorted(
            {
                node.op
                for node in self._graph.node
                for position, ref in enumerate(self._index.inputs(node.name))
                if ref in self._aliases
                and references.takes_reference(node, position)
                and node.op not in references.FORWARDING
                and tensorflow_private.find_op_def(_resource_op(node.op)) is None
            }
        )
        if lost:
            raise errors.BlockedError(
                f"ops write through a reference and have no counterpart for resource variables: {', '.join(lost)}",
                hint="leave out the signatures that need them (--partial)",
            )

    def _convert(self, node: Any) -> None:
        refs = self._index.inputs(node.name)
        held = [position for position, ref in enumerate(refs) if ref in self._aliases]
        if not held:
            return
        if node.op == "Identity":
            self._turn_into_read(node, refs[0])
            return
        by_reference = [p for p in held if references.takes_reference(node, p)]
        for position in held:
            if position not in by_reference:
                waits = [text for i, text in enumerate(node.input) if i not in held]
                node.input[position] = self._read(refs[position], waits=tuple(waits), consumer=node.name)
        if not by_reference:
            return
        for position in by_reference:
            node.input[position] = self._aliases[refs[position]].handle
        self._add_controls(node, [op for p in by_reference for op in self._aliases[refs[p]].after])
        if node.op in references.FORWARDING:
            references.forward_as_resource(node)
        else:
            _turn_into_resource_op(node)

    def _add_controls(self, node: Any, names: list[str]) -> None:
        present = set(node.input)
        node.input.extend(f"^{name}" for name in dict.fromkeys(names) if f"^{name}" not in present)

    def _turn_into_read(self, node: Any, ref: graph_index.TensorRef) -> None:
        alias = self._aliases[ref]
        node.op = "ReadVariableOp"
        node.input[0] = alias.handle
        self._add_controls(node, list(alias.after))
        node.attr.clear()
        node.attr["dtype"].type = self._dtypes[alias.source]

    def _read(self, ref: graph_index.TensorRef, *, waits: tuple[str, ...], consumer: str = "") -> str:
        """Name of a node that reads the alias; shared where no one writes the variable."""
        alias = self._aliases[ref]
        shared = alias.source not in self._writers
        if shared and ref in self._shared:
            return self._shared[ref]
        name = graph_index.make_unique(
            f"{alias.source}/value" if shared or not consumer else f"{consumer}/{alias.source}", self._index.nodes
        )
        node = node_def_pb2.NodeDef(name=name, op="ReadVariableOp", input=[alias.handle])
        node.attr["dtype"].type = self._dtypes[alias.source]
        controls = list(alias.after)
        if not shared:
            controls += [graph_index.parse_tensor_name(text).node for text in waits]
        self._add_controls(node, controls)
        self._new.append(node)
        self._index.nodes[name] = node
        if shared:
            self._shared[ref] = name
        return name


def _resource_op(op: str) -> str:
    return _RENAMED.get(op, f"Resource{op}")


def _turn_into_resource_op(node: Any) -> None:
    node.op = _resource_op(node.op)
    op_def = tensorflow_private.find_op_def(node.op)
    known = {attr.name for attr in op_def.attr}
    if "dtype" in known and "T" in node.attr:
        node.attr["dtype"].CopyFrom(node.attr["T"])
    for name in [name for name in node.attr if name not in known and not name.startswith("_")]:
        del node.attr[name]


def _convert_variable(node: Any) -> None:
    node.op = "VarHandleOp"
    if "_output_shapes" in node.attr:
        del node.attr["_output_shapes"]
    if not node.attr["shared_name"].s:
        node.attr["shared_name"].s = node.name.encode()
