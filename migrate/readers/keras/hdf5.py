"""What a Keras HDF5 file holds, read by h5py alone: no TensorFlow, no Keras.

Format (keras/engine/saving.py of Keras 2, keras/models.py of Keras 1, keras/saving/legacy/hdf5_format.py of TF): a full
model has the attribute `model_config` (JSON) and its weights below the group `model_weights`; a weights file has them
at its root. The group has the attribute `layer_names`, each layer's group `weight_names`; an attribute that is too long
is split into `layer_names0`, `layer_names1`, ... Keras 2 writes `keras_version` and `backend` into both places.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

import h5py

from migrate import errors
from migrate.readers.keras import configs

_MAGIC = b"\x89HDF"
LAYER_NAMES, WEIGHT_NAMES, CONFIG = "layer_names", "weight_names", "model_config"
WEIGHTS = "model_weights"
VERSION, BACKEND, TRAINING = "keras_version", "backend", "training_config"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeight:
    """One array: its name in the file ("dense_1/kernel:0") and shape."""

    name: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """The weights of one layer, in the order in which Keras sets them."""

    name: str
    weights: tuple[StoredWeight, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KerasHdf5:
    """An HDF5 file of Keras.

    Attributes:
      path: of the file.
      version: of the Keras that wrote it ("1.2.2", "2.2.4-tf"), "" where the file does not say.
      backend: "tensorflow", "theano", ..., "" where the file does not say (all files of Keras 1).
      config: {"class_name", "config"}, None in a file of weights only.
      training: what it was compiled with, None where it was not.
      layers: weights by layer; layers without weights are there too.
    """

    path: str
    version: str
    backend: str
    config: Mapping[str, Any] | None
    training: Mapping[str, Any] | None
    layers: tuple[StoredLayer, ...]

    @property
    def major(self) -> int:
        """Major version of Keras; 0 where the file does not say."""
        return find_major(self.version)


def find_major(version: str) -> int:
    """2 of "2.2.4-tf", 0 of ""."""
    head = version.partition(".")[0]
    return int(head) if head.isdigit() else 0


@contextlib.contextmanager
def open_file(file: Any, path: str = "") -> Iterator[Any]:
    """An h5py.File for reading, of a path or an open file (then `path` is for the error); whatever h5py raises within
    says that the file is damaged.

    Raises:
      CorruptModelError: the file is no HDF5, truncated, or lacks what it should hold.
    """
    try:
        with h5py.File(file, "r") as opened:
            yield opened
    except (OSError, KeyError, RuntimeError, UnicodeDecodeError) as error:
        raise errors.CorruptModelError(
            f"the HDF5 file cannot be read: {str(error).splitlines()[0][:200]}",
            where=path or file,
            hint="it is damaged or truncated: copy it again",
        ) from error


def parse_hdf5(path: str) -> KerasHdf5:
    """Describes a file; no weight is read.

    Raises:
      CorruptModelError: it is damaged, or nothing that Keras writes.
      UnsafeModelError: a part of it lies in another file.
    """
    check_links(path, path)
    with open_file(path) as file:
        config, training = (_parse_json(file, key, path) for key in (CONFIG, TRAINING))
        group = file.get(WEIGHTS, file)
        if config is None and LAYER_NAMES not in group.attrs and f"{LAYER_NAMES}0" not in group.attrs:
            raise errors.CorruptModelError(
                f"an HDF5 file, but none of Keras: it has neither {CONFIG} nor {LAYER_NAMES}",
                where=path,
                hint="save the model with model.save or model.save_weights",
            )
        return KerasHdf5(
            path=path,
            version=_find_text(VERSION, file, group),
            backend=_find_text(BACKEND, file, group),
            config=config,
            training=training,
            layers=tuple(
                StoredLayer(name=name, weights=_parse_weights(group[name])) for name in read_names(group, LAYER_NAMES)
            ),
        )


def check_links(file: Any, path: str) -> None:
    """Refuses a file parts of which lie in other files, which reading it would open: nothing that Keras writes.

    Args:
      file: path, or an open file.
      path: for the error.

    Raises:
      UnsafeModelError: it has external links, or arrays that lie elsewhere.
    """
    found = find_links(file, path)
    if found:
        raise errors.UnsafeModelError(
            f"parts of the HDF5 file lie in other files: {'; '.join(found[:4])}",
            where=path,
            hint="do not trust the file; if it is your own, copy it with h5repack, or save the model again",
        )


def is_hdf5(path: str) -> bool:
    """Whether a file starts as HDF5 does; a folder does not."""
    if os.path.isdir(path):
        return False
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def find_links(file: Any, path: str) -> tuple[str, ...]:
    """ "name: file" of each part that lies in another file, which is not opened."""
    found: list[str] = []

    def look(name: str | bytes, link: Any) -> None:
        name = _as_text(name)
        if isinstance(link, h5py.ExternalLink):
            found.append(f"{name}: {link.filename}")
        elif isinstance(link, h5py.HardLink) and isinstance(entry := opened[name], h5py.Dataset):
            if entry.external:
                found.append(f"{name}: {_as_text(entry.external[0][0])}")
            elif entry.is_virtual:
                found.append(f"{name}: {', '.join(source.file_name for source in entry.virtual_sources())}")

    with open_file(file, path) as opened:
        opened.visititems_links(look)
    return tuple(found)


def _parse_json(file: Any, key: str, path: str) -> Mapping[str, Any] | None:
    if key not in file.attrs:
        return None
    try:
        value = configs.parse_json(_as_text(file.attrs[key]))
    except ValueError as error:
        raise errors.CorruptModelError(
            f"{key} is no config in JSON: {error}", where=path, hint="copy the file again"
        ) from error
    return value if isinstance(value, dict) else None


def _parse_weights(group: Any) -> tuple[StoredWeight, ...]:
    return tuple(StoredWeight(name=name, shape=tuple(group[name].shape)) for name in read_names(group, WEIGHT_NAMES))


def read_names(group: Any, key: str) -> list[str]:
    """An attribute that lists names, put together again where it was split."""
    if key in group.attrs:
        return [_as_text(name) for name in group.attrs[key]]
    names: list[str] = []
    part = 0
    while f"{key}{part}" in group.attrs:
        names.extend(_as_text(name) for name in group.attrs[f"{key}{part}"])
        part += 1
    return names


def _find_text(key: str, *places: Any) -> str:
    return next((_as_text(place.attrs[key]) for place in places if key in place.attrs), "")


def _as_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
