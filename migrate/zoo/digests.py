"""Whether a source is what it was, and whether two sources are the same.

A stamp is told from the directory alone and changes with every write; where it has changed, the digest over the
contents says whether anything did. Neither opens what is no regular file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Callable, Sequence

from migrate import detect, errors, publishing

_HEAD = 2**16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of a model.

    Attributes:
      stamp: changes with every change of a file (a restored modification time does not hide it), hex.
      shape: names and sizes, hex: models with equal contents have equal shapes.
      size: bytes.
      regular: all are regular files.
      largest_graph: bytes of the largest .pb or .pbtxt file.
    """

    stamp: str
    shape: str
    size: int
    regular: bool
    largest_graph: int


def list_source(path: str) -> Listing:
    """What stands at a path, a folder or a file; links are not followed."""
    stamp, shape = hashlib.sha256(), hashlib.sha256()
    size = largest_graph = 0
    regular = True
    for name, found in sorted(_stat_files(path)):
        key = os.fsencode(name) + b"\0"
        regular = regular and stat.S_ISREG(found.st_mode)
        size += found.st_size
        if name.endswith((".pb", ".pbtxt")):
            largest_graph = max(largest_graph, found.st_size)
        shape.update(key + b"%d %d\0" % (stat.S_IFMT(found.st_mode), found.st_size))
        stamp.update(key + b"%d %d %d\0" % (found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return Listing(
        stamp=stamp.hexdigest(), shape=shape.hexdigest(), size=size, regular=regular, largest_graph=largest_graph
    )


def _stat_files(path: str) -> list[tuple[str, os.stat_result]]:
    if not os.path.isdir(path):
        return [("", os.lstat(path))] if os.path.lexists(path) else []
    found = []
    for folder, folders, files in os.walk(path):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*files, *links):
            full = os.path.join(folder, name)
            found.append((os.path.relpath(full, path), os.lstat(full)))
    return found


def find_equal(paths: Sequence[str]) -> list[list[str]]:
    """Groups, of two paths at least, of models with equal contents and kinds, among models of one shape.

    Models of one architecture have equal shapes and different values: their first bytes tell most of them apart.
    """
    found = []
    for alike in _group(paths, _digest_heads):
        found.extend(_group(alike, _describe_kind))
    return found


def _group(paths: Sequence[str], key: Callable[[str], str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for path in paths:
        if text := key(path):
            groups.setdefault(text, []).append(path)
    return [group for group in groups.values() if len(group) > 1]


def _digest_heads(path: str) -> str:
    digest = hashlib.sha256()
    try:
        for name, _ in sorted(_stat_files(path)):
            with open(os.path.join(path, name) if name else path, "rb") as file:
                digest.update(file.read(_HEAD))
    except OSError:
        return ""
    return digest.hexdigest()


def _describe_kind(path: str) -> str:
    """Contents, and what the format was told from: the name of a folder may be a part of that."""
    content = digest_content(path)
    try:
        found = detect.detect_format(path)
    except (OSError, errors.MigrateError):
        return content
    return "\n".join((content, found.format.value, *found.evidence)) if content else ""


def digest_content(path: str) -> str:
    """The digest that a migrated model's record has of its source; "" where the source cannot be read through."""
    try:
        if not list_source(path).regular:
            return ""
        return publishing.digest_source(path)
    except (OSError, errors.MigrateError, UnicodeError):
        return ""
