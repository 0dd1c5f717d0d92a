"""What a run will do with each model, told without running any."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Sequence

from migrate import keras3, sources
from migrate.options import MigrateOptions, ZooOptions
from migrate.publish import archive
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
    places = Places(entries, folders)
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
            refused=places.find_collision(target, chosen),
        )
        planned.append(Planned(task=task, listing=listing))
    return planned


class Places:
    """Tells whether a result may stand where it would: the folders of the run, the sources and other results have
    places of their own, and nothing is written where a link leads out of the destination."""

    def __init__(self, entries: Sequence[Entry], folders: Folders) -> None:
        self._folders = folders
        self._is_remote = storage.is_remote(folders.dest)
        self._root = folders.dest if self._is_remote else os.path.realpath(folders.dest)
        self._real: dict[str, str] = {}
        self._sources: set[str] = set()
        self._above_sources: set[str] = set()
        if not self._is_remote:
            self._sources = {self._resolve(entry.path) for entry in entries if not sources.is_handle(entry.path)}
            self._above_sources = {above for path in self._sources for above in _list_above(path)}
        self._taken: set[str] = set()

    def find_collision(self, target: str, options: MigrateOptions) -> str:
        """Why nothing may be written to `target`, "" where it may; what may is taken from then on."""
        for place, hint in self._folders.reserved:
            if target == place or is_below(target, place) or is_below(place, target):
                return f"{target}: its place is {hint}"
        if not self._is_remote and (wrong := self._find_overlap(target)):
            return f"{target}: {wrong}"
        beside = [target + ending for ending in list_endings(options)]
        if taken := next((path for path in (target, *beside) if path in self._taken), ""):
            return f"{taken}: another model of this run is written there; give one of them another name"
        self._taken.update((target, *beside))
        return ""

    def _find_overlap(self, target: str) -> str:
        real = self._resolve(target)
        if not is_below(real, self._root):
            return "a link leads out of the destination; name another folder as --dest"
        for path in (real, *_list_above(real)):
            if path in self._sources:
                return f"it lies within a model to migrate, {path}; choose another --dest"
        if real in self._above_sources:
            return "a model to migrate lies within it; choose another --dest"
        return ""

    def _resolve(self, path: str) -> str:
        """The real path; of the many models in a folder that is asked for once."""
        folder, name = os.path.split(path)
        if folder not in self._real:
            self._real[folder] = os.path.realpath(folder)
        real = os.path.join(self._real[folder], name)
        return os.path.realpath(real) if os.path.islink(real) else real


def list_endings(options: MigrateOptions) -> tuple[str, ...]:
    """Endings of the files that are written beside a model."""
    return (*((archive.ENDING,) if options.archive else ()), *((keras3.ENDING,) if "keras" in options.also else ()))


def _list_above(path: str) -> list[str]:
    """The folders above a path, the root of the file system last."""
    found = []
    while (above := os.path.dirname(path)) != path:
        found.append(above)
        path = above
    return found


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
