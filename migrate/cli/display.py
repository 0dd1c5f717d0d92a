"""How a zoo run shows itself: a live display on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Protocol

from migrate.outcome import Outcome
from migrate.zoo.engines import Running

_SHOWN_RUNNING = 12
# The rate counts what was done lately, so that it follows large and small models.
_WINDOW_SECONDS = 300.0


class Display(Protocol):
    def start(self, total: int) -> None: ...
    def advance(self, outcome: Outcome, total: int) -> None: ...
    def tick(self, running: Sequence[Running]) -> None: ...
    def close(self) -> None: ...


class Progress:
    """Counts, rate and time left."""

    def __init__(self) -> None:
        self.total = 0
        self.counts: dict[str, int] = {}
        self.started = time.monotonic()
        self._ended: list[float] = []

    @property
    def done(self) -> int:
        return sum(self.counts.values())

    def add(self, status: str) -> None:
        self.counts[status] = self.counts.get(status, 0) + 1
        self._ended.append(time.monotonic())

    def measure_rate(self) -> float:
        """Models a second, lately; 0 while nothing is known."""
        now = time.monotonic()
        self._ended = [ended for ended in self._ended if now - ended <= _WINDOW_SECONDS]
        return len(self._ended) / max(min(now - self.started, _WINDOW_SECONDS), 1e-3)

    def describe(self) -> str:
        rate = self.measure_rate()
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self.counts.items()))
        left = (
            f", about {spell_seconds((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        )
        return f"{self.done} of {self.total} models ({counts or 'none yet'}), {60 * rate:.1f} a minute{left}"


def spell_seconds(seconds: float) -> str:
    """ "48 s", "12 min", "3.2 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def escape(text: str) -> str:
    """A name from a stranger, harmless on a terminal and in one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _describe_bad(outcome: Outcome) -> str:
    return escape(f"{outcome.status.value}: {outcome.source}: {outcome.error}")


class LineDisplay:
    """A line at a fixed interval, and one for each model that is not well."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._progress = Progress()
        self._last = time.monotonic()

    def start(self, total: int) -> None:
        self._progress.total = total

    def advance(self, outcome: Outcome, total: int) -> None:
        self._progress.add(outcome.status.value)
        if not outcome.status.is_good:
            self._print(_describe_bad(outcome))

    def tick(self, running: Sequence[Running]) -> None:
        if time.monotonic() - self._last >= self._interval:
            self._last = time.monotonic()
            text = self._progress.describe()
            if running:
                longest = max(running, key=lambda work: work.seconds)
                text += f"; longest in work: {escape(longest.relative)} ({longest.stage}, {longest.seconds:.0f} s)"
            self._print(text)

    def close(self) -> None:
        if self._progress.total:
            self._print(self._progress.describe())

    @staticmethod
    def _print(text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class LiveDisplay:
    """Counts, and the models in work with their stage and time, drawn again and again."""

    def __init__(self) -> None:
        # Imported here: it takes longer than the rest of the command, and a log needs none of it.
        from rich.console import Console
        from rich.live import Live

        self._progress = Progress()
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._started = False

    def start(self, total: int) -> None:
        self._progress.total = total
        self._live.start()
        self._started = True

    def advance(self, outcome: Outcome, total: int) -> None:
        self._progress.add(outcome.status.value)
        if not outcome.status.is_good:
            self._console.print(_describe_bad(outcome), markup=False, highlight=False)

    def tick(self, running: Sequence[Running]) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for work in sorted(running, key=lambda work: -work.seconds)[:_SHOWN_RUNNING]:
            table.add_row(Text(f"{work.seconds:6.0f} s"), Text(work.stage), Text(escape(work.relative)))
        if len(running) > _SHOWN_RUNNING:
            table.add_row("", "", Text(f"and {len(running) - _SHOWN_RUNNING} more"))
        bar = Table.grid(expand=True)  # by itself it does not end its line, and what follows is cut off
        bar.add_row(ProgressBar(total=max(self._progress.total, 1), completed=self._progress.done))
        self._live.update(Group(bar, Text(self._progress.describe()), table))

    def close(self) -> None:
        if self._started:
            self._live.stop()
            self._console.print(self._progress.describe(), markup=False, highlight=False)


def make_display(interval: float) -> Display:
    """The one that fits where standard error goes."""
    return LiveDisplay() if sys.stderr.isatty() else LineDisplay(interval)
