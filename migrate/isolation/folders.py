"""Folders that do not outlive their owner: each holds a file that its owner keeps locked while it lives.

flock(2) ends with the process, however that ends, and no other process can take it for alive: no process id that
the system gave to somebody else, no container that sees other ids.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile

PREFIX = "migrate-"
OWNER = "owner"
# Lists folders elsewhere that go with it.
OWNED = "owned"


class OwnedFolder:
    """A fresh folder that everybody can tell is in use until `remove`, or until this process ends."""

    def __init__(self, *, prefix: str, suffix: str = "", parent: str | None = None) -> None:
        self.path = tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent)
        # Locked before it has its name, so that nobody sees it unlocked.
        self._lock = os.open(os.path.join(self.path, f"{OWNER}.new"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(os.path.join(self.path, f"{OWNER}.new"), os.path.join(self.path, OWNER))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def is_abandoned(folder: str) -> bool:
    """Whether `folder` was an OwnedFolder's and its owner has ended; False where that cannot be told."""
    try:
        lock = os.open(os.path.join(folder, OWNER), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(lock)


def remove_abandoned(parent: str, *, prefix: str, suffix: str = "") -> None:
    """Removes the folders in `parent` that killed processes have left."""
    with contextlib.suppress(OSError):
        for name in os.listdir(parent):
            folder = os.path.join(parent, name)
            if name.startswith(prefix) and name.endswith(suffix) and is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def measure_folder(folder: str) -> int:
    """Bytes of the files below `folder`, links not followed."""
    total = 0
    pending = [folder]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
