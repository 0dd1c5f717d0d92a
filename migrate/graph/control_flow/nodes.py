"""The working form of a GraphDef: nodes that point at nodes, and what each op's outputs are.

Invariant: a `Node` is compared by identity, its `proto` is never written to, and `inputs` / `controls` are
the only edges that the rest of the pass may redirect.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from migrate import tensorflow_private
from migrate.graph.index import read_attr

VARIANT = tf.variant.as_datatype_enum
RESOURCE = tf.resource.as_datatype_enum
INT32 = tf.int32.as_datatype_enum
BOOL = tf.bool.as_datatype_enum

# The reference forms do what the plain ones do, once no reference variable is left.
_KINDS = {"RefSwitch": "Switch", "RefMerge": "Merge", "RefEnter": "Enter", "RefExit": "Exit"}
_KINDS["RefNextIteration"] = "NextIteration"
CONTROL_FLOW_OPS = frozenset(("Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"))

# Pseudo ops of the pass itself; they never reach the result.
LOOP = "__Loop__"
RAW = "__Raw__"


class NotRaised(Exception):
    """A construct that has to stay as it is.

    Attributes:
      subject: the frame or region that stays, None when the whole graph has to.
      where: name of the node that shows why.
    """

    def __init__(self, subject: Any, where: str, reason: str) -> None:
        super().__init__(subject, where, reason)
        self.subject = subject
        self.where = where
        self.reason = reason


class Tensor(NamedTuple):
    """Output `index` (flat) of `node`."""

    node: Node
    index: int  # type: ignore[assignment]  # in the place of tuple.index, which nobody asks of a tensor


@dataclasses.dataclass(slots=True, eq=False)
class Node:
    """One node of the graph.

    Attributes:
      name, kind: `kind` is the op, with the reference forms of control flow named as the plain ones.
      proto: the NodeDef; inputs in it are stale.
      inputs, controls: data and control edges.
      payload: what a pseudo op stands for (a Loop, or the nodes of a left loop).
    """

    name: str
    kind: str
    proto: Any
    inputs: list[Tensor]
    controls: list[Node]
    payload: Any = None


class Ops:
    """Output signatures of ops: registered ones and the functions of one library."""

    def __init__(self, library: Any) -> None:
        self._functions = {function.signature.name: function.signature for function in library.function}

    def find(self, op: str) -> Any | None:
        """OpDef of `op`, None where today's TensorFlow does not know it."""
        return self._functions.get(op) or tensorflow_private.find_op_def(op)

    def is_stateful(self, node: Node) -> bool:
        definition = self.find(node.kind)
        return definition is None or definition.is_stateful

    def outputs(self, proto: Any) -> list[tuple[str, int, int]]:
        """(output argument, index in it, dtype enum) for each flat output of a NodeDef."""
        definition = self.find(proto.op)
        if definition is None:
            raise NotRaised(None, proto.name, f"the op {proto.op} is not registered")
        flat: list[tuple[str, int, int]] = []
        for argument in definition.output_arg:
            flat.extend(
                (argument.name, i, dtype) for i, dtype in enumerate(_argument_types(argument, proto, definition))
            )
        return flat


def _attribute(proto: Any, name: str, definition: Any) -> Any:
    if name in proto.attr:
        return proto.attr[name]
    return next(attr.default_value for attr in definition.attr if attr.name == name)


def _argument_types(argument: Any, proto: Any, definition: Any) -> list[int]:
    if argument.type_list_attr:
        return list(_attribute(proto, argument.type_list_attr, definition).list.type)
    dtype = argument.type or _attribute(proto, argument.type_attr, definition).type
    count = _attribute(proto, argument.number_attr, definition).i if argument.number_attr else 1
    return [dtype] * count


def parse_nodes(graph_def: Any) -> list[Node]:
    """Nodes of `graph_def` in its own order. Raises `NotRaised` where an input names nothing."""
    nodes = [Node(proto.name, _KINDS.get(proto.op, proto.op), proto, [], []) for proto in graph_def.node]
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        for text in node.proto.input:
            try:
                if text.startswith("^"):
                    node.controls.append(by_name[text[1:]])
                else:
                    name, _, index = text.partition(":")
                    node.inputs.append(Tensor(by_name[name], int(index or 0)))
            except KeyError:
                raise NotRaised(None, node.name, f"its input {text} does not exist") from None
    return nodes


def sources(node: Node) -> Iterable[Node]:
    """Nodes that `node` depends on, by data or control; one may come several times."""
    for tensor in node.inputs:
        yield tensor.node
    yield from node.controls


def sort_nodes(nodes: list[Node]) -> list[Node]:
    """`nodes` so that each comes after its sources; edges NextIteration -> Merge do not count.

    Raises `NotRaised` when another cycle exists.
    """
    missing = dict.fromkeys(nodes, 0)
    consumers: Mapping[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for source in sources(node):
            if node.kind == "Merge" and source.kind == "NextIteration":
                continue
            if source in missing:
                missing[node] += 1
                consumers[source].append(node)
    ready = deque(node for node in nodes if not missing[node])
    ordered = []
    while ready:
        node = ready.popleft()
        ordered.append(node)
        for consumer in consumers[node]:
            missing[consumer] -= 1
            if not missing[consumer]:
                ready.append(consumer)
    if len(ordered) != len(nodes):
        stuck = next(node for node in nodes if missing[node])
        raise NotRaised(None, stuck.name, "it lies on a cycle that is no loop")
    return ordered


def find_shape(node: Node, index: int) -> Any | None:
    """TensorShapeProto that the writer of the graph recorded for an output, None where it recorded none."""
    shapes = read_attr(node.proto, "_output_shapes").list.shape if "_output_shapes" in node.proto.attr else ()
    return shapes[index] if index < len(shapes) else None


def strip_identity(tensor: Tensor) -> Tensor:
    """The tensor whose value `tensor` is, through Identity, Switch and Enter(is_constant)."""
    while True:
        node = tensor.node
        if node.kind in ("Identity", "Switch") or (node.kind == "Enter" and read_attr(node.proto, "is_constant").b):
            tensor = node.inputs[0]
        else:
            return tensor


def copy_proto(proto: Any) -> Any:
    """A NodeDef of one's own to write to."""
    copy = tf.compat.v1.NodeDef()
    copy.CopyFrom(proto)
    return copy
