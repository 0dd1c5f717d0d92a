"""gs:// and s3:// -> files: through fsspec's file systems; gs:// through TensorFlow's own where gcsfs is missing."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from migrate import errors, isolation
from migrate.options import Limits

# What TensorFlow's gs:// and libcurl go by, which no other job gets: this one runs nothing of a model.
_ENVIRONMENT = (
    "CLOUDSDK_CONFIG", "CURL_CA_BUNDLE", "GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_AUTH_TOKEN_FOR_TESTING", "NO_GCE_CHECK", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy",
)  # fmt: skip
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
MAX_BYTES = 64 * 2**30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """Attributes:
    url: of the object or folder.
    target: path of its copy.
    environment: variables by which the store is reached.
    """

    url: str
    target: str
    environment: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    files: int


COPY = isolation.Job("migrate.sources.buckets:copy_with_tensorflow", CopyRequest, Copied)


def copy_from_bucket(url: str, target: str, *, timeout: float | None = None) -> None:
    """Copies an object, or the folder that a prefix stands for, to `target`.

    Raises:
      SourceNotFoundError: there is nothing under the name.
      CorruptModelError: the store refuses, or what fsspec needs for it is not installed.
    """
    scheme = url.partition("://")[0]
    package = _PACKAGES[scheme]
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        if scheme in ("gs", "gcs"):
            told = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            request = CopyRequest(url=url.replace("gcs://", "gs://"), target=target, environment=told)
            isolation.run_job(COPY, request, where=url, limits=Limits(timeout=timeout), network=True)
            return
        raise errors.CorruptModelError(
            f"{scheme}:// needs the packages fsspec and {package}", where=url, hint=f"pip install fsspec {package}"
        ) from error
    try:
        _copy(system, path, target, url)
    except errors.MigrateError:
        raise
    except FileNotFoundError as error:
        raise _nothing(url) from error
    except Exception as error:  # every store's client raises its own
        text = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise errors.CorruptModelError(f"the store refuses: {text[0][:300]}", where=url) from error


def _copy(system: Any, path: str, target: str, url: str) -> None:
    if system.isfile(path):
        _check_size(int(system.size(path) or 0), url)
        system.get_file(path, target)
        return
    listed = system.find(path, detail=True)
    if not listed:
        raise _nothing(url)
    _check_size(sum(int(entry.get("size") or 0) for entry in listed.values()), url)
    root = path.rstrip("/")
    for name in sorted(listed):
        relative = name[len(root) :].lstrip("/")
        parts = relative.split("/")
        if not relative or relative.endswith("/"):
            continue
        if ".." in parts or "\\" in relative:
            raise errors.CorruptModelError(f"a name leads out of the folder: {name!r}", where=url)
        place = os.path.join(target, *parts)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        system.get_file(name, place)


def copy_with_tensorflow(request: CopyRequest) -> Copied:
    """Job: copies an object or a folder."""
    os.environ.update(request.environment)
    import tensorflow as tf

    files = tf.io.gfile
    url, target = request.url, request.target
    total = count = 0
    try:
        if not files.exists(url):
            raise _nothing(url)
        if not files.isdir(url):
            _check_size(files.stat(url).length, url)
            files.copy(url, target)
            return Copied(files=1)
        for folder, _, names in files.walk(url):
            place = os.path.join(target, folder[len(url) :].strip("/"))
            os.makedirs(place, exist_ok=True)
            for name in names:
                if ".." in (name, *folder.split("/")) or "\\" in name:
                    raise errors.CorruptModelError(f"a name leads out of the folder: {name!r}", where=url)
                path = f"{folder.rstrip('/')}/{name}"
                total += files.stat(path).length
                _check_size(total, url)
                files.copy(path, os.path.join(place, name))
                count += 1
    except tf.errors.NotFoundError as error:
        raise _nothing(url) from error
    except tf.errors.OpError as error:
        raise errors.CorruptModelError(f"the store refuses: {error.message.splitlines()[0]}", where=url) from error
    return Copied(files=count)


def _check_size(size: int, url: str) -> None:
    if size > MAX_BYTES:
        raise errors.CorruptModelError(f"it is {size:,} bytes, more than {MAX_BYTES:,}", where=url)


def _nothing(url: str) -> errors.SourceNotFoundError:
    return errors.SourceNotFoundError("there is no such object or folder", where=url, hint="check the name")
