"""The spec of a module in the TF1 Hub format, over MetaGraphs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from absl import logging

from compat.hub import instance, module_spec, protos, saved_model_lib, tensor_info, tf_utils

_FILE = "tfhub_module.pb"
_Keys = tf.compat.v1.GraphKeys

# What an application or an instance knows how to bring into a graph; anything else would be lost silently.
SUPPORTED_COLLECTIONS = frozenset(
    {
        _Keys.GLOBAL_VARIABLES,
        _Keys.TRAINABLE_VARIABLES,
        _Keys.MODEL_VARIABLES,
        _Keys.TABLE_INITIALIZERS,
        _Keys.UPDATE_OPS,
        _Keys.REGULARIZATION_LOSSES,
        _Keys.ASSET_FILEPATHS,
        _Keys.COND_CONTEXT,
        _Keys.WHILE_CONTEXT,
        saved_model_lib.ATTACHMENT_COLLECTION_SAVED,
    }
)


def get_module_proto_path(module_dir: str) -> str:
    return os.path.join(module_dir, _FILE)


def get_unsupported_collections(used_collection_keys: Iterable[str]) -> list[str]:
    return [key for key in used_collection_keys if key not in SUPPORTED_COLLECTIONS]


class NativeModuleSpec(module_spec.ModuleSpec):
    """A ModuleSpec over MetaGraphs."""

    def __init__(self, handler: saved_model_lib.SavedModelHandler, checkpoint_path: str | None) -> None:
        """Takes over `handler`.

        Args:
          handler: the graph variants.
          checkpoint_path: prefix of the checkpoint that initialises the variables; None: their own initialisers.

        Raises:
          ValueError: tags are used twice, or a graph has a collection that a module cannot have.
        """
        _check_unique_tags(handler.get_tags())
        _check_collections(handler)
        self._handler = handler
        self._checkpoint_path = checkpoint_path
        self._attachments = {tags: handler.get_attached_bytes_map(tags) for tags in handler.get_tags()}

    def get_tags(self) -> list[frozenset[str]]:
        return self._handler.get_tags()

    def get_signature_names(self, tags: Iterable[str] | None = None) -> list[str]:
        return list(self._handler.get_meta_graph(tags).signature_def)

    def get_input_info_dict(self, signature: str | None = None, tags: Iterable[str] | None = None) -> dict[str, Any]:
        return tensor_info.parse_tensor_info_map(self._get_signature_def(signature, tags).inputs)

    def get_output_info_dict(self, signature: str | None = None, tags: Iterable[str] | None = None) -> dict[str, Any]:
        return tensor_info.parse_tensor_info_map(self._get_signature_def(signature, tags).outputs)

    def _get_signature_def(self, signature: str | None, tags: Iterable[str] | None) -> Any:
        definitions = self._handler.get_meta_graph(tags).signature_def
        name = "default" if signature is None else signature
        if name not in definitions:
            raise ValueError(
                f"Signature {name!r} is missing from meta graph. The module has: {', '.join(sorted(definitions))}"
            )
        return definitions[name]

    def _get_attached_bytes(self, key: str, tags: Iterable[str] | None) -> bytes | None:
        return self._attachments[frozenset(tags or ())].get(key)

    def _create_impl(self, name: str, trainable: bool, tags: Iterable[str] | None) -> module_spec.ModuleImpl:
        return instance.NativeModuleImpl(
            write_module=self._export,
            meta_graph=self._handler.get_meta_graph(tags),
            trainable=trainable,
            checkpoint_path=self._checkpoint_path,
            name=name,
        )

    def _export(self, path: str, save_variables: Callable[[str], None]) -> None:
        """Writes the module's directory; `tfhub_module.pb` comes last, so an unfinished one is no module."""
        path = tf.compat.as_str_any(path)
        self._handler.export(path, save_variables)
        definition = protos.ModuleDef(format=protos.ModuleDef.FORMAT_V3)
        tf_utils.atomic_write_string_to_file(
            get_module_proto_path(path), definition.SerializeToString(), overwrite=False
        )
        logging.info("Exported TF-Hub module to: %s", path)


def _check_unique_tags(tag_sets: Iterable[frozenset[str]]) -> None:
    seen: set[frozenset[str]] = set()
    for tags in tag_sets:
        if tags in seen:
            raise ValueError(f"Tags {sorted(tags)!r} used repeatedly")
        seen.add(tags)


def _check_collections(handler: saved_model_lib.SavedModelHandler) -> None:
    used = {key for meta_graph in handler.meta_graphs for key in meta_graph.collection_def}
    unsupported = sorted(get_unsupported_collections(used))
    if unsupported:
        raise ValueError(
            f"Unsupported collections in graph: {unsupported}\n"
            "Use hub.create_module_spec(..., drop_collections=[...]) as appropriate."
        )
