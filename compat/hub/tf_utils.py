"""Helpers under the names that they have in tensorflow_hub.tf_utils."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import Any

import tensorflow as tf

from compat.hub import storage

# What a signature may take and return. Other composite tensors can be read from a file, but not applied.
SUPPORTED_ARGUMENT_TYPES: tuple[type, ...] = (tf.Tensor, tf.SparseTensor, tf.RaggedTensor)


def is_composite_tensor(value: Any) -> bool:
    return get_composite_tensor_type_spec(value) is not None


def get_composite_tensor_type_spec(value: Any) -> Any:
    """The TypeSpec of a composite tensor; None for anything else (a variable has one, but counts as dense)."""
    if isinstance(value, tf.Tensor | tf.Variable):
        return None
    described = getattr(value, "__tf_type_spec__", None)
    return described() if described is not None else getattr(value, "_type_spec", None)


def absolute_path(path: str) -> str:
    """`path` without "." and trailing slashes; as it is where it names a file system of TensorFlow."""
    return path if storage.is_remote(path) else os.path.abspath(path)


def read_file_to_string(filename: str) -> str:
    with tf.io.gfile.GFile(filename, "r") as file:
        return str(file.read())


def atomic_write_string_to_file(filename: str, contents: bytes | str, overwrite: bool) -> None:
    """Writes a whole file: readers see the old one, none, or the new one, but never a part.

    Raises:
      tf.errors.AlreadyExistsError: the file exists, and `overwrite` is False. On a local file system one of
        several writers wins; elsewhere TensorFlow looks first and renames then, so that two may.
      tf.errors.OpError: the file cannot be written.
    """
    temporary = f"{filename}.tmp{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(temporary, "wb") as file:
        file.write(contents)
    try:
        if overwrite or not _link(temporary, filename):
            tf.io.gfile.rename(temporary, filename, overwrite)
    finally:
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.remove(temporary)


def _link(source: str, target: str) -> bool:
    """Gives a local file a second name unless that is taken. False: this file system has no such names.

    Raises:
      tf.errors.AlreadyExistsError: the name is taken.
    """
    if storage.is_remote(target):
        return False
    try:
        os.link(source, target)
    except FileExistsError as error:
        raise tf.errors.AlreadyExistsError(None, None, "file already exists") from error  # As TensorFlow has it.
    except OSError:
        return False
    return True
