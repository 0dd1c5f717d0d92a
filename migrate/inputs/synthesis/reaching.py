"""Numbers at which a graph acts otherwise: both sides of its thresholds, other inputs' values, each row of a small
table, small scalars."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from migrate.inputs.cases import SCALARS
from migrate.inputs.synthesis.abstract import Facts, Origin

MOST_ROWS = 192
_MOST_THRESHOLDS = 64
_SMALL_TABLE = 64
# Beyond so many, a threshold is looked at from nearby only: two points less for each.
_FEW_THRESHOLDS = 12
# Closer than the error of half precision, further off than that of a few roundings.
_NEAR = 1e-4
_HUGE = 1e30
_SCALARS = (0, 1, 2, 3)
_LARGE = {"f": 1000, "i": 100, "u": 100}
# What such a scalar says has few meaningful values, and others make outputs random or NaN.
_SETTLED = frozenset({"keep_prob", "drop_rate"})


def note_thresholds(facts: Facts, origin: Origin, numbers: Iterable[Any]) -> None:
    """Carries constants that `origin` is compared with back over its steps to the source.

    Behind arithmetic only their surroundings count: two honest roundings may well fall on different sides.
    """
    exact = all(step[0] in ("filtered", "clipped") for step in origin.steps)
    for number in numbers:
        if not isinstance(number, int | float) or isinstance(number, bool) or not abs(number) < _HUGE:
            continue
        place = _undo(float(number), origin)
        known = {threshold for threshold, _ in facts.thresholds}
        if place is not None and place not in known and len(known) < _MOST_THRESHOLDS:
            facts.thresholds.append((place, exact))


def note_rivals(facts: Mapping[str, Facts], first: Iterable[Origin], second: Iterable[Origin]) -> None:
    """Two sources whose numbers are compared with each other: the later one by name is led close to the other."""
    for one, other in itertools.product(first, second):
        own, rival = sorted((one, other), key=lambda origin: origin.source, reverse=True)
        known = facts[own.source].rivals
        if own.source != rival.source and _can_undo(own) and _can_undo(rival) and (own, rival) not in known:
            known.append((own, rival))


def _can_undo(origin: Origin) -> bool:
    return all(step[0] in ("filtered", "clipped", "add") or (step[0] == "mul" and step[1]) for step in origin.steps)


def meet_rival(values: np.ndarray, own: Origin, others: np.ndarray, rival: Origin) -> np.ndarray:
    """Every second one of `values` so close to what it is compared with, on either side in turn, that a loss of
    precision changes the answer. `others` are the rival's values, of the same shape."""
    met = np.asarray(others, np.float64)
    for step in rival.steps:
        met = met + step[1] if step[0] == "add" else met * step[1] if step[0] == "mul" else met
    number = np.arange(values.size).reshape(values.shape)
    met = met + np.where(number % 4 == 1, -_NEAR, _NEAR) * np.abs(met)
    for step in reversed(own.steps):
        met = met - step[1] if step[0] == "add" else met / step[1] if step[0] == "mul" else met
    return np.where(number % 2 == 1, met, values)


def _undo(number: float, origin: Origin) -> float | None:
    for step in reversed(origin.steps):
        if step[0] == "add":
            number -= float(step[1])
        elif step[0] == "mul" and step[1]:
            number /= float(step[1])
        elif step[0] == "floordiv":
            number *= float(step[1])
        elif step[0] not in ("filtered", "clipped"):
            return None
    return number if math.isfinite(number) and abs(number) < _HUGE else None


def list_points(facts: Facts, low: Any, high: Any, kind: str) -> list[float]:
    """Values of a number in [low, high) (None: no bound) of a dtype kind; [] where no value is better than another.

    Whole numbers within a small range (ids of an embedding) are all of them; else the thresholds, what lies close to
    them on both sides, and, of few, what lies further off.
    """
    if facts.tables or facts.maximum is not None or facts.marks & _SETTLED:
        return []
    if kind in "iu" and low is not None and high is not None and high - low <= _SMALL_TABLE:
        return [float(n) for n in range(math.ceil(low), math.ceil(high))]
    points: list[float] = []
    few = len(facts.thresholds) <= _FEW_THRESHOLDS
    for place, exact in facts.thresholds:
        far = max(0.5, abs(place) / 2)
        if kind in "iu":
            whole = math.floor(place)
            points += [whole - 1, whole, whole + 1, *((whole - 1 - math.ceil(far), whole + 1 + math.ceil(far)) * few)]
        else:
            near = _NEAR * (abs(place) or 1.0)
            points += [place - near, *((place,) * exact), place + near, *((place - far, place + far) * few)]
    positive = bool(facts.marks & {"positive", "nonzero", "divisor"})
    return [p for p in dict.fromkeys(points) if _lies_within(p, low, high, kind) and not (positive and p <= 0)]


def _lies_within(point: float, low: Any, high: Any, kind: str) -> bool:
    low = 0 if low is None and kind == "u" else low
    return (low is None or point >= low) and (high is None or point < high)


def lay_out(points: Sequence[float], shape: tuple[int, ...], place: int) -> np.ndarray:
    """Values [*shape]: down each column all points one after the other, each column starting with another one."""
    rows = np.arange(shape[0]).reshape(-1, 1) if shape else np.zeros((1, 1), int)
    columns = np.arange(math.prod(shape[1:])).reshape(1, -1)
    return np.asarray(np.array(points)[(rows + columns + place) % len(points)]).reshape(shape)


def list_scalars(facts: Facts, low: Any, high: Any, kind: str) -> list[float]:
    """Values for an input that is one number: 0 to 3, a large one, and its points."""
    if facts.tables or facts.maximum is not None or facts.marks & _SETTLED:
        return []
    positive = bool(facts.marks & {"positive", "nonzero", "divisor"})
    wanted = [*_SCALARS, _LARGE[kind], *list_points(facts, low, high, kind)]
    fitting = [n for n in dict.fromkeys(wanted) if _lies_within(n, low, high, kind) and not (positive and n <= 0)]
    return fitting[: len(SCALARS)]
