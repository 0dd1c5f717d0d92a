"""Functions that also return what they compute inside: GraphDef -> GraphDef, in place, on a copy made for that.

A call returns its function's inner tensors beside its outputs. An If returns those of both branches; the branch that is
not taken gives zeros for them. Of a While the first iterations are made once more beside it, each in an If that asks
the loop's own condition, and those return what the body computes: `mul (iteration 1)`. FunctionDef spells a tensor
"node:output argument:index" (tensorflow/core/framework/function.proto).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import function_pb2

from migrate import tensorflow_private
from migrate.graph import index as graph_index
from migrate.graph import observable
from migrate.model import Signature

NO_VALUE = ("resource", "variant", "")
_BRANCHES = ("If", "StatelessIf")
_LOOPS = ("While", "StatelessWhile")
_ITERATIONS = 2
Inner = list[tuple[str, str, int]]  # (name, op, DataType) of the outputs that were added


def expose_signature(graph_def: Any, signature: Signature, *, with_bodies: bool = True) -> dict[str, tuple[str, str]]:
    """Edits `graph_def` so that what the signature calls returns its inner tensors.

    Args:
      graph_def: of a TF2 SavedModel.
      signature: whose outputs are asked for.
      with_bodies: whether to look into loops and branches.

    Returns:
      Name of a node -> (tensor to fetch, op), inputs first.
    """
    index = graph_index.GraphIndex(graph_def)
    exposer = _Exposer(graph_def, with_bodies)
    outputs = [name for tensor in signature.outputs.values() for name in tensor.tensor_names]
    exposed: dict[str, tuple[str, str]] = {}
    for name in observable.order_nodes(index, sorted(index.ancestors(outputs))):
        node = index.nodes[name]
        if node.op in observable.CALLS:
            first, inner = exposer.expose_call(node)
            for position, (inner_name, op, _) in enumerate(inner):
                exposed.setdefault(inner_name, (f"{name}:{first + position}", op))
        elif node.op not in observable.SILENT and index.dtype(f"{name}:0") not in NO_VALUE:
            exposed.setdefault(name, (f"{name}:0", node.op))
    return exposed


class _Exposer:
    """Makes copies of a library's functions that return more."""

    def __init__(self, graph_def: Any, with_bodies: bool) -> None:
        self._graph_def = graph_def
        self._library = {function.signature.name: function for function in graph_def.library.function}
        self._with_bodies = with_bodies

    def expose_call(self, node: Any) -> tuple[int, Inner]:
        """Makes a call node call a copy that returns more; the number of its first new output, and what is new."""
        copy, inner = self._expose_function(node.attr["f"].func.name)
        node.attr["f"].func.name = copy.signature.name
        return _add_outputs(node, inner), inner

    def _expose_function(self, name: str) -> tuple[Any, Inner]:
        copy = function_pb2.FunctionDef()
        copy.CopyFrom(self._library[name])
        copy.signature.name = self._new_name(name)
        added: Inner = []
        for node in _order_body(copy):
            for item, tensor in self._expose_node(copy, node):
                _return(copy, f"exposed_{len(added)}", item[2], tensor)
                added.append(item)
        return self._add(copy), added

    def _expose_node(self, function: Any, node: Any) -> list[tuple[tuple[str, str, int], str]]:
        """(what, its tensor) of a node and of all that it calls."""
        if node.op in observable.CALLS:
            first, inner = self.expose_call(node)
            return [(item, f"{node.name}:output:{first + i}") for i, item in enumerate(inner)]
        if node.op in _BRANCHES and self._with_bodies:
            first, inner = self._expose_branches(node)
            found = [(item, f"{node.name}:output:{first + i}") for i, item in enumerate(inner)]
            return found + _find_results(node, first)
        if node.op in _LOOPS:
            found = self._unroll(function, node) if self._with_bodies else []
            return found + _find_results(node, len(node.attr["T"].list.type))
        if node.op in _BRANCHES:
            return _find_results(node, len(node.attr["Tout"].list.type))
        return _find_output(node)

    def _expose_branches(self, node: Any) -> tuple[int, Inner]:
        copies = {name: self._expose_function(node.attr[name].func.name) for name in ("then_branch", "else_branch")}
        (then, of_then), (otherwise, of_else) = copies["then_branch"], copies["else_branch"]
        # Each branch gives zeros where the other one computes.
        _return_zeros(then, [dtype for _, _, dtype in of_else], "idle")
        taken = list(otherwise.signature.output_arg)
        count = len(taken) - len(of_else)
        del otherwise.signature.output_arg[count:]
        _return_zeros(otherwise, [dtype for _, _, dtype in of_then], "idle")
        otherwise.signature.output_arg.extend(taken[count:])
        for name, (copy, _) in copies.items():
            node.attr[name].func.name = copy.signature.name
        inner = [*of_then, *of_else]
        return _add_outputs(node, inner), inner

    def _unroll(self, function: Any, node: Any) -> list[tuple[tuple[str, str, int], str]]:
        types = list(node.attr["T"].list.type)
        body, inner = self._expose_function(node.attr["body"].func.name)
        idle = self._make_idle(types, [dtype for _, _, dtype in inner])
        carried = [text for text in node.input if not text.startswith("^")]
        found = []
        for number in range(1, _ITERATIONS + 1):
            test = function.node_def.add(name=f"{node.name}_exposed_test_{number}", op="StatefulPartitionedCall")
            test.input.extend(carried)
            test.attr["f"].func.CopyFrom(node.attr["cond"].func)
            test.attr["Tin"].list.type.extend(types)
            condition = self._library[node.attr["cond"].func.name].signature.output_arg[0].type
            test.attr["Tout"].list.type.append(condition)
            step = function.node_def.add(name=f"{node.name}_exposed_step_{number}", op="If")
            step.input.extend([f"{test.name}:output:0", *carried])
            step.attr["then_branch"].func.CopyFrom(node.attr["body"].func)
            step.attr["then_branch"].func.name = body.signature.name
            step.attr["else_branch"].func.name = idle
            step.attr["Tcond"].type = condition
            step.attr["Tin"].list.type.extend(types)
            step.attr["Tout"].list.type.extend([*types, *(dtype for _, _, dtype in inner)])
            for position, (name, op, dtype) in enumerate(inner):
                item = f"{name} (iteration {number})", op, dtype
                found.append((item, f"{step.name}:output:{len(types) + position}"))
            carried = [f"{step.name}:output:{i}" for i in range(len(types))]
        return found

    def _make_idle(self, passed: Sequence[int], zeros: Sequence[int]) -> str:
        """A function that gives back its arguments, and zeros."""
        function = function_pb2.FunctionDef()
        function.signature.name = self._new_name("idle")
        for position, dtype in enumerate(passed):
            function.signature.input_arg.add(name=f"x{position}", type=dtype)
            _return(function, f"y{position}", dtype, f"x{position}")
        _return_zeros(function, zeros, "idle")
        return str(self._add(function).signature.name)

    def _new_name(self, name: str) -> str:
        return f"{name}_exposed_{len(self._library)}"

    def _add(self, function: Any) -> Any:
        self._graph_def.library.function.append(function)
        kept = self._graph_def.library.function[-1]
        self._library[kept.signature.name] = kept
        return kept


def _add_outputs(node: Any, inner: Inner) -> int:
    types = node.attr["Tout"].list.type
    first = len(types)
    types.extend(dtype for _, _, dtype in inner)
    for name in ("_output_shapes", "output_shapes"):
        if name in node.attr:
            del node.attr[name]
    return first


def _return(function: Any, name: str, dtype: int, tensor: str) -> None:
    function.signature.output_arg.add(name=name, type=dtype)
    function.ret[name] = tensor


def _return_zeros(function: Any, dtypes: Sequence[int], name: str) -> None:
    for position, dtype in enumerate(dtypes):
        node = function.node_def.add(name=f"{name}_{position}", op="Const")
        node.attr["dtype"].type = dtype
        zero = "" if dtype == tf.string else np.zeros((), tf.as_dtype(dtype).as_numpy_dtype)
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(zero, dtype))
        _return(function, f"{name}_{position}", dtype, f"{node.name}:output:0")


def _order_body(function: Any) -> list[Any]:
    """Nodes of a function with inputs first. Inputs are spelled "node:output argument:index" there."""
    nodes = {node.name: node for node in function.node_def}
    done: set[str] = set()
    found: list[Any] = []
    for root in nodes:
        pending = [(root, False)]
        while pending:
            name, ready = pending.pop()
            if ready:
                found.append(nodes[name])
            elif name in nodes and name not in done:
                done.add(name)
                pending.append((name, True))
                pending.extend((text.split(":")[0], False) for text in nodes[name].input if text[0] != "^")
    return found


def _find_results(node: Any, count: int) -> list[tuple[tuple[str, str, int], str]]:
    """What a loop or branch gives, as far as it holds values: `name` for the first, `name:1` for the next."""
    types = list(node.attr["T" if node.op in _LOOPS else "Tout"].list.type)[:count]
    return [
        ((f"{node.name}:{i}" if i else node.name, node.op, dtype), f"{node.name}:output:{i}")
        for i, dtype in enumerate(types)
        if graph_index.dtype_name(dtype) not in NO_VALUE
    ]


def _find_output(node: Any) -> list[tuple[tuple[str, str, int], str]]:
    """The first output of a node, if it is one tensor that holds values."""
    op_def = tensorflow_private.find_op_def(node.op)
    if node.op in observable.SILENT or op_def is None or not op_def.output_arg:
        return []
    argument = op_def.output_arg[0]
    dtypes = graph_index.output_dtypes(node)
    if argument.number_attr or argument.type_list_attr or not dtypes:
        return []
    if graph_index.is_ref(dtypes[0]) or graph_index.dtype_name(dtypes[0]) in NO_VALUE:
        return []
    return [((node.name, node.op, dtypes[0]), f"{node.name}:{argument.name}:0")]
