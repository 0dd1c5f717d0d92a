"""A zoo in an object store: its models are found by name, staged down, migrated, staged up."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import posixpath
from collections.abc import Callable, Mapping

from migrate import errors, isolation, pipeline
from migrate.outcome import Outcome, Status
from migrate.sources import handles
from migrate.zoo import storage
from migrate.zoo.digests import Listing
from migrate.zoo.discovery import ARCHIVES, MODEL_FILES, MODEL_MARKS, Entry
from migrate.zoo.journal import Record
from migrate.zoo.storage import Item
from migrate.zoo.tasks import Task, migrate_task

# The original and the result lie on the disk, and the result once more while it is compared.
_COPIES = 3


@functools.lru_cache(maxsize=8)
def _get_store(scheme: str) -> storage.Store:
    """One connection for each scheme and process."""
    return storage.open_store(f"{scheme}://")


def get_store(url: str) -> storage.Store:
    return _get_store(url.partition("://")[0])


def discover_remote(root: str) -> list[Entry]:
    """Models below a prefix, sorted, told by the names of their objects; none within another.

    Raises:
      SourceNotFoundError: nothing lies there, or it cannot be reached.
    """
    root = root.rstrip("/")
    try:
        items = get_store(root).list_items(root)
    except (OSError, RuntimeError, ValueError) as error:
        raise errors.SourceNotFoundError(f"it cannot be listed: {error}", where=root, hint="check --source") from error
    folders = sorted({posixpath.dirname(name) for name in items if posixpath.basename(name) in MODEL_MARKS})
    outer: list[str] = []
    for folder in folders:
        if not any(folder == above or folder.startswith(f"{above}/") or not above for above in outer):
            outer.append(folder)
    singles = [
        name
        for name in items
        if name.endswith((*MODEL_FILES, *ARCHIVES))
        and not any(not above or name.startswith(f"{above}/") for above in outer)
    ]
    entries = [_make_entry(root, folder, _take(items, folder)) for folder in outer]
    entries += [_make_entry(root, name, {name: items[name]}) for name in singles]
    visible = [entry for entry in entries if not any(part.startswith(".") for part in entry.relative.split("/"))]
    return sorted(visible, key=lambda entry: entry.relative)


def _take(items: Mapping[str, Item], folder: str) -> dict[str, Item]:
    return {name: item for name, item in items.items() if not folder or name.startswith(f"{folder}/")}


def _make_entry(root: str, inside: str, items: Mapping[str, Item]) -> Entry:
    stamp = hashlib.sha256()
    for name, item in sorted(items.items()):
        stamp.update(f"{name}\0{item.size}\0{item.version}\0".encode())
    graphs = [item.size for name, item in items.items() if name.endswith((".pb", ".pbtxt"))]
    listing = Listing(
        stamp=stamp.hexdigest(),
        shape="",
        size=sum(item.size for item in items.values()),
        regular=False,  # nothing to compare before it is here
        largest_graph=max(graphs, default=0),
    )
    return Entry(
        path=posixpath.join(root, inside) if inside else root,
        relative=inside or posixpath.basename(root),
        listing=listing,
    )


def estimate_scratch(task: Task) -> int:
    """Bytes of the local disk that a task takes at once."""
    return _COPIES * task.size if _is_staged(task) else 0


def _is_staged(task: Task) -> bool:
    return _lies_in_store(task.path) or storage.is_remote(task.target)


def _lies_in_store(path: str) -> bool:
    """Whether a source is staged from an object store; a server's handle is the pipeline's own to fetch."""
    return storage.is_remote(path) and not handles.is_fetched(path)


def migrate_remote(
    task: Task,
    progress: pipeline.Progress | None = None,
    migrate: Callable[[Task, pipeline.Progress | None], Record] = migrate_task,
) -> Record:
    """`migrate_task` for a model whose source or destination is remote; nothing of it stays on the local disk."""
    try:
        return _stage(task, progress, migrate)
    except isolation.JobError:
        raise
    except (OSError, RuntimeError, ValueError, errors.MigrateError) as error:
        outcome = Outcome(
            source=task.path, dest="", format="", status=Status.FAILED, stage="detect",
            error=f"staging: {type(error).__name__}: {error}",
        )  # fmt: skip
        return Record(outcome=outcome, relative=task.relative, stamp=task.stamp, choices=task.choices)


def _stage(
    task: Task,
    progress: pipeline.Progress | None,
    migrate: Callable[[Task, pipeline.Progress | None], Record],
) -> Record:
    adopted = _find_published(task)
    if adopted is not None:
        return adopted
    with isolation.shared_server().scratch_folder() as scratch:
        local = task
        if _lies_in_store(task.path):
            here = os.path.join(scratch, "source", posixpath.basename(task.path))
            storage.download_model(get_store(task.path), task.path, here)
            local = dataclasses.replace(local, path=here)
        if storage.is_remote(task.target):
            name = posixpath.basename(task.target)
            local = dataclasses.replace(
                local,
                target=os.path.join(scratch, "result", name),
                quarantine=os.path.join(scratch, "quarantine", name),
                receipts=os.path.join(scratch, "receipts"),
            )
        record = migrate(local, progress)
        error = record.outcome.error.replace(local.path, task.path)
        outcome = dataclasses.replace(record.outcome, source=task.path, error=error)
        record = dataclasses.replace(record, stamp=task.stamp or record.stamp)
        if not storage.is_remote(task.target):
            return dataclasses.replace(record, outcome=outcome)
        folder, url = outcome.dest or outcome.quarantine, task.target if outcome.dest else task.quarantine
        if outcome.dest:
            outcome = dataclasses.replace(outcome, dest=url)
        elif outcome.quarantine:
            outcome = dataclasses.replace(outcome, quarantine=url)
        record = dataclasses.replace(record, outcome=outcome)
        if folder:
            storage.upload_model(get_store(url), folder, url, record.to_line())
        return record


def _find_published(task: Task) -> Record | None:
    """The record of an earlier attempt that published this very model and was lost before it could say so."""
    if not storage.is_remote(task.target):
        return None
    marker = storage.read_marker(get_store(task.target), task.target)
    if marker is None:
        return None
    try:
        record = Record.from_line(marker["line"])
    except (ValueError, KeyError, TypeError):
        return None
    same = (record.outcome.source, record.stamp, record.choices) == (task.path, task.stamp, task.choices)
    return record if same and task.stamp else None


def migrate_anywhere(task: Task, progress: pipeline.Progress | None = None) -> Record:
    """What engines call: one model, wherever it lies."""
    if task.refused or not _is_staged(task):
        return migrate_task(task, progress)
    return migrate_remote(task, progress)


def is_published(url: str) -> bool:
    """Whether a whole model lies at a remote place."""
    return storage.read_marker(get_store(url), url) is not None
