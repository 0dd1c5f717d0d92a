"""Starts the fork server and gives it jobs. Loads no TensorFlow."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from typing import Any

from migrate import errors
from migrate.isolation import protocol, sandbox

_LOG_TAIL = 2000


class JobError(errors.MigrateError):
    """A job's process died, hung, or failed in a way that no error of the toolkit describes.

    Attributes:
      state: "died", "timed_out" or "raised".
      log: the end of what the process printed.
    """

    def __init__(self, message: str, *, state: str, log: str = "", where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.state = state
        self.log = log


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job returned and what it took."""

    value: Any
    seconds: float
    peak_rss_bytes: int


class Server:
    """A running fork server; `with Server() as server: server.run(...)`. Safe to use from many threads."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="migrate-")
        self._path = os.path.join(self._folder, "jobs")
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._path)
            log = open(os.path.join(self._folder, "server.log"), "ab")  # noqa: SIM115
            self._process = subprocess.Popen(
                sandbox.make_command("migrate.isolation.server", [self._path]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=sandbox.make_environment(os.environ),
                cwd=self._folder,
            )
            log.close()
            assert self._process.stdout is not None
            if self._process.stdout.readline() != b"ready\n":
                with open(os.path.join(self._folder, "server.log"), errors="replace") as file:
                    tail = file.read()[-_LOG_TAIL:]
                raise JobError("TensorFlow could not be loaded", state=protocol.DIED, log=tail, hint=tail)

    def run(
        self,
        target: str,
        request: dict[str, Any],
        *,
        timeout: float | None = None,
        memory_limit: int | None = None,
        network: bool = False,
        where: str = "",
    ) -> JobResult:
        """Runs `target` ("package.module:function") on a JSON request in a process of its own.

        Paths in the request must be absolute: the process works in a scratch folder.

        Args:
          target: the function.
          request: its argument.
          timeout, memory_limit: seconds and bytes; None for no limit.
          network: leave the job the network, where it runs code of the user's own and none of a model.
          where: names the model in errors.

        Raises:
          MigrateError: the subclass that the function raised.
          JobError: the process died or hung, or the function raised something else.
        """
        self._start()
        with tempfile.TemporaryDirectory(prefix="job-", dir=self._folder, ignore_cleanup_errors=True) as folder:
            log = os.path.join(folder, "log")
            scratch = os.path.join(folder, "scratch")
            os.mkdir(scratch)
            job = {
                "target": target,
                "request": request,
                "log": log,
                "folder": scratch,
                "timeout": timeout,
                "memory_limit": memory_limit,
                "network": network,
            }
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(self._path)
                protocol.send_message(connection, job)
                reply = protocol.receive_message(connection)
            printed = _read_tail(log)
        if reply is None:
            raise JobError("the server of isolated processes died", state=protocol.DIED, log=printed, where=where)
        if reply["state"] == protocol.RETURNED:
            return JobResult(value=reply["value"], seconds=reply["seconds"], peak_rss_bytes=reply["peak_rss_bytes"])
        raise _make_error(reply, printed, where, timeout)


def _read_tail(log: str) -> str:
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            return file.read()[-_LOG_TAIL:]
    except FileNotFoundError:
        return ""


def _make_error(reply: dict[str, Any], log: str, where: str, timeout: float | None) -> errors.MigrateError:
    if reply["state"] == protocol.TIMED_OUT:
        return JobError(
            f"did not finish within {timeout:g} s", state=protocol.TIMED_OUT, log=log, where=where,
            hint="raise --timeout",
        )  # fmt: skip
    if reply["state"] == protocol.DIED:
        how = f"signal {reply['signal']}" if reply["signal"] else f"exit code {reply['exit_code']}"
        last = log.strip().splitlines()[-1:] or [""]
        return JobError(f"the process died ({how}) {last[0]}".strip(), state=protocol.DIED, log=log, where=where)
    described = reply["error"]
    kind = getattr(errors, described["type"], None)
    if kind is not None:
        error: errors.MigrateError = kind(
            described["message"], where=described.get("where") or where, hint=described.get("hint", "")
        )
        return error
    return JobError(
        f"{described['type']}: {described['message']}",
        state=protocol.RAISED,
        log=described.get("traceback", log),
        where=where,
    )


_shared: list[Server] = []
_shared_lock = threading.Lock()


def shared_server() -> Server:
    """The process's own server, started on first use and closed at exit."""
    with _shared_lock:
        if not _shared:
            _shared.append(Server())
            atexit.register(_shared[0].close)
        return _shared[0]


def run_job(target: str, request: dict[str, Any], **options: Any) -> JobResult:
    """`Server.run` on the shared server."""
    return shared_server().run(target, request, **options)
