"""Names functions by their content.

A TensorFlow process has one name space for functions: two graphs with different functions of one name cannot both
be imported (TF 2.21: "Attempting to add a duplicate function with name"). Invariant: only names change, and
functions that no node can reach are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from tensorflow.core.framework import function_pb2, graph_pb2

# Tracing marks of TF2 that name other functions as plain strings; a saved function does not need them.
_NAME_ATTRIBUTES = ("forward_function_name", "backward_function_name", "_xla_forward_function_name")
_DIGITS = 12


def name_by_content(graph_def: Any) -> Any:
    """Returns a copy whose library functions are named `<name>_<digest of the content>`."""
    if not graph_def.library.function:
        return graph_def
    functions = {function.signature.name: function for function in graph_def.library.function}
    gradients = {item.function_name: item.gradient_func for item in graph_def.library.gradient}
    renamed: dict[str, function_pb2.FunctionDef] = {}

    def rename(name: str) -> str:
        if name not in functions:
            return name
        if name not in renamed:
            function = function_pb2.FunctionDef()
            function.CopyFrom(functions[name])
            for attribute in _NAME_ATTRIBUTES:
                if attribute in function.attr:
                    del function.attr[attribute]
            for node in function.node_def:
                _rename_references(node, rename, functions)
            function.signature.name = ""
            digest = hashlib.sha256(function.SerializeToString(deterministic=True)).hexdigest()[:_DIGITS]
            function.signature.name = f"{name}_{digest}"
            renamed[name] = function
        return str(renamed[name].signature.name)

    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    result.ClearField("library")
    for node in result.node:
        _rename_references(node, rename, functions)
    for name in list(renamed):
        if name in gradients:
            rename(gradients[name])
    result.library.function.extend(renamed[name] for name in sorted(renamed))
    for name, gradient in gradients.items():
        if name in renamed:
            result.library.gradient.add(function_name=rename(name), gradient_func=rename(gradient))
    return result


def _rename_references(node: Any, rename: Any, functions: dict[str, Any]) -> None:
    if node.op in functions:
        node.op = rename(node.op)
    for reference in iterate_references(node):
        reference.name = rename(reference.name)


def iterate_references(node: Any) -> Iterator[Any]:
    """The NameAttrLists by which a node names functions."""
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func
        yield from value.list.func
