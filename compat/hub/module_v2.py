"""resolve and load: what TF1 and TF2 modules have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from compat.hub import native_spec, registry


def resolve(handle: str) -> str:
    """The directory that a handle names; downloads it where it is not local.

    Args:
      handle: a path, a file:// URL, a location that tf.io.gfile opens (gs://, s3://, ram://), a gs:// archive, an
        http(s):// URL, or what a resolver of one's own takes (registry.resolver).

    Raises:
      OSError: there is nothing there, or the download is no valid archive (urllib's errors are OSErrors, too).
      ValueError: the archive holds what it must not hold, or a setting is unknown.
    """
    return str(registry.resolver(tf.compat.as_str_any(handle)))


def load(handle: str, tags: Iterable[str] | None = None, options: Any = None) -> Any:
    """Resolves a handle and loads what it names with tf.saved_model.load.

    Of a TF1 Hub module this gives signatures and variables only: migrate it first to keep the rest.

    Args:
      handle: for `resolve`.
      tags: of the graph variant; None: of a TF1 Hub module the one without tags, else the only one.
      options: tf.saved_model.LoadOptions.

    Raises:
      ValueError: the handle is no string, or there is no SavedModel.
      OSError: see `resolve`.
    """
    if not isinstance(handle, str):
        raise ValueError(f"Expected a string, got {handle}")
    path = resolve(handle)
    names = (tf.saved_model.SAVED_MODEL_FILENAME_PB, tf.saved_model.SAVED_MODEL_FILENAME_PBTXT)
    if not any(tf.io.gfile.exists(os.path.join(path, name)) for name in names):
        raise ValueError(
            f"Trying to load a model of unknown type: '{path}' contains neither '{names[0]}' nor '{names[1]}'."
        )
    is_hub_module = tf.io.gfile.exists(native_spec.get_module_proto_path(path))
    if tags is None and is_hub_module:
        tags = ()
    loaded = tf.compat.v1.saved_model.load_v2(path, tags=None if tags is None else list(tags), options=options)
    loaded._is_hub_module_v1 = is_hub_module  # tensorflow_hub's KerasLayer asks for it.
    return loaded
