"""Handle -> path of a directory: settings, local and remote paths, and what all resolvers of URLs have in common.

The protocol of https://www.tensorflow.org/hub/hosting: `<url>?tf-hub-format=compressed` answers a tar archive
whose root is the model's directory (compressed_module_resolver.py); `...=uncompressed` answers 303 with a gs://
location in its body (uncompressed_module_resolver.py).
"""

from __future__ import annotations

import abc
import enum
import functools
import os
import ssl
import tempfile
import urllib.parse
import urllib.request
from typing import Any

import tensorflow as tf
from absl import flags, logging

# Names that TF1-era code takes from this module.
from compat.hub.cache import atomic_download  # noqa: F401
from compat.hub.cache import descriptor_filename as _module_descriptor_file  # noqa: F401
from compat.hub.cache import lock_contents as _lock_file_contents  # noqa: F401
from compat.hub.cache import lock_filename as _lock_filename  # noqa: F401
from compat.hub.cache import measure_directory as _dir_size  # noqa: F401
from compat.hub.cache import measure_download as _locked_tmp_dir_size  # noqa: F401
from compat.hub.cache import read_identity as _task_uid_from_lock_file  # noqa: F401
from compat.hub.cache import temp_download_dir as _temp_download_dir  # noqa: F401
from compat.hub.cache import wait_for_lock as _wait_for_lock_to_disappear  # noqa: F401

_TFHUB_CACHE_DIR = "TFHUB_CACHE_DIR"
_TFHUB_MODEL_LOAD_FORMAT = "TFHUB_MODEL_LOAD_FORMAT"
_TFHUB_DISABLE_CERT_VALIDATION = "TFHUB_DISABLE_CERT_VALIDATION"


class ModelLoadFormat(enum.Enum):
    """How models behind URLs are read."""

    COMPRESSED = "COMPRESSED"  # Downloaded and unpacked into the cache.
    UNCOMPRESSED = "UNCOMPRESSED"  # Read where they lie, in a bucket.
    AUTO = "AUTO"  # COMPRESSED.


def _define_flags() -> None:
    """The flags of tensorflow_hub, which is imported later or never: `allow_override` lets it define them again."""
    for name, text in (
        (_TFHUB_CACHE_DIR, "Folder for downloaded modules; else one among the system's temporary files."),
        (
            _TFHUB_MODEL_LOAD_FORMAT,
            "COMPRESSED: unpack models behind URLs into the cache. UNCOMPRESSED: read them "
            "from their bucket. AUTO: COMPRESSED.",
        ),
    ):
        if name.lower() not in flags.FLAGS:
            flags.DEFINE_string(name.lower(), None, text, allow_override=True)


_define_flags()


def _find_setting(name: str) -> str:
    """The environment variable, else the flag of that name; a flag can be read before the flags are parsed."""
    return os.environ.get(name) or flags.FLAGS[name.lower()].value or ""


def tfhub_cache_dir(default_cache_dir: str | None = None, use_temp: bool = False) -> str | None:
    """The folder for downloads: TFHUB_CACHE_DIR, else --tfhub_cache_dir, else the default.

    Args:
      default_cache_dir: where neither is set.
      use_temp: whether a folder that lasts as long as the system's temporary files stands in for no default.
    """
    found = _find_setting(_TFHUB_CACHE_DIR) or default_cache_dir
    return found or (os.path.join(tempfile.gettempdir(), "tfhub_modules") if use_temp else None)


def model_load_format() -> str:
    """TFHUB_MODEL_LOAD_FORMAT, else --tfhub_model_load_format, else "AUTO".

    Raises:
      ValueError: it names no ModelLoadFormat.
    """
    found = _find_setting(_TFHUB_MODEL_LOAD_FORMAT) or ModelLoadFormat.AUTO.value
    if found not in ModelLoadFormat.__members__:
        known = ", ".join(ModelLoadFormat.__members__)
        raise ValueError(f"{_TFHUB_MODEL_LOAD_FORMAT} is {found!r}, expected one of {known}")
    return found


class Resolver(abc.ABC):
    """What registry.resolver takes."""

    @abc.abstractmethod
    def is_supported(self, handle: str) -> bool:
        """Whether the handle looks like one for this resolver; nothing is opened."""

    @abc.abstractmethod
    def __call__(self, handle: str) -> str:
        """The path of a directory that tf.io.gfile can open."""


class PathResolver(Resolver):
    """Local paths, file:// URLs, and locations that tf.io.gfile opens (gs://, s3://, ram://)."""

    def is_supported(self, handle: str) -> bool:
        """The last of all resolvers: it accepts any handle and then says what is wrong with it."""
        return True

    def __call__(self, handle: str) -> str:
        """The path.

        Raises:
          OSError: there is nothing there.
          tf.errors.UnimplementedError: TensorFlow has no such file system here.
        """
        path = handle
        if handle.startswith("file://"):
            path = urllib.request.url2pathname(urllib.parse.urlparse(handle).path)
        try:
            found = tf.io.gfile.exists(path)
        except tf.errors.UnimplementedError as error:
            scheme = handle.partition("://")[0]
            text = (
                f"{handle} cannot be opened: this TensorFlow has no file system for {scheme}://. Copy the module to a "
                "local path, or import a package that brings one (tensorflow-io has s3://) first."
            )
            raise tf.errors.UnimplementedError(None, None, text) from error
        if not found:
            raise OSError(f"{handle} does not exist.")
        return path


class HttpResolverBase(Resolver):
    """What resolvers of http:// and https:// have in common."""

    @functools.cached_property
    def _context(self) -> ssl.SSLContext | None:
        """How certificates are checked; decided at the first download."""
        context = ssl.create_default_context()
        if os.environ.get(_TFHUB_DISABLE_CERT_VALIDATION) == "true":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            logging.warning("Certificates are not checked: %s is set.", _TFHUB_DISABLE_CERT_VALIDATION)
        return context

    def is_http_protocol(self, handle: str) -> bool:
        return handle.startswith(("http://", "https://"))

    def _append_format_query(self, handle: str, format_query: tuple[str, str]) -> str:
        parsed = urllib.parse.urlparse(handle)
        query = [*urllib.parse.parse_qsl(parsed.query), format_query]
        return urllib.parse.urlunparse(parsed._replace(query=urllib.parse.urlencode(query)))

    def _set_url_context(self, context: ssl.SSLContext | None) -> None:
        """Takes certificates of one's own; None: urllib's default."""
        self._context = context

    def _call_urlopen(self, request: Any) -> Any:
        if self._context is None:
            return urllib.request.urlopen(request)
        return urllib.request.urlopen(request, context=self._context)
