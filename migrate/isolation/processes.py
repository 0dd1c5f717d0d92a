"""What Linux tells of processes (proc(5)), and what it does for those who watch over others (prctl(2)).

Where a system has no /proc or no such call, each function answers with nothing known or does nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterable

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# The kernel's out-of-memory killer takes the process with the highest score: -1000 never, 1000 first.
_FIRST_TO_GO = b"1000"
_KIB = 1024


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """This process is killed when its parent ends; `parent` is who that was before the call."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def volunteer_for_oom() -> None:
    """When the system runs out of memory, it takes this process and not who watches over it."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as file:
        file.write(_FIRST_TO_GO)


def list_children(pid: int) -> list[int]:
    """Direct children, of all threads."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found.extend(int(child) for child in file.read().split())
    return found


def list_descendants(pid: int) -> list[int]:
    """Children and theirs, whatever sessions they made."""
    found: list[int] = []
    pending = list_children(pid)
    while pending:
        child = pending.pop()
        if child not in found:
            found.append(child)
            pending.extend(list_children(child))
    return found


def measure(pids: Iterable[int]) -> tuple[int, int]:
    """(bytes of memory that are theirs and no file's, number of threads) of all the processes together."""
    memory = threads = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith((b"RssAnon:", b"RssShmem:")):
                    memory += int(line.split()[1]) * _KIB
                elif line.startswith(b"Threads:"):
                    threads += int(line.split()[1])
    return memory, threads


def measure_data() -> int:
    """Bytes of this process that RLIMIT_DATA counts."""
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"VmData:"):
                return int(line.split()[1]) * _KIB
    return 0


def kill(pid: int) -> None:
    """SIGKILL to the process and, where it leads one, to its group."""
    for send in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(pid, signal.SIGKILL)


def kill_descendants(pid: int, spared: Iterable[int] = ()) -> None:
    """Kills all that `pid` has started and that started from there, those of `spared` excepted."""
    kept = set(spared)
    for child in list_children(pid):
        if child in kept:
            continue
        for descendant in (child, *list_descendants(child)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(descendant, signal.SIGKILL)
