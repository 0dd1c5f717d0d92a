"""Puts traced ops in a node's place.

Invariant: the node's name stays, on an Identity (IdentityN, NoOp) that carries its outputs and its control inputs;
so signatures, control edges and consumers stay valid. What is new is named `<node>/rewritten/...`, is pure, and
takes the node's own inputs.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import node_def_pb2

from migrate import tensorflow_private
from migrate.graph import index as graph_index
from migrate.graph.removed_ops.context import RemovedOp, RewriteContext

Rewrite = Callable[[RemovedOp], Sequence[tf.Tensor]]
_FRAME_OPS = frozenset({"Enter", "RefEnter"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traced:
    """What a rewrite made of one node.

    Attributes:
      graph_def: the new ops.
      outputs: tensors of it, in the order of the node's outputs.
      inputs: name of a placeholder in it -> which input of the node it stands for.
    """

    graph_def: Any
    outputs: tuple[tf.Tensor, ...]
    inputs: Mapping[str, int]


def splice_nodes(
    nodes: Sequence[Any], rewrites: Mapping[str, Traced], *, in_function: bool
) -> list[node_def_pb2.NodeDef]:
    """Copies of the nodes of one graph or function body, some replaced.

    Args:
      nodes: NodeDefs.
      rewrites: by name of the node that they replace.
      in_function: a FunctionDef spells "node:output_arg:index" (tensorflow/core/framework/function.proto).
    """
    names = [node.name for node in nodes]
    # In a v1 loop a constant belongs to the outer frame unless a control edge draws it in, as TF1's own do.
    framed = any(node.op in _FRAME_OPS for node in nodes)
    result: list[node_def_pb2.NodeDef] = []
    renamed: dict[str, str] = {}
    for node in nodes:
        if node.name not in rewrites:
            copy = node_def_pb2.NodeDef()
            copy.CopyFrom(node)
            result.append(copy)
            continue
        traced = rewrites[node.name]
        result.extend(_replace(node, traced, _free_prefix(node.name, names), in_function=in_function, framed=framed))
        if in_function:
            renamed.update(_renamed_outputs(node, result[-1]))
    for node in result:
        for position, text in enumerate(node.input):
            if text in renamed:
                node.input[position] = renamed[text]
    return result


@contextlib.contextmanager
def _control_flow_v1() -> Iterator[None]:
    """Loops are written as TF1 wrote them: nodes among the other nodes, which a later pass raises."""
    was_enabled = tf.compat.v1.control_flow_v2_enabled()
    tf.compat.v1.disable_control_flow_v2()
    try:
        yield
    finally:
        if was_enabled:
            tf.compat.v1.enable_control_flow_v2()


def trace_rewrite(rewrite: Rewrite, node: Any, siblings: Mapping[str, Any], context: RewriteContext | None) -> Traced:
    """Runs a rewrite in a graph of its own.

    Raises:
      CannotRewriteError: see there.
    """
    op = RemovedOp(node, siblings, context)
    with tf.Graph().as_default() as graph, _control_flow_v1():
        outputs = tuple(tf.convert_to_tensor(tensor) for tensor in rewrite(op))
    return Traced(
        graph_def=graph.as_graph_def(),
        outputs=outputs,
        inputs={tensor.op.name: position for position, tensor in op.taken.items()},
    )


def rename_returns(function: Any, nodes: Iterable[Any], before: Mapping[str, Any]) -> None:
    """Spells a FunctionDef's results as its replaced nodes now call them."""
    for node in nodes:
        old = before.get(node.name)
        if old is None or old.op == node.op:
            continue
        renamed = _renamed_outputs(old, node)
        for key, text in function.ret.items():
            function.ret[key] = renamed.get(text, text)


def _replace(node: Any, traced: Traced, prefix: str, *, in_function: bool, framed: bool) -> list[node_def_pb2.NodeDef]:
    given = {name: node.input[position] for name, position in traced.inputs.items()}
    data = [text for text in node.input if not text.startswith("^")]
    controls = [text for text in node.input if text.startswith("^")]
    anchor = (f"^{data[-1].split(':')[0]}" if data else next(iter(controls), "")) if framed else ""
    source = graph_index.GraphIndex(traced.graph_def)
    needed = source.ancestors([tensor.name for tensor in traced.outputs])

    def spell(text: str) -> str:
        if text.startswith("^"):
            node = given.get(text[1:], f"{prefix}/{text[1:]}")
            return f"^{node.split(':')[0]}"
        ref = graph_index.parse_tensor_name(text)
        if ref.node in given:
            return str(given[ref.node])
        if not in_function:
            return f"{prefix}/{ref.spelled}"
        return f"{prefix}/{ref.node}:{_output_names(source.nodes[ref.node])[ref.index]}"

    made = []
    for inner in traced.graph_def.node:
        if inner.name not in needed or inner.name in given:
            continue
        copy = node_def_pb2.NodeDef()
        copy.CopyFrom(inner)
        copy.name = f"{prefix}/{inner.name}"
        del copy.input[:]
        copy.input.extend(spell(text) for text in inner.input)
        if anchor and not inner.input:
            copy.input.append(anchor)
        copy.attr.pop("_class", None)  # Colocation by names that are others now.
        if "frame_name" in copy.attr:
            copy.attr["frame_name"].s = f"{prefix}/".encode() + inner.attr["frame_name"].s
        made.append(copy)
    return [*made, _carrier(node.name, traced.outputs, [spell(tensor.name) for tensor in traced.outputs], controls)]


def _carrier(name: str, outputs: Sequence[tf.Tensor], inputs: Sequence[str], controls: Sequence[str]) -> Any:
    carrier = node_def_pb2.NodeDef(name=name, input=[*inputs, *controls])
    if not outputs:
        carrier.op = "NoOp"
    elif len(outputs) == 1:
        carrier.op = "Identity"
        carrier.attr["T"].type = outputs[0].dtype.as_datatype_enum
    else:
        carrier.op = "IdentityN"
        carrier.attr["T"].list.type.extend(tensor.dtype.as_datatype_enum for tensor in outputs)
    return carrier


def _free_prefix(name: str, names: Sequence[str]) -> str:
    prefix = f"{name}/rewritten"
    while any(other.startswith(f"{prefix}/") for other in names):
        prefix += "_"
    return prefix


def _output_names(node: Any) -> list[str]:
    """ "output_arg:index" of each output, as function bodies spell it; [] for an op that is not registered."""
    op_def = tensorflow_private.find_op_def(node.op)
    names: list[str] = []
    for arg in op_def.output_arg if op_def is not None else ():
        if arg.type_list_attr:
            count = len(node.attr[arg.type_list_attr].list.type)
        else:
            count = node.attr[arg.number_attr].i if arg.number_attr else 1
        names.extend(f"{arg.name}:{index}" for index in range(count))
    return names


def _renamed_outputs(old: Any, new: Any) -> dict[str, str]:
    """Old spelling -> new one. Of an op that is gone only the order is known: its one output is called "output"."""
    after = _output_names(new)
    before = _output_names(old) or [f"output:{index}" for index in range(len(after))]
    return {f"{old.name}:{a}": f"{new.name}:{b}" for a, b in zip(before, after, strict=False)}
