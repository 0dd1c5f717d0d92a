"""Archives -> folders, within bounds: names that lead elsewhere, links, devices and bombs are refused."""

from __future__ import annotations

import dataclasses
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

from migrate import detect, errors

# Endings of archives' names.
ENDINGS = (".tar.gz", ".tgz", ".tar", ".zip")
_CHUNK = 2**20
_HINT = "do not trust the archive; if it is your own, unpack it yourself and give the folder"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnpackLimits:
    """What an archive may hold.

    Attributes:
      max_bytes: of all files together, unpacked.
      max_files: files and folders.
      max_ratio: unpacked over packed size, asked once `ratio_from` bytes are unpacked: weights hardly compress.
      ratio_from: see max_ratio.
    """

    max_bytes: int = 64 * 2**30
    max_files: int = 100_000
    max_ratio: float = 200.0
    ratio_from: int = 64 * 2**20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    name: str
    is_folder: bool
    kind: str  # "" for a file or folder, else what it is: it is refused
    size: int
    open: Any


def unpack_archive(path: str, folder: str, limits: UnpackLimits | None = None) -> None:
    """Unpacks a tar archive (plain, gzip, bzip2, xz) or a zip archive.

    Args:
      path: the archive.
      folder: to write; made where missing. What it holds after an error is of no use.
      limits: what it may hold.

    Raises:
      CorruptModelError: it is no archive, is cut short, holds nothing, what it must not hold, or too much.
    """
    limits = limits or UnpackLimits()
    packed = max(os.path.getsize(path), 1)
    os.makedirs(folder, exist_ok=True)
    free = os.statvfs(folder)
    room = min(limits.max_bytes, free.f_bavail * free.f_frsize)
    total = files = 0
    try:
        for count, member in enumerate(_list_members(path), start=1):
            target = _place(member, folder, path)
            # What the archive declares is refused before a byte is written; what it really gives is counted too.
            _check(count, total + member.size, packed, limits, room, path)
            if member.is_folder:
                os.makedirs(target, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with member.open() as source, open(target, "wb") as file:
                while chunk := source.read(_CHUNK):
                    total += len(chunk)
                    _check(count, total, packed, limits, room, path)
                    file.write(chunk)
            files += 1
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise errors.CorruptModelError(
            f"the archive cannot be unpacked: {str(error) or type(error).__name__}",
            where=path,
            hint="it is damaged or truncated: copy it again",
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise errors.CorruptModelError(f"the archive cannot be unpacked: {reason}", where=path) from error
    if not files:
        raise errors.CorruptModelError("the archive holds no file", where=path)


def check_archive(path: str, limits: UnpackLimits | None = None) -> None:
    """Refuses an archive by what it declares; nothing is unpacked. For one that another library will open.

    Raises:
      UnsafeModelError: it holds a name that leads out of it, a link, a device, or more than the limits.
    """
    limits = limits or UnpackLimits()
    packed, total = max(os.path.getsize(path), 1), 0
    try:
        for count, member in enumerate(_list_members(path), start=1):
            total += member.size
            _place(member, os.sep, path)
            _check(count, total, packed, limits, limits.max_bytes, path)
    except errors.CorruptModelError as error:
        raise errors.UnsafeModelError(error.message, where=path, hint=error.hint) from error


def may_hold_model(path: str, limits: UnpackLimits | None = None) -> bool:
    """Whether an archive names a file that may be a model's, or an archive: one of somebody's data does not.

    Nothing is written, and nothing is read behind the first such name. What cannot be told (a damaged archive, one
    beyond the limits) may: `unpack_archive` says what is wrong with it.
    """
    limits = limits or UnpackLimits()
    packed = max(os.path.getsize(path), 1)
    total = 0
    try:
        for count, member in enumerate(_list_members(path), start=1):
            total += member.size
            _check(count, total, packed, limits, limits.max_bytes, path)
            name = posixpath.basename(member.name)
            if not member.is_folder and (detect.is_model_name(name) or name.endswith(ENDINGS)):
                return True
    except (errors.MigrateError, tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error,
            NotImplementedError, RuntimeError):  # fmt: skip
        return True
    return False


def _check(count: int, total: int, packed: int, limits: UnpackLimits, room: int, where: str) -> None:
    if count > limits.max_files:
        raise errors.CorruptModelError(
            f"the archive holds more than {limits.max_files:,} files", where=where, hint=_HINT
        )
    if total > room:
        raise errors.CorruptModelError(
            f"the archive unpacks to more than {room:,} bytes, the limit or what the disk has room for",
            where=where,
            hint=_HINT,
        )
    if total > limits.ratio_from and total / packed > limits.max_ratio:
        raise errors.CorruptModelError(
            f"the archive unpacks to more than {limits.max_ratio:g} times its {packed:,} bytes", where=where, hint=_HINT
        )


def _place(member: _Member, folder: str, where: str) -> str:
    if member.kind:
        raise errors.CorruptModelError(f"the archive holds {member.kind}: {member.name!r}", where=where, hint=_HINT)
    name = posixpath.normpath(member.name)
    # A backslash is a letter here and a separator elsewhere: no model has one.
    bad = member.name.startswith("/") or "\\" in member.name or "\0" in member.name or ".." in member.name.split("/")
    if bad or (len(name) > 1 and name[1] == ":"):
        raise errors.CorruptModelError(
            f"the archive holds a name that leads out of it: {member.name!r}", where=where, hint=_HINT
        )
    return folder if name == "." else os.path.join(folder, *name.split("/"))


def _list_members(path: str) -> Iterator[_Member]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                yield _describe_zip(archive, info)
        return
    with tarfile.open(path, mode="r|*") as archive:
        for member in archive:
            yield _describe_tar(archive, member)


def _describe_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    regular = not stat.S_IFMT(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return _Member(
        name=info.filename,
        is_folder=info.is_dir(),
        kind="" if regular else "a link" if stat.S_ISLNK(mode) else "a device",
        size=info.file_size,
        open=lambda: archive.open(info),
    )


def _describe_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> _Member:
    def open_file() -> IO[bytes]:
        file = archive.extractfile(member)
        assert file is not None, "it is a regular file"
        return file

    kind = ""
    if member.issym() or member.islnk():
        kind = "a link"
    elif not (member.isfile() or member.isdir()) or member.issparse():
        kind = "a sparse file" if member.issparse() else "a device"
    return _Member(name=member.name, is_folder=member.isdir(), kind=kind, size=member.size, open=open_file)
