"""Bytes from one file to another without passing through the process: hard link, reflink, copy in the kernel.

What a file system or a system does not offer gives way to the next that does, down to read and write. No TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable

LINK, REFLINK, COPY = "link", "reflink", "copy"
_FICLONE = 0x40049409  # linux/fs.h
_CHUNK = 2**26
_BUFFER = 2**22


def transfer_file(source: str, dest: str, how: str) -> str:
    """Makes `dest`, which must not exist, hold what `source` holds.

    Args:
      source, dest: paths of files.
      how: LINK, REFLINK or COPY.

    Returns:
      What was done: another one than was asked for where the file system (another device, say) does not offer it.

    Raises:
      OSError: the source cannot be read, or the destination not be written.
    """
    if how == LINK and _link(source, dest):
        return LINK
    # A reflink is a copy that shares blocks until one side is written: a copy takes it where it can be had.
    if _reflink(source, dest):
        return REFLINK
    copy_ranges(source, dest, [(0, os.path.getsize(source))])
    return COPY


def _link(source: str, dest: str) -> bool:
    try:
        # Of a symbolic link (a cache's blobs, say), the file that it names: a link to the link could lead nowhere.
        os.link(os.path.realpath(source), dest)
    except OSError:
        return False
    return True


def _reflink(source: str, dest: str) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl  # no such module on Windows

    with open(source, "rb") as old, open(dest, "xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
            return True
        except OSError:
            pass
    os.remove(dest)
    return False


def copy_ranges(source: str, dest: str, ranges: Iterable[tuple[int, int]]) -> None:
    """Appends byte ranges (offset, size) of `source` to `dest`, in order; makes `dest` where it is not there.

    Raises:
      OSError: as above; EOFError where the source is shorter than a range says.
    """
    with open(source, "rb", buffering=0) as old, open(dest, "ab", buffering=0) as new:
        # copy_file_range refuses files that are open for appending.
        descriptor = os.open(dest, os.O_WRONLY)
        try:
            os.lseek(descriptor, os.fstat(new.fileno()).st_size, os.SEEK_SET)
            for offset, size in ranges:
                _copy_range(old.fileno(), descriptor, offset, size, source)
        finally:
            os.close(descriptor)


def _copy_range(old: int, new: int, offset: int, size: int, name: str) -> None:
    end = offset + size
    if hasattr(os, "copy_file_range"):
        # Not between all file systems, and some (those of /proc, some network mounts) say that they copied nothing.
        with contextlib.suppress(OSError):
            while offset < end:
                done = os.copy_file_range(old, new, min(end - offset, _CHUNK), offset_src=offset)
                if not done:
                    break
                offset += done
    os.lseek(old, offset, os.SEEK_SET)
    while offset < end:
        data = os.read(old, min(end - offset, _BUFFER))
        if not data:
            raise EOFError(f"{name} ends at byte {offset}, {end} were expected")
        offset += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(new, view) :]


def share_tree(source: str, dest: str, *, threshold: int = 2**20) -> None:
    """Copies a folder, large files as hard links, or as symbolic links where they lie on another device.

    For readers that take nothing but the contents: a change of a large file would show on both sides.
    """

    def share(old: str, new: str) -> str:
        if os.path.getsize(old) < threshold:
            return str(shutil.copy2(old, new))
        if not _link(old, new):
            try:
                os.symlink(os.path.realpath(old), new)
            except OSError:
                return str(shutil.copy2(old, new))
        return new

    shutil.copytree(source, dest, copy_function=share)
