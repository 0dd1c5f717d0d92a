"""TF1 SavedModels and archives where a module is expected: `migrate` reads them, so `hub.Module` takes them.

tensorflow_hub took neither by a handle; `create_module_spec_from_saved_model` made a spec of the former.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

import tensorflow as tf

from compat.hub import migrated, native_spec, resolver, saved_model_module
from migrate import errors, sources
from migrate.model import READABLE
from migrate.sources import archives

_FILES = (tf.saved_model.SAVED_MODEL_FILENAME_PB, tf.saved_model.SAVED_MODEL_FILENAME_PBTXT)


class SavedModelLoader:
    """Directory of a TF1 SavedModel -> ModuleSpec, for registry.loader; tags and signatures are the SavedModel's."""

    def is_supported(self, path: str) -> bool:
        if tf.io.gfile.exists(native_spec.get_module_proto_path(path)) or migrated.is_migrated(path):
            return False
        return any(tf.io.gfile.exists(os.path.join(path, name)) for name in _FILES)

    def __call__(self, path: str) -> Any:
        """The spec.

        Raises:
          ValueError: a collection is not supported.
          OSError: the SavedModel cannot be read.
        """
        return saved_model_module.create_module_spec_from_saved_model(path)


class ArchiveResolver(resolver.Resolver):
    """An archive on this machine -> the folder of the model in it, which lasts as long as the program."""

    def is_supported(self, handle: str) -> bool:
        return "://" not in handle and handle.endswith(archives.ENDINGS) and os.path.isfile(handle)

    def __call__(self, handle: str) -> str:
        """The folder.

        Raises:
          OSError: the archive is damaged, unsafe, or holds no model or several.
        """
        folder = tempfile.mkdtemp(prefix="hub-archive-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        try:
            found = sources.acquire_source(handle, folder)
        except errors.MigrateError as error:
            raise OSError(str(error)) from error
        if not (os.path.isdir(found.path) or found.format in READABLE):
            raise OSError(f"{handle} holds no module: {found.format.value}.")
        return found.path


class CheckpointResolver(resolver.Resolver):
    """The prefix of a checkpoint, under which there is no file of that very name -> its index."""

    def is_supported(self, handle: str) -> bool:
        return "://" not in handle and not os.path.exists(handle) and os.path.isfile(f"{handle}.index")

    def __call__(self, handle: str) -> str:
        return f"{handle}.index"
