"""Why a run ends before its models do: somebody asks for it, or the machine lets it down."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from types import FrameType

from migrate.outcome import Outcome, Status

# Less is as good as nothing: a journal, a report and a small model need more.
_LEAST_FREE = 2**23
_FULL = ("No space left on device", "Disk quota exceeded")
_READ_ONLY = "Read-only file system"
# What a model's fault may look like when it is the machine's.
_SUSPECT = frozenset({Status.FAILED, Status.CRASHED, Status.BLOCKED, Status.REGRESSED})


class Stop:
    """A wish to end the run: first what runs is finished, then nothing."""

    def __init__(self) -> None:
        self._asked = 0
        self.reason = ""

    def ask(self, reason: str, *, now: bool = False) -> None:
        self._asked = 2 if now else self._asked + 1
        self.reason = self.reason or reason

    @property
    def is_asked(self) -> bool:
        return self._asked > 0

    @property
    def is_now(self) -> bool:
        return self._asked > 1


@contextlib.contextmanager
def obey_signals(stop: Stop) -> Iterator[None]:
    """SIGINT once: finish what runs; twice, or SIGTERM or SIGHUP: stop now. In the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: FrameType | None) -> None:
        stop.ask(signal.Signals(number).name, now=number != signal.SIGINT)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run needs of the machine: the source's root ("" where that is remote), and folders that can be written."""

    source: str
    folders: tuple[str, ...]

    def find_trouble(self, outcome: Outcome | None = None, needed: int = 0) -> str:
        """Why no model can succeed now, "" where there is no reason.

        Args:
          outcome: of a model, which may show what has passed by now: a disk that was full until the model was removed.
          needed: bytes that this model may have needed. Only its own word counts for nothing: a graph can say anything.
        """
        if outcome is not None and outcome.status not in _SUSPECT:
            return ""
        if self.source and not os.path.exists(self.source):
            return f"{self.source}: the source is gone [bring it back and go on with --resume]"
        for folder in (*self.folders, tempfile.gettempdir()):
            if trouble := _find_trouble_in(folder, outcome.error if outcome else "", needed):
                return trouble
        return ""


def _find_trouble_in(folder: str, error: str, needed: int) -> str:
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as failure:
        return f"{folder}: it can no longer be written: {failure.strerror} [mend that and go on with --resume]"
    full = any(text in error for text in _FULL) and free < needed
    if free < _LEAST_FREE or full:
        return f"{folder}: the disk is full ({free / 2**20:.0f} MiB free) [free some space and go on with --resume]"
    return ""
