"""The two interfaces behind `hub.Module`: ModuleSpec (a blueprint) and ModuleImpl (one instance in a graph)."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from compat.hub import advice


class ModuleSpec(abc.ABC):
    """The blueprint of a module: its graph variants and signatures, but no variables in any graph yet.

    Made by `load_module_spec`, `create_module_spec` and `create_module_spec_from_saved_model`.
    """

    def export(
        self,
        path: str,
        _sentinel: None = None,
        checkpoint_path: str | None = None,
        name_transform_fn: Callable[[str], str] | None = None,
    ) -> None:
        """Exports a module whose weights come from a checkpoint.

        Args:
          path: directory to write.
          _sentinel: ignored; the further arguments are meant to be named.
          checkpoint_path: required; where the values lie.
          name_transform_fn: module variable name -> name in the checkpoint. None: they are equal.

        Raises:
          ValueError: `checkpoint_path` is missing, or the checkpoint lacks a variable or has it in another shape.
        """
        advice.advise("ModuleSpec.export")
        if not checkpoint_path:
            raise ValueError("Missing mandatory `checkpoint_path` parameter")
        rename = name_transform_fn or (lambda name: name)
        with tf.Graph().as_default():
            instance = self._create_impl(name="module", trainable=False, tags=())
            assignments = {rename(name): value for name, value in instance.variable_map.items()}
            tf.compat.v1.train.init_from_checkpoint(checkpoint_path, assignments)
            with tf.compat.v1.Session() as session:
                session.run(tf.compat.v1.global_variables_initializer())
                instance.export(path, session)

    @abc.abstractmethod
    def get_signature_names(self, tags: Iterable[str] | None = None) -> Iterable[str]:
        """Names of the signatures of one graph variant."""

    @abc.abstractmethod
    def get_tags(self) -> Iterable[Any]:
        """The tag set of each graph variant."""

    @abc.abstractmethod
    def get_input_info_dict(self, signature: str | None = None, tags: Iterable[str] | None = None) -> dict[str, Any]:
        """Inputs of a signature: objects with dtype, get_shape(), is_sparse, is_composite, type_spec.

        Raises:
          KeyError: there is no such graph variant.
          ValueError: there is no such signature.
        """

    @abc.abstractmethod
    def get_output_info_dict(self, signature: str | None = None, tags: Iterable[str] | None = None) -> dict[str, Any]:
        """Outputs of a signature; see get_input_info_dict."""

    def get_attached_message(
        self, key: str, message_type: Any, tags: Iterable[str] | None = None, required: bool = False
    ) -> Any:
        """The message that the module's author attached under `key`: a fresh object, or None.

        Args:
          key: of the attachment.
          message_type: message class to parse it with.
          tags: of the graph variant.
          required: a missing key is an error.

        Raises:
          KeyError: `required`, and there is no such key.
        """
        data = self._get_attached_bytes(key, tags)
        if data is None:
            if required:
                raise KeyError(
                    f"No attached message for key '{key}' in graph version {sorted(tags or [])} of Hub Module"
                )
            return None
        message = message_type()
        message.ParseFromString(data)
        return message

    @abc.abstractmethod
    def _get_attached_bytes(self, key: str, tags: Iterable[str] | None) -> bytes | None:
        """The serialized attachment, None where there is none."""

    @abc.abstractmethod
    def _create_impl(self, name: str, trainable: bool, tags: Iterable[str] | None) -> ModuleImpl:
        """Makes the module's state in the default graph, under the unused name scope `name`."""


class ModuleImpl(abc.ABC):
    """One instance of a module in one graph."""

    @abc.abstractmethod
    def create_apply_graph(self, signature: str, input_tensors: dict[str, Any], name: str) -> dict[str, Any]:
        """Adds one application of a signature under name scope `name`; returns all outputs."""

    def get_signature_name(self, signature: str | None) -> str:
        return signature or "default"

    @abc.abstractmethod
    def export(self, path: str, session: Any) -> None:
        """Writes the module with the session's values."""

    @property
    @abc.abstractmethod
    def variable_map(self) -> dict[str, Any]:
        """Module variable name -> variable, or list of variables where it is partitioned."""
