"""What a run will do with each model, told without running any."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Sequence

from migrate.options import ZooOptions
from migrate.zoo import digests, storage
from migrate.zoo.digests import Listing
from migrate.zoo.discovery import Entry
from migrate.zoo.schedule import estimate_memory
from migrate.zoo.tasks import Task, digest_options

REPORT_FOLDER = "_migration"
QUARANTINE = "_quarantine"
STATE_FOLDER = ".migrate-zoo"
_RECEIPTS = "receipts"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where a run writes: below `dest`, the reports, and what it needs while it runs."""

    dest: str
    report_dir: str

    @property
    def state(self) -> str:
        return os.path.join(self.report_dir if storage.is_remote(self.dest) else self.dest, STATE_FOLDER)

    @property
    def receipts(self) -> str:
        return os.path.join(self.state, _RECEIPTS)

    @property
    def quarantine(self) -> str:
        return storage.join(self.dest, QUARANTINE)

    @property
    def reserved(self) -> tuple[tuple[str, str], ...]:
        return (
            (self.report_dir, "the report folder; --report_dir names another"),
            (self.quarantine, "the folder of models that differ; rename the model's"),
            (self.state, "the folder of the run itself; rename the model's"),
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A model, its task, and what its folder shows (None where it cannot be listed)."""

    task: Task
    listing: Listing | None


def plan_models(entries: Sequence[Entry], folders: Folders, options: ZooOptions) -> list[Planned]:
    """A task for each entry; one whose place is taken is refused in it."""
    planned = []
    for entry in entries:
        target = storage.join(folders.dest, entry.relative)
        listing = entry.listing
        with contextlib.suppress(OSError):
            listing = listing or digests.list_source(entry.path)
        chosen = entry.change_options(options.migrate)
        task = Task(
            path=entry.path,
            relative=entry.relative,
            target=target,
            quarantine=storage.join(folders.quarantine, entry.relative),
            report_dir=folders.report_dir,
            receipts=folders.receipts,
            options=chosen,
            choices=digest_options(chosen),
            size=listing.size if listing else 0,
            stamp=listing.stamp if listing else "",
            memory=estimate_memory(listing.size, listing.largest_graph) if listing else 0,
            refused=_find_collision(target, folders),
        )
        planned.append(Planned(task=task, listing=listing))
    return planned


def _find_collision(target: str, folders: Folders) -> str:
    for place, hint in folders.reserved:
        if target == place or is_below(target, place) or is_below(place, target):
            return f"{target}: its place is {hint}"
    return ""


def is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def find_duplicates(planned: Iterable[Planned]) -> dict[str, str]:
    """Relative path of a model -> that of the first model with the same files, options and format."""
    shapes: dict[tuple[str, str], list[Planned]] = {}
    for item in planned:
        if item.listing and item.listing.regular and not item.task.refused:
            shapes.setdefault((item.listing.shape, item.task.choices), []).append(item)
    found: dict[str, str] = {}
    for group in shapes.values():
        relatives = {item.task.path: item.task.relative for item in group}
        for equal in digests.find_equal(tuple(relatives)) if len(relatives) > 1 else ():
            found |= {relatives[path]: relatives[equal[0]] for path in equal[1:]}
    return found
