"""Why two values differ: the few mistakes that leave a pattern. It only words the message, never the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from migrate.arrays import is_float

_CLOSE = 1e-5
_MOST = 1_000_000


def find_swap(output: str, new: Any, expected: Mapping[str, Any]) -> str:
    """ "it is the baseline's 'other'": the candidate's value of `output` is what another key should hold."""
    if not isinstance(new, np.ndarray) or new.size > _MOST:
        return ""
    for key, old in expected.items():
        if key != output and isinstance(old, np.ndarray) and old.dtype == new.dtype and _same(old, new):
            return f"it is the baseline's {key!r}"
    return ""


def explain_difference(old: np.ndarray, new: np.ndarray) -> str:
    """The pattern of a difference, "" where there is none. Same dtype; they differ.

    Args:
      old, new: baseline and candidate, of one dtype.
    """
    if old.size < 2 or old.size > _MOST:
        return _explain_scale(old, new) if old.size == 1 and old.shape == new.shape else ""
    if old.shape != new.shape:
        if old.ndim >= 2 and old.shape == new.shape[::-1] and _same(old, new.T):
            return "it is transposed"
        return ""
    if old.ndim >= 2 and old.shape[-1] == old.shape[-2] and _same(old, np.swapaxes(new, -1, -2)):
        return "it is transposed"
    if old.dtype.kind == "O":
        return _explain_strings(old, new)
    if _is_constant(new) and not _is_constant(old):
        value = new.ravel()[0]
        value = value.item() if isinstance(value, np.generic) else value
        return f"it is {'zero' if not value else f'constant, {value!r}'} everywhere"
    if old.ndim >= 1 and old.shape[0] > 1 and _same_rows(old, new):
        return "it holds the baseline's rows in another order"
    if old.dtype.kind in "iu":
        return _explain_shift(old, new)
    return _explain_scale(old, new)


def _same(old: np.ndarray, new: np.ndarray) -> bool:
    if old.shape != new.shape:
        return False
    if is_float(old.dtype):
        return bool(np.allclose(old.astype(np.float64), new.astype(np.float64), _CLOSE, 1e-6, equal_nan=True))
    return bool(np.array_equal(old, new))


def _is_constant(value: np.ndarray) -> bool:
    return bool((value == value.ravel()[0]).all())


def _same_rows(old: np.ndarray, new: np.ndarray) -> bool:
    if old.dtype.kind not in "iufb":
        return False
    rows = [value.reshape(value.shape[0], -1) for value in (old, new)]
    if rows[0].shape[1] == 0:
        return False
    ordered = [value[np.lexsort(value.T[::-1])] for value in rows]
    return _same(*ordered)


def _explain_strings(old: np.ndarray, new: np.ndarray) -> str:
    pairs = list(zip(old.ravel(), new.ravel(), strict=True))
    if all(a.lower() == b.lower() for a, b in pairs):
        return "it is the baseline's but for upper and lower case"
    if sorted(old.ravel()) == sorted(new.ravel()):
        return "it holds the baseline's strings in another order"
    return ""


def _explain_shift(old: np.ndarray, new: np.ndarray) -> str:
    shifts = np.unique((new.astype(np.int64) - old.astype(np.int64))[old != new])
    if shifts.size == 1 and int((old != new).sum()) > 1:
        return f"every element that differs is shifted by {int(shifts[0]):+d}"
    return ""


def _explain_scale(old: np.ndarray, new: np.ndarray) -> str:
    if not is_float(old.dtype):
        return ""
    left, right = old.astype(np.float64).ravel(), new.astype(np.float64).ravel()
    if not (np.isfinite(left).all() and np.isfinite(right).all()) or not left.any():
        return ""
    if not right.any():
        return "it is zero everywhere"
    largest = max(np.abs(left).max(), np.abs(right).max())
    left, right = left / largest, right / largest
    factor = float(left @ right / (left @ left)) if left @ left else 1.0
    if abs(factor - 1) > 1e-3 and np.allclose(right, factor * left, rtol=1e-4, atol=1e-7):
        return f"it is {factor:.4g} times the baseline's everywhere"
    return ""
