"""How two arrays of floats differ: distances in units of the last place, quantiles, direction. numpy only."""

from __future__ import annotations

import numpy as np

from migrate.verdict import Statistics

_QUANTILES = (0.5, 0.9, 0.99, 1.0)
_SAMPLE = 40
_TOP = 5
# Differences below this decade are drawn with it: nobody tells 1e-30 from 1e-20.
_LOWEST_DECADE = -16


def measure_floats(old: np.ndarray, new: np.ndarray) -> Statistics:
    """Statistics of two arrays of floats of one dtype and shape, at least one element."""
    wide_old, wide_new = old.astype(np.float64), new.astype(np.float64)
    finite = np.isfinite(wide_old) & np.isfinite(wide_new)
    left, right = wide_old[finite], wide_new[finite]
    difference = np.abs(right - left)
    flips, first_flip = _find_flips(wide_old, wide_new) if _has_rows(old) else (0, "")
    top_k = _TOP if _has_rows(old) and old.shape[-1] > _TOP else None
    return Statistics(
        max_ulp=int(measure_ulps(old[finite], new[finite]).max(initial=0)),
        cosine=_find_cosine(left, right),
        quantiles=tuple(float(q) for q in np.quantile(difference, _QUANTILES)) if difference.size else (),
        argmax_agreement=1 - flips / _count_rows(old) if _has_rows(old) else None,
        argmax_flips=flips,
        first_flip=first_flip,
        top_k=top_k,
        top_k_agreement=_find_top_agreement(wide_old, wide_new, top_k),
        histogram=_count_decades(difference),
        sample=_draw_sample(left, right),
    )


def has_same_bits(old: np.ndarray, new: np.ndarray) -> bool:
    """Of two arrays of one dtype and shape; NaNs of one spelling are the same."""
    bits = f"V{old.dtype.itemsize}" if old.dtype.itemsize not in (1, 2, 4, 8) else f"u{old.dtype.itemsize}"
    left, right = (np.atleast_1d(np.ascontiguousarray(value)).view(bits) for value in (old, new))
    return bool(np.array_equal(left, right))


def measure_identical(value: np.ndarray) -> Statistics:
    """What `measure_floats` says of an array and its like, bit for bit, without its passes."""
    finite = np.isfinite(value)
    count = int(finite.sum())
    kept = value.reshape(-1) if count == value.size else value[finite]
    has_rows = _has_rows(value)
    top_k = _TOP if has_rows and value.shape[-1] > _TOP else None
    return Statistics(
        max_ulp=0,
        cosine=1.0 if bool((kept != 0).any()) else None,
        quantiles=(0.0,) * len(_QUANTILES) if count else (),
        argmax_agreement=1.0 if has_rows else None,
        argmax_flips=0,
        first_flip="",
        top_k=top_k,
        top_k_agreement=None if top_k is None else 1.0,
        histogram=((None, count),) if count else (),
        sample=_draw_sample(kept, kept),
    )


def measure_ulps(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Distance in representable numbers, element by element, uint64; 0 and -0 are one number. No NaN may be in it.

    The bits of floats of one sign are ordered like their values; as signed magnitude around 2**63 they order all.
    """
    width = old.dtype.itemsize
    if width not in (1, 2, 4, 8):  # long double: not a dtype of TensorFlow
        return np.zeros(old.shape, np.uint64)
    sign = np.uint64(1) << np.uint64(8 * width - 1)

    def order(value: np.ndarray) -> np.ndarray:
        bits = np.atleast_1d(np.ascontiguousarray(value)).view(f"u{width}").astype(np.uint64)
        magnitude, middle = bits & (sign - np.uint64(1)), np.uint64(2**63)
        return np.where(bits & sign, middle - magnitude, middle + magnitude)

    left, right = order(old), order(new)
    return np.asarray(np.maximum(left, right) - np.minimum(left, right))


def _find_cosine(left: np.ndarray, right: np.ndarray) -> float | None:
    largest = max(np.abs(left).max(initial=0.0), np.abs(right).max(initial=0.0))
    if largest == 0:
        return None
    left, right = left.ravel() / largest, right.ravel() / largest
    norm = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(np.clip(left @ right / norm, -1.0, 1.0)) if norm else None


def _has_rows(value: np.ndarray) -> bool:
    """Whether the last axis may be one of classes."""
    return value.ndim >= 2 and value.shape[-1] >= 2 and value.size > 0


def _count_rows(value: np.ndarray) -> int:
    return value.size // int(value.shape[-1])


def _find_flips(old: np.ndarray, new: np.ndarray) -> tuple[int, str]:
    """How many rows have another largest element, and the first in words. Where the baseline has its largest value in
    several places, any of them will do; NaN counts as the largest, as in numpy."""
    before, after = old.argmax(axis=-1), new.argmax(axis=-1)
    largest = np.take_along_axis(old, before[..., None], -1)[..., 0]
    chosen = np.take_along_axis(old, after[..., None], -1)[..., 0]
    with np.errstate(invalid="ignore"):
        flipped = (before != after) & ~(largest == chosen) & ~(np.isnan(largest) & np.isnan(chosen))
    count = int(flipped.sum())
    if not count:
        return 0, ""
    row = tuple(int(i) for i in np.unravel_index(int(flipped.argmax()), flipped.shape))
    return count, f"row {list(row)}: {before[row]} became {after[row]}"


def _find_top_agreement(old: np.ndarray, new: np.ndarray, k: int | None) -> float | None:
    """Share of rows whose k largest elements are k largest ones of the baseline too, in any order."""
    if k is None:
        return None
    top = np.argpartition(np.nan_to_num(new, nan=-np.inf), -k, axis=-1)[..., -k:]
    clean = np.nan_to_num(old, nan=-np.inf)
    threshold = np.partition(clean, -k, axis=-1)[..., -k]
    return float((np.take_along_axis(clean, top, -1) >= threshold[..., None]).all(axis=-1).mean())


def _count_decades(difference: np.ndarray) -> tuple[tuple[int | None, int], ...]:
    exact = int((difference == 0).sum())
    found: list[tuple[int | None, int]] = [(None, exact)] if exact else []
    rest = difference[difference > 0]
    if rest.size:
        decades = np.maximum(np.floor(np.log10(rest)).astype(int), _LOWEST_DECADE)
        found.extend((int(n), int(count)) for n, count in zip(*np.unique(decades, return_counts=True), strict=True))
    return tuple(found)


def _draw_sample(left: np.ndarray, right: np.ndarray) -> tuple[tuple[float, float], ...]:
    if left.size < 2:
        return ()
    places = np.unique(np.linspace(0, left.size - 1, _SAMPLE).astype(int))
    return tuple((_shorten(a), _shorten(b)) for a, b in zip(left[places], right[places], strict=True))


def _shorten(value: np.generic) -> float:
    """Nine digits tell any two float32 apart, and keep the record small. ml_dtypes 0.3.2, which TF 2.16 brings, cannot
    format a bfloat16 so: "Unknown format code 'g'"."""
    return float(f"{float(value):.9g}")
