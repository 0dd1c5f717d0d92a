"""The pages of a zoo run: an index, the worst first, that sorts and filters; and one page for each model."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from migrate.model import Severity
from migrate.outcome import Outcome, Status
from migrate.report import page, style
from migrate.report.facts import RunFacts
from migrate.verdict import Verdict

MODELS = "models"
_HEADS = (
    "model",
    "format",
    "status",
    "verdict",
    "values",
    "bits",
    "largest difference",
    "seconds",
    "MiB",
    "what to know",
)
_NUMBERS = frozenset(("values", "largest difference", "seconds", "MiB"))
# What needs a person first.
_SEVERITY = (
    Status.CRASHED, Status.FAILED, Status.REGRESSED, Status.TIMED_OUT, Status.BLOCKED, Status.SKIPPED, Status.MIGRATED,
    Status.ALREADY_TF2,
)  # fmt: skip
_WAITING = (Status.BLOCKED, Status.SKIPPED)
_MOST_SLOW, _MOST_REASONS, _MOST_CHANGES, _MOST_NOTES = 5, 6, 40, 3
_REASON_WIDTH = 90
_WARNING, _NOTE = "⚠", "\N{INFORMATION SOURCE}"


def find_page_name(source: str) -> str:
    """File name of a model's page: readable, and unique by its digest."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(source.strip(os.sep).split(os.sep)[-2:]))
    return f"{words[:60]}-{hashlib.sha256(source.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}.html"


# --- the index -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What the index keeps of an outcome, which may be read from a file each time that it is asked for; `link` leads to
    its row."""

    rank: tuple[int, bool, bool, str]
    source: str
    status: Status
    seconds: float
    reason: str
    link: str
    row: str


def render_zoo(outcomes: Sequence[Outcome], summary: Mapping[str, int], facts: RunFacts | None = None) -> str:
    """The index: bars, what changed, the slowest, and a table of all models, each linked to its page."""
    facts = facts or RunFacts()
    sources = [outcome.source for outcome in outcomes]
    # Handles of servers have no folder above them.
    root = os.path.commonpath(sources) if len(sources) > 1 and all(map(os.path.isabs, sources)) else ""
    entries = sorted((_make_entry(outcome, root) for outcome in outcomes), key=lambda entry: entry.rank)
    below = f" below <code>{html.escape(root)}</code>" if root else ""
    chips = {name: summary[name] for name in sorted(summary, key=_order_status)} if len(summary) > 1 else {}
    table = style.render_table(
        _HEADS, [entry.row for entry in entries], only="only what is not well", numbers=_NUMBERS, chips=chips
    )
    body = (
        f"<h1>Migration report</h1><p>{len(entries)} models{below}{_render_facts(facts)}</p>"
        + style.render_command(facts.command)
        + _render_bars(entries)
        + _render_changes(entries, facts.previous)
        + _render_slowest(entries)
        + f"<h2>All models</h2>{table}"
    )
    return style.render_frame("Migration report", body)


def _make_entry(outcome: Outcome, root: str) -> _Entry:
    verdict = outcome.verification.verdict if outcome.verification else None
    warned = any(finding.severity is not Severity.INFO for finding in outcome.findings)
    name = os.path.relpath(outcome.source, root) if root else outcome.source
    page_name = find_page_name(outcome.source)
    link = f"<a href='{MODELS}/{page_name}'>{html.escape(name)}</a>"
    return _Entry(
        rank=(_SEVERITY.index(outcome.status), verdict is not Verdict.NOTHING_COMPARED, not warned, outcome.source),
        source=outcome.source,
        status=outcome.status,
        seconds=outcome.seconds,
        reason=_find_reason(outcome) if outcome.status is Status.BLOCKED else "",
        link=f"<a href='#{page_name}'>{html.escape(name)}</a>",
        row=_render_row(outcome, link, page_name),
    )


def _order_status(name: str) -> int:
    known = [status.value for status in _SEVERITY]
    return known.index(name) if name in known else len(known)


def _kind(status: Status) -> str:
    """good, wait or bad: the colour of a status."""
    return "wait" if status in _WAITING else "good" if status.is_good else "bad"


def _render_facts(facts: RunFacts) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    parts = [html.escape(part) for part in (facts.date, versions) if part]
    parts.append("<a href='junit.xml'>junit.xml</a>, <a href='report.json'>report.json</a>")
    return f"<br><span class=soft>{' · '.join(parts)}</span>"


def _render_bars(entries: Sequence[_Entry]) -> str:
    """Shares of the statuses; and why models are blocked, the commonest reason first."""
    counts = Counter(entry.status for entry in entries)
    bars = style.render_bar("statuses", [(s.value, counts[s], _kind(s)) for s in _SEVERITY if s in counts])
    reasons = Counter(entry.reason for entry in entries if entry.status is Status.BLOCKED)
    common = reasons.most_common(_MOST_REASONS)
    rest = sum(reasons.values()) - sum(count for _, count in common)
    parts = [(name, count, "wait") for name, count in (*common, *([("other reasons", rest)] if rest else []))]
    return bars + (f"<h2>Why models are blocked</h2>{style.render_bar('reasons', parts)}" if parts else "")


def _find_reason(outcome: Outcome) -> str:
    """The error without the places and hints in it: what several models have in common."""
    parts = [part.strip() for part in outcome.error.partition(" [")[0].split(": ")]
    said = [part for part in parts if part and os.sep not in part.split(" ")[0]]
    reason = ": ".join(said or parts) or "no reason given"
    return reason if len(reason) <= _REASON_WIDTH else f"{reason[: _REASON_WIDTH - 1]}…"


def _render_changes(entries: Sequence[_Entry], previous: Mapping[str, str] | None) -> str:
    """Models whose status is another one than in the last run; nothing where none is known."""
    if previous is None:
        return ""
    lines = [
        f"{entry.link}: {html.escape(previous.get(entry.source, 'not there'))} → {entry.status.value}"
        for entry in entries
        if previous.get(entry.source) != entry.status.value
    ]
    here = {entry.source for entry in entries}
    lines += [
        f"{html.escape(source)}: {html.escape(status)} → not there"
        for source, status in sorted(previous.items())
        if source not in here
    ]
    items = [f"<li>{line}</li>" for line in lines[:_MOST_CHANGES]]
    items += [f"<li>and {len(lines) - _MOST_CHANGES} more</li>"] if len(lines) > _MOST_CHANGES else []
    listed = f"<ul>{''.join(items)}</ul>" if items else "<p class=soft>no status</p>"
    return f"<h2>What changed since the last run</h2>{listed}"


def _render_slowest(entries: Sequence[_Entry]) -> str:
    if len(entries) <= _MOST_SLOW:
        return ""
    slow = sorted(entries, key=lambda entry: -entry.seconds)[:_MOST_SLOW]
    listed = ", ".join(f"{entry.link} {entry.seconds:.1f} s" for entry in slow)
    return f"<p class=soft>slowest: {listed}</p>"


def _list_notes(outcome: Outcome) -> list[tuple[str, str]]:
    """(icon, text), what is wrong first."""
    notes = [(_WARNING, outcome.error)] if outcome.error else []
    found = [
        (_NOTE if finding.severity is Severity.INFO else _WARNING, f"{finding.where}: {finding.message}")
        for finding in outcome.findings
    ]
    notes += sorted(found, key=lambda note: note[0] != _WARNING)
    if outcome.verification:
        notes += [(_WARNING, f"not compared: {line}") for line in outcome.verification.not_compared]
        notes += [(_NOTE, line) for line in outcome.verification.notes]
    return notes


def _render_notes(outcome: Outcome) -> str:
    """Two lines of each note: all of it is shown when a mouse asks, and stands on the model's page."""
    notes = _list_notes(outcome)
    lines = "".join(
        f"<div class=clamp><span class={'wait' if icon == _WARNING else 'soft'}>{icon}</span> "
        f"{html.escape(text[:500])}</div>"
        for icon, text in notes[:_MOST_NOTES]
    )
    more = f"<span class=soft>and {len(notes) - _MOST_NOTES} more</span>" if len(notes) > _MOST_NOTES else ""
    return f"<td class=text>{lines}{more}</td>"


def _render_row(outcome: Outcome, link: str, anchor: str) -> str:
    verification = outcome.verification
    bits = {None: "", True: "same", False: "differ"}[verification.is_bit_identical if verification else None]
    cells = (
        f"<td class=path>{link}</td>",
        style.render_cell(outcome.format),
        style.render_cell(outcome.status.value, _kind(outcome.status), float(_SEVERITY.index(outcome.status))),
        style.render_cell(verification.verdict.value if verification else ""),
        style.render_number(verification.outputs_compared if verification else None, "d"),
        style.render_cell(bits),
        style.render_number(verification.max_absolute if verification else None),
        style.render_number(outcome.seconds, ".1f"),
        style.render_number(outcome.peak_rss_bytes / 2**20 if outcome.peak_rss_bytes else None, ".0f"),
        _render_notes(outcome),
    )
    return style.render_row(
        _HEADS, cells, bad=_kind(outcome.status) != "good", chip=outcome.status.value, anchor=anchor
    )


# --- a model ---------------------------------------------------------------------------------------------


def render_model(outcome: Outcome) -> str:
    """The page of one model: why it is as it is first."""
    facts = {
        "source": outcome.source,
        "written to": outcome.dest,
        "format": outcome.format,
        "reached": outcome.stage,
        "took": f"{outcome.seconds:.1f} s",
    }
    items = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items() if text)
    name = os.path.basename(os.path.dirname(outcome.source)) or outcome.source
    body = (
        f"<p><a href='../report.html'>all models</a></p><h1>{html.escape(name)} "
        f"{style.render_badge(outcome.status.value, _kind(outcome.status))}</h1>"
        + style.render_list("Why", [outcome.error] if outcome.error else [], "bad")
        + f"<dl>{items}</dl>"
        + style.render_list(
            "What to know",
            [f"{f.severity.value}: {f.where}: {f.message}{f' [{f.hint}]' if f.hint else ''}" for f in outcome.findings],
        )
    )
    if outcome.verification:
        body += page.render_verification(outcome.verification)
    return style.render_frame(f"{outcome.status.value}: {name}", body)
