"""The driver's loop: begins what fits, records what ends, knows what is settled."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence

from migrate import errors, publishing
from migrate.options import ZooOptions
from migrate.outcome import Outcome, Status
from migrate.zoo.engines import Engine, Running
from migrate.zoo.journal import Journal, Receipts, Record
from migrate.zoo.plan import Planned, find_duplicates
from migrate.zoo.schedule import Schedule, measure_free_memory, measure_free_scratch
from migrate.zoo.settled import is_settled
from migrate.zoo.stopping import Stop, Surroundings
from migrate.zoo.tasks import Task, link_duplicate

_TICK_SECONDS = 0.25


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who looks on: called from the thread that runs the zoo.

    Attributes:
      on_start: with the number of models, before any of them.
      on_outcome: with each outcome and that number; at once with those that an earlier run has settled.
      on_tick: a few times a second, with what is in work.
    """

    on_start: Callable[[int], None] | None = None
    on_outcome: Callable[[Outcome, int], None] | None = None
    on_tick: Callable[[Sequence[Running]], None] | None = None


class Driver:
    """One run over all planned models."""

    def __init__(
        self,
        planned: Sequence[Planned],
        journal: Journal,
        engine: Engine,
        options: ZooOptions,
        watcher: Watcher,
        stop: Stop,
        surroundings: Surroundings,
    ) -> None:
        self._planned = {item.task.relative: item for item in planned}
        self._journal = journal
        self._engine = engine
        self._options = options
        self._watcher = watcher
        self._stop = stop
        self._surroundings = surroundings
        self._duplicates = {} if options.duplicates == "migrate" else find_duplicates(planned)
        self._done: set[str] = set()
        self._running = 0

    def run_all(self) -> str:
        """Runs all that is not settled; why it stopped early, "" where it did not."""
        # Before any model starts: what lies there now can only be a killed run's.
        self._sweep()
        if self._watcher.on_start:
            self._watcher.on_start(len(self._planned))
        open_tasks = [item.task for item in self._planned.values() if not self._is_settled(item)]
        waiting = {task.relative for task in open_tasks}
        for name in self._planned:
            if name not in waiting:
                self._finish(name)
        self._link_all(waiting)
        first = [task for task in open_tasks if task.relative not in self._duplicates]
        schedule = Schedule(
            first,
            self._options.memory_budget or measure_free_memory(),
            self._options.scratch_limit or measure_free_scratch(),
        )
        cancelled = False
        while len(schedule) or self._running:
            while self._engine.has_room() and not self._stop.is_asked and (task := schedule.take()):
                self._engine.submit(_prepare(task, self._options))
                self._running += 1
            if self._stop.is_asked:
                schedule.drop_waiting()
            if self._stop.is_now and not cancelled:
                self._engine.cancel()
                cancelled = True
            for done in self._engine.wait(_TICK_SECONDS):
                self._running -= 1
                schedule.release(done.task)
                record = done.record or (_blame(done.task, done.error) if done.error else None)
                if record is not None and self._record(record, done.task):
                    self._link_all(waiting)
            if self._watcher.on_tick:
                self._watcher.on_tick(self._engine.list_running())
        # A process on a node that is gone may have lived on a while, when its model was begun again elsewhere.
        with contextlib.suppress(OSError):  # a destination that is gone by now was said already
            self._sweep()
        left = len(self._planned) - len(self._done)
        return (self._stop.reason or "stopped") if left else ""

    def _sweep(self) -> None:
        for folder in sorted({os.path.dirname(item.task.target) for item in self._planned.values()}):
            publishing.remove_stale_staging(folder)

    def _record(self, record: Record, task: Task) -> bool:
        """Journals a record, unless the machine and not the model is at fault; whether it did."""
        item = self._planned[task.relative]
        size = item.listing.size if item.listing else 0
        trouble = self._surroundings.find_trouble(record.outcome, 3 * size + 2**26)
        if not trouble:
            try:
                self._journal.append(record)
                Receipts(task.receipts).remove(task.relative)
            except OSError as error:
                trouble = (
                    self._surroundings.find_trouble() or f"{error.filename or self._journal.path}: {error.strerror}"
                )
        if trouble:
            self._stop.ask(trouble)
            return False
        self._finish(task.relative, record.outcome)
        return True

    def _is_settled(self, item: Planned) -> bool:
        return is_settled(item, self._journal, self._duplicates, self._options.retry)

    def _finish(self, relative: str, outcome: Outcome | None = None) -> None:
        """`outcome`: None where an earlier run has journaled it."""
        self._done.add(relative)
        if self._watcher.on_outcome:
            self._watcher.on_outcome(outcome or self._journal.read(relative).outcome, len(self._planned))

    def _link_all(self, waiting: set[str]) -> None:
        """Gives what became of a model to those that equal it."""
        for name, first in self._duplicates.items():
            if name in waiting and name not in self._done and first in self._done and not self._stop.is_asked:
                task = _prepare(self._planned[name].task, self._options)
                try:
                    record = link_duplicate(task, self._journal.read(first), hard=self._options.duplicates == "link")
                except (OSError, errors.MigrateError) as error:
                    record = _blame(task, str(error))
                self._record(record, task)


def _prepare(task: Task, options: ZooOptions) -> Task:
    """In a resumed run a model takes the place of what stands there: that is whole, but its record is lost or past."""
    if not options.resume or task.options.overwrite:
        return task
    return dataclasses.replace(task, options=dataclasses.replace(task.options, overwrite=True))


def _blame(task: Task, error: str) -> Record:
    outcome = Outcome(source=task.path, dest="", format="", status=Status.FAILED, stage="detect", error=error)
    return Record(outcome=outcome, relative=task.relative, choices=task.choices)
