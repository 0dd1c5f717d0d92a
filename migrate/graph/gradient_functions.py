"""Gradients that their author gave to a function (Defun(grad_func=...)), carried over to TF2.

TF1 keeps them as FunctionDefLibrary.gradient (tensorflow/core/framework/function.proto): the gradient function takes
the function's arguments and the gradients of its results, and returns the gradients of the arguments. TF2 ignores
that table and differentiates the body. What TF2 does keep, through `tf.saved_model.save` too, is a gradient registered
for an IdentityN that carries a call's results and arguments (the form that tf.custom_gradient makes); so each call of
such a function gets one. Invariant: forward values do not change.

A gradient function reads the call's arguments as captures of the traced function, and TF 2.21 saves such captures of
a function's own nodes only. Hence calls within loops, branches and other functions keep no gradient of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tensorflow.core.framework import graph_pb2

from migrate.graph import function_library
from migrate.graph import index as graph_index
from migrate.model import Finding, Severity

MARK = "_gradient_op_type"
_LOOPS = ("Enter", "RefEnter")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallGradient:
    """A call whose gradient its author gave.

    Attributes:
      node: the IdentityN that carries the call's results, then its arguments.
      results: how many of its outputs are results.
      function: a GraphDef with the one call "gradient" of Placeholders "argument_<k>", one for each argument and
        each gradient of a result.
    """

    node: str
    results: int
    function: Any


def find_lost_gradients(graph_def: Any) -> tuple[Finding, ...]:
    """Findings on calls whose own gradient cannot be kept: those not among the graph's own nodes."""
    gradients = {item.function_name: item.gradient_func for item in graph_def.library.gradient}
    if not gradients:
        return ()
    functions = {function.signature.name: function for function in graph_def.library.function}
    looping = any(node.op in _LOOPS for node in graph_def.node)
    called: set[str] = set()
    pending = [name for node in graph_def.node for name in _find_called(node, functions, itself=looping)]
    while pending:
        name = pending.pop()
        if name not in called:
            called.add(name)
            pending.extend(c for node in functions[name].node_def for c in _find_called(node, functions, itself=True))
    return tuple(
        lost_gradient(name, gradients[name], "it is called within a loop, a branch or another function")
        for name in sorted(called & set(gradients))
    )


def _find_called(node: Any, functions: Mapping[str, Any], *, itself: bool) -> list[str]:
    """Functions that a node names in its attributes, and the one that it is a call of where `itself` is set."""
    names = [reference.name for reference in function_library.iterate_references(node)]
    return [name for name in (*names, *([node.op] if itself else [])) if name in functions]


def lost_gradient(where: str, gradient: str, reason: str) -> Finding:
    return Finding(
        code="custom-gradient-lost",
        severity=Severity.WARNING,
        where=where,
        message=f"the gradient {gradient!r} of its author is not kept ({reason}): "
        "TF2 differentiates what it computes instead",
        hint="outputs are not affected; check fine-tuning of this part",
    )


def mark_calls(graph_def: Any) -> tuple[Any, tuple[CallGradient, ...]]:
    """Gives each call of a function with a gradient of its own an IdentityN for that gradient.

    Returns:
      A graph in which the IdentityN has the call's name, so that whoever takes its results takes them from there,
      and the gradients to be registered (`rebuild.gradients`).
    """
    gradients = {item.function_name: item.gradient_func for item in graph_def.library.gradient}
    calls = [node.name for node in graph_def.node if node.op in gradients]
    if not calls or any(node.op in _LOOPS for node in graph_def.node):
        return graph_def, ()
    signatures = {function.signature.name: function.signature for function in graph_def.library.function}
    index = graph_index.GraphIndex(graph_def)
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    found = []
    for node in list(result.node):
        if node.op not in gradients:
            continue
        signature = signatures[node.op]
        arguments = [text for text in node.input if not text.startswith("^")]
        dtypes = [arg.type for arg in (*signature.output_arg, *signature.input_arg)]
        name = graph_index.make_unique(f"{node.name}/call", index.nodes)
        carrier = result.node.add(name=node.name, op="IdentityN")
        node.name = name
        carrier.input.extend([*(f"{name}:{k}" for k in range(len(signature.output_arg))), *arguments])
        carrier.attr["T"].list.type.extend(dtypes)
        found.append(
            CallGradient(
                node=carrier.name,
                results=len(signature.output_arg),
                function=_make_gradient_graph(graph_def, gradients[node.op], signature),
            )
        )
    return result, tuple(found)


def _make_gradient_graph(graph_def: Any, gradient: str, signature: Any) -> Any:
    graph = graph_pb2.GraphDef(versions=graph_def.versions, library=graph_def.library)
    for position, arg in enumerate((*signature.input_arg, *signature.output_arg)):
        node = graph.node.add(name=f"argument_{position}", op="Placeholder")
        node.attr["dtype"].type = arg.type
        node.attr["shape"].shape.unknown_rank = True
    graph.node.add(name="gradient", op=gradient, input=[node.name for node in graph.node])
    return graph
