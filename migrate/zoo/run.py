"""Migrates many models: several at a time, each in processes of its own, each recorded at once."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import threading
from collections.abc import Callable

from migrate import detect, errors, pipeline
from migrate.model import READABLE, Format
from migrate.options import MigrateOptions, ZooOptions
from migrate.outcome import Outcome, Status
from migrate.report import write_reports
from migrate.zoo.discovery import Entry, discover_models, parse_manifest

RESULTS = "results.jsonl"
_REPORT_FOLDER = "_migration"
# What a resumed run does not try again: it would come out the same.
_SETTLED = frozenset({Status.MIGRATED, Status.ALREADY_TF2, Status.SKIPPED, Status.BLOCKED})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ZooReport:
    """All outcomes, in the order of discovery. `report_dir` holds the written reports."""

    outcomes: tuple[Outcome, ...]
    report_dir: str

    @property
    def summary(self) -> dict[str, int]:
        """Counts by status, statuses that occur only."""
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            counts[outcome.status.value] = counts.get(outcome.status.value, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def is_good(self) -> bool:
        return all(outcome.status.is_good for outcome in self.outcomes)


def migrate_zoo(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    options: ZooOptions | None = None,
    *,
    on_outcome: Callable[[Outcome, int], None] | None = None,
    on_start: Callable[[int], None] | None = None,
) -> ZooReport:
    """Migrates every model below a root, or named by a manifest file.

    Args:
      source: folder, or a manifest with one path a line.
      dest: root folder; each model keeps its path below `source`.
      options: see ZooOptions.
      on_outcome: called with each outcome and the total, from the calling thread.
      on_start: called with the number of models.

    Returns:
      The report. One bad model never stops the others.

    Raises:
      UsageError: no such source, nothing in it, or a destination that holds an earlier run.
    """
    options = options or ZooOptions()
    source, dest = os.path.abspath(source), os.path.abspath(dest)
    entries = parse_manifest(source) if os.path.isfile(source) else discover_models(source)
    if not entries:
        raise errors.SourceNotFoundError(
            "no model was found", where=source, hint="a model is a folder with saved_model.pb or saved_model.pbtxt"
        )
    report_dir = os.path.abspath(options.report_dir or os.path.join(dest, _REPORT_FOLDER))
    earlier = _prepare_folders(dest, report_dir, options)
    if options.resume:
        # Before any model starts: what lies there now can only be a killed run's.
        for folder in sorted({os.path.dirname(os.path.join(dest, entry.relative)) for entry in entries}):
            pipeline.remove_stale_staging(folder)
    if on_start is not None:
        on_start(len(entries))
    outcomes: dict[str, Outcome] = {}
    journal = _Journal(os.path.join(report_dir, RESULTS))
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(options.jobs, 1)) as pool:
        pending = {}
        for entry in entries:
            known = earlier.get(entry.path)
            if known is not None and _is_settled(known):
                outcomes[entry.path] = known
                if on_outcome is not None:
                    on_outcome(known, len(entries))
                continue
            pending[pool.submit(_migrate_entry, entry, dest, options)] = entry
        for future in concurrent.futures.as_completed(pending):
            outcome = future.result()
            journal.append(outcome)
            outcomes[pending[future].path] = outcome
            if on_outcome is not None:
                on_outcome(outcome, len(entries))
    report = ZooReport(outcomes=tuple(outcomes[entry.path] for entry in entries), report_dir=report_dir)
    write_reports(report_dir, report.outcomes, report.summary)
    return report


def _prepare_folders(dest: str, report_dir: str, options: ZooOptions) -> dict[str, Outcome]:
    """Makes the folders and reads what an earlier run has settled, by source path."""
    results = os.path.join(report_dir, RESULTS)
    overwrite = options.migrate.overwrite
    if os.path.isdir(dest) and os.listdir(dest) and not (options.resume or overwrite):
        raise errors.DestinationError(
            "the destination is not empty", where=dest, hint="--resume goes on with it, --overwrite replaces models"
        )
    try:
        os.makedirs(report_dir, exist_ok=True)
        with open(results, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise errors.DestinationError(
            f"the report folder cannot be written: {error.strerror}", where=report_dir, hint="check --dest"
        ) from error
    if not options.resume:
        os.remove(results)
        return {}
    return {outcome.source: outcome for outcome in _read_journal(results)}


def _read_journal(path: str) -> list[Outcome]:
    """Outcomes of earlier runs; a last line that a killed run left unfinished is dropped."""
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                found.append(Outcome.from_record(json.loads(line)))
            except (ValueError, KeyError, TypeError):
                continue
    return found


def _is_settled(outcome: Outcome) -> bool:
    if outcome.status not in _SETTLED:
        return False
    return outcome.status is not Status.MIGRATED or os.path.isdir(outcome.dest)


class _Journal:
    """results.jsonl: a line for each model as soon as it is done."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()

    def append(self, outcome: Outcome) -> None:
        with self._lock, open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(outcome.to_record()) + "\n")


def _migrate_entry(entry: Entry, dest: str, options: ZooOptions) -> Outcome:
    target = os.path.join(dest, entry.relative)
    migrate_options: MigrateOptions = options.migrate
    if options.resume and not migrate_options.overwrite and os.path.isdir(target):
        # What stands there is whole (it is renamed into place), but its record is lost: make it again.
        migrate_options = dataclasses.replace(migrate_options, overwrite=True)
    try:
        found = detect.detect_format(entry.path)
        if os.path.isfile(entry.path) and found.format not in READABLE:
            return _skip_file(entry, found.format)
        return pipeline.migrate_model(entry.path, target, migrate_options)
    except errors.MigrateError as error:
        return _failed(entry, str(error))
    except Exception as error:  # one bad model never stops the rest, whatever it does
        return _failed(entry, f"{type(error).__name__}: {error}")


def _failed(entry: Entry, error: str) -> Outcome:
    return Outcome(source=entry.path, dest="", format="", status=Status.FAILED, stage="detect", error=error)


def _skip_file(entry: Entry, kind: Format) -> Outcome:
    return Outcome(
        source=entry.path,
        dest="",
        format=kind.value,
        status=Status.SKIPPED,
        stage="detect",
        error=f"{kind.value} is recognised, not migrated",
    )
