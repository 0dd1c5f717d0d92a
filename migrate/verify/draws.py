"""Draws of a random output, reduced while they are made: what a side saves of them, and what is judged.

A draw becomes a vector of fixed length: size, mean, mean square, share of zeros, the extents of a grid, and the
elements on it: rows (the first axis) by positions (the axes between) by channels (the last axis), so that what rows,
positions or channels have in common can be seen. numpy only.
"""

from __future__ import annotations

import functools
import time
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from migrate.arrays import RaggedValue, SparseValue

# So many draws are made first in each process, of every call: two processes whose first draws agree have a fixed seed.
FEWEST = 20
NAMES = ("size", "mean", "mean square", "share of zeros")
GRID = slice(len(NAMES), len(NAMES) + 3)
_ROWS, _ACROSS = 8, 16
# Two roundings of one number are not two numbers.
STEADY = 1e-4
# Infinities are told from numbers, and their squares are numbers still.
_LARGEST = 1e100

Value = np.ndarray | SparseValue | RaggedValue
Answer = Callable[[], Mapping[str, Value]]


def reduce_draw(value: Value) -> np.ndarray:
    """One draw -> [4 + 3 + 128] float64: see `describe_component`; places that a small output lacks are 0."""
    if isinstance(value, SparseValue):
        value = value.values
    elif isinstance(value, RaggedValue):
        value = value.flat_values
    array = np.asarray(value)
    flat = array.ravel()
    if flat.dtype.kind == "O":  # strings have no order of their own: any fixed one serves the test
        numbers = np.array([zlib.crc32(text) for text in flat], np.float64)
    elif flat.dtype.kind == "c":
        numbers = np.abs(flat).astype(np.float64)
    else:
        numbers = flat.astype(np.float64)
    numbers = np.clip(np.nan_to_num(numbers), -_LARGEST, _LARGEST)
    reduced = np.zeros(GRID.stop + _ROWS * _ACROSS)
    if not numbers.size:
        return reduced
    reduced[: GRID.start] = numbers.size, numbers.mean(), np.square(numbers).mean(), (numbers == 0).mean()
    grid = _choose_grid(numbers.reshape(array.shape or (1,)))
    reduced[GRID] = grid.shape
    reduced[GRID.stop : GRID.stop + grid.size] = grid.ravel()
    return reduced


def _choose_grid(numbers: np.ndarray) -> np.ndarray:
    """[rows, positions, channels], evenly spaced; a vector is all rows."""
    rows = numbers.shape[0]
    channels = numbers.shape[-1] if numbers.ndim > 1 else 1
    whole = numbers.reshape(rows, -1, channels)
    return np.asarray(whole[_spread(whole.shape)])


@functools.lru_cache(maxsize=64)
def _spread(shape: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    """What of it is chosen: the same for each of thousands of draws."""
    _, positions, channels = shape
    several = 4 if positions > 1 and channels > 1 else _ACROSS
    most = (_ROWS if positions * channels > 1 else _ROWS * _ACROSS, several, several)
    return np.ix_(*(np.unique(np.linspace(0, n - 1, min(n, m)).astype(int)) for n, m in zip(shape, most, strict=True)))


def draw_in_turns(
    answers: Mapping[tuple[str, str], Answer], draws: Mapping[str, int], seconds: float
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Draws all `answers`, by (route, call id): each `FEWEST` times in turn, whatever it takes, so that two processes
    do the same until then; then each up to `draws` times, by call id,
    within `seconds` for all.

    Returns:
      By route and call: output key -> [draws made, components]; a call that fails is left out.
    """
    found: dict[tuple[str, str], dict[str, list[np.ndarray]]] = {}
    for place, answer in answers.items():
        try:
            found[place] = {}
            for _ in range(FEWEST):
                _add(found[place], answer())
        except Exception:  # A refusal was recorded when the call was made plainly.
            del found[place]
    for place in found:
        started, share = time.monotonic(), seconds / len(found)
        for _ in range(draws[place[1]] - FEWEST):
            if time.monotonic() - started > share:
                break
            try:
                _add(found[place], answers[place]())
            except Exception:  # A call that answered before: what it gave until then counts.
                break
    return {place: {key: np.stack(rows) for key, rows in outputs.items()} for place, outputs in found.items()}


def _add(rows: dict[str, list[np.ndarray]], outputs: Mapping[str, Value]) -> None:
    for key, value in outputs.items():
        rows.setdefault(key, []).append(reduce_draw(value))


def read_grid(draws: Sequence[np.ndarray]) -> tuple[int, int, int] | None:
    """Extents of the grid, where all draws ([n, components] each) have one size and shape; else None."""
    kept = np.concatenate([np.concatenate([rows[:, :1], rows[:, GRID]], axis=1) for rows in draws])
    if not kept.size or not kept[0, 0] or (kept != kept[0]).any():
        return None
    rows, positions, channels = (int(extent) for extent in kept[0, 1:])
    return rows, positions, channels


def find_varying(draws: Mapping[tuple[str, str], Mapping[str, np.ndarray]]) -> set[tuple[str, str]]:
    """(call id, output key) of outputs of which two draws differ."""
    return {
        (call, key)
        for (_, call), outputs in draws.items()
        for key, rows in outputs.items()
        if (np.ptp(rows, axis=0) > STEADY * np.abs(rows).max(axis=0)).any()
    }


def describe_component(position: int) -> str:
    if position < len(NAMES):
        return NAMES[position]
    if position < GRID.stop:
        return "shape"
    return f"element {position - GRID.stop} of the values looked at"
