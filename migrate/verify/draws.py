"""Draws of a random output, reduced while they are made: what a side saves of them, and what is judged.

A draw becomes a vector of fixed length: size, mean, mean square, share of zeros, and elements at fixed places.
numpy only.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping

import numpy as np

from migrate.arrays import RaggedValue, SparseValue

FEWEST = 20
_PLACES = 32
_NAMES = ("size", "mean", "mean square", "share of zeros")


def reduce_draw(value: np.ndarray | SparseValue | RaggedValue) -> np.ndarray:
    """One draw -> [4 + 32] float64: see `describe_component`."""
    if isinstance(value, SparseValue):
        value = value.values
    elif isinstance(value, RaggedValue):
        value = value.flat_values
    flat = np.asarray(value).ravel()
    if flat.dtype.kind == "O":  # strings have no order of their own: any fixed one serves the test
        numbers = np.array([zlib.crc32(text) for text in flat], np.float64)
    elif flat.dtype.kind == "c":
        numbers = np.abs(flat).astype(np.float64)
    else:
        numbers = flat.astype(np.float64)
    numbers = np.nan_to_num(numbers)
    if not numbers.size:
        return np.zeros(len(_NAMES) + _PLACES)
    places = np.linspace(0, numbers.size - 1, _PLACES).astype(int)
    summary = [numbers.size, numbers.mean(), np.square(numbers).mean(), (numbers == 0).mean()]
    return np.concatenate([summary, numbers[places]])


def draw_outputs(
    answer: Callable[[], Mapping[str, np.ndarray | SparseValue | RaggedValue]], draws: int, seconds: float
) -> dict[str, np.ndarray]:
    """Calls `answer` up to `draws` times within `seconds`, at least `FEWEST` times; [draws made, components] a key."""
    found: dict[str, list[np.ndarray]] = {}
    started = time.monotonic()
    for position in range(draws):
        for key, value in answer().items():
            found.setdefault(key, []).append(reduce_draw(value))
        if position + 1 >= FEWEST and time.monotonic() - started > seconds:
            break
    return {key: np.stack(rows) for key, rows in found.items()}


def describe_component(position: int) -> str:
    if position < len(_NAMES):
        return _NAMES[position]
    return f"element at {100 * (position - len(_NAMES)) // (_PLACES - 1)} % of the values"
