"""Work that goes on beside its caller, in a thread that waits for jobs."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from migrate.isolation.client import Interrupt, interruptible

Answer = TypeVar("Answer")


class Aside(Generic[Answer]):
    """`with Aside(function) as aside: ...; aside.get()`: the function begins with the block, and ends with it at the
    latest. Blocks that the caller is in (`protect`, `keep_logs`) hold for it, too."""

    def __init__(self, function: Callable[[Interrupt], Answer]) -> None:
        """`function` runs jobs, and takes what is set when nobody awaits its answer any longer."""
        self._function = function
        self._interrupt = Interrupt()
        self._answers: list[Answer] = []
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), daemon=True)

    def _work(self) -> None:
        try:
            with interruptible(self._interrupt):
                self._answers.append(self._function(self._interrupt))
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Aside[Answer]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interrupt.set()
        self._thread.join()

    def get(self) -> Answer:
        """What the function returned, once it has.

        Raises:
          whatever it raised.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._answers[0]
