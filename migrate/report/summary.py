"""A Verification in one line."""

from __future__ import annotations

from typing import Any

from migrate.verdict import OutputDiff, Verification


def describe(verification: Verification) -> str:
    """ "14 values compared, bit-identical" in a line."""
    values = [diff for diff in verification.diffs if diff.level != "interface"]
    if not values:
        return f"{len(verification.diffs)} parts of the interface compared"
    bad = sum(not diff.equal for diff in values)
    parts = [f"{len(values)} values compared"]
    if bad:
        parts.append(f"{bad} differ")
    identical = verification.is_bit_identical
    if identical:
        parts.append("bit-identical")
    elif any(diff.random for diff in values):
        parts.append(f"{sum(diff.random for diff in values)} of them random, not compared exactly")
    elif not bad and not verification.max_absolute:
        parts.append("equal, not bit-identical (zeros of another sign, or other NaNs)")
    elif not bad:
        parts.append("equal within tolerance, not bit-identical")
    if verification.max_absolute is not None and not identical:
        parts.append(f"largest difference {_spell_largest(verification.diffs)}")
    return ", ".join(parts)


def describe_tolerance(item: dict[str, Any]) -> str:
    """One entry of `Verification.tolerances`."""
    ulp = f" or {item['ulp']} ULP" if item["ulp"] else ""
    return f"{item['output']}: {item['relative']:g} relative + {item['absolute']:g} absolute{ulp} ({item['source']})"


def _spell_largest(diffs: tuple[OutputDiff, ...]) -> str:
    worst = max((d for d in diffs if d.max_absolute is not None), key=lambda d: d.max_absolute or 0.0)
    relative = "" if worst.max_relative is None else f", {worst.max_relative:.3g} relative"
    ulp = f", {worst.statistics.max_ulp} ULP" if worst.statistics else ""
    return f"{worst.max_absolute:.3g} absolute{relative}{ulp} ({worst.where}/{worst.output})"
