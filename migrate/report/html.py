"""The pages of a zoo run: an index that sorts and filters, and one page for each model."""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections.abc import Mapping, Sequence

from migrate.outcome import Outcome
from migrate.report import page, style

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
_WAITING = ("blocked", "skipped")


def find_page_name(source: str) -> str:
    """File name of a model's page: readable, and unique by its digest."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(source.strip(os.sep).split(os.sep)[-2:]))
    return f"{words[:60]}-{hashlib.sha256(source.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}.html"


def render_zoo(outcomes: Sequence[Outcome], summary: Mapping[str, int]) -> str:
    """The index: counts, and a table of all models, each linked to its page."""
    counts = ", ".join(f"{count} {status}" for status, count in summary.items())
    root = os.path.commonpath([outcome.source for outcome in outcomes]) if outcomes else ""
    body = f"<h1>Migration report</h1><p>{len(outcomes)} models: {html.escape(counts)}</p>"
    body += f"<p class=soft>below <code>{html.escape(root)}</code></p>" if len(outcomes) > 1 else ""
    rows = [_render_row(outcome, root if len(outcomes) > 1 else "") for outcome in outcomes]
    return style.render_frame(
        "Migration report", body + style.render_table(_HEADS, rows, only="only what is not well", numbers=_NUMBERS)
    )


def _kind(outcome: Outcome) -> str:
    return "wait" if outcome.status.value in _WAITING else "good" if outcome.status.is_good else "bad"


def _notes(outcome: Outcome) -> list[str]:
    notes = [outcome.error, *(f"{f.severity.value}: {f.where}: {f.message}" for f in outcome.findings)]
    if outcome.verification:
        notes += [f"not compared: {line}" for line in outcome.verification.not_compared]
        notes += [f"note: {line}" for line in outcome.verification.notes]
    return [note for note in notes if note]


def _render_row(outcome: Outcome, root: str) -> str:
    verification = outcome.verification
    name = os.path.relpath(outcome.source, root) if root else outcome.source
    notes = _notes(outcome)
    text = "<br>".join(html.escape(note) for note in notes[:3])
    more = f"<br><span class=soft>and {len(notes) - 3} more</span>" if len(notes) > 3 else ""
    bits = {None: "", True: "same", False: "differ"}[verification.is_bit_identical if verification else None]
    cells = (
        f"<td class=path><a href='{MODELS}/{find_page_name(outcome.source)}'>{html.escape(name)}</a></td>",
        style.render_cell(outcome.format),
        style.render_cell(outcome.status.value, _kind(outcome)),
        style.render_cell(verification.verdict.value if verification else ""),
        style.render_number(verification.outputs_compared if verification else None, "d"),
        style.render_cell(bits),
        style.render_number(verification.max_absolute if verification else None),
        style.render_number(outcome.seconds, ".1f"),
        style.render_number(outcome.peak_rss_bytes / 2**20 if outcome.peak_rss_bytes else None, ".0f"),
        f"<td class=text>{text}{more}</td>",
    )
    return style.render_row(_HEADS, cells, bad=_kind(outcome) != "good")


def render_model(outcome: Outcome) -> str:
    """The page of one model."""
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
        f"{style.render_badge(outcome.status.value, _kind(outcome))}</h1><dl>{items}</dl>"
        + style.render_list("Why", [outcome.error] if outcome.error else [], "bad")
        + style.render_list(
            "What to know",
            [f"{f.severity.value}: {f.where}: {f.message}{f' [{f.hint}]' if f.hint else ''}" for f in outcome.findings],
        )
    )
    if outcome.verification:
        body += page.render_verification(outcome.verification)
    return style.render_frame(f"{outcome.status.value}: {name}", body)
