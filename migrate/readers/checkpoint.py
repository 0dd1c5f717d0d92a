"""The checkpoint of a SavedModel: which entries it has, from its index alone. No TensorFlow."""

from __future__ import annotations

import os

from migrate.checkpoint import first_version, index
from migrate.checkpoint.entries import Entry

_PREFIX = os.path.join("variables", "variables")


def find_prefix(directory: str) -> str | None:
    """Path prefix of a SavedModel's checkpoint, None where it has none (no variables)."""
    prefix = os.path.join(directory, _PREFIX)
    # A V1 checkpoint (tensorflow/core/util/tensor_slice_writer.h) is one file without suffix.
    return prefix if os.path.exists(f"{prefix}.index") or os.path.isfile(prefix) else None


def parse_entries(prefix: str | None) -> dict[str, Entry]:
    """The checkpoint's tensors by key; no values are read.

    Raises:
      CorruptModelError: the index cannot be read, or a data shard is missing or too short.
    """
    if prefix is None:
        return {}
    if not os.path.exists(f"{prefix}.index"):
        return first_version.read_tensors(prefix)
    found = index.read_index(prefix)
    index.check_shards(found)
    return dict(sorted(found.tensors()))
