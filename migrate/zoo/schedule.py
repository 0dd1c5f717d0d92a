"""Which model is begun next: in order, but none that does not fit beside those in work."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable

from migrate.zoo.remote import estimate_scratch
from migrate.zoo.tasks import Task

# A process with TensorFlow, its threads and a small graph; measured over the sample zoo.
_BASE = 700 * 2**20
# Values are read, written, and held by both sides; a graph becomes Python objects and several copies.
_PER_BYTE, _PER_GRAPH_BYTE = 3, 40
# How often others may go before a model that does not fit yet.
_MOST_PASSED = 50
# What the system and the driver itself need.
_SHARE = 0.9


def estimate_memory(size: int, graph_size: int) -> int:
    """Bytes that the migration of a model may take at once, from the bytes of its files and of its largest graph."""
    return _BASE + _PER_BYTE * size + _PER_GRAPH_BYTE * graph_size


def measure_free_memory() -> int:
    """Bytes that this machine, or the control group that this process is in, has left."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            with open(limit, encoding="ascii") as most, open(used, encoding="ascii") as taken:
                free = min(free, int(most.read()) - int(taken.read()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return int(max(free, 0) * _SHARE)


def measure_free_scratch() -> int:
    """Bytes of the local disk that remote models may take together: half of what is free."""
    return shutil.disk_usage(tempfile.gettempdir()).free // 2


class Schedule:
    """Tasks that wait, and the memory and local disk of those in work."""

    def __init__(self, tasks: Iterable[Task], budget: int, scratch_budget: int) -> None:
        self._waiting = list(tasks)
        self._budget = budget
        self._scratch_budget = scratch_budget
        self._scratch = 0
        self._used = 0
        self._running = 0
        self._passed = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> Task | None:
        """The next task that fits; None where none does now. One that fits nowhere runs alone."""
        for position, task in enumerate(self._waiting):
            if position and self._passed >= _MOST_PASSED:
                return None
            if self._running and not self._fits(task):
                continue
            self._passed = self._passed + 1 if position else 0
            self._used += task.memory
            self._scratch += estimate_scratch(task)
            self._running += 1
            return self._waiting.pop(position)
        return None

    def _fits(self, task: Task) -> bool:
        if self._scratch + estimate_scratch(task) > self._scratch_budget:
            return False
        return self._used + task.memory <= self._budget

    def release(self, task: Task) -> None:
        self._used -= task.memory
        self._scratch -= estimate_scratch(task)
        self._running -= 1

    def drop_waiting(self) -> list[Task]:
        dropped, self._waiting = self._waiting, []
        return dropped
