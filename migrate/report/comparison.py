"""A Verification as text, JSON, JUnit XML and an HTML page."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable

from migrate import errors
from migrate.report import files, junit, page
from migrate.report.summary import describe, describe_tolerance
from migrate.verdict import INPUTS, Verification

_MOST_LINES = 20


def find_folder(report: str) -> str:
    """Where inputs and answers go: beside the report, under its name."""
    return f"{os.path.splitext(os.path.abspath(report))[0]}.files"


def check_report(report: str, *, keep: Iterable[str] = ()) -> None:
    """Makes the report's folder and tries it, before hours of work are spent on what cannot be written.

    Args:
      report: path of the JSON file.
      keep: files that the report must not replace.

    Raises:
      DestinationError: it cannot be written, or would replace a file of the comparison.
    """
    path = os.path.abspath(report)
    stem, ending = os.path.splitext(path)
    hint = "--report names a JSON file; an HTML page, JUnit XML and a folder of inputs come beside it"
    if ending in (".html", ".xml") or path in map(os.path.abspath, filter(None, keep)):
        raise errors.DestinationError(f"the report would replace {path}", where="--report", hint=hint)
    taken = [name for name in (path, f"{stem}.html", f"{stem}.xml") if os.path.isdir(name)]
    if taken:
        raise errors.DestinationError(f"{taken[0]} is a folder", where="--report", hint=hint)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.TemporaryFile(dir=os.path.dirname(path)):
            pass
        if os.path.exists(folder := find_folder(report)) and not os.path.isdir(folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    except OSError as error:
        raise errors.DestinationError(
            f"the report cannot be written: {error.filename or path}: {error.strerror}", where="--report", hint=hint
        ) from error


def write_report(report: str, baseline: str, candidate: str, verification: Verification) -> None:
    """Writes the JSON to `report`, and .html and .xml (JUnit) beside it."""
    stem = os.path.splitext(os.path.abspath(report))[0]
    os.makedirs(os.path.dirname(stem), exist_ok=True)
    record = {"baseline": baseline, "candidate": candidate, **verification.to_record()}
    files.write_text(os.path.abspath(report), json.dumps(record, indent=1) + "\n")
    files.write_text(f"{stem}.html", page.render_comparison(baseline, candidate, verification))
    files.write_text(f"{stem}.xml", junit.render_comparison(f"{baseline} -> {candidate}", verification))


def format_text(baseline: str, candidate: str, verification: Verification) -> str:
    """A page for a terminal."""
    lines = [f"{verification.verdict.value}  {describe(verification)}"]
    lines += [f"  baseline   {baseline}", f"  candidate  {candidate}", f"  level      {verification.level}"]
    if verification.coverage_line:
        lines.append(f"  covered    {verification.coverage_line}")
    lines += list_unreached(verification)
    lines += _some([f"  FAIL {text}" for text in verification.failures])
    lines += [f"  first to differ: {item['message']}" for item in verification.bisection]
    lines += _some([f"  not compared: {text}" for text in verification.not_compared])
    lines += [f"  note: {text}" for text in verification.notes]
    lines += _some([f"  tolerance of {describe_tolerance(item)}" for item in verification.tolerances])
    if verification.benchmark:
        lines.append(f"  speed: {verification.benchmark['message']}")
    if verification.reproduce:
        lines.append(f"  again: {verification.reproduce}")
    return "\n".join(lines)


def list_unreached(verification: Verification) -> list[str]:
    """Lines of what no input reached in the original's graph, and of what cannot be told."""
    reach = [item for item in verification.coverage if item.level == INPUTS]
    return [
        *_some([f"  not reached: {item.name}: {text}" for item in reach for text in item.missed]),
        *_some([f"  not measurable: {text}" for item in reach for text in item.unmeasured]),
    ]


def _some(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[:_MOST_LINES], f"  ... and {len(lines) - _MOST_LINES} more; --report keeps all"]
