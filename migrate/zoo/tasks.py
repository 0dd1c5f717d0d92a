"""One model of a zoo: `migrate_task` migrates it in isolation and returns its record. Every engine calls this."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from migrate import detect, errors, isolation, pipeline, publishing, sources
from migrate.model import READABLE, Format
from migrate.options import MigrateOptions
from migrate.outcome import Outcome, Status
from migrate.report.html import MODELS, find_page_name
from migrate.zoo import digests, journal
from migrate.zoo.journal import Receipts, Record


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done with one model.

    Attributes:
      path, relative: of an Entry.
      target: folder to write.
      quarantine: folder for a result that differs.
      report_dir: of the run; logs go there.
      receipts: folder of receipts.
      options: of this model.
      choices: digest of those options that decide the result.
      memory: bytes that it may take, by estimate.
      size, stamp: of its files.
      refused: why it is not begun at all, "" where it is.
    """

    path: str
    relative: str
    target: str
    quarantine: str
    report_dir: str
    receipts: str
    options: MigrateOptions
    choices: str
    memory: int = 0
    size: int = 0
    stamp: str = ""
    refused: str = ""


# What an archive holds that is none of a model; a file of the kind by itself is skipped as well.
_NO_MODELS = frozenset(kind.value for kind in Format if kind not in (*READABLE, Format.TF2_SAVED_MODEL, Format.ARCHIVE))
NO_MODEL = "an archive without a model that is migrated"
# Options that change how a result comes about, not what it is.
_WAYS = ("overwrite", "limits", "dump_graphs", "quarantine", "weights", "side_by_side")


def digest_options(options: MigrateOptions) -> str:
    chosen: dict[str, Any] = dataclasses.asdict(options)
    return journal.digest_choices({name: value for name, value in chosen.items() if name not in _WAYS})


def migrate_task(task: Task, progress: pipeline.Progress | None = None) -> Record:
    """Migrates one model in processes of its own. Whatever is wrong with it is in the record.

    Raises:
      JobError: with state "cancelled", when the run was told to stop.
    """
    progress = progress or pipeline.Progress()
    published = Receipts(task.receipts).find(task.relative)
    if published is not None:
        return published  # by an attempt that was lost before it could say so
    listing = _list(task.path)
    log = os.path.join(MODELS, os.path.splitext(find_page_name(task.path))[0] + ".log")
    full_log = os.path.join(task.report_dir, log)
    if os.path.exists(full_log):
        os.remove(full_log)
    with isolation.keep_logs(full_log):
        outcome = _migrate(task, progress, listing)
    place = outcome.dest or outcome.quarantine
    if isolation.shared_server().is_cancelled and not place:
        raise isolation.JobError("stopped", state="cancelled", where=task.path)
    outcome = dataclasses.replace(outcome, log=log if os.path.exists(full_log) else "")
    return _describe(task, outcome, listing, progress.digest, journal.list_files(place) if place else {})


def _list(path: str) -> digests.Listing | None:
    if sources.is_handle(path):
        return None
    try:
        return digests.list_source(path)
    except OSError:
        return None


def _describe(
    task: Task, outcome: Outcome, listing: digests.Listing | None, digest: str, files: dict[str, int]
) -> Record:
    return Record(
        outcome=outcome,
        relative=task.relative,
        stamp=listing.stamp if listing else task.stamp if sources.is_handle(task.path) else "",
        digest=digest,
        choices=task.choices,
        files=files,
    )


def _migrate(task: Task, progress: pipeline.Progress, listing: digests.Listing | None) -> Outcome:
    if task.refused:
        return _make_outcome(task, Status.BLOCKED, task.refused)
    receipts = Receipts(task.receipts)

    def write_receipt(outcome: Outcome, staged: str) -> None:
        receipts.write(_describe(task, outcome, listing, progress.digest, journal.list_files(staged)), staged)

    options = dataclasses.replace(task.options, quarantine=task.quarantine, side_by_side=False)
    try:
        kind = detect.detect_format(task.path).format if os.path.isfile(task.path) else None
        if kind is not None and kind not in (*READABLE, Format.ARCHIVE):
            return _make_outcome(task, Status.SKIPPED, f"{kind.value} is recognised, not migrated", kind.value)
        if kind is Format.ARCHIVE and not sources.may_hold_model(task.path):
            return _make_outcome(task, Status.SKIPPED, NO_MODEL, kind.value)
        outcome = pipeline.migrate_model(task.path, task.target, options, progress=progress, on_ready=write_receipt)
        if kind is Format.ARCHIVE and outcome.status is Status.BLOCKED and outcome.format in _NO_MODELS:
            return dataclasses.replace(outcome, status=Status.SKIPPED, error=f"{NO_MODEL}: {outcome.error}")
        return outcome
    except errors.SourceError as error:
        return _make_outcome(task, Status.BLOCKED, str(error))
    except OSError as error:
        return _make_outcome(task, Status.BLOCKED, f"{error.filename or task.path}: {error.strerror or error}")
    except errors.MigrateError as error:
        return _make_outcome(task, Status.FAILED, str(error), progress.format)
    except Exception as error:  # one bad model never stops the rest, whatever it does
        return _make_outcome(task, Status.FAILED, f"{type(error).__name__}: {error}", progress.format)


def _make_outcome(task: Task, status: Status, error: str, format_name: str = "") -> Outcome:
    return Outcome(source=task.path, dest="", format=format_name, status=status, stage="detect", error=error)


def link_duplicate(task: Task, first: Record, *, hard: bool) -> Record:
    """The record of a model whose files are those of a model that is done: what became of that became of it.

    Args:
      task: the duplicate's.
      first: the record of the model that was migrated for both.
      hard: the result's files become hard links, not copies.

    Raises:
      OSError: the result cannot be copied.
    """
    outcome = first.outcome
    changes: dict[str, Any] = {
        "source": task.path, "duplicate_of": outcome.source, "log": "", "seconds": 0.0, "peak_rss_bytes": 0,
        "error": outcome.error.replace(outcome.source, task.path),
    }  # fmt: skip
    if not outcome.dest:
        copied = dataclasses.replace(outcome, **changes)
        return _describe(task, copied, _list(task.path), first.digest, {})
    copied = dataclasses.replace(outcome, dest=task.target, **changes)
    listing = _list(task.path)

    def describe(folder: str) -> Record:
        return _describe(task, copied, listing, first.digest, journal.list_files(folder))

    def write_receipt(staged: str) -> None:
        Receipts(task.receipts).write(describe(staged), staged)

    publishing.publish_copy(outcome.dest, task.target, task.path, hard=hard, on_ready=write_receipt)
    return describe(task.target)
