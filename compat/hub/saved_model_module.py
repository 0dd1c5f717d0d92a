"""TF1 SavedModel -> ModuleSpec."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from compat.hub import advice, native_spec, saved_model_lib

# A module initialises its variables and tables by their collections, and the training step is not part of it.
_ALWAYS_DROPPED = (
    tf.compat.v1.GraphKeys.GLOBAL_STEP,
    tf.compat.v1.saved_model.constants.LEGACY_INIT_OP_KEY,
    tf.compat.v1.saved_model.constants.MAIN_OP_KEY,
)


def create_module_spec_from_saved_model(saved_model_path: str, drop_collections: Iterable[str] | None = None) -> Any:
    """Makes a ModuleSpec of a SavedModel that TF1 wrote.

    The saver and the init op are left out: variables come from the checkpoint by name, tables by the collection
    `table_initializer`. Exporting the spec writes a module, not a SavedModel.

    Args:
      saved_model_path: directory.
      drop_collections: further collections to leave out.

    Returns:
      A ModuleSpec.

    Raises:
      ValueError: a collection is not supported.
      OSError: the SavedModel cannot be read.
    """
    advice.advise("create_module_spec_from_saved_model")
    path = tf.compat.as_str_any(saved_model_path)
    handler = saved_model_lib.load(path)
    dropped = {*_ALWAYS_DROPPED, *(drop_collections or ())}
    for meta_graph in handler.meta_graphs:
        for key in dropped & set(meta_graph.collection_def):
            del meta_graph.collection_def[key]
    return native_spec.NativeModuleSpec(handler, saved_model_lib.get_variables_path(path))
