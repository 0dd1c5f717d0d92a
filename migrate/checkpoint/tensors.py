"""Values of a checkpoint, one tensor at a time, out of memory maps of the data shards.

A tensor of numbers is its bytes. A tensor of strings is (tensor_bundle.cc, WriteStringTensor)

    varint length of each string | 4 bytes: masked CRC-32C of the lengths | all strings joined

and its checksum runs over the lengths as uint32 (uint64 where one needs it), those 4 bytes, and the strings.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Mapping

import google_crc32c
import numpy as np

from migrate import errors, wire
from migrate.checkpoint.entries import Entry, numpy_dtype
from migrate.checkpoint.index import Index, decode_name
from migrate.checkpoint.ordered_code import is_slice_key
from migrate.checkpoint.table import mask_checksum

_HINT = "copy the variables folder again"
_CHUNK = 2**22
_MOST_NAMED = 5


class Shards:
    """The data shards of an index, mapped into memory when they are first asked for."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._maps: dict[int, memoryview] = {}

    def view(self, entry: Entry) -> memoryview:
        """The bytes of an entry.

        Raises:
          CorruptModelError: the shard is missing or too short.
        """
        if entry.shard not in self._maps:
            self._maps[entry.shard] = _map_file(self.index.shard_path(entry.shard))
        view = self._maps[entry.shard]
        if entry.offset + entry.size > len(view):
            raise errors.CorruptModelError(
                f"the data shard is truncated: {len(view)} bytes, an entry ends at {entry.offset + entry.size}",
                where=self.index.shard_path(entry.shard),
                hint=_HINT,
            )
        return view[entry.offset : entry.offset + entry.size]

    def read(self, name: str) -> np.ndarray:
        """The value of a tensor: a read-only view into the file, or, of strings and of what is kept in parts, a copy.

        Raises:
          CorruptModelError: there is no such tensor, or its bytes are damaged.
        """
        entry = self.index.find(name)
        if entry is None:
            raise errors.CorruptModelError(f"the checkpoint has no tensor {name!r}", where=self.index.prefix)
        if not entry.slices:
            return self.read_entry(entry)
        whole = np.zeros(entry.shape, object if entry.dtype == "string" else numpy_dtype(entry.dtype))
        for extents in entry.slices:
            part = self.index.find_part(name, extents)
            assert part is not None  # `read_index` has checked
            places = tuple(slice(start, None if n is None else start + n) for start, n in extents)
            whole[places] = self.read_entry(part)
        return whole

    def read_entry(self, entry: Entry) -> np.ndarray:
        """The value of an entry that has bytes of its own."""
        view = self.view(entry)
        if entry.dtype == "string":
            lengths, _, at = _parse_strings(view, entry)
            ends = at + np.cumsum(lengths, dtype=np.int64)
            flat = np.empty(len(lengths), object)
            flat[:] = [bytes(view[end - n : end]) for n, end in zip(lengths, ends.tolist(), strict=True)]
            return flat.reshape(entry.shape)
        if entry.expected_size is None:
            raise errors.CorruptModelError(f"tensors of {entry.dtype} are not read", where=self.index.prefix)
        dtype = numpy_dtype(entry.dtype)
        if self.index.header.big_endian:
            return np.frombuffer(view, dtype.newbyteorder(">")).astype(dtype).reshape(entry.shape)
        return np.frombuffer(view, dtype).reshape(entry.shape)

    def is_intact(self, entry: Entry) -> bool:
        """Whether the bytes have the entry's checksum; of variants, which have no plain one, it is not told."""
        if entry.dtype in ("variant", "resource"):
            return True
        view = self.view(entry)
        checksum = 0
        if entry.dtype == "string":
            try:
                lengths, stored, at = _parse_strings(view, entry)
            except errors.CorruptModelError:
                return False
            kind = "I" if max(lengths, default=0) < 2**32 else "Q"
            checksum = google_crc32c.value(struct.pack(f"<{len(lengths)}{kind}", *lengths) + stored)
            view = view[at:]
        # google_crc32c takes an array without copying it, and no memoryview.
        plain = np.frombuffer(view, np.uint8)
        for start in range(0, len(plain), _CHUNK):
            checksum = google_crc32c.extend(checksum, plain[start : start + _CHUNK])
        return mask_checksum(checksum) == entry.checksum

    def close(self) -> None:
        self._maps.clear()


def _map_file(path: str) -> memoryview:
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise errors.CorruptModelError(
            f"the data shard cannot be read: {error.strerror}", where=path, hint=_HINT
        ) from error


def _parse_strings(view: memoryview, entry: Entry) -> tuple[list[int], bytes, int]:
    """(lengths, the stored checksum of the lengths, where the strings begin)."""
    count, at, lengths = int(np.prod(entry.shape, dtype=np.int64)), 0, []
    for _ in range(count):
        length, at = wire.parse_varint(view, at)
        lengths.append(length)
    stored = bytes(view[at : at + 4])
    if at + 4 + sum(lengths) != len(view):
        raise errors.CorruptModelError("the lengths of a tensor of strings do not add up to its size")
    return lengths, stored, at + 4


def find_damaged(index: Index, among: Mapping[str, Entry]) -> Iterator[str]:
    """Names of the entries among `among` whose bytes do not have the checksum that the index says."""
    shards = Shards(index)
    # In the order of the file: the disk is read once, from front to back.
    for name, entry in sorted(among.items(), key=lambda item: (item[1].shard, item[1].offset)):
        if not entry.slices and not shards.is_intact(entry):
            yield name


def check_weights(index: Index) -> None:
    """Holds every byte of the data shards that belongs to a tensor against the checksums in the index.

    Raises:
      CorruptModelError: tensors are damaged; they are named.
    """
    named = {
        f"a part of {key!r}" if is_slice_key(key) else decode_name(key): entry for key, entry in index.entries.items()
    }
    check_entries(index, named)


def check_entries(index: Index, among: Mapping[str, Entry]) -> None:
    """`check_weights` of some entries, by any names.

    Raises:
      CorruptModelError: entries are damaged; they are named.
    """
    damaged = list(find_damaged(index, among))
    if damaged:
        more = f" and {len(damaged) - _MOST_NAMED} more" if len(damaged) > _MOST_NAMED else ""
        raise errors.CorruptModelError(
            f"the checkpoint's data does not have the checksum that its index says: "
            f"{', '.join(damaged[:_MOST_NAMED])}{more}",
            where=os.path.dirname(index.prefix),
            hint=_HINT,
        )
