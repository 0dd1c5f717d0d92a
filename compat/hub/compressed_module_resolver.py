"""Handles of archives: URLs and gs:// archives, unpacked into the cache."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import urllib.request
from typing import Any

import tensorflow as tf
from absl import logging

from compat.hub import cache, file_utils, resolver

_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_FORMATS = (resolver.ModelLoadFormat.COMPRESSED.value, resolver.ModelLoadFormat.AUTO.value)
# The mirror of tfhub.dev keeps each model's archive in a bucket, under the model's name.
_MIRROR = "https://hub.tensorflow.google.cn/"
_MIRROR_ARCHIVE = "https://gcs.tensorflow.google.cn/tfhub-modules/{}.tar.gz"
_PROGRESS = "TFHUB_DOWNLOAD_PROGRESS"
_PROGRESS_SECONDS = 15.0


def _module_dir(handle: str) -> str:
    """Where a handle lies in the cache; makes the cache's folder."""
    folder = resolver.tfhub_cache_dir(use_temp=True)
    tf.io.gfile.makedirs(folder)
    return os.path.join(folder, hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest())  # type: ignore[arg-type]


def _is_tarfile(filename: str) -> bool:
    return filename.endswith(_ARCHIVES)


class HttpCompressedFileResolver(resolver.HttpResolverBase):
    """http(s):// through the cache."""

    def is_supported(self, handle: str) -> bool:
        return self.is_http_protocol(handle) and resolver.model_load_format() in _FORMATS

    def __call__(self, handle: str) -> str:
        """The folder in the cache.

        Raises:
          OSError: the server refuses (urllib's errors), or what came is no archive or not all of it.
          ValueError: the archive holds what it must not hold.
        """
        return cache.atomic_download(handle, self._download, _module_dir(handle), self._lock_file_timeout_sec())

    def _lock_file_timeout_sec(self) -> float:
        return cache.LOCK_TIMEOUT_SECONDS

    def _append_compressed_format_query(self, handle: str) -> str:
        return self._append_format_query(handle, ("tf-hub-format", "compressed"))

    def _download(self, handle: str, target: str) -> None:
        if handle.startswith(_MIRROR):
            request: Any = _MIRROR_ARCHIVE.format(handle.removeprefix(_MIRROR))
        else:
            request = urllib.request.Request(self._append_compressed_format_query(handle))
        with self._call_urlopen(request) as response:
            length = response.headers.get("Content-Length")
            _unpack(response, handle, target, int(length) if length else None)


class GcsCompressedFileResolver(resolver.Resolver):
    """gs:// archives through the cache; a gs:// folder is read where it lies."""

    def is_supported(self, handle: str) -> bool:
        return handle.startswith("gs://") and _is_tarfile(handle)

    def __call__(self, handle: str) -> str:
        """The folder in the cache; errors as HttpCompressedFileResolver has them, and tf.errors.OpError."""
        return cache.atomic_download(handle, self._download, _module_dir(handle))

    def _download(self, handle: str, target: str) -> None:
        with tf.io.gfile.GFile(handle, "rb") as file:
            _unpack(file, handle, target, None)


def _unpack(stream: Any, handle: str, target: str, length: int | None) -> None:
    progress = _Progress(handle)
    file_utils.extract_archive(stream, target, where=handle, length=length, log_function=progress.add)
    progress.end()


class _Progress:
    """Says how far a download is: on the console if TFHUB_DOWNLOAD_PROGRESS is set, else in the log, now and then."""

    def __init__(self, handle: str) -> None:
        self._handle = handle
        self._on_console = bool(os.environ.get(_PROGRESS))
        self._bytes = 0
        self._said = time.monotonic()

    def add(self, count: int) -> None:
        self._bytes += count
        if self._on_console:
            sys.stdout.write(f"\r{self._describe('Downloading')}")
            sys.stdout.flush()
        elif time.monotonic() - self._said > _PROGRESS_SECONDS:
            self._said = time.monotonic()
            logging.info("%s", self._describe("Downloading"))

    def end(self) -> None:
        if self._on_console:
            sys.stdout.write(f"\r{self._describe('Downloaded')}\n")
        else:
            logging.info("%s", self._describe("Downloaded"))

    def _describe(self, verb: str) -> str:
        return f"{verb} {self._handle}: {self._bytes / 2**20:.2f} MiB"
