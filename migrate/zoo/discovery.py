"""Finds the models below a root, and chooses among them."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import pathlib
import stat
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from migrate import detect, errors
from migrate.model import READABLE, Format
from migrate.options import MigrateOptions, Selection
from migrate.sources import archives, handles
from migrate.zoo import digests
from migrate.zoo.changes import change_options
from migrate.zoo.digests import Listing

# Files that are models by themselves. Everything else in a folder is somebody's data.
MODEL_FILES = detect.MODEL_FILES
# A training session writes its graph beside its checkpoints under this name.
_TRAINING_GRAPH = "graph.pbtxt"
_AMONG_MODELS = "checkpoint"
# What makes a folder a model.
MODEL_MARKS = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb", "tfhub_module.pb")
ARCHIVES = archives.ENDINGS
_FILE_FORMATS = frozenset({Format.KERAS_H5, Format.KERAS_V3, Format.FROZEN_GRAPH, Format.TFLITE, Format.ONNX})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A model to migrate.

    Attributes:
      path: where it is, or a handle.
      relative: its path below the source root, which it keeps below `--dest`.
      options: those of this model that differ from the others', by name.
      handle: of a module on a server or in a cache of tensorflow_hub, "" elsewhere.
      listing: what its folder shows, where that is known already.
    """

    path: str
    relative: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    handle: str = ""
    listing: Listing | None = None

    def change_options(self, options: MigrateOptions) -> MigrateOptions:
        return change_options(options, self.options)


def discover_models(root: str, skip: Sequence[str] = ()) -> list[Entry]:
    """Models below `root`, sorted; a model's own folder is not searched further, links are not followed.

    Below the files of a checkpoint there may be models, an Estimator's exports say; its own place is then
    `<folder>/checkpoint`, so that none lies in that of another.

    Args:
      root: folder.
      skip: folders that are left out.

    Raises:
      SourceNotFoundError: there is no such folder.
    """
    if not os.path.isdir(root):
        raise errors.SourceNotFoundError("there is no such folder", where=root, hint="check --source")
    if _is_model_dir(root):
        return [Entry(path=root, relative=os.path.basename(os.path.abspath(root)))]
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in folders if os.path.join(folder, name) not in skip]
        models = [name for name in folders if _is_model_dir(os.path.join(folder, name))]
        folders[:] = [name for name in folders if name not in models]
        found.extend(os.path.join(folder, name) for name in models)
        single = [name for name in sorted(files) if is_model_file(os.path.join(folder, name))]
        # What lies beside the files of a checkpoint belongs to them.
        found.extend([folder] if _is_checkpoint(folder, files) else [os.path.join(folder, name) for name in single])
    around = {parent for path in found for parent in pathlib.PurePath(path).parents}
    return [
        Entry(path=path, relative=_find_place(path, root, around), handle=handles.read_descriptor(path))
        for path in sorted(found)
    ]


def _find_place(path: str, root: str, around: Collection[pathlib.PurePath]) -> str:
    """A model's path below `--dest`; `around` are the folders in which models lie."""
    relative = os.path.relpath(path, root)
    if pathlib.PurePath(path) in around:
        return os.path.normpath(os.path.join(relative, _AMONG_MODELS))
    return os.path.basename(os.path.abspath(root)) if relative == os.curdir else relative


def _is_model_dir(path: str) -> bool:
    # By name: a pipe or a dangling link in the place of a model's file is a bad model, not none.
    return any(os.path.lexists(os.path.join(path, name)) for name in MODEL_MARKS)


def _is_checkpoint(folder: str, files: Sequence[str]) -> bool:
    """Whether a folder holds a checkpoint: with its graph, or values alone, whose model is to be given."""
    if Format.CHECKPOINT not in READABLE:
        return False
    return any(name.endswith((".meta", ".index")) for name in files) and detect.is_checkpoint_dir(folder)


def is_model_file(path: str) -> bool:
    """Whether a file is a model by itself; pipes and devices are never opened."""
    name = os.path.basename(path)
    if not name.endswith((*MODEL_FILES, *ARCHIVES)) or name.startswith(".") or name == _TRAINING_GRAPH:
        return False
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        found = detect.detect_format(path).format
    except (errors.MigrateError, OSError):
        return False
    return found in _FILE_FORMATS or (found is Format.ARCHIVE and name.endswith(ARCHIVES))


def select_models(entries: Sequence[Entry], selection: Selection) -> list[Entry]:
    """The entries that a selection takes."""
    return [entry for entry in entries if _is_selected(entry, selection)]


def _is_selected(entry: Entry, selection: Selection) -> bool:
    names = (entry.relative, entry.handle)
    if selection.include and not _fits(names, selection.include):
        return False
    if _fits(names, selection.exclude):
        return False
    if selection.formats and entry.listing is None:
        try:
            found = detect.detect_format(entry.path).format.value
        except (errors.MigrateError, OSError):
            found = Format.UNKNOWN.value
        if found not in selection.formats:
            return False
    if selection.min_size is None and selection.max_size is None:
        return True
    try:
        size = (entry.listing or digests.list_source(entry.path)).size
    except OSError:
        return True  # it is accounted for where it is migrated
    return (selection.min_size or 0) <= size <= (size if selection.max_size is None else selection.max_size)


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """A pattern fits the whole path, or a folder above it: "speech" takes all below speech/."""
    return any(
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}/*")
        for name in names
        if name
        for pattern in patterns
    )
