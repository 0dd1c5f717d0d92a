"""What lies in a model's folder, by kind: told by `lstat` alone, nothing is opened and no link is followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

MAX_ENTRIES = 200_000
# A file of this size of which less than a hundredth is stored is a hole: reading it would take hours and give zeros.
_LARGE, _STORED_SHARE, _BLOCK = 2**34, 100, 512
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def find_bad_files(root: str) -> Iterator[tuple[str, str, str]]:
    """Yields (code, path, what is wrong) of what a model's folder must not hold.

    Args:
      root: folder or file; a link that the user names is followed, those below it are not.
    """
    try:
        top = os.stat(root)
    except OSError as error:
        yield "unreadable", root, error.strerror or str(error)
        return
    if not stat.S_ISDIR(top.st_mode):
        yield from _check_entry(root, top, "")
        return
    base = os.path.realpath(root)
    pending = [root]
    count = 0
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield "unreadable", folder, f"the folder cannot be read: {error.strerror or error}"
            continue
        for entry in entries:
            count += 1
            if count > MAX_ENTRIES:
                yield "too-many-files", root, f"more than {MAX_ENTRIES:,} files are no model"
                return
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                pending.append(entry.path)
            else:
                yield from _check_entry(entry.path, status, base)


def _check_entry(path: str, status: os.stat_result, base: str) -> Iterator[tuple[str, str, str]]:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFLNK:
        yield from _check_link(path, base)
    elif kind in _KINDS:
        yield "special-file", path, f"it is {_KINDS[kind]}, which a model has no use for"
    elif status.st_size > _LARGE and status.st_blocks * _BLOCK * _STORED_SHARE < status.st_size:
        yield "absurd-size", path, f"it claims {status.st_size:,} bytes and holds {status.st_blocks * _BLOCK:,}"


def _check_link(path: str, base: str) -> Iterator[tuple[str, str, str]]:
    target = os.readlink(path)
    try:
        real = os.path.realpath(path, strict=True)
    except OSError as error:
        # ELOOP is a circle of links; realpath tells it by OSError as well.
        what = "it leads to itself" if _is_circle(path, error) else "what it leads to is not there"
        yield "broken-link", path, f"a link to {target!r}: {what}"
        return
    if real != base and not real.startswith(base.rstrip(os.sep) + os.sep):
        yield "link-outside", path, f"a link to {target!r}, outside of the model"
    elif os.path.isdir(real) and (os.path.realpath(os.path.dirname(path)) + os.sep).startswith(real + os.sep):
        yield "broken-link", path, f"a link to {target!r}, a folder that it lies in: the tree has no end"
    elif not os.path.isdir(real):
        yield from _check_entry(real, os.stat(real), base)


def _is_circle(path: str, error: OSError) -> bool:
    return error.errno == errno.ELOOP or os.path.lexists(os.path.realpath(path))
