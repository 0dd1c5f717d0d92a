"""Tar archives from elsewhere: unpacked below one folder, or refused."""

from __future__ import annotations

import os
import posixpath
import tarfile
import zlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_CHUNK = 2**22
# Refusing starts far above the largest published module (about 2 GB) and its number of files.
MAX_BYTES = 64 * 2**30
MAX_MEMBERS = 100_000


class _Counted:
    """A stream that counts what was read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.count = 0

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self.count += len(data)
        return data


def extract_archive(
    stream: Any,
    target: str,
    *,
    where: str,
    length: int | None = None,
    log_function: Callable[[int], None] | None = None,
    max_bytes: int = MAX_BYTES,
    max_members: int = MAX_MEMBERS,
) -> None:
    """Unpacks a tar archive (plain or compressed) into `target`.

    Args:
      stream: has `read(size)`.
      target: folder; made where missing. What it holds after an error is of no use.
      where: the archive's name for messages.
      length: bytes that the stream should give, None where unknown.
      log_function: called with the number of bytes after each piece that was written.
      max_bytes: of all unpacked files together.
      max_members: number of files and folders.

    Raises:
      OSError: it is no archive, is cut short, or holds nothing.
      ValueError: a member is neither file nor folder, has a name that leads elsewhere, or there is too much of it.
    """
    counted = _Counted(stream)
    tf.io.gfile.makedirs(target)
    try:
        with tarfile.open(mode="r|*", fileobj=counted) as tar:  # type: ignore[call-overload]
            files = _extract_members(tar, target, where, log_function, max_bytes, max_members)
        while counted.read(_CHUNK):  # tarfile stops at its end mark; what follows belongs to `length`.
            pass
    except (tarfile.ReadError, EOFError, zlib.error) as error:
        raise OSError(f"{where} does not appear to be a valid module.") from error
    if length is not None and counted.count != length:
        raise OSError(f"{where}: {counted.count} of {length} bytes came: the download was cut short.")
    if not files:
        raise OSError(f"{where} does not appear to be a valid module: the archive holds no file.")


def extract_tarfile_to_destination(
    fileobj: Any, dst_path: str, log_function: Callable[[int], None] | None = None
) -> None:
    """extract_archive under its name in tensorflow_hub."""
    extract_archive(fileobj, dst_path, where=str(getattr(fileobj, "name", "The archive")), log_function=log_function)


def merge_relative_path(dst_path: str, rel_path: str) -> str:
    """A member's path below `dst_path`, which may be remote; "a/../b" is "b", and "/a" is "a".

    Raises:
      ValueError: the path leads out of `dst_path`.
    """
    name = posixpath.normpath(rel_path.lstrip("/"))
    # A backslash is a letter here and a separator elsewhere: no module has one.
    if name.split("/")[0] == ".." or "\\" in name or "\0" in name:
        raise ValueError(f"Relative path {rel_path!r} is invalid.")
    return dst_path if name == "." else os.path.join(dst_path, name)


def _extract_members(tar: Any, target: str, where: str, log_function: Any, max_bytes: int, max_members: int) -> int:
    """Returns the number of files."""
    total = files = 0
    for members, member in enumerate(tar, start=1):
        total += member.size
        if members > max_members or total > max_bytes:
            raise ValueError(f"{where} unpacks to more than {max_members} files or {max_bytes} bytes: refused.")
        path = merge_relative_path(target, member.name)
        if member.isdir():
            tf.io.gfile.makedirs(path)
        elif member.isfile():
            tf.io.gfile.makedirs(os.path.dirname(path))
            _write_member(tar, member, path, log_function)
            files += 1
        else:
            # Links can lead outside, devices can block; no module has either.
            raise ValueError(f"Unexpected object type in tar archive: {member.name!r} in {where}")
    return files


def _write_member(tar: Any, member: Any, path: str, log_function: Any) -> None:
    source = tar.extractfile(member)
    with tf.io.gfile.GFile(path, "wb") as file:
        while chunk := source.read(_CHUNK):
            file.write(chunk)
            if log_function is not None:
                log_function(len(chunk))
