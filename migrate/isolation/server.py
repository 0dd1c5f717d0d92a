"""The fork server. Started by `client.Server` (`main([SOCKET, FOLDER, MODULE...])`), stopped with it."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import select
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from migrate import errors, records
from migrate.isolation import folders, processes, protocol, sandbox, supervision
from migrate.isolation.job import find_function

_POLL_SECONDS = 0.5
# After the client has ended: for the jobs to be ended by those who watch over them.
_LEAVING_SECONDS = 10.0
_OPTIMIZERS = ("keras.src.optimizers", "tf_keras.src.optimizers")


def serve(path: str, folder: str, imports: Sequence[str]) -> None:
    """Imports `imports`, then accepts jobs until the standard input closes, which it does when the client's process
    ends, however it ends.

    Then removes `folder` and all folders that the file `owned` in it lists: what the client would have removed.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(256)
    processes.adopt_orphans()
    # Nothing that an import makes is garbage, and no fork writes to what its collector has not looked through.
    gc.disable()
    for name in imports:
        if name == "tensorflow":
            _import_tensorflow()
        else:
            importlib.import_module(name)
    with contextlib.suppress(BrokenPipeError):  # killed while this was loading: what it has left is removed below
        sys.stdout.write("ready\n")
        sys.stdout.flush()
    watchers: set[int] = set()
    while True:
        _reap(watchers)
        ready, _, _ = select.select([listener, sys.stdin], [], [], _POLL_SECONDS)
        if sys.stdin in ready:
            asked = os.read(sys.stdin.fileno(), 2**16)
            if not asked:
                break
            _import_modules(asked.decode().split())
        if listener not in ready:
            continue
        connection, _ = listener.accept()
        # What is imported stays: no collection of a job looks through it again, nor writes to its pages.
        gc.freeze()
        watcher = os.fork()
        if watcher == 0:
            listener.close()
            _leave(supervision.watch_job, connection, _run)
        watchers.add(watcher)
        connection.close()
    listener.close()
    _leave_nothing(folder, watchers)


def _import_tensorflow() -> None:
    """The point of this process: every fork starts with TensorFlow loaded.

    Its last lines import the optimizers of Keras for what they register (Keras 2: types that a SavedModel of TF2 may
    name), which loads all of Keras 3, and whatever that draws with, for jobs that need none of it: a fifth of the time.
    Whatever needs a Keras imports it: tf_keras is with the jobs that load TF2's models.
    """
    halted = [name for name in _OPTIMIZERS if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(halted))  # None stops an import, with the ImportError that TensorFlow awaits
    try:
        import tensorflow  # noqa: F401
    finally:
        for name in halted:
            del sys.modules[name]


def _import_modules(names: Sequence[str]) -> None:
    """What the jobs to come would each import for themselves. Importing runs nothing: a TensorFlow that has run has
    threads, which no fork survives (tests/test_isolation.py holds the modules to it)."""
    for name in names:
        with contextlib.suppress(ImportError):  # The job says it better.
            module, _, function = name.partition(":")
            if function:
                getattr(importlib.import_module(module), function)()
            else:
                importlib.import_module(module)


def _reap(watchers: set[int]) -> None:
    """Takes leave of those that have ended; kills what a watcher that was killed has left behind."""
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            watchers.discard(pid)
    processes.kill_descendants(os.getpid(), spared=watchers)


def _leave_nothing(folder: str, watchers: set[int]) -> None:
    deadline = time.monotonic() + _LEAVING_SECONDS
    while processes.list_children(os.getpid()) and time.monotonic() < deadline:
        _reap(watchers)
        time.sleep(0.02)
    processes.kill_descendants(os.getpid())
    with contextlib.suppress(OSError), open(os.path.join(folder, folders.OWNED), encoding="utf-8") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                shutil.rmtree(json.loads(line), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


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


def _run(call: protocol.Call, writer: int) -> None:
    """In the job's process: everything that it prints goes to the log."""
    gc.enable()
    processes.volunteer_for_oom()
    log = os.open(call.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # What a process printed before it died must not die with it in a buffer.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    sandbox.enter(
        folder=call.folder,
        network=call.network,
        memory_limit=call.memory_limit,
        read_only=[path for path in call.read_only if not sandbox.holds_any(path, call.folders)],
    )
    try:
        function, kind = find_function(call.target)
        value = records.to_json(function(records.from_json(kind, call.request)))
        reply = protocol.Reply(state=protocol.RETURNED, value=value)
    except MemoryError:
        reply = protocol.Reply(state=protocol.DIED, limit="ran out of memory")
    except Exception as error:
        reply = protocol.Reply(state=protocol.RAISED, error=_describe(error))
    data = json.dumps(records.to_json(reply)).encode()
    while data:
        data = data[os.write(writer, data) :]


def _describe(error: Exception) -> protocol.Failure:
    kind = type(error).__name__
    if isinstance(error, errors.MigrateError):
        return protocol.Failure(type=kind, message=error.message, where=error.where, hint=error.hint)
    traceback.print_exc()
    return protocol.Failure(type=kind, message=str(error), traceback=traceback.format_exc())


def main(arguments: Sequence[str]) -> None:
    path, folder, *imports = arguments
    serve(path, folder, imports)
