"""Copies of whole models, sharing blocks with the original where the file system can. No TensorFlow import."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat

from migrate import errors

# linux/fs.h: _IOW(0x94, 9, int)
_FICLONE = 0x40049409


def copy_model(source: str, dest: str) -> None:
    """Copies a model's folder or file to `dest`, which does not exist; links to files by what they lead to.

    Raises:
      CorruptModelError: something in it is no file or folder, a link leads out of the model or to a folder.
    """
    root = os.path.realpath(source)
    if os.path.isfile(source):
        copy_file(source, dest)
        return
    for folder, inner, files in os.walk(source, onerror=_raise):
        for name in inner:
            if os.path.islink(path := os.path.join(folder, name)):
                raise errors.CorruptModelError("a link to a folder", where=path, hint="copy the folder")
        inside = os.path.relpath(folder, source)
        os.makedirs(os.path.normpath(os.path.join(dest, inside)))
        for name in files:
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if os.path.commonpath((root, real)) != root:
                raise errors.CorruptModelError("a link that leads out of the model", where=path, hint="copy the file")
            if not os.path.exists(path) or not stat.S_ISREG(os.stat(path).st_mode):
                raise errors.CorruptModelError("neither a file nor a folder", where=path, hint="remove it")
            copy_file(path, os.path.normpath(os.path.join(dest, inside, name)))


def link_model(source: str, dest: str) -> None:
    """Makes `dest` a folder like `source` whose files are hard links to its files."""
    shutil.copytree(source, dest, copy_function=os.link)


def _raise(error: OSError) -> None:
    raise error


def copy_file(source: str, dest: str) -> None:
    """One file: a clone where the file system can (ioctl_ficlone(2)), else a copy."""
    with open(source, "rb") as reader, open(dest, "wb") as writer:
        with contextlib.suppress(OSError):
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            return
        shutil.copyfileobj(reader, writer, 2**22)
