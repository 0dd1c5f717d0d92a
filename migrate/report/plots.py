"""Inline SVG: how errors are distributed, and candidate over baseline."""

from __future__ import annotations

from migrate.verdict import Statistics

_WIDTH, _HEIGHT = 300, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 8, 10, 34


def render_scatter(statistics: Statistics) -> str:
    """Candidate over baseline; equal values lie on the dashed line."""
    pairs = statistics.sample
    if not pairs:
        return ""
    values = [value for pair in pairs for value in pair]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 1, high + 1
    span = high - low
    left, right = _LEFT, _WIDTH - _RIGHT
    top, bottom = _TOP, _HEIGHT - _BOTTOM

    def x(value: float) -> float:
        return left + (value - low) / span * (right - left)

    def y(value: float) -> float:
        return bottom - (value - low) / span * (bottom - top)

    dots = "".join(
        f"<circle class=dot cx={x(old):.1f} cy={y(new):.1f} r=3><title>{old:.9g} became {new:.9g}</title></circle>"
        for old, new in pairs
    )
    return _frame(
        "candidate over baseline",
        f"<line class=guide x1={left} y1={bottom} x2={right} y2={top} />{dots}"
        + _label(left, bottom + 12, f"{low:.3g}", "start")
        + _label(right, bottom + 12, f"{high:.3g}", "end")
        + _label(left - 4, bottom, f"{low:.3g}", "end")
        + _label(left - 4, top + 8, f"{high:.3g}", "end")
        + _label((left + right) / 2, bottom + 26, "baseline → candidate ↑", "middle"),
    )


def render_histogram(statistics: Statistics) -> str:
    """Elements by the decade of their absolute difference."""
    if not statistics.histogram:
        return ""
    counted = dict(statistics.histogram)
    decades = sorted(n for n in counted if n is not None)
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
    parts.append(_label((left + right) / 2, bottom + 26, "absolute difference, by decade", "middle"))
    return _frame("histogram of absolute differences", "".join(parts))


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f"<text x={x:.1f} y={y:.1f} text-anchor={anchor}>{text}</text>"


def _frame(title: str, body: str) -> str:
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img aria-label='{title}'>"
        f"<path class=axis d='M{left} {top}V{bottom}H{right}' />{body}</svg>"
    )
