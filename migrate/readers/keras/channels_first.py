"""Layers with channels first, as Theano had them, for devices whose kernels want channels last (every CPU).

Old Keras transposed around such layers on a CPU (_preprocess_conv2d_input in keras/backend/tensorflow_backend.py);
tf_keras leaves it to kernels that only GPUs have. The layers here transpose, and are Keras' own for all else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from migrate.readers.keras import configs

_NAMES = (
    *(f"Conv{n}D" for n in (1, 2, 3)),
    *(f"Conv{n}DTranspose" for n in (1, 2, 3)),
    *(f"SeparableConv{n}D" for n in (1, 2)),
    "DepthwiseConv2D",
    *(f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)),
)
_FIRST, _LAST = "channels_first", "channels_last"


class _Transposing:
    """`call` of a layer that would compute with channels first."""

    data_format: str

    def call(self, inputs: Any) -> Any:
        compute: Any = super().call  # type: ignore[misc]
        if self.data_format != _FIRST:
            return compute(inputs)
        rank = inputs.shape.rank
        kept = {name: getattr(self, name) for name in ("data_format", "_tf_data_format") if hasattr(self, name)}
        try:
            self.data_format = _LAST
            if "_tf_data_format" in kept:
                # What a convolution of tf_keras (2.21) hands to its op, decided when it was made.
                self._tf_data_format = {3: "NWC", 4: "NHWC", 5: "NDHWC"}[rank]
            found = compute(tf.transpose(inputs, [0, *range(2, rank), 1]))
        finally:
            for name, value in kept.items():
                setattr(self, name, value)
        return tf.transpose(found, [0, rank - 1, *range(1, rank - 1)])


def find_layers(config: Any) -> Mapping[str, Any]:
    """Classes by name for a config that has layers with channels first; none for all others."""
    used = {
        entry["class_name"]
        for entry in configs.iterate_layers(config)
        if isinstance(entry["config"], Mapping) and entry["config"].get("data_format") == _FIRST
    }
    return {name: type(name, (_Transposing, getattr(tf_keras.layers, name)), {}) for name in _NAMES if name in used}
