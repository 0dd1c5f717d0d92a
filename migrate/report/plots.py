"""Inline SVG: how errors are distributed, and how far the candidate is off over the baseline's values."""

from __future__ import annotations

import math

from migrate.verdict import Statistics

_WIDTH, _HEIGHT = 300, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 8, 10, 34


def render_scatter(statistics: Statistics, *, relative: float = 0.0, absolute: float = 0.0) -> str:
    """Difference over the baseline's value; what lies in the band is within the tolerance.

    Args:
      statistics: whose sample is drawn.
      relative, absolute: the tolerance, as it was applied.
    """
    pairs = statistics.sample
    if not pairs:
        return ""
    values, differences = [old for old, _ in pairs], [new - old for old, new in pairs]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1.0) * 0.1, high + (abs(high) or 1.0) * 0.1
    largest = max(max(map(abs, differences)), absolute + relative * max(abs(low), abs(high))) or 1.0
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    middle = (top + bottom) / 2

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    def y(difference: float) -> float:
        return middle - difference / largest * (bottom - top) / 2

    dots = "".join(
        f"<circle class=dot cx={x(old):.1f} cy={y(new - old):.1f} r=3>"
        f"<title>{old:.9g} became {new:.9g}</title></circle>"
        for old, new in pairs
    )
    # The band is widest away from zero: its corners are at both ends and, where it lies between them, at zero.
    corners = [low, *([0.0] if low < 0 < high else []), high]
    upper = [f"{x(v):.1f},{y(absolute + relative * abs(v)):.1f}" for v in corners]
    lower = [f"{x(v):.1f},{y(-absolute - relative * abs(v)):.1f}" for v in reversed(corners)]
    band = f"<polygon class=band points='{' '.join([*upper, *lower])}'><title>within the tolerance</title></polygon>"
    return _frame(
        "difference over the baseline's value, with the tolerance",
        f"{band if absolute or relative else ''}"
        f"<line class=guide x1={left} y1={middle:.1f} x2={right} y2={middle:.1f} />{dots}"
        + _label(left, bottom + 12, f"{low:.3g}", "start")
        + _label(right, bottom + 12, f"{high:.3g}", "end")
        + _label(left - 4, bottom, f"{-largest:.2g}", "end")
        + _label(left - 4, middle + 3, "0", "end")
        + _label(left - 4, top + 8, f"{largest:.2g}", "end")
        + _label((left + right) / 2, bottom + 26, "baseline → difference ↑", "middle"),
    )


def render_histogram(statistics: Statistics, *, absolute: float = 0.0) -> str:
    """Elements by the decade of their absolute difference, and where the absolute tolerance lies."""
    if not statistics.histogram:
        return ""
    counted = dict(statistics.histogram)
    decades = sorted(n for n in counted if n is not None)
    limit = math.log10(absolute) if absolute > 0 else None
    if limit is not None and decades and decades[0] - 6 <= limit <= decades[-1] + 7:
        decades = [min(decades[0], math.floor(limit)), max(decades[-1], math.floor(limit))]
    columns: list[int | None] = [None, *range(decades[0], decades[-1] + 1)] if decades else [None]
    left, right = _LEFT, _WIDTH - _RIGHT
    top, bottom = _TOP + 8, _HEIGHT - _BOTTOM
    step = (right - left) / len(columns)
    largest = max(counted.values())
    parts = []
    for position, decade in enumerate(columns):
        count = counted.get(decade, 0)
        height = count / largest * (bottom - top)
        at = left + position * step
        name = "0" if decade is None else f"1e{decade}"
        parts.append(
            f"<rect class=bar x={at + step * 0.1:.1f} y={bottom - height:.1f} width={step * 0.8:.1f} "
            f"height={height:.1f}><title>{count} elements, {name}</title></rect>"
        )
        if len(columns) <= 8 or position % 2 == 0:
            parts.append(_label(at + step / 2, bottom + 12, name, "middle"))
        if count:
            parts.append(_label(at + step / 2, bottom - height - 3, str(count), "middle"))
    if limit is not None and decades and decades[0] <= limit <= decades[-1] + 1:
        at = left + (1 + limit - decades[0]) * step
        parts.append(
            f"<line class=limit x1={at:.1f} y1={_TOP} x2={at:.1f} y2={bottom}>"
            f"<title>absolute tolerance {absolute:g}</title></line>"
        )
    parts.append(_label((left + right) / 2, bottom + 26, "absolute difference, by decade", "middle"))
    return _frame("histogram of absolute differences, with the tolerance", "".join(parts))


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f"<text x={x:.1f} y={y:.1f} text-anchor={anchor}>{text}</text>"


def _frame(title: str, body: str) -> str:
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img aria-label=\"{title}\">"
        f"<path class=axis d='M{left} {top}V{bottom}H{right}' />{body}</svg>"
    )
