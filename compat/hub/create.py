"""module_fn -> ModuleSpec, and what a module_fn calls to describe itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from absl import logging

from compat.hub import advice, colocation, native_spec, saved_model_lib, tf_utils

_KEY = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*\Z")


def create_module_spec(
    module_fn: Callable[..., Any],
    tags_and_args: Iterable[tuple[Iterable[str], dict[str, Any]]] | None = None,
    drop_collections: Iterable[str] | None = None,
) -> Any:
    """Runs `module_fn` in a new graph for each variant, and keeps the graphs.

    Args:
      module_fn: builds the graph and calls hub.add_signature. Variables are resource variables unless it says
        otherwise in a tf.variable_scope.
      tags_and_args: (tags, keyword arguments) of each variant; None: one variant, without tags or arguments.
      drop_collections: collections to empty after each run.

    Returns:
      A ModuleSpec.

    Raises:
      ValueError: there is no signature; a collection is not supported; tags are used twice; state is colocated
        with something that is no state.
    """
    advice.advise("create_module_spec")
    report_tags = bool(tags_and_args)
    handler = saved_model_lib.SavedModelHandler()
    for tags, arguments in tags_and_args or [(set(), {})]:
        with tf.Graph().as_default() as graph:
            with tf.compat.v1.variable_scope("", use_resource=True):
                module_fn(**arguments)
            for key in drop_collections or ():
                graph.clear_collection(key)
        error = colocation.find_state_op_colocation_error(graph, tags if report_tags else None)
        if error:
            raise ValueError(error)
        handler.add_graph_copy(graph, tags)
    return native_spec.NativeModuleSpec(handler, checkpoint_path=None)


def add_signature(name: str | None = None, inputs: Any = None, outputs: Any = None) -> None:
    """Adds a signature to the module that is being defined; one of the same name is replaced.

    Args:
      name: None: "default", which `Module.__call__` applies unless told otherwise.
      inputs: dict of tensors; a bare tensor is keyed "default"; None: no input.
      outputs: dict of tensors; a bare tensor is keyed "default".

    Raises:
      ValueError: an input or output is no (sparse, ragged) tensor, or an input is colocated with another op.
    """
    advice.advise("add_signature")
    key = name or "default"
    sides = [_as_dict(inputs), _as_dict(outputs)]
    _check_types(key, *sides)
    warning = colocation.find_signature_inputs_from_multivalued_ops(sides[0])
    if warning:
        logging.error(warning)
    error = colocation.find_signature_input_colocation_error(key, sides[0])
    if error:
        raise ValueError(error)
    saved_model_lib.add_signature(key, *sides)


def _as_dict(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"default": value}


def _check_types(signature: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    supported = tf_utils.SUPPORTED_ARGUMENT_TYPES
    bad = [
        f"  * {side} '{key}' has type {type(value).__name__}"
        for side, values in (("input", inputs), ("output", outputs))
        for key, value in sorted(values.items())
        if not isinstance(value, supported)
    ]
    if bad:
        kinds = ", ".join(kind.__name__ for kind in supported)
        raise ValueError(
            f"Inputs and outputs in hub.add_signature() of signature '{signature}' should have one of the types "
            f"{kinds}. (A variable is no tensor, but its value() is.)\n" + "\n".join(bad)
        )


def attach_message(key: str, message: Any) -> None:
    """Attaches a protocol message to the module that is being defined; one of the same key is replaced.

    Args:
      key: starts with a letter, then letters, digits, underscores.
      message: stored as bytes; ModuleSpec.get_attached_message gives it back.

    Raises:
      ValueError: `key` is malformed.
    """
    advice.advise("attach_message")
    attach_bytes(key, message.SerializeToString())


def attach_bytes(key: str, data: bytes) -> None:
    """attach_message for bytes that are serialized already.

    Raises:
      ValueError: `key` is malformed.
    """
    if not _KEY.match(key):
        raise ValueError(f"hub.attach_message() called with malformed key '{key}'")
    saved_model_lib.attach_bytes(key, data)
