"""Values in one file, written as they come, each content once; read through a memory map. No TensorFlow import.

For what one process hands to another: a record (JSON) says where a value lies. What people keep is an `.npz`
(`arrays`). A dense array lies as its bytes; strings are joined, with their lengths as an array of its own; a sparse or
ragged value is its parts.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

import google_crc32c
import numpy as np

from migrate import errors
from migrate.arrays import ML_DTYPES, RaggedValue, SparseValue, Value, make_bytes_array

_ALIGNMENT = 64
_CHUNK = 2**20
_STRINGS = "bytes"


class Kept:
    """Stands for a value that was written: its record."""

    __slots__ = ("record",)

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record


class Spool:
    """The writing side; `path` is the file."""

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._file = open(path, "w+b")  # noqa: SIM115  # lives as long as the spool
        self._places: dict[tuple[int, int], list[int]] = {}

    def keep(self, value: Value | Kept) -> Kept:
        """Writes a value unless its like was written before.

        Raises:
          UsageError: it is of a type that cannot be written.
        """
        if isinstance(value, Kept):
            return value
        if isinstance(value, SparseValue):
            parts = [value.indices, value.values, value.dense_shape]
            return Kept({"sparse": [self._keep_dense(part) for part in parts]})
        if isinstance(value, RaggedValue):
            return Kept({"ragged": [self._keep_dense(part) for part in (value.flat_values, *value.row_splits)]})
        return Kept(self._keep_dense(value))

    def _keep_dense(self, value: Any) -> dict[str, Any]:
        array = np.asarray(value)
        if array.dtype.kind in "OSU":
            try:
                strings = make_bytes_array(array).reshape(-1)
            except TypeError as error:
                raise errors.UsageError(f"cannot be kept: {error}", where="results") from error
            lengths = np.array([len(text) for text in strings], np.int64)
            joined = np.frombuffer(b"".join(strings), np.uint8)
            parts = {"at": self._write(joined), "lengths": self._write(lengths)}
            return {"dtype": _STRINGS, "shape": list(array.shape), "size": joined.size} | parts
        return {"dtype": array.dtype.name, "shape": list(array.shape), "at": self._write(array)}

    def _write(self, array: np.ndarray) -> int:
        """Where the bytes lie."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        places = self._places.setdefault((_sum_up(data), data.size), [])
        for at in places:
            if self._holds(at, data):
                return at
        at = self._file.tell()
        padding = -at % _ALIGNMENT
        self._file.write(b"\0" * padding)
        self._file.write(data.data)
        places.append(at + padding)
        return at + padding

    def _holds(self, at: int, data: np.ndarray) -> bool:
        """Whether the file has these bytes there: a checksum alone would be a guess, if a good one."""
        self._file.flush()
        for start in range(0, data.size, _CHUNK):
            part = data[start : start + _CHUNK]
            written = os.pread(self._file.fileno(), part.size, at + start)
            if not np.array_equal(np.frombuffer(written, np.uint8), part):
                return False
        return True

    def close(self) -> None:
        self._file.close()


def _sum_up(data: np.ndarray) -> int:
    """A checksum that is computed faster than the bytes come from memory."""
    checksum = 0
    for start in range(0, data.size, _CHUNK):
        checksum = google_crc32c.extend(checksum, data[start : start + _CHUNK])
    return checksum


class Reader:
    """The reading side. Equal records give the same object; arrays are views into the file, and read-only."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._view = memoryview(b"")
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size:
                self._view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._known: dict[str, Value] = {}

    def read(self, record: dict[str, Any]) -> Value:
        """The value of a record.

        Raises:
          CorruptModelError: the file is shorter than the record says.
        """
        key = repr(record)
        if key not in self._known:
            self._known[key] = self._read(record)
        return self._known[key]

    def _read(self, record: dict[str, Any]) -> Value:
        if "sparse" in record:
            indices, values, dense_shape = map(self._read_dense, record["sparse"])
            return SparseValue(indices=indices, values=values, dense_shape=dense_shape)
        if "ragged" in record:
            flat_values, *row_splits = map(self._read_dense, record["ragged"])
            return RaggedValue(flat_values=flat_values, row_splits=tuple(row_splits))
        return self._read_dense(record)

    def _read_dense(self, record: dict[str, Any]) -> np.ndarray:
        shape = tuple(record["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        if record["dtype"] != _STRINGS:
            return self._map(find_dtype(record["dtype"]), count, record["at"]).reshape(shape)
        lengths = self._map(np.dtype(np.int64), count, record["lengths"])
        joined = self._map(np.dtype(np.uint8), record["size"], record["at"]).tobytes()
        ends = np.cumsum(lengths)
        strings = np.empty(count, object)
        strings[:] = [joined[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
        return strings.reshape(shape)

    def _map(self, dtype: np.dtype, count: int, at: int) -> np.ndarray:
        if at + count * dtype.itemsize > len(self._view):
            raise errors.CorruptModelError("the file of results is truncated", where=self._path)
        return np.frombuffer(self._view, dtype, count, at) if count else np.empty(0, dtype)


def find_dtype(name: str) -> np.dtype:
    """By numpy's name, or ml_dtypes'."""
    return ML_DTYPES[name] if name in ML_DTYPES else np.dtype(name)
