"""The page of one comparison: verdict, what differs, all values, plots, inputs, the command that repeats it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from migrate.report import cause, plots, style
from migrate.report.summary import describe, describe_tolerance
from migrate.verdict import GRADIENTS, INFERENCE, INTERFACE, OutputDiff, Statistics, Verdict, Verification

_KINDS = {Verdict.PASS: "good", Verdict.FAIL: "bad", Verdict.NOTHING_COMPARED: "wait"}
_HEADS = (
    "where", "output", "verdict", "absolute", "of tolerance", "relative", "ULP", "cosine", "argmax", "top k", "bits",
    "elements",
)  # fmt: skip
_NUMBERS = frozenset(("absolute", "of tolerance", "relative", "ULP", "cosine", "argmax", "top k", "elements"))
_MOST_FAILURES = 60
# Values that agree to the last bit share a row where a table would be long.
_LONG, _MOST_NAMES = 24, 12
_INPUT_HEADS = ("call", "input", "dtype", "shape", "looks like")


def render_comparison(baseline: str, candidate: str, verification: Verification) -> str:
    return style.render_frame(
        f"{verification.verdict.value}: {candidate}",
        "<h1>Old against new</h1>"
        + _render_sides((("baseline", baseline), ("candidate", candidate)))
        + render_verification(verification),
    )


def _render_sides(pairs: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{name}</dt><dd><code>{html.escape(text)}</code></dd>" for name, text in pairs)
    return f"<dl>{items}</dl>"


def render_verification(verification: Verification) -> str:
    """Everything that a Verification says, without the frame."""
    return (
        f"<p>{style.render_badge(verification.verdict.value, _KINDS[verification.verdict])} "
        f"{html.escape(describe(verification))}</p>"
        + _render_levels(verification)
        + cause.render_cause(verification)
        + _render_command(verification.reproduce)
        + _render_failures(verification)
        + style.render_list("To weigh the verdict", verification.notes)
        + style.render_list("Not compared: the baseline could not run it", verification.not_compared, "wait")
        + _render_tolerances(verification.tolerances)
        + _render_benchmark(verification.benchmark)
        + _render_diffs(verification.diffs)
        + _render_plots(verification.diffs)
        + _render_inputs(verification.inputs)
    )


def _render_levels(verification: Verification) -> str:
    """A badge for each level, and how far the comparison reached."""
    badges = "".join(
        style.render_badge(f"{level} {verdict.value.replace('_', ' ')}", _KINDS[verdict])
        for level, verdict in verification.levels.items()
    )
    missed = [f"{item.name}: {line}" for item in verification.coverage for line in item.missed]
    missed += [f"not measurable: {line}" for item in verification.coverage for line in item.unmeasured]
    listed = "".join(f"<li>{html.escape(line)}</li>" for line in missed[:_MOST_FAILURES])
    line = html.escape(verification.coverage_line)
    covered = (
        f"<details><summary>covered: {line}</summary><ul>{listed}</ul></details>" if listed else f"covered: {line}"
    )
    return f"<div class=badges>{badges}</div>" + (f"<div>{covered}</div>" if line else "")


def _render_failures(verification: Verification) -> str:
    """Interface and problems, then each differing output once: the ways and calls in which it differs."""
    groups: dict[tuple[str, str], list[OutputDiff]] = {}
    for diff in sorted(verification.diffs, key=lambda diff: diff.level != INTERFACE):
        if not diff.equal:
            place = diff.where.rpartition("/")[0] if diff.level in (INFERENCE, GRADIENTS) else diff.where
            groups.setdefault((place, diff.output), []).append(diff)
    items = [html.escape(problem) for problem in verification.problems[:_MOST_FAILURES]]
    for (place, output), found in list(groups.items())[:_MOST_FAILURES]:
        cases = ", ".join(dict.fromkeys(d.where.removeprefix(f"{place}/") for d in found if d.where != place))
        routes = ", ".join(dict.fromkeys(diff.route or "session" for diff in found))
        called = html.escape(f" ({routes}{f'; {cases}' if cases else ''})")
        items.append(
            f"<b>{html.escape(place)}: {html.escape(output)}</b><span class=soft>{called}</span><br>"
            f"{html.escape(found[0].message)}"
        )
    left = len(groups) + len(verification.problems) - len(items)
    items += [f"and {left} more in the table"] if left > 0 else []
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f"<h2 class=bad>What differs</h2><ul class=spaced>{listed}</ul>" if items else ""


def _render_command(command: str) -> str:
    return f"<h2>To repeat it</h2>{style.render_command(command)}" if command else ""


def _render_benchmark(benchmark: dict[str, Any]) -> str:
    if not benchmark:
        return ""
    heads = ("side", "median", "fastest round", "slowest round", "peak memory")
    rows = []
    for side in ("baseline", "candidate"):
        measured = benchmark[side]
        times = [f"{1e3 * measured[name]:.3g} ms" for name in ("median_seconds", "fastest_round", "slowest_round")]
        memory = f"{measured['peak_rss_bytes'] / 2**20:.0f} MiB"
        cells = [style.render_cell(text, "number") for text in (*times, memory)]
        rows.append(style.render_row(heads, [style.render_cell(side), *cells]))
    table = style.render_table(heads, rows, numbers=frozenset(heads[1:]))
    return f"<h2>Speed and memory</h2><p>{html.escape(benchmark['message'])}</p>{table}"


def _render_diffs(diffs: Sequence[OutputDiff]) -> str:
    if not diffs:
        return ""
    single, shared = _collapse(diffs)
    ordered = sorted(single, key=lambda diff: (-_find_excess(diff), diff.bit_identical is True))
    rows = [_render_diff(diff) for diff in ordered] + [_render_shared(found) for found in shared]
    return f"<h2>All values</h2>{style.render_table(_HEADS, rows, only='only what differs', numbers=_NUMBERS)}"


def _collapse(diffs: Sequence[OutputDiff]) -> tuple[list[OutputDiff], list[list[OutputDiff]]]:
    """What has a row of its own, and what is the same to the last bit in one call: rows that say nothing each."""
    if len(diffs) <= _LONG:
        return list(diffs), []
    groups: dict[tuple[str, str, str], list[OutputDiff]] = {}
    for diff in diffs:
        if diff.equal and diff.bit_identical:
            groups.setdefault((diff.level, diff.where, diff.route), []).append(diff)
    shared = [found for found in groups.values() if len(found) > 1]
    gone = {id(diff) for found in shared for diff in found}
    return [diff for diff in diffs if id(diff) not in gone], shared


def _render_shared(found: Sequence[OutputDiff]) -> str:
    first = found[0]
    names = ", ".join(diff.output for diff in found[:_MOST_NAMES])
    rest = ", ".join(diff.output for diff in found[_MOST_NAMES:])
    more = (
        f"<details><summary>and {len(found) - _MOST_NAMES} more</summary>{html.escape(rest)}</details>" if rest else ""
    )
    cells = (
        _render_place(first),
        f"<td class=text>{len(found)} values: {html.escape(names)}{more}</td>",
        style.render_cell("equal", "good"),
        style.render_number(0.0),
        style.render_number(0.0),
        *(style.render_number(None) for _ in range(5)),
        style.render_cell("same"),
        style.render_number(sum(diff.elements for diff in found), ",d"),
    )
    return style.render_row(_HEADS, cells)


def _find_excess(diff: OutputDiff) -> float:
    """The largest difference over the tolerance of its order of magnitude: above 1 what differs, infinite where there
    is no number to it."""
    if diff.max_absolute is None or diff.absolute is None or diff.relative is None:
        return 0.0 if diff.equal else float("inf")
    scale = diff.max_absolute / diff.max_relative if diff.max_relative else 0.0
    allowed = diff.absolute + diff.relative * scale
    ratio = diff.max_absolute / allowed if allowed else (float("inf") if diff.max_absolute else 0.0)
    return min(ratio, 1.0) if diff.equal else max(ratio, 1.0)


def _render_place(diff: OutputDiff) -> str:
    called = f"{diff.level}, {diff.route or 'session'}" if diff.route != diff.level else diff.level
    return f"<td class=path>{_break_path(diff.where)} <span class=soft>{html.escape(called)}</span></td>"


def _render_diff(diff: OutputDiff) -> str:
    statistics = diff.statistics
    bits = {None: "", True: "same", False: "differ"}[diff.bit_identical]
    verdict = "equal" if diff.equal else "differs"
    if diff.random:
        verdict = "same distribution" if diff.equal and diff.p_value is not None else verdict
        verdict = "random" if diff.equal and diff.p_value is None else verdict
    message = f"<br><span class=soft>{html.escape(diff.message)}</span>" if diff.message else ""
    excess = _find_excess(diff)
    cells = (
        _render_place(diff),
        f"<td class=text>{html.escape(diff.output)}{message}</td>",
        style.render_cell(verdict, "good" if diff.equal else "bad"),
        style.render_number(diff.max_absolute),
        style.render_number(None if excess == float("inf") else excess, ".2g"),
        style.render_number(diff.max_relative),
        _render_ulp(statistics.max_ulp if statistics else None),
        style.render_number(statistics.cosine if statistics else None, ".7g"),
        style.render_number(statistics.argmax_agreement if statistics else None, ".2%"),
        _render_top(statistics),
        style.render_cell(bits),
        style.render_number(diff.elements, ",d"),
    )
    return style.render_row(_HEADS, cells, bad=not diff.equal)


def _break_path(text: str) -> str:
    """Lines break after slashes rather than within names."""
    return html.escape(text).replace("/", "/<wbr>")


def _render_ulp(distance: int | None) -> str:
    """Beyond a million it is no matter of rounding, and its digits say nothing."""
    return style.render_number(distance, "d" if distance is not None and distance < 10**6 else ".1e")


def _render_top(statistics: Statistics | None) -> str:
    if statistics is None or statistics.top_k_agreement is None:
        return style.render_number(None)
    text = f"{statistics.top_k_agreement:.2%} of {statistics.top_k}"
    return style.render_cell(text, "number", statistics.top_k_agreement)


def _render_tolerances(tolerances: Sequence[dict[str, Any]]) -> str:
    return style.render_list("Tolerances of single outputs", [describe_tolerance(item) for item in tolerances])


def _render_plots(diffs: Sequence[OutputDiff]) -> str:
    figures = []
    for diff in sorted(diffs, key=lambda diff: diff.equal):
        if diff.statistics is None or not diff.statistics.sample:
            continue
        quantiles = ", ".join(f"{q:.3g}" for q in diff.statistics.quantiles)
        figures.append(
            f"<figure><figcaption><b>{html.escape(diff.output)}</b> "
            f"<span class='{'good' if diff.equal else 'bad'}'>{'equal' if diff.equal else 'differs'}</span><br>"
            f"<span class=soft>{html.escape(diff.where)} ({html.escape(diff.route or 'session')})<br>"
            f"difference at 50, 90, 99, 100 %: {quantiles}</span></figcaption>"
            f"{_render_pair(diff, diff.statistics)}</figure>"
        )
    return f"<h2>Old against new, and the errors</h2><div class=plots>{''.join(figures)}</div>" if figures else ""


def _render_pair(diff: OutputDiff, statistics: Statistics) -> str:
    relative, absolute = diff.relative or 0.0, diff.absolute or 0.0
    scatter = plots.render_scatter(statistics, relative=relative, absolute=absolute)
    return scatter + plots.render_histogram(statistics, absolute=absolute)


def _render_inputs(inputs: Sequence[dict[str, Any]]) -> str:
    if not inputs:
        return ""
    rows = []
    for item in inputs:
        shape = "[" + ", ".join(map(str, item["shape"])) + "]"
        look = style.render_cell(item["text"], "text")
        if item["image"]:
            # Only data URIs that this toolkit encoded come here; the text is escaped all the same.
            picture = f"<img class=input alt='input {html.escape(item['key'], quote=True)}' src='{item['image']}'>"
            look = f"<td class=text>{picture}</td>"
        cells = (
            style.render_cell(item["where"], "path"),
            style.render_cell(item["key"], "path"),
            style.render_cell(item["dtype"]),
            style.render_cell(shape),
            look,
        )
        rows.append(style.render_row(_INPUT_HEADS, cells))
    return f"<h2>What was fed</h2>{style.render_table(_INPUT_HEADS, rows)}"
