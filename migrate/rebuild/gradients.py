"""Registers with TF2 the gradients that a TF1 author gave to his functions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from migrate.graph import gradient_functions

_numbers = itertools.count()


def name_gradients(graph_def: Any, gradients: Sequence[gradient_functions.CallGradient]) -> dict[str, str]:
    """Writes onto each carrier the name under which its gradient will be registered.

    Returns:
      Node name -> that name, which no other gradient of this process has: TensorFlow has one table of them, and
      each belongs to one trace.
    """
    names = {gradient.node: f"MigratedGradient-{next(_numbers)}" for gradient in gradients}
    for node in graph_def.node:
        if node.name in names:
            node.attr[gradient_functions.MARK].s = names[node.name].encode()
    return names


def register_gradient(name: str, gradient: gradient_functions.CallGradient, carrier: tf.Operation) -> None:
    """Registers the gradient of one call of a traced function.

    Args:
      name: the value of the carrier's mark.
      gradient: what to register.
      carrier: the IdentityN in the function that is being traced; the gradient captures the call's arguments.
    """
    arguments = list(carrier.inputs)[gradient.results :]
    results = list(carrier.outputs)[: gradient.results]
    call = _trace_gradient(gradient.function, [*arguments, *results])

    def compute_gradient(_: tf.Operation | None, *given: tf.Tensor | None) -> list[tf.Tensor | None]:
        filled = [
            tf.zeros_like(result) if grad is None else grad
            for result, grad in zip(results, given[: gradient.results], strict=True)
        ]
        computed = call(*arguments, *filled)
        kept = [
            grad if argument.dtype.is_floating or argument.dtype.is_complex else None
            for argument, grad in zip(arguments, computed, strict=True)
        ]
        return [*[None] * gradient.results, *kept]

    tf.RegisterGradient(name)(compute_gradient)


def _trace_gradient(graph_def: Any, like: Sequence[tf.Tensor]) -> Callable[..., list[tf.Tensor]]:
    def body(*given: tf.Tensor) -> list[tf.Tensor]:
        tf.import_graph_def(graph_def, {f"argument_{k}:0": tensor for k, tensor in enumerate(given)}, name="")
        return list(tf.compat.v1.get_default_graph().get_operation_by_name("gradient").outputs)

    with tf.init_scope():
        wrapped: Callable[..., list[tf.Tensor]] = tf.compat.v1.wrap_function(
            body, [tf.TensorSpec(None, tensor.dtype) for tensor in like]
        )
    return wrapped
