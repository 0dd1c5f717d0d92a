"""migrate-zoo: migrates every model below a root."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from migrate.cli import program
from migrate.options import (
    ALREADY_TF2_MODES,
    DUPLICATE_MODES,
    ENGINES,
    PUBLISH_MODES,
    RETRIED,
    Selection,
    ZooOptions,
    count_cores,
)  # fmt: skip

if TYPE_CHECKING:
    from migrate.cli.display import Display
    from migrate.outcome import Outcome
    from migrate.zoo.engines import Running

_TIMEOUT = 1800.0  # seconds a stage


def define_flags() -> None:
    flags.DEFINE_string("source", None, "Root folder of the zoo, or a manifest (text, .csv or .jsonl).")
    flags.DEFINE_string("dest", None, "Root folder to write; each model keeps its path below --source.")
    flags.DEFINE_integer("jobs", max(count_cores() // 2, 1), "Models at a time.")
    flags.DEFINE_bool("resume", False, "Go on with an earlier run: what it settled is not done again.")
    flags.DEFINE_list("retry", list(RETRIED), "Statuses that --resume tries again.")
    flags.DEFINE_string("report_dir", "", "Folder of the reports (default: <dest>/_migration).")
    flags.DEFINE_bool("dry_run", False, "Print what would be done with each model, and do nothing.")
    flags.DEFINE_enum("publish", "pass", PUBLISH_MODES, "pass: what differs from its original goes to _quarantine.")
    flags.DEFINE_enum("already_tf2", "skip", ALREADY_TF2_MODES, "Whether TF2 SavedModels are copied to --dest.")
    flags.DEFINE_enum("duplicates", "copy", DUPLICATE_MODES, "What models get whose files equal those of another.")
    flags.DEFINE_list("include", [], "Shell patterns of paths below --source that are taken (default: all).")
    flags.DEFINE_list("exclude", [], "Shell patterns of paths below --source that are left out.")
    flags.DEFINE_list("formats", [], "Formats that are taken (default: all), as reports name them.")
    program.define_size_flag("min_size", "Leave out smaller models, say 1M.")
    program.define_size_flag("max_size", "Leave out larger models, say 2GB.")
    program.define_size_flag("memory_budget", "Memory that all models in work may take (default: what is free).")
    program.define_size_flag("scratch_limit", "Local disk that remote models may take at a time.")
    flags.DEFINE_enum("engine", "local", ENGINES, "Where models are migrated.")
    flags.DEFINE_string("ray_address", "", "Address of the Ray cluster (default: finds or starts one).")
    flags.DEFINE_string("metrics_file", "", "File for counters in Prometheus' text format.")
    flags.DEFINE_bool(
        "trust_manifest",
        False,
        "Let rows of the manifest go beyond what the flags allow (in what: SECURITY.md). For manifests of your own.",
    )
    flags.DEFINE_float("progress_interval", 30.0, "Seconds between lines where there is no terminal.", lower_bound=0)
    # A model may hang as its original does (a queue that nothing fills); the others must not wait for ever.
    program.define_migration_flags(timeout=_TIMEOUT)


def parse_flags() -> ZooOptions:
    values = flags.FLAGS
    migrate = program.parse_migration_flags(publish=values.publish, already_tf2=values.already_tf2)
    return ZooOptions(
        jobs=values.jobs,
        resume=values.resume,
        retry=tuple(values.retry),
        report_dir=values.report_dir,
        selection=Selection(
            include=tuple(values.include),
            exclude=tuple(values.exclude),
            formats=tuple(values.formats),
            min_size=program.parse_size_flag("min_size"),
            max_size=program.parse_size_flag("max_size"),
        ),
        duplicates=values.duplicates,
        memory_budget=program.parse_size_flag("memory_budget"),
        scratch_limit=program.parse_size_flag("scratch_limit"),
        engine=values.engine,
        ray_address=values.ray_address,
        metrics_file=values.metrics_file,
        trust_manifest=values.trust_manifest,
        migrate=migrate,
    )


class _Watchers:
    """Calls all who look on."""

    def __init__(self, watchers: Sequence[Display]) -> None:
        self._watchers = watchers

    def start(self, total: int) -> None:
        for watcher in self._watchers:
            watcher.start(total)

    def advance(self, outcome: Outcome, total: int) -> None:
        for watcher in self._watchers:
            watcher.advance(outcome, total)

    def tick(self, running: Sequence[Running]) -> None:
        for watcher in self._watchers:
            watcher.tick(running)

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.close()


def main() -> int:
    # Not before the flags are known to be right: --help and a usage error take a third of the time so.
    from migrate import zoo
    from migrate.cli.display import make_display
    from migrate.report import format_summary
    from migrate.zoo.metrics import MetricsFile
    from migrate.zoo.stopping import obey_signals

    source, dest = program.require_flag("source"), program.require_flag("dest")
    options = parse_flags()
    if flags.FLAGS.dry_run:
        print(zoo.plan_zoo(source, dest, options).to_text())
        return program.OK
    started = time.monotonic()
    shown = make_display(flags.FLAGS.progress_interval)
    metrics = [MetricsFile(options.metrics_file)] if options.metrics_file else []
    stop = zoo.Stop()
    with contextlib.closing(_Watchers([shown, *metrics])) as watchers, obey_signals(stop):
        report = zoo.migrate_zoo(
            source,
            dest,
            options,
            on_outcome=watchers.advance,
            on_start=watchers.start,
            on_tick=watchers.tick,
            stop=stop,
            command=shlex.join(["migrate-zoo", *sys.argv[1:]]),
        )
    print(format_summary(report.summary, time.monotonic() - started))
    print(f"report: {os.path.join(report.report_dir, 'report.html')}")
    if report.stopped:
        left = report.total - len(report.outcomes)
        print(f"error: stopped with {left} models left: {report.stopped} [--resume goes on]", file=sys.stderr)
    return program.OK if report.is_good else program.FAILED


def run() -> None:
    define_flags()
    program.run_program(main)


if __name__ == "__main__":
    run()
