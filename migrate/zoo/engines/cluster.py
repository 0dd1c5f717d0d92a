"""Models on a Ray cluster. Each node needs this package and sees source, destination and report folder under one path.

Ray starts a task again whose worker or node was lost. What that attempt had published already is known by its receipt,
so that nothing is published twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from typing import Any

from migrate import errors
from migrate.zoo.engines.base import Done, Running
from migrate.zoo.journal import Record
from migrate.zoo.remote import migrate_anywhere
from migrate.zoo.tasks import Task

_RETRIES = 2
# Tasks beyond those that run: a node that has finished one has the next at once.
_AHEAD = 1.5
_CAPACITY_SECONDS = 5.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    task: Task
    started: float


class RayEngine:
    """Tasks on the workers of a cluster; one CPU each, and the memory that the model may take by estimate."""

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError as error:
            raise errors.UsageError(
                "Ray is not installed", where="--engine", hint="pip install 'tf-legacy-migrate[ray]'"
            ) from error
        self._ray: Any = ray
        self._owned = not ray.is_initialized()
        if self._owned:
            try:
                ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise errors.UsageError(f"no Ray cluster: {error}", where="--ray_address") from error
        self._function = ray.remote(max_retries=_RETRIES)(run_task)
        self._running: dict[Any, _Work] = {}
        self._capacity = 1
        self._measured = 0.0
        self._cancelled = False

    def has_room(self) -> bool:
        if time.monotonic() - self._measured > _CAPACITY_SECONDS:
            self._measured = time.monotonic()
            self._capacity = max(int(self._ray.cluster_resources().get("CPU", 0) * _AHEAD), 1)
        return len(self._running) < self._capacity

    def submit(self, task: Task) -> None:
        # Of an attempt whose node was lost, something may stand there already.
        again = dataclasses.replace(task, options=dataclasses.replace(task.options, overwrite=True))
        wanted = self._function.options(num_cpus=1, memory=self._limit_memory(task.memory), name=task.relative)
        self._running[wanted.remote(again)] = _Work(task=task, started=time.monotonic())

    def _limit_memory(self, memory: int) -> int:
        """Ray never begins a task that asks for more than any node has."""
        nodes = [node["Resources"].get("memory", 0) for node in self._ray.nodes() if node["Alive"]]
        return int(min(memory, max(nodes, default=0) * 0.9))

    def wait(self, seconds: float) -> list[Done]:
        if not self._running:
            time.sleep(seconds)
            return []
        ended, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if ended:
            ended, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        return [self._collect(reference) for reference in ended]

    def _collect(self, reference: Any) -> Done:
        work = self._running.pop(reference)
        try:
            return Done(task=work.task, record=Record.from_line(self._ray.get(reference)))
        except Exception as error:  # Ray raises what the task raised, mixed into a class of its own
            message = "" if self._cancelled else f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
            return Done(task=work.task, error=message)

    def list_running(self) -> list[Running]:
        now = time.monotonic()
        return [
            Running(relative=work.task.relative, stage="cluster", seconds=now - work.started)
            for work in self._running.values()
        ]

    def cancel(self) -> None:
        self._cancelled = True
        for reference in self._running:
            with contextlib.suppress(Exception):  # it may have ended by now
                self._ray.cancel(reference, force=True)

    def close(self) -> None:
        if self._owned:
            self._ray.shutdown()


def run_task(task: Task) -> str:
    """On a node: the line of the journal."""
    return migrate_anywhere(task).to_line()
