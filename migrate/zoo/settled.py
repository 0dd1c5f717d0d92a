"""Which results of an earlier run still hold."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from migrate.outcome import Status
from migrate.zoo import digests, remote, storage
from migrate.zoo.journal import Journal, Known
from migrate.zoo.plan import Planned


def is_settled(item: Planned, journal: Journal, duplicates: Mapping[str, str], retry: Sequence[str]) -> bool:
    """Whether an earlier run has settled a model: what it recorded would come out again.

    Args:
      item: the model as it is now.
      journal: what was recorded.
      duplicates: which models stand for which now.
      retry: statuses that are tried again.
    """
    task = item.task
    known = journal.known.get(task.relative) or journal.known.get(task.path)
    if known is None or known.status.value in retry or known.source != task.path:
        return False
    if known.choices and known.choices != task.choices:
        return False
    if known.duplicate and task.relative not in duplicates:
        return False
    return _is_whole(known) and _is_unchanged(known, item)


def _is_whole(known: Known) -> bool:
    """Whether what was published stands where it was put, file for file."""
    if not known.place:
        return known.status is not Status.MIGRATED
    if storage.is_remote(known.place):
        return remote.is_published(known.place)
    if not os.path.isdir(known.place):
        return False
    try:
        return all(os.lstat(os.path.join(known.place, name)).st_size == size for name, size in known.files.items())
    except OSError:
        return False


def _is_unchanged(known: Known, item: Planned) -> bool:
    """Whether the source is what was migrated: its files have not been written, or hold what they held."""
    if not known.stamp or (item.listing and item.listing.stamp == known.stamp):
        return True
    return (
        bool(known.digest)
        and not storage.is_remote(item.task.path)
        and digests.digest_content(item.task.path) == known.digest
    )
