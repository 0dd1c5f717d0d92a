"""Weights of Keras 1, and of the Theano backend -> the arrays that tf_keras' layers take. numpy only.

Keras 1 kept each gate of an LSTM or GRU by itself, and convolution kernels in the order of their `dim_ordering`
(keras/engine/topology.py preprocess_weights_for_loading of Keras 2.0). Theano convolves where TensorFlow correlates:
its kernels are turned round in space.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from migrate import errors

TURNED = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D", "SeparableConv2D")
# Arrays of Keras 1, gates apart, for the three of Keras 2: kernel, recurrent kernel, bias.
_GATES = {"LSTM": 12, "ConvLSTM2D": 12, "GRU": 9}
_NESTED = ("Sequential", "Functional", "Model")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who wrote the weights: Keras 1 or later, on Theano or not; `path` is for errors."""

    is_first: bool
    is_theano: bool
    path: str


def convert_weights(layer: Any, arrays: Sequence[Any], origin: Origin) -> list[Any]:
    """The arrays for a layer of tf_keras, in the order of its trainable, then its other weights.

    Args:
      layer: a built layer or model.
      arrays: as the file has them for it.
      origin: who wrote them.

    Raises:
      CorruptModelError: there are more or fewer arrays than the layer has, or of another shape.
    """
    kind = type(layer).__name__
    found = list(arrays)
    if kind in _NESTED:
        found = _convert_model(layer, found, origin)
    elif kind == "Bidirectional":
        half = len(found) // 2
        found = [
            *convert_weights(layer.forward_layer, found[:half], origin),
            *convert_weights(layer.backward_layer, found[half:], origin),
        ]
    elif kind == "TimeDistributed":
        found = convert_weights(layer.layer, found, origin)
    else:
        if origin.is_first:
            found = _convert_first(layer, kind, found)
        if origin.is_theano and kind in TURNED:
            turned = 2 if kind in ("ConvLSTM2D", "SeparableConv2D") else 1
            found = [turn_kernel(array) for array in found[:turned]] + found[turned:]
    _check(layer, found, origin.path)
    return found


def count_stored(layer: Any, weights: int, origin: Origin) -> int:
    """How many arrays a file has for the `weights` of a layer: gates lie apart in Keras 1."""
    kind = type(layer).__name__
    gates = _GATES.get(kind, 0) if origin.is_first else 0
    if kind == "Bidirectional" and origin.is_first:
        gates = 2 * _GATES.get(type(layer.forward_layer).__name__, 0)
    if kind == "TimeDistributed":
        return count_stored(layer.layer, weights, origin)
    return gates if gates and weights else weights


def turn_kernel(kernel: Any) -> Any:
    """[*space, in, out] with all axes of space reversed: convolution <-> correlation."""
    return np.ascontiguousarray(kernel[(*[slice(None, None, -1)] * (kernel.ndim - 2), ...)])


def _convert_model(model: Any, arrays: list[Any], origin: Origin) -> list[Any]:
    """A model within a model has its trainable weights first, then the others, each in the order of its layers."""
    trainable = [count_stored(sub, len(sub.trainable_weights), origin) for sub in model.layers]
    others = arrays[sum(trainable) :]
    first: list[Any] = []
    last: list[Any] = []
    for sub, count in zip(model.layers, trainable, strict=True):
        frozen = len(sub.non_trainable_weights)
        stored = count_stored(sub, frozen, origin) if not count else frozen
        own, arrays = arrays[:count], arrays[count:]
        rest, others = others[:stored], others[stored:]
        if not (own or rest):
            continue
        converted = convert_weights(sub, [*own, *rest], origin)
        first += converted[: len(sub.trainable_weights)]
        last += converted[len(sub.trainable_weights) :]
    return [*first, *last]


def _convert_first(layer: Any, kind: str, arrays: list[Any]) -> list[Any]:
    """One layer of Keras 1."""
    if kind in ("LSTM", "ConvLSTM2D") and len(arrays) == 12:
        # i, c, f, o of (W, U, b) -> i, f, c, o
        arrays = [np.concatenate([arrays[gate * 3 + part] for gate in (0, 2, 1, 3)], axis=-1) for part in range(3)]
    elif kind == "GRU" and len(arrays) == 9:
        arrays = [np.concatenate(arrays[part::3], axis=-1) for part in range(3)]
    if kind == "Conv1D":
        return [_order_1d(arrays[0], layer), *arrays[1:]]
    if kind not in TURNED:
        return arrays
    is_first_axis = layer.data_format == "channels_first"
    count = 2 if kind in ("ConvLSTM2D", "SeparableConv2D") else 1
    if kind == "Conv2DTranspose":
        order = (2, 3, 0, 1) if is_first_axis else (0, 1, 3, 2)
        return [np.transpose(arrays[0], order), *arrays[1:]]
    if not is_first_axis:
        return arrays
    # [out, in, *space] -> [*space, in, out]
    return [np.transpose(a, (*range(2, a.ndim), 1, 0)) for a in arrays[:count]] + arrays[count:]


def _order_1d(kernel: Any, layer: Any) -> Any:
    """[length, 1, in, out] of Keras 1.2, [out, in, length, 1] of Keras 1.0 and 1.1 -> [length, in, out]."""
    (length,) = layer.kernel_size
    if kernel.ndim == 4 and (kernel.shape[:2] != (length, 1) or kernel.shape[3] != layer.filters):
        kernel = np.transpose(kernel, (2, 3, 1, 0))
    return kernel[:, 0] if kernel.ndim == 4 else kernel


def _check(layer: Any, arrays: Sequence[Any], path: str) -> None:
    wanted = [tuple(w.shape) for w in (*layer.trainable_weights, *layer.non_trainable_weights)]
    found = [tuple(array.shape) for array in arrays]
    if wanted != found:
        raise errors.CorruptModelError(
            f"the weights of layer {layer.name!r} have shapes {found}, the model's are {wanted}",
            where=path,
            hint="weights and model are not of one architecture",
        )
