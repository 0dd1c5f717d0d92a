"""Paths of modules, wherever tf.io.gfile can open them."""

from __future__ import annotations

import os
import posixpath


def is_remote(path: str) -> bool:
    """Whether `path` names a file system of TensorFlow (gs://, s3://, ram://) and not the local one."""
    return "://" in path


def join_inside(folder: str, name: str) -> str:
    """`folder`/`name`, which must lie below `folder`.

    Raises:
      ValueError: `name` is absolute, empty, or leads out of the folder by "..".
    """
    parts = name.replace("\\", "/").split("/")
    if not name or posixpath.isabs(name) or os.path.isabs(name) or ".." in parts or "\0" in name:
        raise ValueError(f"{name!r} points outside {folder!r}")
    kept = [part for part in parts if part not in ("", ".")]
    return os.path.join(folder, *kept) if kept else folder
