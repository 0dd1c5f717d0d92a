"""A migrated model -> the archive that hub hosting serves: its root is the model, equal models give equal bytes."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile
import tempfile
from typing import IO, Any

from migrate import errors

ENDING = ".tar.gz"
# gzip's fastest: weights hardly compress.
_LEVEL = 1


def write_archive(folder: str, path: str) -> str:
    """Writes the archive of a model's folder; it appears whole or not at all.

    No owner, time or order of this machine is in it (https://www.tensorflow.org/hub/hosting asks for owner 0).

    Args:
      folder: of the model.
      path: file to write; what is there is replaced.

    Returns:
      The path.

    Raises:
      DestinationError: it cannot be written.
    """
    partial = ""
    try:
        handle, partial = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), suffix=".partial")
        with open(handle, "wb") as file:
            pack(folder, file)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except OSError as error:
        raise errors.DestinationError(f"the archive cannot be written: {error.strerror}", where=path) from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(partial)
    return path


def pack(folder: str, file: IO[bytes]) -> None:
    """Writes the archive into an open file."""
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=_LEVEL) as packed,
        tarfile.open(mode="w|", fileobj=packed, format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in _list_names(folder):
            _add(tar, folder, name)


def _list_names(folder: str) -> list[str]:
    found = ["."]
    for here, folders, files in os.walk(folder):
        folders.sort()
        inside = os.path.relpath(here, folder)
        found += [os.path.normpath(os.path.join(inside, name)) for name in (*folders, *files)]
    return sorted(found)


def _add(tar: tarfile.TarFile, folder: str, name: str) -> None:
    path = os.path.join(folder, name)
    info = tarfile.TarInfo("." if name == "." else f"./{name}")
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    if os.path.isdir(path):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
        return
    info.mode = 0o644
    with open(path, "rb") as source:
        info.size = os.fstat(source.fileno()).st_size
        tar.addfile(info, source)


def copy_archive(path: str, target: Any) -> None:
    """Into anything that has `write`."""
    with open(path, "rb") as source:
        shutil.copyfileobj(source, target)
