"""Other weights than a model's own, the same on both sides: what a weight of zero, or an output that its weights have
saturated, hides from every input shows with them. numpy only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

# Weights of more than that are left as they are: a copy of each is held on each side.
MOST_BYTES = 2**28
_KINDS = "f"


def draw_weights(name: str, loaded: np.ndarray) -> np.ndarray:
    """Values [*shape] for a float variable, of its name and shape alone, but for their sign.

    What multiplies a row is small by as much as the row is long, so that a chain of layers neither dies out nor
    saturates. What is nowhere negative stays above zero: a variance, a scale.

    Args:
      name: of the variable, on both sides.
      loaded: its values in the model.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    values = np.random.default_rng(int.from_bytes(digest[:8], "big")).standard_normal(loaded.shape)
    if loaded.ndim >= 2:
        values *= np.sqrt(2 / max(1, int(np.prod(loaded.shape[:-1], dtype=np.int64))))
    elif loaded.size and loaded.min() >= 0 and loaded.max() > 0:
        values = 0.5 + np.abs(values) / 2
    else:
        values /= 2
    return values.astype(loaded.dtype)


def draw_all(loaded: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Other values for the float variables among `loaded`, by name; {} where there are none, or too large ones."""
    floats = {name: value for name, value in loaded.items() if value.dtype.kind in _KINDS and value.dtype.itemsize > 2}
    if sum(value.nbytes for value in floats.values()) > MOST_BYTES:
        return {}
    return {name: draw_weights(name, value) for name, value in floats.items()}
