"""Judges two values. numpy only: whatever ran the models, the judgement is the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from migrate.arrays import RaggedValue, SparseValue, is_float
from migrate.options import Tolerance
from migrate.verdict import INFERENCE, OutputDiff
from migrate.verify.judging.diagnosis import explain_difference
from migrate.verify.judging.statistics import has_same_bits, measure_floats, measure_identical, measure_ulps

# What one rounding step of the narrow types is worth: nobody's arithmetic is exact to 1e-5 in them.
_NARROW = {"float16": 2e-3, "bfloat16": 1.6e-2, "float8_e5m2": 0.5, "float8_e4m3fn": 0.25}


def compare_values(
    baseline: Any,
    candidate: Any,
    *,
    where: str,
    route: str,
    output: str,
    tolerance: Tolerance,
    random: bool = False,
    level: str = INFERENCE,
) -> OutputDiff:
    """Compares type, dtype, shape, then values; sparse and ragged values by their parts.

    Args:
      baseline, candidate: array, SparseValue or RaggedValue.
      where, route, output, level: for the result.
      tolerance: of floats.
      random: compare dtype and rank only.
    """
    blank = OutputDiff(where=where, route=route, output=output, equal=True, random=random, level=level)
    if _kind(baseline) != _kind(candidate):
        return dataclasses.replace(blank, equal=False, message=f"{_kind(baseline)} became {_kind(candidate)}")
    found = [
        _compare_dense(old, new, f"{part}: " if part else "", blank, tolerance)
        for part, old, new in _parts(baseline, candidate)
    ]
    worst = found[0]
    for diff in found[1:]:
        worst = _merge(worst, diff)
    return worst


class Comparer:
    """`compare_values` that remembers: a value that came on one route and comes again, the same object, on the next is
    not compared again."""

    def __init__(self) -> None:
        # The values are held, so that no other can get their identity.
        self._known: dict[tuple[int, int, Tolerance, bool], tuple[Any, Any, OutputDiff]] = {}

    def compare(
        self,
        baseline: Any,
        candidate: Any,
        *,
        where: str,
        route: str,
        output: str,
        tolerance: Tolerance,
        random: bool = False,
    ) -> OutputDiff:
        """As `compare_values`, of outputs."""
        key = (id(baseline), id(candidate), tolerance, random)
        if key not in self._known:
            found = compare_values(
                baseline, candidate, where=where, route=route, output=output, tolerance=tolerance, random=random
            )
            self._known[key] = (baseline, candidate, found)
        return dataclasses.replace(self._known[key][2], where=where, route=route, output=output)


def _kind(value: Any) -> str:
    return {SparseValue: "a sparse tensor", RaggedValue: "a ragged tensor"}.get(type(value), "a dense tensor")


def _parts(baseline: Any, candidate: Any) -> list[tuple[str, np.ndarray, np.ndarray]]:
    if isinstance(baseline, SparseValue):
        return [
            (name, getattr(baseline, name), getattr(candidate, name)) for name in ("indices", "dense_shape", "values")
        ]
    if isinstance(baseline, RaggedValue):
        if len(baseline.row_splits) != len(candidate.row_splits):
            counts = np.array(len(baseline.row_splits)), np.array(len(candidate.row_splits))
            return [("ragged rank", *counts)]
        splits = zip(baseline.row_splits, candidate.row_splits, strict=True)
        return [
            *((f"row_splits_{i}", old, new) for i, (old, new) in enumerate(splits)),
            ("flat_values", baseline.flat_values, candidate.flat_values),
        ]
    return [("", np.asarray(baseline), np.asarray(candidate))]


def _merge(first: OutputDiff, second: OutputDiff) -> OutputDiff:
    """Two parts of one value as one; statistics are those of the floats among them."""

    def largest(a: float | None, b: float | None) -> float | None:
        return b if a is None else a if b is None else max(a, b)

    flags = (first.bit_identical, second.bit_identical)
    return dataclasses.replace(
        first,
        equal=first.equal and second.equal,
        message=first.message or second.message,
        max_absolute=largest(first.max_absolute, second.max_absolute),
        max_relative=largest(first.max_relative, second.max_relative),
        elements=first.elements + second.elements,
        bit_identical=None if None in flags else all(flags),
        statistics=second.statistics or first.statistics,
        relative=largest(first.relative, second.relative),
        absolute=largest(first.absolute, second.absolute),
        ulp=max(first.ulp, second.ulp),
    )


def _compare_dense(old: np.ndarray, new: np.ndarray, label: str, blank: OutputDiff, tolerance: Tolerance) -> OutputDiff:
    if old.dtype != new.dtype:
        message = f"{label}dtype {old.dtype} became {new.dtype}"
        return dataclasses.replace(blank, equal=False, message=message)
    if blank.random:
        same = old.ndim == new.ndim
        message = "" if same else f"{label}rank {old.ndim} became {new.ndim}"
        return dataclasses.replace(blank, equal=same, message=message, elements=int(old.size))
    if old.shape != new.shape:
        message = _explained(f"{label}shape {old.shape} became {new.shape}", old, new)
        return dataclasses.replace(blank, equal=False, message=message, bit_identical=False)
    if old.size == 0:
        return dataclasses.replace(blank, bit_identical=True)
    if is_float(old.dtype):
        return _compare_floats(old, new, label, blank, tolerance)
    if old.dtype.kind == "c":
        return _compare_floats(np.stack([old.real, old.imag]), np.stack([new.real, new.imag]), label, blank, tolerance)
    return _compare_exactly(old, new, label, blank)


def _explained(message: str, old: np.ndarray, new: np.ndarray) -> str:
    pattern = explain_difference(old, new)
    return f"{message} ({pattern})" if pattern else message


def _compare_exactly(old: np.ndarray, new: np.ndarray, label: str, blank: OutputDiff) -> OutputDiff:
    differ = np.asarray(old != new, dtype=bool)
    count = int(differ.sum())
    common = dataclasses.replace(blank, elements=int(old.size))
    if not count:
        return dataclasses.replace(common, max_absolute=0.0, max_relative=0.0, bit_identical=True)
    first = tuple(int(i) for i in np.argwhere(differ)[0])
    message = (
        f"{label}{count} of {old.size} elements differ, first at {list(first)}: "
        f"{_spell(old[first])} became {_spell(new[first])}"
    )
    absolute = None
    if old.dtype.kind in "iu":
        absolute = float(np.abs(old.astype(np.float64) - new.astype(np.float64)).max())
    return dataclasses.replace(
        common, equal=False, message=_explained(message, old, new), max_absolute=absolute, bit_identical=False
    )


def _spell(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _compare_floats(
    old: np.ndarray, new: np.ndarray, label: str, blank: OutputDiff, tolerance: Tolerance
) -> OutputDiff:
    narrow = _NARROW.get(old.dtype.name, 0.0)
    relative_limit = max(tolerance.relative, narrow)
    absolute_limit = max(tolerance.absolute, narrow * 1e-2)
    if has_same_bits(old, new):
        return dataclasses.replace(
            blank,
            max_absolute=0.0,
            max_relative=0.0,
            elements=int(old.size),
            bit_identical=True,
            statistics=measure_identical(old),
            relative=relative_limit,
            absolute=absolute_limit,
            ulp=tolerance.ulp,
        )
    wide_old, wide_new = old.astype(np.float64), new.astype(np.float64)
    special = ~np.isfinite(wide_old) | ~np.isfinite(wide_new)
    both_nan = np.isnan(wide_old) & np.isnan(wide_new)
    with np.errstate(invalid="ignore"):
        special_equal = both_nan | (wide_old == wide_new)
        difference = np.where(special, 0.0, np.abs(wide_new - wide_old))
    scale = np.where(special, 0.0, np.abs(wide_old))
    bad = np.where(special, ~special_equal, difference > absolute_limit + relative_limit * scale)
    if tolerance.ulp:
        near = np.zeros(old.shape, bool)
        near[~special] = measure_ulps(old[~special], new[~special]) <= tolerance.ulp
        bad &= ~near
    # A value near zero has no meaningful relative difference.
    meaningful = scale > absolute_limit
    relative = float((difference[meaningful] / scale[meaningful]).max()) if meaningful.any() else 0.0
    absolute = float(difference.max())
    statistics = measure_floats(old, new)
    message = ""
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        appeared = int((special & ~special_equal).sum())
        message = (
            f"{label}{int(bad.sum())} of {old.size} elements differ, first at {list(first)}: "
            f"{wide_old[first]:.9g} became {wide_new[first]:.9g}; largest difference {absolute:.3g} absolute, "
            f"{relative:.3g} relative, {statistics.max_ulp} ULP"
            + (f"; NaN or Inf stand elsewhere in {appeared} places" if appeared else "")
        )
        message = _explained(message, old, new)
    return dataclasses.replace(
        blank,
        equal=not bad.any(),
        message=message,
        max_absolute=absolute,
        max_relative=relative,
        elements=int(old.size),
        bit_identical=False,
        statistics=statistics,
        relative=relative_limit,
        absolute=absolute_limit,
        ulp=tolerance.ulp,
    )
