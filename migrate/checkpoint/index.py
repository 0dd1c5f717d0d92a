"""An index as a value: header and entries by key; read and written whole."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping

from migrate import errors
from migrate.checkpoint import table
from migrate.checkpoint.entries import Entry, Header, encode_entry, encode_header, parse_entry, parse_header
from migrate.checkpoint.ordered_code import Extents, encode_slice_key, is_slice_key

_HINT = "copy the variables folder again"
_HEADER_KEY = b""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What `<prefix>.index` holds.

    Attributes:
      prefix: path of the files without their suffixes.
      header: of the index.
      entries: by key, ascending; parts of partitioned tensors stand under keys of their own.
    """

    prefix: str
    header: Header
    entries: Mapping[bytes, Entry]

    def tensors(self) -> Iterator[tuple[str, Entry]]:
        """Whole tensors by name."""
        for key, entry in self.entries.items():
            if not is_slice_key(key):
                yield decode_name(key), entry

    def find(self, name: str) -> Entry | None:
        return self.entries.get(encode_name(name))

    def find_part(self, name: str, extents: Extents) -> Entry | None:
        """The part of a partitioned tensor that has exactly these extents; a whole dimension is spelled (0, None) or
        (0, its size)."""
        whole = self.find(name)
        if whole is None:
            return None
        wanted = _normalize(extents, whole.shape)
        for known in whole.slices:
            if _normalize(known, whole.shape) == wanted:
                return self.entries.get(encode_slice_key(encode_name(name), known))
        return None

    def shard_path(self, shard: int) -> str:
        return shard_path(self.prefix, shard, self.header.shards)


def _normalize(extents: Extents, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(
        (start, size if length is None else length) for (start, length), size in zip(extents, shape, strict=False)
    )


def shard_path(prefix: str, shard: int, shards: int) -> str:
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def encode_name(name: str) -> bytes:
    """Names need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")


def read_index(prefix: str) -> Index:
    """Reads `<prefix>.index`; the data shards are not looked at.

    Raises:
      CorruptModelError: the file is missing, truncated, damaged, or says what cannot be.
    """
    path = f"{prefix}.index"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise errors.CorruptModelError(f"cannot be read: {error.strerror}", where=path, hint=_HINT) from error
    try:
        pairs = table.read_table(data)
        if not pairs or pairs[0][0] != _HEADER_KEY:
            raise errors.CorruptModelError("the index has no header")
        header = parse_header(pairs[0][1])
        found = {key: _parse_entry(key, value, header) for key, value in pairs[1:]}
        _check_parts(found)
    except errors.CorruptModelError as error:
        raise errors.CorruptModelError(
            f"the checkpoint's index is damaged: {error.message}", where=path, hint=_HINT
        ) from error
    return Index(prefix=prefix, header=header, entries=found)


def _parse_entry(key: bytes, value: bytes, header: Header) -> Entry:
    try:
        entry = parse_entry(value)
        if entry.shard >= header.shards:
            raise errors.CorruptModelError(f"it lies in shard {entry.shard} of {header.shards}")
        if not entry.slices and entry.expected_size not in (None, entry.size):
            raise errors.CorruptModelError(
                f"{entry.dtype} {list(entry.shape)} takes {entry.expected_size} bytes, it has {entry.size}"
            )
    except errors.CorruptModelError as error:
        raise errors.CorruptModelError(f"entry {decode_name(key)!r}: {error.message}") from error
    return entry


def _check_parts(found: Mapping[bytes, Entry]) -> None:
    for key, entry in found.items():
        for extents in entry.slices:
            if encode_slice_key(key, extents) not in found:
                raise errors.CorruptModelError(f"entry {decode_name(key)!r}: its part {extents} is not there")


def encode_index(header: Header, found: Mapping[bytes, Entry]) -> bytes:
    """The bytes of an index, as TF's BundleWriter would write them."""
    pairs = [(_HEADER_KEY, encode_header(header))]
    pairs.extend((key, encode_entry(found[key])) for key in sorted(found))
    return table.write_table(pairs)


def write_index(prefix: str, header: Header, found: Mapping[bytes, Entry]) -> None:
    """Writes `<prefix>.index`; the file is complete or absent."""
    path = f"{prefix}.index"
    with open(f"{path}.tmp", "wb") as file:
        file.write(encode_index(header, found))
    os.replace(f"{path}.tmp", path)


_NAMED = 20


def check_shards(index: Index) -> None:
    """Holds the data shards against the index, by their sizes.

    Raises:
      CorruptModelError: a shard is missing or too short; they are named, the first twenty at least.
    """
    needed: dict[int, int] = {}
    for entry in index.entries.values():
        if not entry.slices:
            needed[entry.shard] = max(needed.get(entry.shard, 0), entry.offset + entry.size)
    lost, short = [], []
    for shard in range(index.header.shards):
        path = index.shard_path(shard)
        if not os.path.isfile(path):
            lost.append(os.path.basename(path))
            if len(lost) == _NAMED:
                # A damaged header may claim billions.
                lost.append(f"and perhaps more of {index.header.shards:,}")
                break
        elif os.path.getsize(path) < needed.get(shard, 0):
            short.append(f"{os.path.basename(path)} ({os.path.getsize(path)} of {needed[shard]} bytes)")
    where = os.path.dirname(index.prefix)
    if lost:
        raise errors.CorruptModelError(f"data shards are missing: {', '.join(lost)}", where=where, hint=_HINT)
    if short:
        raise errors.CorruptModelError(f"data shards are truncated: {', '.join(short)}", where=where, hint=_HINT)
