"""Writes the reports of a zoo run."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from migrate.outcome import Outcome
from migrate.report import html, junit
from migrate.report.facts import RunFacts


def write_reports(
    folder: str, outcomes: Sequence[Outcome], summary: Mapping[str, int], facts: RunFacts | None = None
) -> None:
    """Writes report.json, report.html, junit.xml and models/*.html into `folder`, each complete or not at all.

    `outcomes` may read each of its items from a file when asked: thousands are never in memory together.
    """
    pages = os.path.join(folder, html.MODELS)
    os.makedirs(pages, exist_ok=True)
    with _replacing(os.path.join(folder, "report.json")) as file:
        file.write(f'{{\n "summary": {json.dumps(dict(summary))},\n "models": [')
        for position, outcome in enumerate(outcomes):
            # A line for each model: indented, it takes Python's own encoder, and several times as long.
            file.write(("," if position else "") + "\n  " + json.dumps(outcome.to_record()))
            write_text(os.path.join(pages, html.find_page_name(outcome.source)), html.render_model(outcome))
        file.write("\n ]\n}\n")
    write_text(os.path.join(folder, "report.html"), html.render_zoo(outcomes, summary, facts))
    write_text(os.path.join(folder, "junit.xml"), junit.render_zoo(outcomes))


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[TextIO]:
    """A file that takes its place when the block ends well."""
    # A path may hold bytes that are no UTF-8; a report shows them escaped.
    with open(f"{path}.tmp", "w", encoding="utf-8", errors="backslashreplace") as file:
        yield file
    os.replace(f"{path}.tmp", path)


def write_text(path: str, text: str) -> None:
    """Writes a file that is complete or not there."""
    with _replacing(path) as file:
        file.write(text)


def format_summary(summary: Mapping[str, int], seconds: float) -> str:
    """ "58 models: 56 migrated, 1 blocked, 1 failed in 83 s"."""
    counts = ", ".join(f"{count} {status}" for status, count in summary.items())
    return f"{sum(summary.values())} models: {counts} in {seconds:.0f} s"
