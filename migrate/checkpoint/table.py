"""A sorted table in LevelDB's format, as `tensorflow/core/lib/io/table_builder.cc` writes it and `table.cc` reads it.

    data blocks | metaindex block (empty) | index block | footer (48 bytes)

A block is entries with shared key prefixes, the offsets of its restart points, their number, then a trailer: one byte
of compression and a masked CRC-32C over block and byte. The index block maps a separator (at least the last key of a
block, less than the first of the next) to the block's place.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator

import google_crc32c

from migrate import errors, wire
from migrate.checkpoint import snappy

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5
_BLOCK_SIZE = 262144  # table::Options::block_size of TF (LevelDB's own is 4096)
_RESTART_INTERVAL = 16
_NO_COMPRESSION, _SNAPPY = 0, 1
_MASK_DELTA = 0xA282EAD8


def mask_checksum(checksum: int) -> int:
    """A CRC-32C as files store it: a checksum over bytes that hold checksums would be weak (crc32c.h)."""
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask_checksum(masked: int) -> int:
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


class _Block:
    """A block under construction (block_builder.cc)."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self.reset()

    def reset(self) -> None:
        self.buffer = bytearray()
        self._restarts = [0]
        self._since_restart = 0
        self._last = b""

    @property
    def size(self) -> int:
        """What `finish` would write, in bytes."""
        return len(self.buffer) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._since_restart < self._interval:
            shared = _count_shared(self._last, key)
        else:
            self._restarts.append(len(self.buffer))
            self._since_restart = 0
        rest = key[shared:]
        for number in (shared, len(rest), len(value)):
            self.buffer += wire.encode_varint(number)
        self.buffer += rest
        self.buffer += value
        self._last = key
        self._since_restart += 1

    def finish(self) -> bytes:
        restarts = self._restarts
        return bytes(self.buffer) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def _count_shared(first: bytes, second: bytes) -> int:
    limit = min(len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle
    return low


def write_table(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The table of key-value pairs, keys strictly ascending.

    Raises:
      ValueError: keys do not ascend.
    """
    out = bytearray()
    data, index = _Block(_RESTART_INTERVAL), _Block(1)
    pending: bytes | None = None  # the place of a finished block whose separator waits for the next key
    last: bytes | None = None
    for key, value in items:
        if last is not None and key <= last:
            raise ValueError(f"keys of a table must ascend: {key!r} after {last!r}")
        if pending is not None:
            assert last is not None
            index.add(_separate(last, key), pending)
            pending = None
        data.add(key, value)
        last = key
        if data.size >= _BLOCK_SIZE:
            pending = _append_block(out, data)
    if data.buffer:
        pending = _append_block(out, data)
    metaindex = _append_block(out, _Block(_RESTART_INTERVAL))
    if pending is not None:
        assert last is not None
        index.add(_succeed(last), pending)
    footer = metaindex + _append_block(out, index)
    out += footer.ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", _MAGIC)
    return bytes(out)


def _append_block(out: bytearray, block: _Block) -> bytes:
    """Writes a block; returns its place: varint offset, varint size without trailer."""
    place = wire.encode_varint(len(out))
    content = block.finish() + bytes([_NO_COMPRESSION])
    out += content
    out += struct.pack("<I", mask_checksum(google_crc32c.value(content)))
    block.reset()
    return place + wire.encode_varint(len(content) - 1)


def _separate(first: bytes, second: bytes) -> bytes:
    """A short key k with first <= k < second (BytewiseComparator's FindShortestSeparator)."""
    at = _count_shared(first, second)
    if at >= min(len(first), len(second)):
        return first
    byte = first[at]
    return first[:at] + bytes([byte + 1]) if byte < 0xFF and byte + 1 < second[at] else first


def _succeed(key: bytes) -> bytes:
    """A short key that is not below `key` (FindShortSuccessor)."""
    for at, byte in enumerate(key):
        if byte != 0xFF:
            return key[:at] + bytes([byte + 1])
    return key


def read_table(data: bytes) -> list[tuple[bytes, bytes]]:
    """All pairs of a table, in order.

    Raises:
      CorruptModelError: this is no table, or a damaged one.
    """
    if len(data) < _FOOTER:
        raise errors.CorruptModelError(f"{len(data)} bytes are too few for a table: the file is truncated")
    footer = memoryview(data)[-_FOOTER:]
    if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise errors.CorruptModelError("the end of the file does not have a table's magic number: it is truncated")
    _, at = _parse_place(footer, 0)
    place, _ = _parse_place(footer, at)
    found: list[tuple[bytes, bytes]] = []
    for _, handle in _read_block(data, place):
        found.extend(_read_block(data, _parse_place(memoryview(handle), 0)[0]))
    for (before, _), (after, _) in itertools.pairwise(found):
        if after <= before:
            raise errors.CorruptModelError(f"keys do not ascend: {after!r} after {before!r}")
    return found


def _parse_place(view: memoryview, at: int) -> tuple[tuple[int, int], int]:
    offset, at = wire.parse_varint(view, at)
    size, at = wire.parse_varint(view, at)
    return (offset, size), at


def _read_block(data: bytes, place: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    offset, size = place
    if offset + size + _TRAILER > len(data) - _FOOTER:
        raise errors.CorruptModelError(f"a block at {offset} of {size} bytes lies beyond the end of the file")
    (stored,) = struct.unpack_from("<I", data, offset + size + 1)
    content = memoryview(data)[offset : offset + size + 1]
    if mask_checksum(google_crc32c.value(bytes(content))) != stored:
        raise errors.CorruptModelError(f"the block at byte {offset} does not have the checksum that is stored with it")
    if content[size] not in (_NO_COMPRESSION, _SNAPPY):
        raise errors.CorruptModelError(f"the block at byte {offset} is of the unknown compression {content[size]}")
    yield from _parse_block(
        memoryview(snappy.decompress(content[:size])) if content[size] == _SNAPPY else content[:size]
    )


def _parse_block(block: memoryview) -> Iterator[tuple[bytes, bytes]]:
    count = struct.unpack("<I", block[-4:])[0] if len(block) >= 4 else -1
    end = len(block) - 4 - 4 * count
    if count < 0 or end < 0:
        raise errors.CorruptModelError("a block's list of restart points is longer than the block")
    key, at = b"", 0
    while at < end:
        shared, at = wire.parse_varint(block, at)
        fresh, at = wire.parse_varint(block, at)
        length, at = wire.parse_varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise errors.CorruptModelError("an entry of a block is longer than the block")
        key = key[:shared] + bytes(block[at : at + fresh])
        at += fresh
        yield key, bytes(block[at : at + length])
        at += length
