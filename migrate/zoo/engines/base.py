"""What the driver asks of an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from migrate.zoo.journal import Record
from migrate.zoo.tasks import Task


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A task that has ended: with its record, or with the reason why there is none ("" where the run was stopped)."""

    task: Task
    record: Record | None = None
    error: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A model in work."""

    relative: str
    stage: str
    seconds: float


class Engine(Protocol):
    def has_room(self) -> bool:
        """Whether another task could be begun at once."""

    def submit(self, task: Task) -> None: ...

    def wait(self, seconds: float) -> list[Done]:
        """Tasks that have ended; waits so long for the first of them."""

    def list_running(self) -> Sequence[Running]: ...

    def cancel(self) -> None:
        """Ends what runs; each of these tasks is then Done without a record."""

    def close(self) -> None:
        """Leaves nothing behind."""
