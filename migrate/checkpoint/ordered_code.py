"""Keys of the parts of a partitioned tensor: name and extents in an encoding that sorts like the values.

tensorflow/core/util/saved_tensor_slice_util.cc (EncodeTensorNameSlice), tensorflow/core/lib/strings/ordered_code.cc.
"""

from __future__ import annotations

from collections.abc import Iterable

# A part's extents: (start, length) of each dimension; length None is "all of it".
Extents = tuple[tuple[int, int | None], ...]


def encode_slice_key(name: bytes, extents: Extents) -> bytes:
    """The key under which an index keeps a part of the tensor `name`."""
    out = bytearray(_encode_number(0) + _encode_string(name) + _encode_number(len(extents)))
    for start, length in extents:
        # The whole of a dimension is (0, -1).
        out += _encode_signed(start) + _encode_signed(-1 if length is None else length)
    return bytes(out)


def is_slice_key(key: bytes) -> bool:
    """Whether a key of an index stands for a part: the number 0 begins it, and no name begins with NUL."""
    return key[:1] == b"\0"


def _encode_number(value: int) -> bytes:
    """The number of bytes, then the bytes, most significant first; zero is no bytes."""
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "big")


def _encode_string(value: bytes) -> bytes:
    r"""\0 and \xff are escaped; \0\1 ends it."""
    out = bytearray()
    for byte in value:
        out += b"\0\xff" if byte == 0 else b"\xff\0" if byte == 0xFF else bytes([byte])
    return bytes(out + b"\0\1")


def _encode_signed(value: int) -> bytes:
    """Two's complement in n bytes of 7 bits each, whose first n bits (inverted sign, then its copies) tell n."""
    magnitude = ~value if value < 0 else value
    size = 1 + magnitude.bit_length() // 7
    # The header is n ones; for a negative number everything is inverted, which two's complement has done already.
    header = ((1 << size) - 1) << (8 * size - size)
    pattern = (value & ((1 << (8 * size)) - 1)) ^ header
    return pattern.to_bytes(size, "big")


def parse_extents(pairs: Iterable[tuple[int, int]]) -> Extents:
    """Extents from (start, length) with -1 for the whole dimension."""
    return tuple((start, None if length < 0 else length) for start, length in pairs)
