"""The values that verification feeds, records and compares, and their pickle-free `.npz` file.

An archive holds for each key
  dense numbers and bools   `key`
  strings                   `key#bytes` (uint8: all strings joined), `key#lengths` (int64, the tensor's shape)
  ml_dtypes (bfloat16, ...) `key#bfloat16` (unsigned integers of the same width: the bits)
  a sparse tensor           `key#indices`, `key#values` (coded like a dense tensor), `key#dense_shape`
  a ragged tensor           `key#flat_values` (coded like a dense tensor), `key#row_splits_0`, ... outer first
In a key, "#", "%" and NUL are spelled %23, %25 and %00. Files are byte-identical for equal values, and
`numpy.load` opens them. No TensorFlow import.
"""

from __future__ import annotations

import dataclasses
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from migrate import errors

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP knows: equal values give equal files
_LARGE = 2**20
_ESCAPES = {"%": "%25", "#": "%23", "\0": "%00"}
_UNESCAPES = {spelling: character for character, spelling in _ESCAPES.items()}
ML_DTYPES = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in (
        "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2",
        "float8_e5m2fnuz", "int4", "uint4",
    )
}  # fmt: skip
_ROW_SPLITS = re.compile(r"row_splits_(\d+)")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseValue:
    """A COO tensor: indices int64 [n, rank], values [n], dense_shape int64 [rank]."""

    indices: np.ndarray
    values: np.ndarray
    dense_shape: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RaggedValue:
    """A ragged tensor: flat_values [n, ...]; row_splits outermost first, each [rows + 1], at least one."""

    flat_values: np.ndarray
    row_splits: tuple[np.ndarray, ...]


Value = np.ndarray | SparseValue | RaggedValue


def make_bytes_array(value: Any) -> np.ndarray:
    """Object array of bytes of the same shape; str is encoded as UTF-8.

    Raises:
      TypeError: an element is neither bytes nor str.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "OSU":
        raise TypeError(f"dtype {array.dtype} holds no strings")
    result = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        element = array[index]
        if isinstance(element, str):
            element = element.encode("utf-8")
        if not isinstance(element, bytes):
            raise TypeError(f"element {index} is of type {type(element).__name__}, not bytes")
        result[index] = bytes(element)
    return result


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Writes `{key: value}`; values are arrays (or anything numpy makes one of), SparseValue or RaggedValue.

    The file is complete or absent: it is written beside `path` and moved into place.

    Raises:
      UsageError: a value is of a type that the file cannot hold; the key is named.
    """
    entries: dict[str, np.ndarray] = {}
    for key, value in arrays.items():
        entries.update(_encode(key, value))
    temporary = f"{os.fspath(path)}.partial-{os.getpid()}"
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, entry in entries.items():
                info = zipfile.ZipInfo(name + ".npy", _FIXED_TIME)
                # Noise does not shrink, and trying costs more than all else that is done with an image.
                is_noise = entry.dtype.kind == "f" and entry.nbytes > _LARGE
                info.compress_type = zipfile.ZIP_STORED if is_noise else zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, entry, allow_pickle=False)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def load_arrays(path: str | os.PathLike[str]) -> dict[str, Value]:
    """Reads what `save_arrays` wrote (or a plain `numpy.savez` of numbers), keys in the file's order.

    Raises:
      SourceNotFoundError: there is no such file.
      CorruptModelError: the file is no archive, or an entry is malformed; the key is named.
    """
    where = os.fspath(path)
    if not os.path.isfile(where):
        raise errors.SourceNotFoundError("there is no such file", where=where)
    grouped: dict[str, dict[str, np.ndarray]] = {}
    try:
        with zipfile.ZipFile(where) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                spelled, _, part = name.partition("#")
                key = re.sub("%(?:25|23|00)", lambda match: _UNESCAPES[match.group()], spelled)
                parts = grouped.setdefault(key, {})
                if part in parts:
                    raise errors.CorruptModelError(f"entry {name!r} occurs twice", where=_place(where, key))
                parts[part] = _read_member(archive, info, _place(where, key))
    except (zipfile.BadZipFile, EOFError) as error:
        raise errors.CorruptModelError(f"not an .npz archive: {error}", where=where) from error
    return {key: _decode(parts, _place(where, key)) for key, parts in grouped.items()}


def _place(path: str, key: str) -> str:
    return f"{path}[{key!r}]"


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> np.ndarray:
    try:
        with archive.open(info) as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    except (
        ValueError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise errors.CorruptModelError(f"entry {info.filename!r} cannot be read: {error}", where=where) from error


def _encode(key: str, value: Any) -> dict[str, np.ndarray]:
    """Archive entries of one value."""
    spelled = re.sub("[%#\0]", lambda match: _ESCAPES[match.group()], key)
    try:
        spelled.encode("utf-8")
    except UnicodeEncodeError as error:
        raise errors.UsageError("the key is not valid Unicode", where=repr(key)) from error
    if isinstance(value, SparseValue):
        indices, shape = np.asarray(value.indices), np.asarray(value.dense_shape)
        entries = _encode_dense(f"{spelled}#values", value.values, key)
        _check_sparse(indices, np.shape(value.values), shape, errors.UsageError, repr(key))
        return {f"{spelled}#indices": indices, **entries, f"{spelled}#dense_shape": shape}
    if isinstance(value, RaggedValue):
        splits = [np.asarray(split) for split in value.row_splits]
        _check_ragged(splits, np.shape(value.flat_values), errors.UsageError, repr(key))
        entries = _encode_dense(f"{spelled}#flat_values", value.flat_values, key)
        return entries | {f"{spelled}#row_splits_{i}": split for i, split in enumerate(splits)}
    return _encode_dense(spelled, value, key)


def _encode_dense(name: str, value: Any, key: str) -> dict[str, np.ndarray]:
    array = np.asarray(value)
    if array.dtype.kind in "biufc" and array.dtype.name not in ML_DTYPES:
        return {name: array}
    if ML_DTYPES.get(array.dtype.name) == array.dtype:
        # No ascontiguousarray: it would make a scalar a vector.
        return {f"{name}#{array.dtype.name}": array.copy(order="C").view(f"u{array.dtype.itemsize}")}
    try:
        strings = make_bytes_array(array)
    except TypeError as error:
        raise errors.UsageError(f"cannot be saved: {error}", where=repr(key)) from error
    flat = strings.reshape(-1)
    lengths = np.array([len(element) for element in flat], dtype=np.int64).reshape(strings.shape)
    return {f"{name}#bytes": np.frombuffer(b"".join(flat), dtype=np.uint8), f"{name}#lengths": lengths}


def _decode(parts: dict[str, np.ndarray], where: str) -> Value:
    """The value of one key from its parts ("" is the key itself)."""
    names = set(parts)
    if {"indices", "dense_shape"} & names:
        rest = {name: part for name, part in parts.items() if name not in ("indices", "dense_shape")}
        if len(rest) == len(parts) - 1:
            raise errors.CorruptModelError(f"a sparse tensor of which only {sorted(names)} exist", where=where)
        values = _decode_dense(_strip(rest, "values", where), where)
        _check_sparse(parts["indices"], values.shape, parts["dense_shape"], errors.CorruptModelError, where)
        return SparseValue(indices=parts["indices"], values=values, dense_shape=parts["dense_shape"])
    numbers = sorted(int(match.group(1)) for name in names if (match := _ROW_SPLITS.fullmatch(name)))
    if numbers:
        if numbers != list(range(len(numbers))):
            raise errors.CorruptModelError(f"row splits {numbers} are not numbered from 0", where=where)
        splits = tuple(parts[f"row_splits_{i}"] for i in numbers)
        rest = {name: part for name, part in parts.items() if not _ROW_SPLITS.fullmatch(name)}
        flat_values = _decode_dense(_strip(rest, "flat_values", where), where)
        _check_ragged(splits, flat_values.shape, errors.CorruptModelError, where)
        return RaggedValue(flat_values=flat_values, row_splits=splits)
    return _decode_dense(parts, where)


def _strip(parts: dict[str, np.ndarray], name: str, where: str) -> dict[str, np.ndarray]:
    """Parts of the component `name` under their own suffixes: values#bytes -> bytes."""
    stripped = {}
    for suffix, part in parts.items():
        if suffix != name and not suffix.startswith(f"{name}#"):
            raise errors.CorruptModelError(f"unknown part {suffix!r} beside {name!r}", where=where)
        stripped[suffix[len(name) + 1 :]] = part
    if not stripped:
        raise errors.CorruptModelError(f"part {name!r} is missing", where=where)
    return stripped


def _decode_dense(parts: dict[str, np.ndarray], where: str) -> np.ndarray:
    names = set(parts)
    if names == {""}:
        return parts[""]
    if names == {"bytes", "lengths"}:
        return _split_strings(parts["bytes"], parts["lengths"], where)
    if len(names) == 1:
        (name,) = names
        dtype = ML_DTYPES.get(name)
        if dtype is not None:
            if parts[name].dtype != np.dtype(f"u{dtype.itemsize}"):
                raise errors.CorruptModelError(f"the bits of {name} are of dtype {parts[name].dtype}", where=where)
            return parts[name].view(dtype)
    raise errors.CorruptModelError(f"parts {sorted(names)} make no tensor", where=where)


def _split_strings(joined: np.ndarray, lengths: np.ndarray, where: str) -> np.ndarray:
    if joined.dtype != np.uint8 or joined.ndim != 1 or lengths.dtype.kind not in "iu":
        raise errors.CorruptModelError("#bytes must be uint8 [n] and #lengths integers", where=where)
    if (lengths < 0).any() or int(lengths.sum()) != joined.size:
        message = f"#lengths add up to {int(lengths.sum())}, but there are {joined.size} #bytes"
        raise errors.CorruptModelError(message, where=where)
    data, ends = joined.tobytes(), np.cumsum(lengths.reshape(-1)).tolist()
    flat = np.empty(lengths.size, dtype=object)
    for i, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        flat[i] = data[begin:end]
    return flat.reshape(lengths.shape)


def _check_sparse(
    indices: np.ndarray,
    values_shape: tuple[int, ...],
    dense_shape: np.ndarray,
    error: type[errors.MigrateError],
    where: str,
) -> None:
    """The three parts fit: [n, rank], [n], [rank]. Order and bounds are the model's business."""
    integers = indices.dtype.kind in "iu" and dense_shape.dtype.kind in "iu"
    if not integers or dense_shape.ndim != 1 or indices.shape != (*values_shape[:1], dense_shape.size):
        shapes = f"indices {indices.shape}, values {values_shape}, dense_shape {dense_shape.shape}"
        raise error(f"parts of the sparse tensor do not fit: {shapes}", where=where)
    if len(values_shape) != 1:
        raise error(f"values of a sparse tensor have shape {values_shape}, not [n]", where=where)


def _check_ragged(splits: Any, flat_shape: tuple[int, ...], error: type[errors.MigrateError], where: str) -> None:
    """Each partition splits the rows of the next one, and the last one the flat values."""
    if not splits or not flat_shape:
        raise error("a ragged tensor needs row splits and flat values of rank 1 or more", where=where)
    rows = [split.size - 1 for split in splits[1:]] + [flat_shape[0]]
    for i, (split, count) in enumerate(zip(splits, rows, strict=True)):
        if split.ndim != 1 or split.dtype.kind not in "iu" or split.size == 0:
            raise error(f"row_splits_{i} is not an integer vector", where=where)
        if split[0] != 0 or split[-1] != count or (np.diff(split) < 0).any():
            raise error(f"row_splits_{i} does not partition {count} rows", where=where)


def is_float(dtype: np.dtype) -> bool:
    """Whether a dtype holds real floats; ml_dtypes (bfloat16, float8) have kind V or f."""
    return dtype.kind == "f" or dtype.name.startswith(("bfloat16", "float8"))
