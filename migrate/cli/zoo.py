"""migrate-zoo: migrates every model below a root."""

from __future__ import annotations

import os
import time

import tqdm
from absl import flags

from migrate import zoo
from migrate.cli import program
from migrate.options import ZooOptions
from migrate.outcome import Outcome
from migrate.report import format_summary

_TIMEOUT = 1800.0  # seconds a stage


def define_flags() -> None:
    flags.DEFINE_string("source", None, "Root folder of the zoo, or a manifest with one path a line.")
    flags.DEFINE_string("dest", None, "Root folder to write; each model keeps its path below --source.")
    flags.DEFINE_integer("jobs", max((os.cpu_count() or 2) // 2, 1), "Models at a time.")
    flags.DEFINE_bool("resume", False, "Go on with an earlier run: what it settled is not done again.")
    flags.DEFINE_string("report_dir", "", "Folder of the reports (default: <dest>/_migration).")
    # A model may hang as its original does (a queue that nothing fills); the others must not wait for ever.
    program.define_migration_flags(timeout=_TIMEOUT)


class _Bar:
    """A progress bar with counts by status."""

    def __init__(self) -> None:
        self._bar: tqdm.tqdm | None = None
        self._counts: dict[str, int] = {}

    def start(self, total: int) -> None:
        self._bar = tqdm.tqdm(total=total, unit="model", dynamic_ncols=True)

    def advance(self, outcome: Outcome, _: int) -> None:
        if self._bar is None:
            return
        status = outcome.status.value
        self._counts[status] = self._counts.get(status, 0) + 1
        self._bar.set_postfix(self._counts, refresh=False)
        self._bar.update()
        if not outcome.status.is_good:
            self._bar.write(f"{status}: {outcome.source}: {outcome.error}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def main() -> int:
    source, dest = program.require_flag("source"), program.require_flag("dest")
    values = flags.FLAGS
    options = ZooOptions(
        jobs=values.jobs,
        resume=values.resume,
        report_dir=values.report_dir,
        migrate=program.parse_migration_flags(),
    )
    started = time.monotonic()
    bar = _Bar()
    try:
        report = zoo.migrate_zoo(source, dest, options, on_outcome=bar.advance, on_start=bar.start)
    finally:
        bar.close()
    print(format_summary(report.summary, time.monotonic() - started))
    print(f"report: {os.path.join(report.report_dir, 'report.html')}")
    return program.OK if report.is_good else program.FAILED


def run() -> None:
    define_flags()
    program.run_program(main)


if __name__ == "__main__":
    run()
