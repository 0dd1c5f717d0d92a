"""The protocol buffer wire format, enough to look into a message without its schema or TensorFlow.

Spec: https://protobuf.dev/programming-guides/encoding. Detection reads field numbers of
tensorflow/core/protobuf/{saved_model,meta_graph}.proto this way; sub-messages are memory views, so
skipping a 2 GB GraphDef costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from migrate import errors

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def parse_varint(view: memoryview, at: int) -> tuple[int, int]:
    """(value, position after it) of a varint at a position."""
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise errors.CorruptModelError("the protocol buffer ends in the middle of a field")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def iterate_fields(data: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields (field number, value): an int for varints, a view of the bytes for everything else.

    Raises:
      CorruptModelError: the bytes are no protocol buffer message, or a truncated one.
    """
    view = memoryview(data)
    at = 0
    while at < len(view):
        tag, at = parse_varint(view, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise errors.CorruptModelError("the bytes are no protocol buffer message (field number 0)")
        if kind == _VARINT:
            value, at = parse_varint(view, at)
            yield number, value
            continue
        if kind == _LENGTH:
            size, at = parse_varint(view, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise errors.CorruptModelError(f"the bytes are no protocol buffer message (wire type {kind})")
        if at + size > len(view):
            raise errors.CorruptModelError("the protocol buffer ends in the middle of a field")
        yield number, view[at : at + size]
        at += size


def parse_fields(data: bytes | memoryview) -> dict[int, list[int | memoryview]]:
    """All fields of a message by number, in order."""
    fields: dict[int, list[int | memoryview]] = {}
    for number, value in iterate_fields(data):
        fields.setdefault(number, []).append(value)
    return fields


def parse_text(value: int | memoryview) -> str:
    """A string field as text; bytes that are no UTF-8 are kept visible."""
    return "" if isinstance(value, int) else bytes(value).decode("utf-8", "backslashreplace")


def encode_varint(value: int) -> bytes:
    """A varint; a negative number as the 64 bits of its two's complement."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_number(number: int, value: int) -> bytes:
    """A varint field; nothing for 0, as proto3 writes it."""
    return encode_varint(number << 3 | _VARINT) + encode_varint(value) if value else b""


def encode_message(number: int, data: bytes) -> bytes:
    """A field of bytes, a string or a sub-message, present even when it is empty."""
    return encode_varint(number << 3 | _LENGTH) + encode_varint(len(data)) + data


def encode_fixed32(number: int, value: int) -> bytes:
    """A fixed32 field; nothing for 0, as proto3 writes it."""
    return encode_varint(number << 3 | _FIXED32) + value.to_bytes(4, "little") if value else b""


def parse_signed(value: int) -> int:
    """What an int32 or int64 field means by a varint."""
    return value - 2**64 if value >= 2**63 else value
