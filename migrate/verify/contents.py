"""What belongs to a model beside its graph, as values: files by their lines, tables by their keys."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable

import numpy as np

from migrate.arrays import make_bytes_array

# Above this a file is compared by checksums of its parts: which line differs is then the nearest that can be said.
_LARGEST = 2**24
_CHUNK = 2**20


def read_lines(path: str) -> np.ndarray:
    """The file as an array of its lines (object, bytes), or [chunks] uint32 of checksums where it is large."""
    if os.path.getsize(path) > _LARGEST:
        with open(path, "rb") as file:
            return np.array([zlib.crc32(chunk) for chunk in iter(lambda: file.read(_CHUNK), b"")], np.uint32)
    with open(path, "rb") as file:
        return split_lines(file.read())


def split_lines(data: bytes) -> np.ndarray:
    """Bytes as an array of lines; no line is lost by it."""
    lines = data.split(b"\n")
    found = np.empty(len(lines), dtype=object)
    found[:] = lines
    return found


def list_files(folder: str, leave_out: Iterable[str] = ()) -> dict[str, str]:
    """Relative path -> path of every file below a folder, but of what starts with one of `leave_out`."""
    found = {}
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(here, name)
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            if not relative.startswith(tuple(leave_out)):
                found[relative] = path
    return found


def sort_entries(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table's entries in the order of their keys: where they lie in it says nothing."""
    flat = [bytes(key) for key in keys.ravel()] if keys.dtype == object else [tuple(key.flat) for key in keys]
    order = sorted(range(len(keys)), key=flat.__getitem__)
    return _take(keys, order), _take(values, order)


def _take(array: np.ndarray, order: list[int]) -> np.ndarray:
    taken = array[order] if order else array
    return make_bytes_array(taken) if taken.dtype == object else taken
