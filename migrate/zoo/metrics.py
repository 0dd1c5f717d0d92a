"""Counters of a run in Prometheus' text format, for the node exporter's textfile collector.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence

from migrate import errors
from migrate.outcome import Outcome, Status
from migrate.zoo.engines import Running

_INTERVAL_SECONDS = 5.0


class MetricsFile:
    """Rewritten every few seconds, each time whole."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._total = 0
        self._counts = dict.fromkeys((status.value for status in Status), 0)
        self._seconds = 0.0
        self._largest = 0
        self._started = time.time()
        self._written = 0.0
        self._is_started = False
        self._running: Sequence[Running] = ()

    def start(self, total: int) -> None:
        """Raises DestinationError where the file cannot be written."""
        self._total = total
        if os.path.lexists(self._path) and not os.path.isfile(self._path):
            # A file would take its place: /dev/null, for one, for everybody.
            raise errors.DestinationError(
                "no file, which the counters would be", where=self._path, hint="check --metrics_file"
            )
        self._is_started = True
        try:
            self.write()
        except OSError as error:
            raise errors.DestinationError(
                f"the counters cannot be written: {error.strerror}", where=self._path, hint="check --metrics_file"
            ) from error

    def advance(self, outcome: Outcome, total: int) -> None:
        self._counts[outcome.status.value] += 1
        self._seconds += outcome.seconds
        self._largest = max(self._largest, outcome.peak_rss_bytes)

    def tick(self, running: Sequence[Running]) -> None:
        self._running = running
        if time.monotonic() - self._written >= _INTERVAL_SECONDS:
            self._write_if_possible()

    def close(self) -> None:
        self._running = ()
        if self._is_started:  # the file may be that of the run that refused this one
            self._write_if_possible()

    def _write_if_possible(self) -> None:
        """A run does not end because nobody can watch it: what is wrong with the disk, it finds itself."""
        with contextlib.suppress(OSError):
            self.write()

    def write(self) -> None:
        self._written = time.monotonic()
        longest = max((work.seconds for work in self._running), default=0.0)
        lines = [
            *_head("migrate_models", "gauge", "Models of the zoo."),
            f"migrate_models {self._total}",
            *_head("migrate_models_done_total", "counter", "Models that are done, by status."),
            *(f'migrate_models_done_total{{status="{name}"}} {count}' for name, count in self._counts.items()),
            *_head("migrate_models_running", "gauge", "Models in work."),
            f"migrate_models_running {len(self._running)}",
            *_head("migrate_longest_running_seconds", "gauge", "How long the oldest model has been in work."),
            f"migrate_longest_running_seconds {longest:.3f}",
            *_head("migrate_model_seconds_total", "counter", "Time that the models took that are done."),
            f"migrate_model_seconds_total {self._seconds:.3f}",
            *_head("migrate_peak_rss_bytes", "gauge", "Largest resident size of a process of any model."),
            f"migrate_peak_rss_bytes {self._largest}",
            *_head("migrate_start_time_seconds", "gauge", "When the run began, in Unix seconds."),
            f"migrate_start_time_seconds {self._started:.3f}",
            *_head("migrate_updated_time_seconds", "gauge", "When these numbers were written."),
            f"migrate_updated_time_seconds {time.time():.3f}",
        ]
        with open(f"{self._path}.tmp", "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        os.replace(f"{self._path}.tmp", self._path)


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"
