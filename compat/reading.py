"""SavedModel protos, read by migrate's reader, wherever tf.io.gfile can open them."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import tensorflow as tf

from migrate import errors
from migrate.readers import protos


def read_saved_model(path: str) -> Any:
    """The SavedModel proto of a directory.

    Raises:
      OSError: it is not there, or cannot be parsed.
    """
    try:
        if "://" not in path:
            return protos.parse_saved_model(path)
        # migrate reads local files: the proto (never the weights) of a remote model is copied first.
        with tempfile.TemporaryDirectory() as folder:
            for name in (tf.saved_model.SAVED_MODEL_FILENAME_PB, tf.saved_model.SAVED_MODEL_FILENAME_PBTXT):
                if tf.io.gfile.exists(os.path.join(path, name)):
                    tf.io.gfile.copy(os.path.join(path, name), os.path.join(folder, name))
            return protos.parse_saved_model(folder)
    except errors.CorruptModelError as error:
        raise OSError(f"Cannot read {path}: {os.path.basename(error.where)} {error.message}") from error
