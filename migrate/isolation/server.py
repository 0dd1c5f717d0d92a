"""The fork server. Started by `client.Server` (`main([SOCKET])`), stopped with it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from migrate import errors
from migrate.isolation import protocol, sandbox

_POLL_SECONDS = 0.02


def serve(path: str) -> None:
    """Accepts jobs until the standard input closes, which it does when the client's process ends."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    import tensorflow  # noqa: F401  # the point of this process: every fork starts with it loaded

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        _reap()
        ready, _, _ = select.select([listener, sys.stdin], [], [], 1.0)
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
            return
        if listener not in ready:
            continue
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _leave(_monitor, connection)
        connection.close()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _leave(function: Any, *arguments: Any) -> None:
    """Runs `function` as all that a forked process does: nothing of the server's stack may unwind in it."""
    code = 1
    try:
        function(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _monitor(connection: socket.socket) -> None:
    """Forks the job, waits for it, replies; kills it when time is up or the client has gone."""
    job = protocol.receive_message(connection)
    if job is None:
        return
    reader, writer = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(reader)
        connection.close()
        _leave(_run, job, writer)
    os.close(writer)
    timed_out = False
    chunks: list[bytes] = []
    os.set_blocking(reader, False)
    while True:
        # The result may be larger than the pipe: read while waiting.
        with contextlib.suppress(BlockingIOError):
            while data := os.read(reader, 2**16):
                chunks.append(data)
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            break
        timed_out = job["timeout"] is not None and time.monotonic() - started > job["timeout"]
        if timed_out or _has_gone(connection):
            # By group and by itself: it may not have got to its setsid yet.
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError):
                    kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            break
        select.select([reader], [], [], _POLL_SECONDS)
    with contextlib.suppress(BlockingIOError):
        while data := os.read(reader, 2**16):
            chunks.append(data)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    reply: dict[str, Any] = json.loads(b"".join(chunks)) if os.WIFEXITED(status) and chunks else {}
    if timed_out:
        reply = {"state": protocol.TIMED_OUT}
    elif not reply:
        reply = {
            "state": protocol.DIED,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
        }
    reply["seconds"] = time.monotonic() - started
    reply["peak_rss_bytes"] = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        protocol.send_message(connection, reply)


def _has_gone(connection: socket.socket) -> bool:
    ready, _, _ = select.select([connection], [], [], 0)
    return bool(ready) and connection.recv(1, socket.MSG_PEEK) == b""


def _run(job: dict[str, Any], writer: int) -> None:
    """In the job's process: everything that it prints goes to the log."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # What a process printed before it died must not die with it in a buffer.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    sandbox.enter(folder=job["folder"], network=job["network"], memory_limit=job["memory_limit"])
    module, _, name = job["target"].partition(":")
    try:
        value = getattr(importlib.import_module(module), name)(job["request"])
        reply = {"state": protocol.RETURNED, "value": value}
    except errors.MigrateError as error:
        reply = {"state": protocol.RAISED, "error": _describe(error)}
    except MemoryError as error:
        reply = {"state": protocol.RAISED, "error": {"type": "MemoryError", "message": f"out of memory: {error}"}}
    except Exception as error:
        traceback.print_exc()
        reply = {
            "state": protocol.RAISED,
            "error": {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()},
        }
    data = json.dumps(reply).encode()
    while data:
        data = data[os.write(writer, data) :]


def _describe(error: errors.MigrateError) -> dict[str, str]:
    return {"type": type(error).__name__, "message": error.message, "where": error.where, "hint": error.hint}


def main(arguments: Sequence[str]) -> None:
    serve(arguments[0])
