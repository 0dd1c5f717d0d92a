"""State ops of a module: what is made once for an instance and fed into each application.

A state op is a registered op that is stateful and takes no input: variables, variable handles, tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2

from migrate import tensorflow_private


def is_registered_stateful_op_without_inputs(op: str) -> bool:
    definition = tensorflow_private.find_op_def(op)
    return definition is not None and definition.is_stateful and not definition.input_arg


def list_registered_stateful_ops_without_inputs(graph_def: Any) -> set[str]:
    """Names of the state ops that a GraphDef uses."""
    return {op for op in {node.op for node in graph_def.node} if is_registered_stateful_op_without_inputs(op)}


def check_ops_registered(ops: Iterable[str]) -> None:
    """Every op must be known here.

    Raises:
      tf.errors.NotFoundError: some are not; all are named at once.
    """
    wanted = set(ops)
    if all(tensorflow_private.find_op_def(op) is not None for op in wanted):
        return
    tensorflow_private.refresh_op_defs()  # An op library may have been loaded after the registry was filled.
    missing = sorted(op for op in wanted if tensorflow_private.find_op_def(op) is None)
    if missing:
        text = f"Graph ops missing from the python registry ({missing}) are also absent from the c++ registry."
        raise tf.errors.NotFoundError(None, None, text)


def map_state(graph_def: Any, state_ops: set[str], get_tensor: Callable[[str], Any]) -> dict[str, Any]:
    """Tensor name in the module's graph -> tensor of the instance.

    Raises:
      ValueError: a state op has not exactly one output.
    """
    found = {}
    for node in graph_def.node:
        if node.op not in state_ops:
            continue
        tensor = get_tensor(f"{node.name}:0")
        if len(tensor.op.outputs) != 1:
            raise ValueError(f"Stateful op {node.op} has {len(tensor.op.outputs)} outputs, expected 1")
        found[f"{node.name}:0"] = tensor
    return found


def replace_state_ops(graph_def: Any, fed: Mapping[str, Any]) -> None:
    """Turns state ops whose output is fed into placeholders, in place.

    An application must not make a second variable: if it did, a module made of this graph (a module around a
    module) would have it as state, too.
    """
    state_ops = list_registered_stateful_ops_without_inputs(graph_def)
    for node in graph_def.node:
        if node.op not in state_ops or f"{node.name}:0" not in fed:
            continue
        node.op = "Placeholder"
        for key in [key for key in node.attr if key != "shape"]:
            del node.attr[key]
        node.attr["dtype"].type = types_pb2.DT_RESOURCE


def prefix_shared_names(graph_def: Any, scope: str) -> None:
    """Keeps two instances apart: resources of one `shared_name` would be one resource."""
    for node in graph_def.node:
        if "shared_name" in node.attr and node.attr["shared_name"].s:
            node.attr["shared_name"].s = tf.compat.as_bytes(scope) + b"/" + node.attr["shared_name"].s


def prune_to_outputs(graph_def: Any, outputs: Iterable[str]) -> None:
    """Leaves only what `outputs` (tensor names) need, in place, for graphs that run all of their ops.

    Variable handles stay: they are fed anyway, and what initialises them may name them.
    """
    from migrate.graph import index as graph_index  # Loads protos of TensorFlow that only this path needs.

    needed = graph_index.GraphIndex(graph_def).ancestors(outputs)
    kept = [node for node in graph_def.node if node.name in needed or node.op == "VarHandleOp"]
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del graph_def.node[:]
    graph_def.node.extend(copies)
