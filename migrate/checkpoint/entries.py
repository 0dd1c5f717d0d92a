"""The two messages of an index: BundleHeaderProto and BundleEntryProto (core/protobuf/tensor_bundle.proto)."""

from __future__ import annotations

import dataclasses
import math
import struct

import ml_dtypes
import numpy as np

from migrate import errors, wire
from migrate.checkpoint.ordered_code import Extents, parse_extents

# DataType (tensorflow/core/framework/types.proto) -> TensorFlow's name of it.
DTYPE_NAMES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64",
    9: "int64", 10: "bool", 11: "qint8", 12: "quint8", 13: "qint32", 14: "bfloat16", 15: "qint16", 16: "quint16",
    17: "uint16", 18: "complex128", 19: "float16", 20: "resource", 21: "variant", 22: "uint32", 23: "uint64",
    24: "float8_e5m2", 25: "float8_e4m3fn", 26: "float8_e4m3fnuz", 27: "float8_e4m3b11fnuz", 28: "float8_e5m2fnuz",
    29: "int4", 30: "uint4", 31: "int2", 32: "uint2", 33: "float4_e2m1fn",
}  # fmt: skip
_QUANTIZED = {"qint8": "int8", "quint8": "uint8", "qint32": "int32", "qint16": "int16", "quint16": "uint16"}
# Their bytes have no fixed layout.
_UNSIZED = ("string", "resource", "variant")
_VERSION = 1  # kTensorBundleVersion: what this code, like every TensorFlow until 2.21, writes and understands


def numpy_dtype(name: str) -> np.dtype:
    """How an element lies in a data shard; 4-bit integers take a byte each.

    Raises:
      KeyError: strings, variants and what is unknown have no such layout.
    """
    if name in _UNSIZED:
        raise KeyError(name)
    plain = _QUANTIZED.get(name, name)
    return np.dtype(getattr(ml_dtypes, plain)) if hasattr(ml_dtypes, plain) else np.dtype(plain)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an index says of itself.

    Attributes:
      shards: number of data shards.
      big_endian: of the numbers in the shards.
      producer, min_consumer, bad_consumers: VersionDef.
    """

    shards: int
    big_endian: bool = False
    producer: int = _VERSION
    min_consumer: int = 0
    bad_consumers: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A tensor, or a part of one, and where its bytes lie.

    Attributes:
      dtype: TensorFlow's name.
      shape: dense shape.
      shard, offset, size: place of the bytes.
      checksum: masked CRC-32C of the values.
      slices: of a tensor that is kept in parts, their extents; it has no bytes of its own then.
    """

    dtype: str
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    checksum: int = 0
    slices: tuple[Extents, ...] = ()

    @property
    def expected_size(self) -> int | None:
        """Bytes that dtype and shape ask for; None where they do not tell."""
        return None if self.dtype in _UNSIZED else math.prod(self.shape) * numpy_dtype(self.dtype).itemsize


def parse_header(data: bytes) -> Header:
    """BundleHeaderProto -> Header.

    Raises:
      CorruptModelError: no such message, or one of a later format.
    """
    fields = wire.parse_fields(data)
    version = wire.parse_fields(_message(fields, 3))
    header = Header(
        shards=_number(fields, 1),
        big_endian=_number(fields, 2) == 1,
        producer=_number(version, 1),
        min_consumer=_number(version, 2),
        bad_consumers=_parse_packed(version.get(3, [])),
    )
    if header.min_consumer > _VERSION or _VERSION in header.bad_consumers:
        raise errors.CorruptModelError(
            f"the index is of format {header.producer}, for readers of format {header.min_consumer} and later"
        )
    if header.shards < 1:
        raise errors.CorruptModelError("the index has no data shard")
    return header


def encode_header(header: Header) -> bytes:
    bad = b"".join(wire.encode_varint(number) for number in header.bad_consumers)
    version = wire.encode_number(1, header.producer) + wire.encode_number(2, header.min_consumer)
    version += wire.encode_message(3, bad) if bad else b""
    endian = wire.encode_number(2, int(header.big_endian))
    return wire.encode_number(1, header.shards) + endian + wire.encode_message(3, version)


def parse_entry(data: bytes) -> Entry:
    """BundleEntryProto -> Entry.

    Raises:
      CorruptModelError: no such message, an unknown dtype, a negative extent or place.
    """
    fields = wire.parse_fields(data)
    number = _number(fields, 1)
    if number not in DTYPE_NAMES:
        raise errors.CorruptModelError(f"the dtype {number} is unknown")
    entry = Entry(
        dtype=DTYPE_NAMES[number],
        shape=parse_shape(_message(fields, 2)),
        shard=_number(fields, 3),
        offset=_number(fields, 4),
        size=_number(fields, 5),
        checksum=_fixed32(_message(fields, 6)) if 6 in fields else 0,
        slices=tuple(_parse_slice(view) for view in fields.get(7, []) if not isinstance(view, int)),
    )
    if min((entry.shard, entry.offset, entry.size, *entry.shape)) < 0:
        raise errors.CorruptModelError(f"a negative shape or place: {entry}")
    return entry


def encode_entry(entry: Entry) -> bytes:
    numbers = {name: number for number, name in DTYPE_NAMES.items()}
    return b"".join(
        (
            wire.encode_number(1, numbers[entry.dtype]),
            wire.encode_message(2, b"".join(wire.encode_message(2, _encode_dim(size)) for size in entry.shape)),
            wire.encode_number(3, entry.shard),
            wire.encode_number(4, entry.offset),
            wire.encode_number(5, entry.size),
            wire.encode_fixed32(6, entry.checksum),
            *(wire.encode_message(7, _encode_slice(extents)) for extents in entry.slices),
        )
    )


def _number(fields: dict[int, list[int | memoryview]], number: int) -> int:
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise errors.CorruptModelError(f"field {number} of an index entry is no number")
    return wire.parse_signed(value)


def _message(fields: dict[int, list[int | memoryview]], number: int) -> memoryview:
    value = fields.get(number, [memoryview(b"")])[-1]
    if isinstance(value, int):
        raise errors.CorruptModelError(f"field {number} of an index entry is no message")
    return value


def _fixed32(view: memoryview) -> int:
    if len(view) != 4:
        raise errors.CorruptModelError("the checksum of an index entry is no fixed32")
    return int(struct.unpack("<I", view)[0])


def _parse_packed(values: list[int | memoryview]) -> tuple[int, ...]:
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = wire.parse_varint(value, at)
            found.append(number)
    return tuple(found)


def parse_shape(view: memoryview) -> tuple[int, ...]:
    """TensorShapeProto: dim = 2 {size = 1}; a checkpoint's ranks are known."""
    return tuple(
        _number(wire.parse_fields(value), 1)
        for number, value in wire.iterate_fields(view)
        if number == 2 and not isinstance(value, int)
    )


def _encode_dim(size: int) -> bytes:
    return wire.encode_number(1, size)


def _parse_slice(view: memoryview) -> Extents:
    """TensorSliceProto: extent = 1 {start = 1, length = 2, absent for the whole dimension}."""
    pairs = []
    for number, value in wire.iterate_fields(view):
        if number == 1 and not isinstance(value, int):
            fields = wire.parse_fields(value)
            pairs.append((_number(fields, 1), _number(fields, 2) if 2 in fields else -1))
    return parse_extents(pairs)


def _encode_slice(extents: Extents) -> bytes:
    out = b""
    for start, length in extents:
        extent = wire.encode_number(1, start)
        if length is not None:
            # A member of a oneof: written even when it is 0.
            extent += wire.encode_number(2, length) or b"\x10\x00"
        out += wire.encode_message(1, extent)
    return out
