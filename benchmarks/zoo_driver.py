"""What the driver of a zoo costs: its share of a run's time, and its memory over thousands of models.

    python benchmarks/zoo_driver.py --results=<dest of a run> --models=2000

The share is told from that run (wall time of its models against theirs); then the run's own records are replayed, over
and over under new names, through the real driver, journal and reports, with an engine that takes no time.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import tempfile
import time
from collections.abc import Sequence

from migrate.options import MigrateOptions, ZooOptions
from migrate.report import write_reports
from migrate.zoo import history
from migrate.zoo.driver import Driver, Watcher
from migrate.zoo.engines import Done, Running
from migrate.zoo.journal import Journal, Outcomes, Record
from migrate.zoo.plan import Folders, Planned
from migrate.zoo.stopping import Stop, Surroundings
from migrate.zoo.tasks import Task, digest_options


class ReplayEngine:
    """Answers each task with a record of the earlier run."""

    def __init__(self, journal: Journal, names: Sequence[str]) -> None:
        self._journal = journal
        self._names = names
        self._ready: list[Done] = []
        self._answered = 0

    def has_room(self) -> bool:
        return len(self._ready) < 8

    def submit(self, task: Task) -> None:
        old = self._journal.read(self._names[self._answered % len(self._names)])
        self._answered += 1
        outcome = dataclasses.replace(old.outcome, source=task.path, dest="", log="")
        self._ready.append(Done(task=task, record=Record(outcome=outcome, relative=task.relative)))

    def wait(self, seconds: float) -> list[Done]:
        done, self._ready = self._ready, []
        return done

    def list_running(self) -> list[Running]:
        return []

    def cancel(self) -> None: ...

    def close(self) -> None: ...


def plan(folders: Folders, count: int) -> list[Planned]:
    options = MigrateOptions()
    return [
        Planned(
            task=Task(
                path=f"/zoo/model{number}",
                relative=f"model{number}",
                target=os.path.join(folders.dest, f"model{number}"),
                quarantine="",
                report_dir=folders.report_dir,
                receipts=folders.receipts,
                options=options,
                choices=digest_options(options),
            ),
            listing=None,
        )
        for number in range(count)
    ]


def get_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", required=True)
    parser.add_argument("--models", type=int, default=2000)
    arguments = parser.parse_args()
    journal, names = history.load_results(arguments.results)
    seconds = sum(journal.known[name].seconds for name in names)
    size = os.path.getsize(journal.path) / len(names)
    print(f"{len(names)} recorded models: {seconds / len(names):.2f} s and {size / 1024:.1f} KiB of record each")
    before = get_peak()
    with tempfile.TemporaryDirectory() as folder:
        folders = Folders(dest=folder, report_dir=os.path.join(folder, "_migration"))
        os.makedirs(folders.report_dir)
        planned = plan(folders, arguments.models)
        fresh = Journal(os.path.join(folders.report_dir, "results.jsonl"))
        started = time.monotonic()
        Driver(
            planned, fresh, ReplayEngine(journal, names), ZooOptions(), Watcher(), Stop(),
            Surroundings(source="", folders=(folder,)),
        ).run_all()  # fmt: skip
        looped = time.monotonic() - started
        looped_peak = get_peak()
        outcomes = Outcomes(fresh, [item.task.relative for item in planned])
        started = time.monotonic()
        write_reports(folders.report_dir, outcomes, {"migrated": len(outcomes)})
        reported = time.monotonic() - started
    share = (looped + reported) / (seconds / len(names) * arguments.models)
    print("| models | driver's loop | reports | of the models' time | peak memory: start | loop | reports |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {arguments.models} | {looped:.1f} s | {reported:.1f} s | {share:.2%} | {before:.0f} MiB "
        f"| {looped_peak:.0f} MiB | {get_peak():.0f} MiB |"
    )


if __name__ == "__main__":
    main()
