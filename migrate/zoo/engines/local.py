"""Models on this machine: threads that wait for isolated processes."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time

from migrate import isolation, pipeline
from migrate.zoo.engines.base import Done, Running
from migrate.zoo.remote import migrate_anywhere
from migrate.zoo.tasks import Task


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    task: Task
    progress: pipeline.Progress
    started: float


class LocalEngine:
    """Some threads, each with one model in processes of its own."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=jobs)
        self._running: dict[concurrent.futures.Future[Done], _Work] = {}

    def has_room(self) -> bool:
        return len(self._running) < self._jobs

    def submit(self, task: Task) -> None:
        work = _Work(task=task, progress=pipeline.Progress(), started=time.monotonic())
        self._running[self._pool.submit(_run, work)] = work

    def wait(self, seconds: float) -> list[Done]:
        ended, _ = concurrent.futures.wait(
            self._running, timeout=seconds, return_when=concurrent.futures.FIRST_COMPLETED
        )
        for future in ended:
            del self._running[future]
        return [future.result() for future in ended]

    def list_running(self) -> list[Running]:
        now = time.monotonic()
        return [
            Running(relative=work.task.relative, stage=work.progress.find_stage(), seconds=now - work.started)
            for work in self._running.values()
        ]

    def cancel(self) -> None:
        isolation.shared_server().cancel()

    def close(self) -> None:
        self._pool.shutdown()
        isolation.shared_server().reopen()


def _run(work: _Work) -> Done:
    try:
        return Done(task=work.task, record=migrate_anywhere(work.task, work.progress))
    except isolation.JobError:  # the run was stopped
        return Done(task=work.task)
    except Exception as error:  # nothing of one model's may end the run
        return Done(task=work.task, error=f"{type(error).__name__}: {error}")
