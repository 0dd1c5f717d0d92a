"""A path or handle -> the Source that can be read: downloaded, unpacked, detected."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import urllib.parse
from collections.abc import Iterator

from migrate import detect, errors, scan
from migrate.model import Format, Source
from migrate.sources import archives, buckets, download, handles

_CACHE = "TFHUB_CACHE_DIR"
_LAYERS = 3
# How what is brought here begins.
_BROUGHT = _DOWNLOADED, _COPIED, _UNPACKED = "downloaded", "copied", "unpacked"


def acquire_source(
    source: str | os.PathLike[str],
    scratch: str,
    *,
    timeout: float | None = None,
    limits: archives.UnpackLimits | None = None,
) -> Source:
    """Brings a model to where it can be read.

    Args:
      source: path, or handle: https://..., gs://..., s3://...
      scratch: folder for what has to be downloaded or unpacked; what is here already stays where it is.
      timeout: seconds for a download.
      limits: of an archive.

    Returns:
      What was found; `origin` says where it came from, if from elsewhere.

    Raises:
      SourceNotFoundError: there is nothing there.
      CorruptModelError: a server, a store or an archive is not what it says.
    """
    text = os.fspath(source)
    origin = ""
    if handles.is_handle(text):
        origin, text = text, _fetch(text, scratch, timeout)
    # Before a file of it is opened: a pipe would never end, a link may lead anywhere.
    scan.check_files(text)
    found = detect.detect_format(text)
    if found.format is Format.ARCHIVE:
        origin = origin or os.path.basename(found.path)
        found = _unpack(found, scratch, limits or archives.UnpackLimits())
        scan.check_files(found.path)
    origin = origin or handles.read_descriptor(found.path)
    if not origin:
        return found
    note = f"from {handles.bare_handle(origin) if handles.is_handle(origin) else origin}"
    return dataclasses.replace(found, origin=origin, evidence=(*found.evidence, note))


@contextlib.contextmanager
def spell_places(source: str | os.PathLike[str], scratch: str) -> Iterator[None]:
    """An error about something that was brought into `scratch` names the source instead: nobody finds what is gone."""
    brought = re.compile(re.escape(scratch) + rf"/(?:{'|'.join(_BROUGHT)})-[^/\s:,;\]]+")
    try:
        yield
    except errors.MigrateError as error:
        error.where, error.message = (
            brought.sub(lambda _: os.fspath(source), text) for text in (error.where, error.message)
        )
        raise


def _fetch(handle: str, scratch: str, timeout: float | None) -> str:
    scheme, _, rest = handle.partition("://")
    os.makedirs(scratch, exist_ok=True)
    if scheme in handles.HTTP:
        cache = os.environ.get(_CACHE)
        cached = handles.find_cached(handle, cache) if cache else None
        if cached is not None:
            return os.path.abspath(cached)  # whoever reads it stands elsewhere
        name = os.path.basename(urllib.parse.urlsplit(handle).path.rstrip("/")) or "model"
        path = os.path.join(scratch, f"{_DOWNLOADED}-{_plain(name)}")
        download.download(handles.add_format(handle), path, timeout=timeout)
        return path
    if scheme in handles.BUCKETS:
        path = os.path.join(scratch, f"{_COPIED}-{_plain(os.path.basename(rest.rstrip('/')) or 'model')}")
        buckets.copy_from_bucket(handle, path, timeout=timeout)
        return path
    if scheme == "file":
        return urllib.parse.unquote(rest)
    raise errors.UsageError(
        f"handles of kind {scheme}:// are not read", where=handle, hint="give a path, https://, gs:// or s3://"
    )


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[-80:]


def _unpack(found: Source, scratch: str, limits: archives.UnpackLimits) -> Source:
    """The one model in an archive, at its root or in folders that hold nothing else; archives in archives too."""
    where = found.path
    for layer in range(_LAYERS):
        folder = os.path.join(scratch, f"{_UNPACKED}-{layer}")
        archives.unpack_archive(found.path, folder, limits)
        found = _find_model(folder, where)
        if found.format is not Format.ARCHIVE:
            return found
    raise errors.CorruptModelError("the archive holds an archive that holds an archive", where=where)


def _find_model(folder: str, where: str) -> Source:
    found = detect.detect_format(folder)
    pending = [folder]
    models: list[Source] = []
    while pending and found.format in (Format.UNKNOWN, Format.EMPTY_DIRECTORY):
        here = pending.pop()
        for name in sorted(os.listdir(here)):
            path = os.path.join(here, name)
            if name.startswith(".") or name == "__MACOSX":
                continue
            inside = detect.detect_format(path)
            if inside.format not in (Format.UNKNOWN, Format.EMPTY_DIRECTORY):
                models.append(inside)
            elif os.path.isdir(path):
                pending.append(path)
    if not models:
        return found
    if len(models) > 1:
        listed = ", ".join(sorted(os.path.relpath(model.path, folder) for model in models)[:5])
        raise errors.CorruptModelError(
            f"the archive holds {len(models)} models: {listed}",
            where=where,
            hint="unpack it, and migrate-zoo the folder",
        )
    return models[0]
