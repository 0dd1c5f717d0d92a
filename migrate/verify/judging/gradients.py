"""Judges gradients: sums over a batch in another order, so that their tolerance is their own."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

from migrate.options import Tolerance
from migrate.verdict import DEFAULT, GRADIENTS, PARTIAL_ROUTES, Coverage, OutputDiff
from migrate.verify.judging.values import compare_values
from migrate.verify.results import Results


def compare_gradients(
    baseline: Results, candidate: Results, tolerance: Tolerance, problems: list[str]
) -> list[OutputDiff]:
    """What the baseline could differentiate; what the candidate cannot goes to `problems`."""
    diffs = []
    for call, expected in _choose_gradients(baseline).items():
        if not any(name == call for _, name in candidate.gradients):
            if not any(note.startswith(f"{call}: no gradients") for note in candidate.notes):
                problems.append(f"{call}: the candidate gave no gradients")
            continue
        for (route, name), found in candidate.gradients.items():
            if name == call:
                diffs.extend(_compare_sources(call, route, expected, found, tolerance))
    return diffs


def _choose_gradients(results: Results) -> dict[str, dict[str, Any]]:
    chosen: dict[str, dict[str, Any]] = {}
    for (_, call), found in results.gradients.items():
        chosen.setdefault(call, found)
    return chosen


def _compare_sources(
    call: str, route: str, expected: Mapping[str, Any], found: Mapping[str, Any], tolerance: Tolerance
) -> list[OutputDiff]:
    diffs = []
    for name, value in expected.items():
        output = name.removeprefix("d ").partition(" / d ")[0]
        if route in PARTIAL_ROUTES and output != DEFAULT:
            continue
        names: dict[str, Any] = {"where": call, "route": route, "output": name, "level": GRADIENTS}
        if name not in found:
            diffs.append(OutputDiff(**names, equal=False, message="the candidate lacks this gradient"))
        else:
            diffs.append(compare_values(value, found[name], tolerance=tolerance, **names))
    return diffs


def cover_gradients(baseline: Results, candidate: Results, diffs: list[OutputDiff], level: str) -> tuple[Coverage, ...]:
    """How many of the baseline's gradients were compared, at the level that asks for them; those that are nothing but
    NaN and infinities were not."""
    if level != GRADIENTS:
        return ()
    compared = [diff for diff in diffs if diff.level == GRADIENTS]
    reached = {(diff.where, diff.output) for diff in compared if not diff.is_void}
    void = collections.Counter(call for call, _ in {(d.where, d.output) for d in compared if d.is_void} - reached)
    total = {(call, name) for call, names in _choose_gradients(baseline).items() for name in names} | reached
    refused = [note for note in (*baseline.notes, *candidate.notes) if ": no gradients" in note]
    count = len(total) + sum(note in baseline.notes for note in refused)
    missed = (*refused, *(f"{call}: {number} are NaN or infinite throughout" for call, number in sorted(void.items())))
    return (Coverage(name="gradients", level=GRADIENTS, reached=len(reached), total=count, missed=missed),)
