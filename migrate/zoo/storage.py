"""Models that lie elsewhere: `gs://` through tf.io.gfile, `s3://` and others through fsspec.

An object store has no rename: what is written appears object by object. So `saved_model.pb`, without which no loader
sees a model, goes up next to last, and a marker last, which says what belongs to the model and what became of it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import posixpath
from collections.abc import Mapping
from typing import Any, Protocol

from migrate import errors

MARKER = "_MIGRATED.json"
_SEPARATOR = "://"
_GFILE = ("gs", "hdfs", "viewfs")
_LAST = ("saved_model.pb", "saved_model.pbtxt")


def is_remote(path: str) -> bool:
    return _SEPARATOR in path


def join(root: str, *parts: str) -> str:
    """A path below another, of either kind."""
    return posixpath.join(root, *parts) if is_remote(root) else os.path.join(root, *parts)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An object: its bytes, and what changes when it is written again."""

    size: int
    version: str


class Store(Protocol):
    """The few things that a zoo needs of a file system; paths are whole URLs."""

    def list_items(self, root: str) -> dict[str, Item]:
        """Path below `root` -> Item, of all objects there."""

    def download(self, url: str, path: str) -> None: ...
    def upload(self, path: str, url: str) -> None: ...
    def read(self, url: str) -> bytes | None:
        """The contents, None where there is no such object."""

    def write(self, url: str, data: bytes) -> None: ...
    def delete(self, url: str) -> None: ...


class FsspecStore:
    """Whatever fsspec opens; credentials and endpoints are those of its own environment variables and files."""

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise errors.UsageError(
                "fsspec is not installed", where=url, hint="pip install 'tf-legacy-migrate[remote]'"
            ) from error
        try:
            self._system: Any = fsspec.filesystem(url.partition(_SEPARATOR)[0])
        except (ImportError, ValueError) as error:
            raise errors.UsageError(str(error), where=url, hint="install what fsspec names") from error

    def list_items(self, root: str) -> dict[str, Item]:
        self._system.invalidate_cache()
        base = self._system._strip_protocol(root).rstrip("/")
        found = {}
        for name, info in self._system.find(base, detail=True).items():
            inside = posixpath.relpath(name, base)
            version = next((str(info[key]) for key in ("ETag", "etag", "LastModified", "mtime") if info.get(key)), "")
            if info["type"] == "file" and inside != ".":
                found[inside] = Item(size=int(info["size"]), version=version)
        return found

    def download(self, url: str, path: str) -> None:
        self._system.get_file(url, path)

    def upload(self, path: str, url: str) -> None:
        self._system.makedirs(posixpath.dirname(url), exist_ok=True)
        self._system.put_file(path, url)

    def read(self, url: str) -> bytes | None:
        try:
            data: bytes = self._system.cat_file(url)
        except FileNotFoundError:
            return None
        return data

    def write(self, url: str, data: bytes) -> None:
        self._system.makedirs(posixpath.dirname(url), exist_ok=True)
        self._system.pipe_file(url, data)

    def delete(self, url: str) -> None:
        if self._system.exists(url):
            self._system.rm_file(url)


class GfileStore:
    """TensorFlow's own file systems. The driver loads TensorFlow for them: 400 MB."""

    def __init__(self) -> None:
        import tensorflow as tf  # the only way to them

        self._gfile: Any = tf.io.gfile

    def list_items(self, root: str) -> dict[str, Item]:
        found = {}
        for folder, _, names in self._gfile.walk(root):
            for name in names:
                url = posixpath.join(folder, name)
                status = self._gfile.stat(url)
                inside = posixpath.relpath(url, root)
                found[inside] = Item(size=int(status.length), version=str(status.mtime_nsec))
        return found

    def download(self, url: str, path: str) -> None:
        self._gfile.copy(url, path, overwrite=True)

    def upload(self, path: str, url: str) -> None:
        self._gfile.makedirs(posixpath.dirname(url))
        self._gfile.copy(path, url, overwrite=True)

    def read(self, url: str) -> bytes | None:
        if not self._gfile.exists(url):
            return None
        with self._gfile.GFile(url, "rb") as file:
            data: bytes = file.read()
        return data

    def write(self, url: str, data: bytes) -> None:
        self._gfile.makedirs(posixpath.dirname(url))
        with self._gfile.GFile(url, "wb") as file:
            file.write(data)

    def delete(self, url: str) -> None:
        if self._gfile.exists(url):
            self._gfile.remove(url)


def open_store(url: str, *, gfile: bool | None = None) -> Store:
    """The store of a URL; `gfile` chooses TensorFlow's file systems or fsspec's, None by the scheme."""
    scheme = url.partition(_SEPARATOR)[0]
    return GfileStore() if gfile or (gfile is None and scheme in _GFILE) else FsspecStore(url)


def download_model(store: Store, url: str, folder: str) -> None:
    """Brings a model, a prefix or one object, to `folder`, which does not exist.

    Raises:
      CorruptModelError: a name leads out of the folder.
    """
    items = store.list_items(url)
    if not items:
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        store.download(url, folder)
        return
    for inside in items:
        path = os.path.normpath(os.path.join(folder, *inside.split("/")))
        if not path.startswith(folder + os.sep):
            raise errors.CorruptModelError("a name that leads out of the model", where=posixpath.join(url, inside))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        store.download(posixpath.join(url, inside), path)


def upload_model(store: Store, folder: str, url: str, record: str) -> None:
    """Writes a model to a prefix, replacing what is there; the marker, which holds `record`, comes last."""
    store.delete(posixpath.join(url, MARKER))
    before = store.list_items(url)
    names = {}
    for parent, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(parent, name)
            names[os.path.relpath(path, folder).replace(os.sep, "/")] = path
    for inside in before.keys() - names.keys():
        store.delete(posixpath.join(url, inside))
    for inside in sorted(names, key=lambda inside: (inside in _LAST, inside)):
        store.upload(names[inside], posixpath.join(url, inside))
    sizes = {inside: os.path.getsize(path) for inside, path in sorted(names.items())}
    marker = {"files": sizes, "line": record}
    store.write(posixpath.join(url, MARKER), (json.dumps(marker) + "\n").encode())


def read_marker(store: Store, url: str) -> Mapping[str, Any] | None:
    """What the marker of a model says; None where there is none, or an object that it names is not there."""
    data = store.read(posixpath.join(url, MARKER))
    try:
        marker: dict[str, Any] | None = json.loads(data) if data else None
    except ValueError:
        return None
    if marker is None:
        return None
    items = store.list_items(url)
    whole = all(name in items and items[name].size == size for name, size in marker["files"].items())
    return marker if whole else None
