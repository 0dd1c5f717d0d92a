"""The scan as a job: what a stranger has written is parsed in a process of its own."""

from __future__ import annotations

import dataclasses

from migrate import isolation
from migrate.scan import models


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """A model's path, and the ops that it may hold."""

    path: str
    allowed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The model was not refused."""


def check(request: CheckRequest) -> Checked:
    """Job: raises what `check_model` raises."""
    models.check_model(request.path, request.allowed)
    return Checked()


CHECK = isolation.Job("migrate.scan.job:check", CheckRequest, Checked)
