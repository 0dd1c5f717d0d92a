"""The plan of a run, without the run: what is what, what will be blocked and why, how much, how long."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Sequence

from migrate import detect, errors, inspection, isolation, sources
from migrate.model import READABLE, Format
from migrate.options import Limits, ReadOptions, ZooOptions
from migrate.zoo import storage
from migrate.zoo.journal import RESULTS, Journal
from migrate.zoo.plan import Planned, find_duplicates, plan_models
from migrate.zoo.run import find_entries, find_places
from migrate.zoo.settled import is_settled
from migrate.zoo.tasks import NO_MODEL

# Measured over the sample zoo and the corpus on two cores: a process for each stage, and what grows with the model.
_SECONDS, _SECONDS_PER_BYTE, _SECONDS_PER_GRAPH_BYTE = 3.0, 1 / (60 * 2**20), 1 / (400 * 2**10)
_LOOK_SECONDS = 120.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LookRequest:
    """A model to look at."""

    path: str
    read: ReadOptions


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at a model says against its migration, "" for nothing."""

    obstacle: str


LOOK = isolation.Job("migrate.zoo.preview:look", LookRequest, Look)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """What will be done with one model.

    Attributes:
      relative, format: of the model.
      action: "migrate", "settled", "duplicate", "already_tf2", "skip" or "blocked".
      why: reason, or the model that it equals.
      size, memory: bytes of its files; bytes that its migration may take, by estimate.
      seconds: by estimate.
    """

    relative: str
    format: str
    action: str
    why: str = ""
    size: int = 0
    memory: int = 0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ZooPlan:
    """The rows in order; `seconds` is the estimate for `jobs` models at a time."""

    rows: tuple[PlanRow, ...]
    jobs: int

    @property
    def seconds(self) -> float:
        return max([sum(row.seconds for row in self.rows) / self.jobs, *(row.seconds for row in self.rows)])

    def to_text(self) -> str:
        widths = [max(len(getattr(row, name)) for row in self.rows) for name in ("action", "format", "relative")]
        lines = [
            errors.escape_control(
                f"{row.action:{widths[0]}}  {row.format:{widths[1]}}  {row.size / 2**20:9.1f} MiB  "
                f"{row.relative:{widths[2]}}  {row.why}".rstrip()
            )
            for row in self.rows
        ]
        counts: dict[str, int] = {}
        for row in self.rows:
            counts[row.action] = counts.get(row.action, 0) + 1
        size = sum(row.size for row in self.rows if row.action == "migrate")
        lines.append(
            f"{len(self.rows)} models: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))}; "
            f"{size / 2**30:.2f} GiB to migrate, about {self.seconds / 60:.0f} minutes with {self.jobs} at a time"
        )
        return "\n".join(lines)


def plan_zoo(
    source: str | os.PathLike[str], dest: str | os.PathLike[str], options: ZooOptions | None = None
) -> ZooPlan:
    """What `migrate_zoo` would do, as far as reading tells; writes nothing and runs nothing of a model.

    Raises:
      UsageError: no such source, nothing in it.
    """
    options = options or ZooOptions()
    source, folders = find_places(source, dest, options)
    planned = plan_models(find_entries(source, folders, options), folders, options)
    duplicates = {} if options.duplicates == "migrate" else find_duplicates(planned)
    journal = Journal(os.path.join(folders.report_dir, RESULTS))
    if options.resume and os.path.exists(journal.path):
        journal.load(repair=False)
    settled = {item.task.relative for item in planned if is_settled(item, journal, duplicates, options.retry)}

    def describe(item: Planned) -> PlanRow:
        return _describe(item, settled, duplicates, options)

    with concurrent.futures.ThreadPoolExecutor(max_workers=options.jobs) as pool:
        rows: Sequence[PlanRow] = list(pool.map(describe, planned))
    return ZooPlan(rows=tuple(rows), jobs=options.jobs)


def _describe(item: Planned, settled: set[str], duplicates: dict[str, str], options: ZooOptions) -> PlanRow:
    task = item.task
    size = item.listing.size if item.listing else 0
    row = PlanRow(relative=task.relative, format="", action="blocked", why=task.refused, size=size)
    if storage.is_remote(task.path):
        action = "blocked" if task.refused else "settled" if task.relative in settled else "migrate"
        return dataclasses.replace(row, action=action, memory=task.memory, seconds=_estimate_seconds(item))
    try:
        found = detect.detect_format(task.path)
    except (errors.MigrateError, OSError) as error:
        return dataclasses.replace(row, why=row.why or str(error))
    row = dataclasses.replace(row, format=found.format.value)
    if task.refused:
        return row
    if task.relative in settled:
        return dataclasses.replace(row, action="settled")
    if found.format is Format.TF2_SAVED_MODEL:
        copied = task.options.already_tf2 == "copy"
        return dataclasses.replace(row, action="already_tf2", why="is copied" if copied else "")
    if found.format not in (*READABLE, Format.ARCHIVE):
        action = "skip" if os.path.isfile(task.path) else "blocked"
        return dataclasses.replace(row, action=action, why="; ".join(found.evidence))
    if found.format is Format.ARCHIVE and not sources.may_hold_model(task.path):
        return dataclasses.replace(row, action="skip", why=NO_MODEL)
    if task.relative in duplicates:
        return dataclasses.replace(row, action="duplicate", why=f"of {duplicates[task.relative]}")
    obstacle = _look(found.path, task.options.reading)
    if obstacle:
        return dataclasses.replace(row, why=obstacle)
    return dataclasses.replace(row, action="migrate", memory=task.memory, seconds=_estimate_seconds(item))


def _estimate_seconds(item: Planned) -> float:
    size, graph = (item.listing.size, item.listing.largest_graph) if item.listing else (0, 0)
    return _SECONDS + _SECONDS_PER_BYTE * size + _SECONDS_PER_GRAPH_BYTE * graph


def _look(path: str, read: ReadOptions) -> str:
    try:
        limits = Limits(timeout=_LOOK_SECONDS)
        return isolation.run_job(LOOK, LookRequest(path=path, read=read), limits=limits, where=path).value.obstacle
    except errors.MigrateError as error:
        return str(error)


def look(request: LookRequest) -> Look:
    """Job: reads a model as the migration will; what cannot run in any of its variants is an obstacle."""
    found = inspection.inspect_model(request.path, request.read)
    missing = [{op["op"]: op["reason"] for op in variant.missing_ops} for variant in found.variants]
    if not missing or not all(missing):
        return Look(obstacle="")
    return Look(obstacle="may be blocked: " + "; ".join(f"{op}: {reason}" for op, reason in sorted(missing[0].items())))
