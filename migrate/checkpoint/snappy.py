"""Snappy's decompression (https://github.com/google/snappy/blob/main/format_description.txt).

Some writers compressed the blocks of their index; TensorFlow's own BundleWriter does not.
"""

from __future__ import annotations

from migrate import errors, wire

_LITERAL, _COPY1, _COPY2 = 0, 1, 2


def decompress(data: memoryview) -> bytes:
    """The bytes that a Snappy block stands for.

    Raises:
      CorruptModelError: it is no such block, or a damaged one.
    """
    size, at = wire.parse_varint(data, 0)
    out = bytearray()
    try:
        while at < len(data):
            tag = data[at]
            at += 1
            kind = tag & 3
            if kind == _LITERAL:
                length = tag >> 2
                if length >= 60:
                    extra = length - 59
                    length = int.from_bytes(data[at : at + extra], "little")
                    at += extra
                out += data[at : at + length + 1]
                at += length + 1
                continue
            if kind == _COPY1:
                length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at]
                at += 1
            else:
                width = 2 if kind == _COPY2 else 4
                length, offset = (tag >> 2) + 1, int.from_bytes(data[at : at + width], "little")
                at += width
            if not 0 < offset <= len(out):
                raise errors.CorruptModelError("a compressed block refers to bytes before its start")
            for _ in range(length):  # The copy may overlap what it writes.
                out.append(out[-offset])
    except IndexError as error:
        raise errors.CorruptModelError("a compressed block ends in the middle") from error
    if len(out) != size:
        raise errors.CorruptModelError(f"a compressed block holds {len(out)} bytes instead of {size}")
    return bytes(out)
