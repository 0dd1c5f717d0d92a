"""Watches over one job: starts it in a process of its own, holds it to its limits, replies, and leaves nothing of it.

Runs in a process that was forked from the server for this job, so that nothing that the job does to it reaches others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from migrate import records
from migrate.isolation import folders, processes, protocol

_WATCH_SECONDS = 0.1
# Walking folders costs more than reading /proc.
_DISK_SECONDS = 0.5
# TensorFlow starts a few pools of a thread a core; a job far beyond that takes the machine's ids from the others.
_TASKS, _TASKS_A_CORE = 1000, 32


@dataclasses.dataclass(slots=True)
class _Watch:
    """What is asked of a running job again and again."""

    call: protocol.Call
    started: float
    measured_disk: float = 0.0

    def find_excess(self) -> str:
        """What the job has too much of, "" while all is well."""
        memory, tasks = processes.measure(processes.list_descendants(os.getpid()))
        limit = self.call.memory_limit
        if limit and memory > limit:
            return f"used {_gigabytes(memory)} of memory, more than its limit of {_gigabytes(limit)}"
        most = _TASKS + _TASKS_A_CORE * (os.cpu_count() or 1)
        if tasks > most:
            return f"had {tasks} threads and processes, more than {most}"
        return self._find_disk_excess()

    def _find_disk_excess(self) -> str:
        limit = self.call.disk_limit
        if not limit or time.monotonic() - self.measured_disk < _DISK_SECONDS:
            return ""
        used = sum(folders.measure_folder(folder) for folder in (os.path.dirname(self.call.folder), *self.call.folders))
        self.measured_disk = time.monotonic()
        return f"wrote {_gigabytes(used)}, more than its limit of {_gigabytes(limit)} on disk" if used > limit else ""

    def is_late(self) -> bool:
        return self.call.timeout is not None and time.monotonic() - self.started > self.call.timeout


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def watch_job(connection: socket.socket, run: Callable[[protocol.Call, int], None]) -> None:
    """Forks `run`, waits for it, replies; kills it when it exceeds a limit or the client has gone."""
    call = protocol.receive_message(protocol.receive_messages(connection), protocol.Call)
    if call is None:
        return
    processes.adopt_orphans()
    protocol.send_message(connection, protocol.Started(pid=os.getpid()))
    reader, writer = os.pipe()
    watch = _Watch(call=call, started=time.monotonic())
    me = os.getpid()
    child = os.fork()
    if child == 0:
        processes.die_with_parent(me)
        os.setsid()
        os.close(reader)
        connection.close()
        run(call, writer)
        return
    os.close(writer)
    status, usage, excess, data = _wait(child, reader, connection, watch)
    # What the job started ends with it, in whatever session.
    while left := processes.list_children(os.getpid()):
        processes.kill_descendants(os.getpid())
        for pid in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # where there is no /proc to tell its children
    shutil.rmtree(call.folder, ignore_errors=True)
    reply = dataclasses.replace(
        _make_reply(status, excess, watch, data),
        seconds=time.monotonic() - watch.started,
        peak_rss_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        protocol.send_message(connection, reply)


def _wait(child: int, reader: int, connection: socket.socket, watch: _Watch) -> tuple[int, Any, str, bytes]:
    """Until the child ends or is ended: its status and usage, the limit that it broke, what it wrote."""
    os.set_blocking(reader, False)
    ending = os.pidfd_open(child) if hasattr(os, "pidfd_open") else reader
    chunks: list[bytes] = []
    excess = ""
    watched: list[Any] = list({reader, ending, connection})
    while True:
        ready, _, _ = select.select(watched, [], [], _WATCH_SECONDS)
        # The result may be larger than the pipe: read while waiting.
        if reader in ready and not _drain(reader, chunks) and ending != reader:
            watched.remove(reader)
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            break
        excess = "" if ready else watch.find_excess()
        # The client sends one message only: what can be read now is its end.
        if excess or watch.is_late() or connection in ready:
            processes.kill(child)
            _, status, usage = os.wait4(child, 0)
            break
    _drain(reader, chunks)
    return status, usage, excess, b"".join(chunks)


def _drain(reader: int, chunks: list[bytes]) -> bool:
    """Reads what is there; False when there will be no more."""
    try:
        while data := os.read(reader, 2**16):
            chunks.append(data)
    except BlockingIOError:
        return True
    return False


def _make_reply(status: int, excess: str, watch: _Watch, data: bytes) -> protocol.Reply:
    if excess:
        return protocol.Reply(state=protocol.DIED, limit=excess)
    if os.WIFEXITED(status) and data:
        # What was cut short is no answer.
        with contextlib.suppress(ValueError, TypeError):
            return records.from_json(protocol.Reply, json.loads(data))
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and watch.is_late():
        return protocol.Reply(state=protocol.TIMED_OUT)
    return protocol.Reply(
        state=protocol.DIED,
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
    )
