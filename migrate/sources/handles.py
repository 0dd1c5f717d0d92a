"""Handles: what names a model that is not on this machine, or lies in tensorflow_hub's cache."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://")
HTTP = ("http", "https")
BUCKETS = ("gs", "gcs", "s3", "s3a")
_FORMAT = ("tf-hub-format", "compressed")
# A URL that ends so names a file; any other is taken for a handle of the hosting protocol.
_FILES = (".tar", ".tar.gz", ".tgz", ".zip", ".pb", ".pbtxt", ".h5", ".hdf5", ".keras")


def is_handle(text: str) -> bool:
    return _SCHEME.match(text) is not None


def is_fetched(text: str) -> bool:
    """Whether `acquire_source` fetches a handle by itself, from a server or from this machine: no bucket's."""
    return is_handle(text) and text.partition("://")[0] in (*HTTP, "file")


def find_place(handle: str) -> str:
    """Where a model goes that has no folder of its own, relative: "tfhub.dev/google/nnlm/1", the last name of a
    bucket's or a file's; "" where the handle names nothing."""
    parts = urllib.parse.urlsplit(handle)
    names = [name for name in urllib.parse.unquote(parts.path).split("/") if name and name != "."]
    if not names or ".." in names or any("\0" in name for name in names):
        return ""
    if parts.scheme not in HTTP:
        return names[-1]
    # Without what may stand before it: a password is no folder's name.
    return os.path.join(parts.netloc.rpartition("@")[2].lower(), *names)


def spell_location(source: str | os.PathLike[str]) -> str:
    """A handle as it is, a path in full."""
    text = os.fspath(source)
    return text if is_handle(text) else os.path.abspath(text)


def add_format(url: str) -> str:
    """The URL with tensorflow_hub's query for an archive (https://www.tensorflow.org/hub/hosting), unless it names a
    file or asks for a format itself."""
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    if parts.path.endswith(_FILES) or any(key == _FORMAT[0] for key, _ in query):
        return url
    return urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode([*query, _FORMAT])))


def bare_handle(url: str) -> str:
    """The URL without tensorflow_hub's query."""
    parts = urllib.parse.urlsplit(url)
    query = [pair for pair in urllib.parse.parse_qsl(parts.query, keep_blank_values=True) if pair[0] != _FORMAT[0]]
    return urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))


def find_cached(url: str, cache: str) -> str | None:
    """The folder of a handle in tensorflow_hub's cache: the SHA-1 of the handle, with the query where one was given
    (tensorflow_hub/compressed_module_resolver.py)."""
    for spelled in dict.fromkeys((url, bare_handle(url), add_format(url))):
        folder = os.path.join(cache, hashlib.sha1(spelled.encode(), usedforsecurity=False).hexdigest())
        if os.path.isdir(folder) and os.listdir(folder):
            return folder
    return None


def read_descriptor(folder: str) -> str:
    """The handle of a folder in tensorflow_hub's cache, which stands in `<folder>.descriptor.txt` beside it; "" for a
    folder that is in no cache. The file's first line is "Module: <handle>" (tensorflow_hub/resolver.py)."""
    path = f"{folder.rstrip(os.sep)}.descriptor.txt"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            first = file.readline(4096).strip()
    except OSError:
        return ""
    return bare_handle(first.removeprefix("Module: ")) if first.startswith("Module: ") else ""
