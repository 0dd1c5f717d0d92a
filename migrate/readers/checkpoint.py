"""The checkpoint of a SavedModel: which entries it has, from its index alone. No TensorFlow."""

from __future__ import annotations

import os
import re

from migrate import errors
from migrate.checkpoint import first_version, index
from migrate.checkpoint.entries import Entry

# A shard of a V1 checkpoint; of all of them, as TF spells it, with question marks.
SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5}|\?{5})-of-(?P<count>\d{5})")
_PREFIX = os.path.join("variables", "variables")


def find_prefix(directory: str) -> str | None:
    """Path prefix of a SavedModel's checkpoint, None where it has none (no variables)."""
    prefix = os.path.join(directory, _PREFIX)
    # A V1 checkpoint (tensorflow/core/util/tensor_slice_writer.h) is one file without suffix.
    return prefix if os.path.exists(f"{prefix}.index") or os.path.isfile(prefix) else None


def list_first_version(prefix: str) -> list[str]:
    """The files of a V1 checkpoint: its prefix itself, or the shards of one that ends in `-?????-of-00002`.

    Raises:
      CorruptModelError: a shard is missing; TF opens what is there and says nothing of the rest.
    """
    shard = SHARD.fullmatch(prefix)
    if shard is None:
        return [prefix]
    paths = [f"{shard['stem']}-{i:05d}-of-{shard['count']}" for i in range(int(shard["count"]))]
    lost = [os.path.basename(path) for path in paths if not os.path.isfile(path)]
    if lost:
        raise errors.CorruptModelError(
            f"shards of the checkpoint are missing: {', '.join(lost)}",
            where=os.path.dirname(prefix),
            hint="copy the folder again",
        )
    return paths


def parse_entries(prefix: str | None) -> dict[str, Entry]:
    """The checkpoint's tensors by key; no values are read.

    Raises:
      CorruptModelError: the index cannot be read, or a data shard is missing or too short.
    """
    if prefix is None:
        return {}
    if not os.path.exists(f"{prefix}.index"):
        tensors: dict[str, Entry] = {}
        for path in list_first_version(prefix):
            tensors = {**first_version.read_tensors(path), **tensors}
        return dict(sorted(tensors.items()))
    found = index.read_index(prefix)
    index.check_shards(found)
    return dict(sorted(found.tensors()))
