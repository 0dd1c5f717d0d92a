"""Destinations that are never half written: built beside, then renamed. No TensorFlow import."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator

from migrate import errors, isolation
from migrate.isolation import folders

_SUFFIX = ".partial"
# linux/fs.h, linux/fcntl.h
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def check_destination(path: str, *, overwrite: bool) -> None:
    """Refuses a destination before any work is done.

    Raises:
      DestinationError: it exists and `overwrite` is off, or its folder cannot be written.
    """
    if os.path.lexists(path) and not overwrite:
        empty = os.path.isdir(path) and not os.listdir(path)
        if not empty:
            raise errors.DestinationError(
                "the destination exists", where=path, hint="choose another --dest, or replace it with --overwrite"
            )
    parent = os.path.dirname(os.path.abspath(path))
    existing = parent
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing) or not is_writable(existing):
        raise errors.DestinationError(
            "the destination's folder cannot be written", where=existing, hint="choose a writable --dest"
        )


def place_file(source: str, path: str) -> None:
    """Moves a file to where it stays, over file systems too; it appears there whole or not at all.

    Raises:
      DestinationError: it cannot be written.
    """
    partial = f"{path}.partial"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(source, partial)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise errors.DestinationError(f"the file cannot be written: {error.strerror}", where=path) from error


def is_writable(folder: str) -> bool:
    """Asks by trying: os.access says yes to root on read-only mounts and to others on full quotas."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


class Publication:
    """A folder being built beside its destination.

    Attributes:
      staged: path of the folder, which does not exist yet.
    """

    def __init__(self, staged: str) -> None:
        self.staged = staged

    def publish(self, path: str) -> None:
        """Puts the folder in its place, whatever is there, in one step that others see done or not done."""
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        _sync(self.staged)
        if os.path.lexists(path) and not _exchange(self.staged, path):
            # Without the exchange there is a moment in which neither is there; never one with a mixture.
            os.rename(path, os.path.join(os.path.dirname(self.staged), "replaced"))
            os.rename(self.staged, path)
        elif not os.path.lexists(path):
            os.rename(self.staged, path)
        _sync_folder(os.path.dirname(os.path.abspath(path)))


@contextlib.contextmanager
def prepare_publication(path: str) -> Iterator[Publication]:
    """A Publication beside `path`; what is not published when the block ends is gone, as when the process is killed.

    Raises:
      DestinationError: nothing can be written there.
    """
    parent, name = os.path.split(os.path.abspath(path))
    try:
        os.makedirs(parent, exist_ok=True)
        folders.remove_abandoned(parent, prefix=f".{name}.", suffix=_SUFFIX)
        # The name of a folder has a limit, which the addition must not exceed.
        folder = folders.OwnedFolder(prefix=f".{_shorten(name)}.", suffix=_SUFFIX, parent=parent)
    except OSError as error:
        raise errors.DestinationError(
            f"the destination's folder cannot be written: {error.strerror}", where=parent
        ) from error
    isolation.shared_server().own(folder.path)
    try:
        yield Publication(os.path.join(folder.path, "model"))
    finally:
        folder.remove()


@contextlib.contextmanager
def staged_directory(path: str) -> Iterator[str]:
    """A folder beside `path` that takes its place when the block ends well, and is gone when it does not."""
    with prepare_publication(path) as publication:
        yield publication.staged
        publication.publish(path)


def remove_stale_staging(folder: str) -> None:
    """Removes staging folders that a killed run has left in `folder`, where no other run writes."""
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        # Killed between the folder and its owner's mark: it is empty.
        if name.startswith(".") and name.endswith(_SUFFIX) and (folders.is_abandoned(path) or not os.listdir(path)):
            shutil.rmtree(path, ignore_errors=True)


def _shorten(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:200])


def _exchange(one: str, other: str) -> bool:
    """Swaps two paths in one step (renameat2(2)); False where the system or the file system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    result: int = call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return result == 0


def _sync(folder: str) -> None:
    """Files first, so that a machine that stops after the rename has the whole model and not its names only."""
    for parent, _, files in os.walk(folder):
        for name in files:
            _sync_path(os.path.join(parent, name), os.O_RDONLY)
        _sync_folder(parent)


def _sync_folder(folder: str) -> None:
    _sync_path(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))


def _sync_path(path: str, flags: int) -> None:
    with contextlib.suppress(OSError):
        handle = os.open(path, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
