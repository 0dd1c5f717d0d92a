"""Migrates many models: several at a time, each in processes of its own, each recorded at once."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Sequence

from migrate import errors, publishing
from migrate.options import ZooOptions
from migrate.outcome import Outcome, Status
from migrate.report import find_facts, write_reports
from migrate.zoo import remote, storage
from migrate.zoo.discovery import Entry, discover_models, select_models
from migrate.zoo.driver import Driver, Watcher
from migrate.zoo.engines import Engine, LocalEngine, Running
from migrate.zoo.journal import RESULTS, Journal, Outcomes, Receipts
from migrate.zoo.lock import hold_lock
from migrate.zoo.manifest import check_consents, parse_manifest
from migrate.zoo.plan import REPORT_FOLDER, STATE_FOLDER, Folders, Planned, plan_models
from migrate.zoo.stopping import Stop, Surroundings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ZooReport:
    """All outcomes, in the order of discovery. `report_dir` holds the written reports.

    Attributes:
      outcomes: of the models that are done.
      report_dir: folder of the reports.
      stopped: why the run ended before all models were done, "" where it did not.
      total: number of models, done or not.
    """

    outcomes: Sequence[Outcome]
    report_dir: str
    stopped: str = ""
    total: int = 0

    @property
    def summary(self) -> dict[str, int]:
        """Counts by status, statuses that occur only."""
        counts: dict[str, int] = {}
        for status in _list_statuses(self.outcomes):
            counts[status.value] = counts.get(status.value, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def is_good(self) -> bool:
        return not self.stopped and all(status.is_good for status in _list_statuses(self.outcomes))


def _list_statuses(outcomes: Sequence[Outcome]) -> Iterator[Status]:
    return outcomes.statuses if isinstance(outcomes, Outcomes) else (outcome.status for outcome in outcomes)


def migrate_zoo(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    options: ZooOptions | None = None,
    *,
    on_outcome: Callable[[Outcome, int], None] | None = None,
    on_start: Callable[[int], None] | None = None,
    on_tick: Callable[[Sequence[Running]], None] | None = None,
    stop: Stop | None = None,
    command: str = "",
) -> ZooReport:
    """Migrates every model below a root, or named by a manifest file.

    Args:
      source: folder, or a manifest.
      dest: root folder; each model keeps its path below `source`.
      options: see ZooOptions.
      on_outcome: called with each outcome and the total, from the calling thread.
      on_start: called with the number of models.
      on_tick: called a few times a second with what is in work.
      stop: whoever holds it may end the run before its time.
      command: the command line that asked for it, for the report.

    Returns:
      The report. One bad model never stops the others.

    Raises:
      UsageError: no such source, nothing in it, a destination that holds an earlier run or is in use.
    """
    options = options or ZooOptions()
    source, folders = find_places(source, dest, options)
    entries = find_entries(source, folders, options)
    _check_destination(folders, options)
    watcher = Watcher(on_start=on_start, on_outcome=on_outcome, on_tick=on_tick)
    with contextlib.ExitStack() as held:
        held.callback(_remove_state, folders)
        held.enter_context(hold_lock(folders.state, folders.dest))
        if os.path.dirname(folders.state) != folders.report_dir:
            held.enter_context(hold_lock(folders.report_dir, folders.report_dir))
        journal = _open_journal(folders, options)
        planned = plan_models(entries, folders, options)
        root = "" if storage.is_remote(source) else source if os.path.isdir(source) else os.path.dirname(source)
        local = [folder for folder in (folders.dest, folders.report_dir) if not storage.is_remote(folder)]
        surroundings = Surroundings(source=root, folders=tuple(local))
        engine = _make_engine(options)
        try:
            run = Driver(planned, journal, engine, options, watcher, stop or Stop(), surroundings)
            stopped = run.run_all()
        finally:
            engine.close()
        return _report(journal, planned, folders, stopped, surroundings, command)


def _make_engine(options: ZooOptions) -> Engine:
    if options.engine == "local":
        return LocalEngine(options.jobs)
    from migrate.zoo.engines.cluster import RayEngine  # an extra

    return RayEngine(options.ray_address)


def _report(
    journal: Journal,
    planned: Sequence[Planned],
    folders: Folders,
    stopped: str,
    surroundings: Surroundings,
    command: str,
) -> ZooReport:
    trouble = ""
    try:
        journal.compact()
    except OSError as error:
        trouble = surroundings.find_trouble() or f"{error.filename or folders.report_dir}: {error.strerror}"
    outcomes = Outcomes(journal, [item.task.relative for item in planned])
    report = ZooReport(outcomes=outcomes, report_dir=folders.report_dir, stopped=stopped, total=len(planned))
    try:
        write_reports(folders.report_dir, outcomes, report.summary, find_facts(folders.report_dir, command))
        if storage.is_remote(folders.dest):
            _upload_reports(folders)
    except OSError as error:
        trouble = surroundings.find_trouble() or f"{error.filename or folders.report_dir}: {error.strerror}"
    if trouble:
        stopped = stopped or f"the reports could not be written: {trouble}"
        report = dataclasses.replace(report, stopped=stopped)
    return report


def _upload_reports(folders: Folders) -> None:
    store = remote.get_store(folders.dest)
    for parent, _, names in os.walk(folders.report_dir):
        for name in names:
            path = os.path.join(parent, name)
            inside = os.path.relpath(path, folders.report_dir).replace(os.sep, "/")
            if STATE_FOLDER not in inside.split("/"):
                store.upload(path, storage.join(folders.dest, REPORT_FOLDER, inside))


def find_places(
    source: str | os.PathLike[str], dest: str | os.PathLike[str], options: ZooOptions
) -> tuple[str, Folders]:
    """Source and folders as absolute paths or URLs.

    Raises:
      UsageError: a remote destination without a local folder for the reports.
    """
    source, dest = (
        text.rstrip("/") if storage.is_remote(text) else os.path.abspath(text)
        for text in (os.fspath(source), os.fspath(dest))
    )
    if storage.is_remote(dest) and (not options.report_dir or storage.is_remote(options.report_dir)):
        raise errors.UsageError(
            "a run into a bucket keeps its journal in a local folder",
            where="--report_dir",
            hint="name one; the reports are copied to <dest>/_migration at the end",
        )
    return source, Folders(
        dest=dest, report_dir=os.path.abspath(options.report_dir or os.path.join(dest, REPORT_FOLDER))
    )


def find_entries(source: str, folders: Folders, options: ZooOptions) -> list[Entry]:
    """The models of a source that are selected.

    Raises:
      UsageError: there are none.
    """
    # Where the destination lies within the source, what was migrated is no model to migrate.
    own = (folders.dest, folders.report_dir)
    if storage.is_remote(source):
        entries = remote.discover_remote(source)
    else:
        entries = parse_manifest(source) if os.path.isfile(source) else discover_models(source, skip=own)
        if not options.trust_manifest:
            check_consents(entries, options.migrate, source)
    if not entries:
        raise errors.SourceNotFoundError(
            "no model was found", where=source, hint="a model is a folder with saved_model.pb or saved_model.pbtxt"
        )
    selected = select_models(entries, options.selection)
    if not selected:
        raise errors.SourceNotFoundError(
            f"none of {len(entries)} models is selected", where=source, hint="--dry_run lists them; see --include"
        )
    return selected


def _check_destination(folders: Folders, options: ZooOptions) -> None:
    """Refuses a destination that holds something, makes the folders."""
    dest = folders.dest
    if storage.is_remote(dest):
        _check_bucket(folders, options)
    elif os.path.isdir(dest) and os.listdir(dest) and not (options.resume or options.migrate.overwrite):
        raise errors.DestinationError(
            "the destination is not empty", where=dest, hint="--resume goes on with it, --overwrite replaces models"
        )
    for folder, flag in ((folders.report_dir, "--report_dir"), (folders.state, "--dest")):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise errors.DestinationError(
                f"the folder cannot be written: {error.strerror}", where=folder, hint=f"check {flag}"
            ) from error
        if not publishing.is_writable(folder):
            raise errors.DestinationError("the folder cannot be written", where=folder, hint=f"check {flag}")


def _check_bucket(folders: Folders, options: ZooOptions) -> None:
    try:
        used = remote.get_store(folders.dest).list_items(folders.dest)
    except (OSError, RuntimeError, ValueError) as error:
        raise errors.DestinationError(
            f"it cannot be listed: {error}", where=folders.dest, hint="check --dest"
        ) from error
    if used and not (options.resume or options.migrate.overwrite):
        raise errors.DestinationError(
            "the destination is not empty",
            where=folders.dest,
            hint="--resume goes on with it, --overwrite replaces models",
        )


def _open_journal(folders: Folders, options: ZooOptions) -> Journal:
    path = os.path.join(folders.report_dir, RESULTS)
    journal = Journal(path)
    try:
        if not options.resume:
            shutil.rmtree(folders.receipts, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
            return journal
        journal.load()
    except OSError as error:  # a folder, a pipe or a link to nowhere in its place, a file of somebody else's
        raise errors.DestinationError(
            f"the journal of earlier runs cannot be used: {error.strerror or error}",
            where=path,
            hint="move it away; without it --resume does all models again",
        ) from error
    receipts = Receipts(folders.receipts)
    for record in receipts.collect():
        known = journal.known.get(record.relative)
        if known is None or known.files != record.files or known.status is not record.outcome.status:
            journal.append(record)
    shutil.rmtree(folders.receipts, ignore_errors=True)
    return journal


def _remove_state(folders: Folders) -> None:
    """After the run nothing of it stays but the reports; receipts do, where the journal could not be written."""
    for folder in (folders.receipts, folders.state):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
