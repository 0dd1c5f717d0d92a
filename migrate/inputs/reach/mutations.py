"""Inputs made out of other inputs: what a search tries next. numpy only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from migrate.arrays import RaggedValue, SparseValue

# Beyond these a float says nothing that a smaller one does not, and a whole number may ask for memory.
_LARGEST_FLOAT = 1e4
_LARGEST_SCALAR = 1000
_FACTORS = (10.0, 0.1, -1.0, 100.0, 0.01, -10.0, 1000.0)
_ROWS = (1, 2, 5, 16, 0)
_MOST_ELEMENTS = 2**20

Inputs = Mapping[str, Any]


def mutate(inputs: Inputs, constants: Sequence[Any], others: Sequence[Inputs], rng: np.random.Generator) -> Inputs:
    """Other values of one input, or of all; or other sizes.

    Args:
      inputs: by key: arrays, SparseValues or RaggedValues.
      constants: what the graph compares with.
      others: inputs of the same signature, from which values are taken over.
      rng: draws which.
    """
    keys = [key for key in inputs if _count(inputs[key])]
    if not keys:
        return dict(inputs)
    draw = rng.random()
    if others and draw < 0.1:
        key = keys[rng.integers(len(keys))]
        other = others[int(rng.integers(len(others)))]
        same = key in other and type(other[key]) is type(inputs[key])
        return {**inputs, key: other[key]} if same and _fits(inputs[key], other[key]) else dict(inputs)
    if draw < 0.2:
        return _resize(inputs, rng)
    chosen = keys if rng.random() < 0.3 else [keys[rng.integers(len(keys))]]
    return {key: _change(value, constants, rng) if key in chosen else value for key, value in inputs.items()}


def _count(value: Any) -> int:
    if isinstance(value, SparseValue):
        return int(value.values.size)
    if isinstance(value, RaggedValue):
        return int(value.flat_values.size)
    return int(np.asarray(value).size)


def _fits(one: Any, other: Any) -> bool:
    return not isinstance(one, np.ndarray) or one.shape == other.shape


def _change(value: Any, constants: Sequence[Any], rng: np.random.Generator) -> Any:
    if isinstance(value, SparseValue):
        return dataclasses.replace(value, values=_change_array(value.values, constants, rng))
    if isinstance(value, RaggedValue):
        return dataclasses.replace(value, flat_values=_change_array(value.flat_values, constants, rng))
    return _change_array(np.asarray(value), constants, rng)


def _change_array(array: np.ndarray, constants: Sequence[Any], rng: np.random.Generator) -> np.ndarray:
    kind = "f" if array.dtype.name == "bfloat16" else array.dtype.kind
    changes: Mapping[str, Callable[[np.ndarray, Sequence[Any], np.random.Generator], np.ndarray]] = {
        "f": _change_floats,
        "i": _change_integers,
        "u": _change_integers,
        "O": _change_strings,
        "b": _change_bools,
    }
    return changes[kind](array, constants, rng) if kind in changes else array


def _choose_places(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mask of the elements that change: all, one row, or one."""
    draw = rng.random()
    if draw < 0.6 or not array.shape:
        return np.ones(array.shape, bool)
    mask = np.zeros(array.shape, bool)
    if draw < 0.8:
        mask[rng.integers(array.shape[0])] = True
    else:
        mask.reshape(-1)[rng.integers(array.size)] = True
    return mask


def _change_floats(array: np.ndarray, constants: Sequence[Any], rng: np.random.Generator) -> np.ndarray:
    mask = _choose_places(array, rng)
    numbers = [float(n) for n in constants if isinstance(n, int | float) and abs(n) <= _LARGEST_FLOAT]
    draw = rng.random()
    wide = array.astype(np.float64)
    if draw < 0.4:
        changed = wide * _FACTORS[rng.integers(len(_FACTORS))]
    elif draw < 0.6 and numbers:
        number = numbers[rng.integers(len(numbers))]
        changed = np.full(array.shape, number + float(rng.choice((-1.0, -0.01, 0.0, 0.01, 1.0))) * (abs(number) or 1))
    elif draw < 0.8:
        changed = wide + float(rng.choice((-1.0, 1.0))) * 10.0 ** float(rng.integers(-1, 4))
    else:
        changed = np.full(array.shape, float(rng.choice((0.0, 1.0, -1.0, 10.0, -10.0, 1000.0))))
    changed = np.clip(changed, -_LARGEST_FLOAT, _LARGEST_FLOAT)
    return np.where(mask, changed, wide).astype(array.dtype)


def _change_integers(array: np.ndarray, constants: Sequence[Any], rng: np.random.Generator) -> np.ndarray:
    mask = _choose_places(array, rng)
    largest = max(_LARGEST_SCALAR if not array.shape else 0, int(array.max()))
    numbers = [int(n) for n in constants if isinstance(n, int | float) and abs(n) <= (largest or 1) * 1000]
    draw = rng.random()
    wide = array.astype(np.int64)
    if draw < 0.35 and numbers:
        changed = np.full(array.shape, numbers[rng.integers(len(numbers))] + int(rng.integers(-1, 2)))
    elif draw < 0.6:
        changed = np.full(array.shape, int(rng.integers(0, 4)))
    elif draw < 0.8:
        changed = rng.integers(0, largest + 2, array.shape)
    else:
        # Neighbours differ, so that many rows of a table are looked up at once.
        changed = (int(rng.integers(0, largest + 2)) + np.arange(array.size).reshape(array.shape)) % (largest + 2)
    if not array.shape:
        changed = np.clip(changed, -_LARGEST_SCALAR, _LARGEST_SCALAR)
    information = np.iinfo(array.dtype)
    return np.asarray(np.where(mask, np.clip(changed, information.min, information.max), wide)).astype(array.dtype)


def _change_strings(array: np.ndarray, constants: Sequence[Any], rng: np.random.Generator) -> np.ndarray:
    changed = array.copy()
    flat, mask = changed.reshape(-1), _choose_places(array, rng).reshape(-1)
    words = [word for word in constants if isinstance(word, bytes)]
    draw = rng.random()
    for place in np.flatnonzero(mask):
        old = flat[place] if isinstance(flat[place], bytes) else str(flat[place]).encode()
        if draw < 0.4 and words:
            flat[place] = words[rng.integers(len(words))]
        elif draw < 0.6:
            flat[place] = b" ".join([old] * 4)
        elif draw < 0.8:
            flat[place] = old[: len(old) // 2]
        else:
            flat[place] = bytes(flat[rng.integers(flat.size)]) if flat.size else old
    return changed


def _change_bools(array: np.ndarray, constants: Sequence[Any], rng: np.random.Generator) -> np.ndarray:
    return np.asarray(array ^ _choose_places(array, rng))


def _resize(inputs: Inputs, rng: np.random.Generator) -> Inputs:
    """All dense inputs of one length along an axis with another one; what the graph does not take, it refuses."""
    dense = {key: value for key, value in inputs.items() if isinstance(value, np.ndarray) and value.shape}
    if not dense:
        return dict(inputs)
    chosen = dense[list(dense)[rng.integers(len(dense))]]
    axis = int(rng.integers(0, chosen.ndim))
    old, new = chosen.shape[axis], _ROWS[rng.integers(len(_ROWS))]
    found = dict(inputs)
    for key, value in dense.items():
        if value.ndim > axis and value.shape[axis] == old and old and value.size // old * new <= _MOST_ELEMENTS:
            found[key] = np.take(value, np.arange(new) % old, axis=axis)
    return found
