"""Which dimensions are the same number, whatever it is: symbolic shapes of a graph without v1 control flow.

TensorFlow's shape inference knows a dimension or does not; that two unknown ones are equal (the batch of an RNN's input
and of what its cell gives) it does not say. Here an unknown dimension is an Extent, named after the first tensor of the
outermost graph that has it, and is followed through loops, branches and the integers computed from shapes.

An op without a rule in `dimension_rules` gives what TensorFlow's own inference says of it in the outermost graph, and
unknown shapes within functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from migrate.graph import dimension_rules
from migrate.graph import index as graph_index
from migrate.graph.dimension_rules import UNKNOWN, Dims, Extent, Fact, unite, weaken_fact
from migrate.graph.index import read_attr
from migrate.schema import ops

__all__ = ["Dims", "Extent", "Fact", "Scope", "infer_shapes"]


class Scope:
    """Facts of one graph, or of one function's body, found when asked for.

    Args:
      nodes: the NodeDefs.
      library: FunctionDef by name.
      given: facts of a function's arguments by name; None for the outermost graph, whose unknown dimensions get names.
      inferred: shapes of the outermost graph's tensors, as far as TensorFlow infers them (`infer_shapes`).
    """

    def __init__(
        self,
        nodes: Iterable[Any],
        library: Mapping[str, Any],
        given: Mapping[str, Fact] | None = None,
        inferred: Mapping[graph_index.TensorRef, Dims] | None = None,
    ) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.library = library
        self._given = given
        self._inferred = inferred or {}
        self._facts: dict[str, list[Fact]] = {}

    def parse(self, text: str) -> graph_index.TensorRef:
        """An input as it is spelled here: "node:1" in a graph, "node:output:1" or "argument" in a function."""
        name, *rest = text.split(":")
        if self._given is None or text.startswith("^") or not rest:
            return graph_index.parse_tensor_name(text)
        return graph_index.TensorRef(name, _find_position(self.nodes[name], rest[0]) + int(rest[1] if rest[1:] else 0))

    def inputs(self, node: Any) -> list[graph_index.TensorRef]:
        return [self.parse(text) for text in node.input if not text.startswith("^")]

    def find(self, ref: graph_index.TensorRef) -> Fact:
        """What is known of a tensor; asks for no more than it depends on."""
        pending, begun = [ref.node], set[str]()
        while pending:
            name = pending[-1]
            if name in self._facts or name not in self.nodes:
                pending.pop()
            elif name in begun:
                # An input that is begun and not there yet lies on a circle, a v1 loop: nothing is known of it.
                self._facts[name] = self._infer(self.nodes[name])
            else:
                begun.add(name)
                pending.extend(source.node for source in self.inputs(self.nodes[name]) if source.node not in begun)
        return self._look_up(ref)

    def _look_up(self, ref: graph_index.TensorRef) -> Fact:
        if self._given is not None and ref.node in self._given:
            return self._given[ref.node]
        facts = self._facts.get(ref.node, ())
        return facts[ref.index] if 0 <= ref.index < len(facts) else UNKNOWN

    def _infer(self, node: Any) -> list[Fact]:
        rule = dimension_rules.RULES.get(node.op)
        facts = [] if rule is None else rule(self, node, [self._look_up(ref) for ref in self.inputs(node)])
        if self._given is not None:
            return facts
        facts += [UNKNOWN] * (len(graph_index.output_dtypes(node)) - len(facts))
        return [self._name(graph_index.TensorRef(node.name, k), fact) for k, fact in enumerate(facts)]

    def _name(self, ref: graph_index.TensorRef, fact: Fact) -> Fact:
        dims = unite(fact.dims, self._inferred.get(ref))
        if dims is None:
            return fact
        named = tuple(Extent(ref, axis) if dim is None else dim for axis, dim in enumerate(dims))
        return dataclasses.replace(fact, dims=named)

    def call(self, name: str, facts: Sequence[Fact]) -> Scope:
        """The body of a function that is called with arguments of which `facts` is known."""
        function = self.library[name]
        names = (arg.name for arg in function.signature.input_arg)
        return Scope(function.node_def, self.library, dict(zip(names, facts, strict=True)))

    def find_results(self, name: str, facts: Sequence[Fact]) -> list[Fact]:
        body, function = self.call(name, facts), self.library[name]
        return [body.find(body.parse(function.ret[arg.name])) for arg in function.signature.output_arg]

    def find_invariants(self, loop: Any) -> list[Fact]:
        """What holds of each of a loop's values at the start of every round, and at its end."""
        facts = [self.find(ref) for ref in self.inputs(loop)]
        while True:
            results = self.find_results(read_attr(loop, "body").func.name, facts)
            kept = [weaken_fact(before, after) for before, after in zip(facts, results, strict=True)]
            if kept == facts:
                return facts
            facts = kept


def infer_shapes(graph_def: Any, names: Collection[str]) -> dict[graph_index.TensorRef, Dims]:
    """What TensorFlow's inference says of the outputs of the nodes `names`, which need no others."""
    part = graph_pb2.GraphDef(versions=graph_def.versions, library=graph_def.library)
    part.node.extend(node for node in graph_def.node if node.name in names)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(part, name="")
    return {
        graph_index.TensorRef(operation.name, k): None if tensor.shape.rank is None else tuple(tensor.shape)
        for operation in graph.get_operations()
        for k, tensor in enumerate(operation.outputs)
    }


def _find_position(node: Any, output: str) -> int:
    """Of the first tensor of the output argument `output` among all outputs of the node."""
    op_def, position = ops.find_op_def(node.op), 0
    for arg in op_def.output_arg if op_def is not None else ():
        if arg.name == output:
            break
        if arg.type_list_attr:
            position += len(read_attr(node, arg.type_list_attr).list.type)
        else:
            position += read_attr(node, arg.number_attr).i if arg.number_attr else 1
    return position
