"""Gradients of each output with respect to inputs and variables, in a TF1 session and under a TF2 tape.

What is differentiated is the sum of an output's elements weighted by cosines of their position: a plain sum is
constant for a softmax, whose gradient would then be zero whatever the weights are. No path counts as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.model import Encoding, Signature


def spell_gradient(output: str, source: str) -> str:
    return f"d {output} / d {source}"


def make_weights(shape: tuple[int, ...]) -> np.ndarray:
    """Weights [*shape] float64, none of them zero, none equal to another."""
    return np.cos(np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.float64)).reshape(shape)


def session_gradients(
    loaded: Any, signature: Signature, feeds: Mapping[str, Any], reset: Callable[[], None]
) -> dict[str, np.ndarray]:
    """Gradients in the session of a `baseline.LoadedVariant`; sources are float inputs and TRAINABLE_VARIABLES.

    Of keys that share one tensor the first is what a migrated model computes with (finding `inputs-share-tensor`): the
    others have zeros, as nothing depends on their values.

    Args:
      loaded: the variant; its graph is the default one.
      signature: whose outputs are differentiated.
      feeds: tensor name -> value.
      reset: puts the state back, before each run.
    """
    graph = loaded.graph
    sources: dict[str, Any] = {
        f"input {key}": graph.get_tensor_by_name(tensor.name)
        for key, tensor in signature.inputs.items()
        if tensor.encoding is Encoding.DENSE and tensor.name in feeds
    }
    sources = {name: tensor for name, tensor in sources.items() if tensor.dtype.is_floating}
    unread = _find_repeated(sources)
    sources |= {v.op.name: v for v in tf.compat.v1.trainable_variables() if v.dtype.base_dtype.is_floating}
    found: dict[str, np.ndarray] = {}
    for key, tensor in signature.outputs.items():
        output = graph.get_tensor_by_name(tensor.name)
        if not output.dtype.is_floating or not sources:
            continue
        reset()
        shape = np.shape(loaded.session.run(output, feeds))
        # Built once a signature: another batch only takes other weights.
        weights, dense = loaded.gradient_ops.get((signature.key, key), (None, None))
        if dense is None:
            weights = tf.compat.v1.placeholder(output.dtype, None)
            # A tensor that is fed no longer depends on what the graph computes it from, another input say.
            fed = [graph.get_tensor_by_name(name) for name in feeds]
            gradients = tf.compat.v1.gradients(
                output,
                list(sources.values()),
                grad_ys=tf.reshape(weights, tf.shape(output)),
                stop_gradients=fed,
            )
            dense = [_densify(gradient, source) for gradient, source in zip(gradients, sources.values(), strict=True)]
            loaded.gradient_ops[signature.key, key] = weights, dense
        reset()
        arrays = loaded.session.run(dense, {**feeds, weights: make_weights(shape)})
        for name, array in zip(sources, arrays, strict=True):
            found[spell_gradient(key, name)] = np.zeros_like(array) if name in unread else np.asarray(array)
    return found


def tape_gradients(
    compute: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    inputs: Mapping[str, Any],
    variables: Mapping[str, Any],
    reset: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """Gradients of `compute(inputs)`; sources are dense float inputs and all float variables.

    One tape an output: a persistent tape asks TensorFlow for second derivatives of every function, which ops such
    as SparseSegmentMean do not have (TF 2.21). `reset` puts the state back before each run.
    """
    watched = {
        f"input {key}": value for key, value in inputs.items() if isinstance(value, tf.Tensor) and _is_float(value)
    }
    named = {name: variable for name, variable in variables.items() if _is_float(variable)}
    sources = {**watched, **named}
    reset()
    keys = [key for key, value in compute(inputs).items() if _is_float(value)] if sources else []
    found: dict[str, np.ndarray] = {}
    for key in keys:
        reset()
        with tf.GradientTape() as tape:
            tape.watch(list(sources.values()))
            value = compute(inputs)[key]
            value = getattr(value, "flat_values", getattr(value, "values", value))
            total = tf.reduce_sum(value * tf.constant(make_weights(tuple(value.shape)), value.dtype))
        gradients = tape.gradient(total, list(sources.values()))
        for (name, source), gradient in zip(sources.items(), gradients, strict=True):
            found[spell_gradient(key, name)] = _densify(gradient, source).numpy()
    return found


def _find_repeated(sources: Mapping[str, Any]) -> frozenset[str]:
    """Names of the sources whose tensor an earlier name has already."""
    first: dict[str, str] = {}
    return frozenset(name for name, tensor in sources.items() if first.setdefault(tensor.name, name) != name)


def _is_float(value: Any) -> bool:
    return bool(value.dtype.is_floating)


def _densify(gradient: Any, source: Any) -> tf.Tensor:
    if gradient is None:
        return tf.zeros_like(source)
    return tf.convert_to_tensor(gradient)
