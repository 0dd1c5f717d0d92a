"""Modules in the TF1 Hub format: the loader of directories, and the names that TF1-era code takes from here."""

from __future__ import annotations

import tensorflow as tf

from compat.hub import protos, saved_model_lib
from compat.hub.colocation import find_signature_inputs_from_multivalued_ops  # noqa: F401
from compat.hub.create import add_signature, attach_message, create_module_spec  # noqa: F401
from compat.hub.native_spec import (  # noqa: F401
    SUPPORTED_COLLECTIONS,
    NativeModuleSpec,
    get_module_proto_path,
    get_unsupported_collections,
)
from compat.hub.stateful import check_ops_registered as register_ops_if_needed  # noqa: F401
from compat.hub.variables import recover_partitioned_variable_map  # noqa: F401

_SUPPORTED_FEATURES: frozenset[str] = frozenset()  # No feature was ever defined.


class Loader:
    """Directory -> ModuleSpec."""

    def is_supported(self, path: str) -> bool:
        """The last of all loaders: it accepts any path and then says what is wrong with it."""
        return True

    def __call__(self, path: str) -> NativeModuleSpec:
        """Reads a module; weights are read when a session initialises the variables.

        Raises:
          tf.errors.NotFoundError: there is no `tfhub_module.pb`.
          ValueError: its format or a feature that it requires is unknown.
          OSError: the SavedModel cannot be parsed.
        """
        path = tf.compat.as_str_any(path)
        definition = protos.ModuleDef()
        with tf.io.gfile.GFile(get_module_proto_path(path), "rb") as file:
            definition.ParseFromString(file.read())
        if definition.format != protos.ModuleDef.FORMAT_V3:
            raise ValueError(f"Unsupported module def format: {definition.format!r}")
        unsupported = sorted(set(definition.required_features) - _SUPPORTED_FEATURES)
        if unsupported:
            raise ValueError(f"Unsupported features: {unsupported!r}")
        return NativeModuleSpec(saved_model_lib.load(path), saved_model_lib.get_variables_path(path))
