"""One run at a time for a destination. The lock ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator

from migrate import errors

LOCK = "lock"


@contextlib.contextmanager
def hold_lock(folder: str, what: str) -> Iterator[None]:
    """Holds `folder`/lock, which names its owner. A lock whose owner has ended counts for nothing.

    Args:
      folder: exists.
      what: is locked by it, for the message.

    Raises:
      DestinationError: another run holds it.
    """
    path = os.path.join(folder, LOCK)
    handle = _acquire(path, what)
    try:
        owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": " ".join(sys.argv),
        }
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(owner).encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            os.remove(path)
        os.close(handle)


def _acquire(path: str, what: str) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _describe_owner(handle)
            os.close(handle)
            raise errors.DestinationError(
                f"another run is writing there: {owner}", where=what, hint="wait for its end, or end it"
            ) from error
        # Its owner may have removed the file between our opening and our locking it.
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(handle).st_ino:
                return handle
        os.close(handle)


def _describe_owner(handle: int) -> str:
    try:
        owner = json.loads(os.pread(handle, 2**16, 0))
        return f"process {owner['pid']} on {owner['host']} since {owner['started']} ({owner['command']})"
    except (ValueError, KeyError, TypeError):
        return "its owner has only just begun"
