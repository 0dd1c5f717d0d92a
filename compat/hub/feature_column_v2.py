"""text_embedding_column_v2: a TF2 SavedModel as a feature column, over hub.KerasLayer."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from compat.hub import advice, installed
from migrate import tensorflow_private


def text_embedding_column_v2(key: Any, module_path: str, output_key: str | None = None, trainable: bool = False) -> Any:
    """A dense column that embeds text with a TF2 SavedModel.

    Args:
      key: feature name, or the column that yields the strings.
      module_path: handle or path.
      output_key: which output to take, where the model returns a dict.
      trainable: whether the model trains along.
    """
    advice.advise("text_embedding_column_v2")
    return _TextEmbeddingColumnV2(key=key, module_path=module_path, output_key=output_key, trainable=trainable)


class _Fields(NamedTuple):
    key: Any
    module_path: str
    output_key: str | None
    trainable: bool


class _TextEmbeddingColumnV2(tensorflow_private.DenseColumnV2, _Fields):  # type: ignore[misc]
    """Made by text_embedding_column_v2()."""

    @property
    def _is_v2_column(self) -> bool:
        return True

    @property
    def parents(self) -> list[Any]:
        return [self.key]

    @property
    def _resource_name(self) -> str:
        return f"hub_text_column_{self.key}"

    @property
    def name(self) -> str:
        key = self.key if isinstance(self.key, str) else self.key.name
        return f"{key}_hub_module_embedding"

    def create_state(self, state_manager: Any) -> None:
        layer = installed.get("KerasLayer")(
            self.module_path, output_key=self.output_key, trainable=self.trainable and state_manager._trainable
        )
        state_manager.add_resource(self, self._resource_name, layer)
        self._variable_shape = _compute_output_shape(layer)

    def transform_feature(self, transformation_cache: Any, state_manager: Any) -> Any:
        return transformation_cache.get(self.key, state_manager)

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        return {self.key: tf.io.FixedLenFeature([1], tf.string)}

    @property
    def variable_shape(self) -> Any:
        """Shape of a row of the output; known once the state is made."""
        return self._variable_shape

    def get_dense_tensor(self, transformation_cache: Any, state_manager: Any) -> Any:
        texts = transformation_cache.get(self, state_manager)
        return state_manager.get_resource(self, self._resource_name)(tf.reshape(texts, shape=[-1]))

    def get_config(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None, columns_by_name: Any = None) -> Any:
        return cls(**config)


def _compute_output_shape(layer: Any) -> Any:
    """Shape of one row of the layer's output.

    Raises:
      ValueError: the layer returns several results.
    """
    traced = tf.function(lambda text: layer(text), input_signature=[tf.TensorSpec([None], tf.string)])
    shape = traced.get_concrete_function().output_shapes
    if not isinstance(shape, tf.TensorShape):
        raise ValueError(f"The SavedModel returns {shape}, not a single result: give the right `output_key`.")
    return shape[1:]
