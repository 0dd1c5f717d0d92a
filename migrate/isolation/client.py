"""Starts the fork server and gives it jobs. Loads no TensorFlow."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import dataclasses
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from migrate import errors, records
from migrate.isolation import folders, protocol, sandbox
from migrate.isolation.job import Job
from migrate.options import Limits

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Value = TypeVar("Value")

_LOG_TAIL = 2000
# TensorFlow's import takes 3 s; on a machine that is short of everything, a hundred times as long is no sign of death.
_READY_SECONDS = 300.0
# From the connection to the word that a job has begun: a fork.
_START_SECONDS = 60.0
# What a watcher may take beyond the time limit before it is taken for stopped.
_GRACE_SECONDS = 30.0
# A job is begun again where the server or its watcher, and not the job itself, has ended.
_TRIES = 3
_protected: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("protected", default=())
_log_file: contextvars.ContextVar[str] = contextvars.ContextVar("log_file", default="")
_interrupt: contextvars.ContextVar[Interrupt | None] = contextvars.ContextVar("interrupt", default=None)


# What absl prints behind and before what it has to say (absl/log, absl/debugging/symbolize).
_FRAME = re.compile(r"\s*(@ +0x|\*\*\* )")
_STAMP = re.compile(r"[IWEF]\d{4} \S+ +\d+ |\d{4}-\d\d-\d\d \S+: ")


class JobError(errors.MigrateError):
    """A job's process died, hung, or failed in a way that no error of the toolkit describes.

    Attributes:
      state: "died", "timed_out", "raised" or "cancelled".
      log: the end of what the process printed.
    """

    def __init__(self, message: str, *, state: str, log: str = "", where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.state = state
        self.log = log


class _LostError(Exception):
    """Server or watcher ended before the job did. `begun`: the job ran, and may be the cause."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__()
        self.begun = begun


class Interrupt:
    """Ends, from another thread, the jobs of the blocks that it is given to (`interruptible`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._connections: set[socket.socket] = set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Until it is set, at most so long; whether it is."""
        return self._event.wait(seconds)

    def set(self) -> None:
        """Their running jobs, and all later ones, raise JobError "cancelled"."""
        with self._lock:
            self._event.set()
            for connection in self._connections:
                _shut(connection)

    @contextlib.contextmanager
    def hold(self, connection: socket.socket) -> Iterator[None]:
        """While a job runs behind `connection`."""
        with self._lock:
            self._connections.add(connection)
            if self.is_set:
                _shut(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobResult(Generic[Answer]):
    """What a job returned and what it took."""

    value: Answer
    seconds: float
    peak_rss_bytes: int


class Server:
    """A running fork server; `with Server() as server: server.run(...)`. Safe to use from many threads.

    A server that died or does not answer is replaced, and what it had not begun is begun again. A job whose watcher
    vanishes is run once more; when that happens again, the job itself is to blame.
    """

    def __init__(self, *, imports: Sequence[str] = ("tensorflow",)) -> None:
        """
        Args:
          imports: modules that every job starts with.
        """
        self._imports = tuple(imports)
        folders.remove_abandoned(tempfile.gettempdir(), prefix=folders.PREFIX)
        self._owned = folders.OwnedFolder(prefix=folders.PREFIX)
        self._folder = self._owned.path
        self._path = ""
        self._starts = 0
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connections: set[socket.socket] = set()
        self._cancelled = False
        self._prepared: set[str] = set()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(timeout=_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._owned.remove()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Ends all running jobs; they and all later ones raise JobError "cancelled"."""
        self._cancelled = True
        for connection in list(self._connections):
            _shut(connection)

    def reopen(self) -> None:
        """Takes jobs again after `cancel`."""
        self._cancelled = False

    def own(self, folder: str) -> None:
        """Has `folder` removed when this process ends before it has done so itself."""
        with self._lock, open(os.path.join(self._folder, folders.OWNED), "a", encoding="utf-8") as file:
            file.write(json.dumps(folder) + "\n")

    @contextlib.contextmanager
    def scratch_folder(self) -> Iterator[str]:
        """A folder for one model's work; it is gone after the block, or with this process."""
        folder = tempfile.mkdtemp(prefix="work-", dir=self._folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self, where: str) -> str:
        """The socket of a living server, which is started where there is none."""
        with self._lock:
            if self._cancelled:
                raise JobError("stopped", state=protocol.CANCELLED, where=where)
            if self._process is not None and self._process.poll() is None:
                return self._path
            log = os.path.join(self._folder, "server.log")
            # What kills a server that has not begun to serve is nothing of the model's: it gets another.
            self._process = self._launch(log) or self._launch(log)
            if self._process is None:
                tail = _read_tail(log)
                raise JobError("TensorFlow could not be loaded", state=protocol.DIED, log=tail, where=where, hint=tail)
            self._prepared.clear()
            return self._path

    def _launch(self, log: str) -> subprocess.Popen[bytes] | None:
        """A server that is ready, None where it died or took too long."""
        self._starts += 1
        self._path = os.path.join(self._folder, f"jobs-{self._starts}")
        with open(log, "ab") as file:
            process = subprocess.Popen(
                sandbox.make_command("migrate.isolation.server", [self._path, self._folder, *self._imports]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=sandbox.make_environment(os.environ),
                cwd=self._folder,
                # Ctrl-C at the terminal is for the client, which knows what to do with what runs.
                start_new_session=True,
            )
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], _READY_SECONDS)
        if ready and process.stdout.readline() == b"ready\n":
            return process
        process.kill()
        process.wait()
        return None

    def _replace(self, path: str) -> None:
        """Ends the server behind `path`, which does not answer, unless another thread has done so."""
        with self._lock:
            if self._path == path and self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    def prepare(self, modules: Sequence[str]) -> None:
        """Has the server import modules that the jobs to come need: each of them starts with what is imported then."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            fresh = [name for name in modules if name not in self._prepared]
            if self._process is not None and self._process.stdin is not None and fresh:
                self._process.stdin.write(" ".join((*fresh, "")).encode() + b"\n")
                self._process.stdin.flush()
                self._prepared.update(fresh)

    def run(
        self,
        job: Job[Request, Answer],
        request: Request,
        *,
        limits: Limits | None = None,
        folders: Sequence[str] = (),
        read_only: Sequence[str] = (),
        network: bool = False,
        where: str = "",
        soon: Sequence[str] = (),
    ) -> JobResult[Answer]:
        """Runs a job in a process of its own.

        Paths in the request must be absolute: the process works in a scratch folder.

        Args:
          job: the function, by name, and the types that it takes and returns.
          request: what it takes.
          limits: of the job, all its processes together; the one on disk counts its scratch folder and `folders`.
          folders: what else it writes to.
          read_only: paths, of a model that is run say, that it must not write to; kept where the system lets that be.
          network: leave the job the network, where it runs code of the user's own and none of a model.
          where: names the job in errors.
          soon: modules that the next jobs need, which the server imports while this one runs.

        Raises:
          MigrateError: the subclass that the function raised.
          JobError: the process died, hung or broke a limit, or the function raised something else.
        """
        limits = limits or Limits()
        call = protocol.Call(
            target=job.target,
            request=records.to_json(request),
            log="",
            folder="",
            timeout=limits.timeout,
            memory_limit=limits.memory_limit,
            disk_limit=limits.disk_limit,
            folders=tuple(folders),
            read_only=tuple(dict.fromkeys((*read_only, *_protected.get()))),
            network=network,
        )
        lost = 0
        for _ in range(_TRIES):
            try:
                self._start(where)
                self.prepare(job.needs)
                reply = self._run_once(call, where, soon)
                value = records.from_json(job.answer, reply.value)
                return JobResult(value=value, seconds=reply.seconds, peak_rss_bytes=reply.peak_rss_bytes)
            except _LostError as error:
                lost += error.begun
                if lost > 1:
                    break
        message = "the process that watches over it died twice" if lost > 1 else "the server of isolated processes died"
        raise JobError(message, state=protocol.DIED, where=where)

    def _run_once(self, call: protocol.Call, where: str, soon: Sequence[str]) -> protocol.Reply:
        path = self._start(where)
        with tempfile.TemporaryDirectory(prefix="job-", dir=self._folder, ignore_cleanup_errors=True) as folder:
            log, scratch = os.path.join(folder, "log"), os.path.join(folder, "scratch")
            os.mkdir(scratch)
            try:
                reply = self._ask(path, dataclasses.replace(call, log=log, folder=scratch), where, soon)
                printed = _read_tail(log)
            finally:
                _keep_log(log, call.target, where)
        if reply.state == protocol.RETURNED:
            return reply
        raise _make_error(reply, printed, where, call)

    def _ask(self, path: str, call: protocol.Call, where: str, soon: Sequence[str]) -> protocol.Reply:
        """The reply to a job.

        Raises:
          _LostError: there is none.
        """
        watcher = 0
        reply: protocol.Reply | None = None
        interrupt = _interrupt.get() or Interrupt()
        with socket.socket(socket.AF_UNIX) as connection:
            self._connections.add(connection)
            try:
                connection.settimeout(_START_SECONDS)
                connection.connect(path)
                with interrupt.hold(connection):
                    protocol.send_message(connection, call)
                    replies = protocol.receive_messages(connection)
                    begun = protocol.receive_message(replies, protocol.Started)
                    if begun is not None:
                        watcher = begun.pid
                        self.prepare(soon)
                        connection.settimeout(None if call.timeout is None else call.timeout + _GRACE_SECONDS)
                        reply = protocol.receive_message(replies, protocol.Reply)
            except OSError:
                if watcher:  # it was stopped: by the job, or by what has stopped the job as well
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(watcher, signal.SIGKILL)
            finally:
                self._connections.discard(connection)
        if self._cancelled or interrupt.is_set:
            raise JobError("stopped", state=protocol.CANCELLED, where=where)
        if not watcher:
            self._replace(path)
        if reply is None:
            raise _LostError(begun=bool(watcher))
        return reply


def _read_tail(log: str) -> str:
    with contextlib.suppress(FileNotFoundError), open(log, "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _LOG_TAIL, 0))
        return file.read().decode(errors="replace")
    return ""


def _keep_log(log: str, target: str, where: str) -> None:
    """Moves what a job printed to the end of the file that `keep_logs` named, if any."""
    kept = _log_file.get()
    with contextlib.suppress(OSError):
        if kept and os.path.getsize(log):
            with open(log, "rb") as source, open(kept, "ab") as file:
                file.write(f"== {time.strftime('%H:%M:%S')} {target} {where}\n".encode("utf-8", "backslashreplace"))
                shutil.copyfileobj(source, file)


def _make_error(reply: protocol.Reply, log: str, where: str, call: protocol.Call) -> errors.MigrateError:
    if reply.state == protocol.TIMED_OUT:
        return JobError(
            f"did not finish within {call.timeout:g} s", state=protocol.TIMED_OUT, log=log, where=where,
            hint="raise --timeout",
        )  # fmt: skip
    if reply.error is None:
        return JobError(_describe_death(reply, _find_last_words(log), call), state=protocol.DIED, log=log, where=where)
    raised = reply.error
    kind = getattr(errors, raised.type, None)
    if kind is not None:
        error: errors.MigrateError = kind(raised.message, where=raised.where or where, hint=raised.hint)
        return error
    return JobError(f"{raised.type}: {raised.message}", state=protocol.RAISED, log=raised.traceback or log, where=where)


def _find_last_words(log: str) -> str:
    """The last line that says something: no frame of a stack; without time and process, which differ each time."""
    lines = (line for line in reversed(log.splitlines()) if line.strip() and not _FRAME.match(line))
    return _STAMP.sub("", next(lines, "")).strip()


def _describe_death(reply: protocol.Reply, last: str, call: protocol.Call) -> str:
    if reply.limit:
        return f"the process {reply.limit}, and was ended {last}".strip()
    how = f"signal {reply.signal}" if reply.signal else f"exit code {reply.exit_code}"
    if call.memory_limit and "bad_alloc" in last:
        how += f", out of memory: its limit is {call.memory_limit / 2**30:.2f} GiB"
    elif reply.signal == signal.SIGKILL:
        how += ", from outside: perhaps the system ran out of memory"
    return f"the process died ({how}) {last}".strip()


@contextlib.contextmanager
def _hold(variable: contextvars.ContextVar[Value], value: Value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def keep_logs(path: str) -> contextlib.AbstractContextManager[None]:
    """What the jobs of the block print is added to the file `path`."""
    return _hold(_log_file, path)


def protect(*paths: str) -> contextlib.AbstractContextManager[None]:
    """Jobs of the block must not write to `paths` either (`read_only` of `Server.run`): those of one side not to the
    other, of whatever kind they are."""
    return _hold(_protected, (*_protected.get(), *paths))


def interruptible(interrupt: Interrupt) -> contextlib.AbstractContextManager[None]:
    """Jobs of the block end when `interrupt` is set."""
    return _hold(_interrupt, interrupt)


_shared: list[Server] = []
_shared_lock = threading.Lock()


def shared_server() -> Server:
    """The process's own server, started on first use and closed at exit."""
    with _shared_lock:
        if not _shared:
            _shared.append(Server())
            atexit.register(_shared[0].close)
        return _shared[0]


def run_job(
    job: Job[Request, Answer],
    request: Request,
    *,
    limits: Limits | None = None,
    folders: Sequence[str] = (),
    read_only: Sequence[str] = (),
    network: bool = False,
    where: str = "",
    soon: Sequence[str] = (),
) -> JobResult[Answer]:
    """`Server.run` on the shared server."""
    server = shared_server()
    return server.run(
        job,
        request,
        limits=limits,
        folders=folders,
        read_only=read_only,
        network=network,
        where=where,
        soon=soon,
    )
