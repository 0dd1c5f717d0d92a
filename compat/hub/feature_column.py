"""Modules as feature columns, for tf.compat.v1.feature_column.input_layer and for DenseFeatures.

A column is a named tuple, because TensorFlow compares and hashes columns. It answers both of TensorFlow's column
interfaces: the old one (names with an underscore) makes a Module each time it is applied, the new one keeps its
Module in the state manager of a layer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from compat.hub import advice, image_util, module
from migrate import tensorflow_private

_RESOURCE = "module"
_COMBINERS = ("mean", "sqrtn", "sum")


def text_embedding_column(key: Any, module_spec: Any, trainable: bool = False) -> Any:
    """A dense column that embeds text: strings of [batch] or [batch, 1] -> float32 [batch, dim].

    Args:
      key: feature name, or the column that yields the strings.
      module_spec: ModuleSpec or handle; its default signature maps string [None] to float32 [None, dim].
      trainable: whether the module trains along.

    Raises:
      ValueError: the module does no such thing.
    """
    advice.advise("text_embedding_column")
    return _TextEmbeddingColumn(key=key, module_spec_path=module_spec, trainable=trainable)


def image_embedding_column(key: Any, module_spec: Any, image_size: Any = None) -> Any:
    """A dense column that embeds images: float32 [batch, height, width, 3] in [0, 1] -> float32 [batch, features].

    Args:
      key: feature name, or the column that yields the images.
      module_spec: ModuleSpec or handle; its default signature takes `images`.
      image_size: (height, width); None: what the module expects.

    Raises:
      ValueError: the module is no image module, or does not tell its image size.
    """
    advice.advise("image_embedding_column")
    size = tuple(image_size) if isinstance(image_size, list) else image_size  # A column must be hashable.
    return _ImageEmbeddingColumn(key=key, module_spec_path=module_spec, image_size=size)


def sparse_text_embedding_column(
    key: Any, module_spec: Any, combiner: str, default_value: str | None, trainable: bool = False
) -> Any:
    """A dense column over a SparseTensor of strings: embeds each string, combines those of one row.

    Args:
      key: feature name, or the column that yields the SparseTensor.
      module_spec: ModuleSpec or handle; its default signature maps string [None] to float32 [None, dim].
      combiner: "mean", "sqrtn" or "sum".
      default_value: stands for an empty row; None: there is none.
      trainable: whether the module trains along.

    Raises:
      ValueError: the module or the combiner does not fit.
    """
    advice.advise("sparse_text_embedding_column")
    spec = module.as_module_spec(module_spec)
    _check_text_embedding(spec)
    if combiner not in _COMBINERS:
        raise ValueError(f"combiner must be 'mean', 'sqrtn' or 'sum': {combiner!r}")
    return _SparseTextEmbeddingColumn(
        key=key, combiner=combiner, module_spec=spec, default_value=default_value, trainable=trainable
    )


class _ModuleColumn(tensorflow_private.DenseColumnV1, tensorflow_private.DenseColumnV2):  # type: ignore[misc]
    """What the three columns have in common; `key` and `module_spec` come from the subclass."""

    key: Any
    module_spec: Any

    @property
    def dtype(self) -> Any:
        return tf.float32

    @property
    def _is_v2_column(self) -> bool:
        return True

    @property
    def parents(self) -> list[Any]:
        return [self.key]

    @property
    def name(self) -> str:
        key = self.key if isinstance(self.key, str) else self.key.name
        return f"{key}_hub_module_embedding"

    def _transform_feature(self, inputs: Any) -> Any:
        return inputs.get(self.key)

    def transform_feature(self, transformation_cache: Any, state_manager: Any) -> Any:
        return transformation_cache.get(self.key, state_manager)

    @property
    def _parse_example_spec(self) -> Any:
        return self.parse_example_spec

    @property
    def _variable_shape(self) -> Any:
        return self.variable_shape

    @property
    def variable_shape(self) -> Any:
        """Shape of a row of the output."""
        return self.module_spec.get_output_info_dict()["default"].get_shape()[1:]

    def _get_config(self) -> dict[str, Any]:
        path = self.module_spec_path
        if not isinstance(path, str):
            raise NotImplementedError(
                f"Can only generate a config of a column whose module_spec is a string, not {type(path)}."
            )
        return dict(zip(self._fields, self, strict=True))

    get_config = _get_config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None, columns_by_name: Any = None) -> Any:
        return cls(**config)


class _TextFields(NamedTuple):
    key: Any
    module_spec_path: Any
    trainable: bool


class _TextEmbeddingColumn(_ModuleColumn, _TextFields):
    """Made by text_embedding_column()."""

    def __init__(self, key: Any, module_spec_path: Any, trainable: bool) -> None:
        self.module_spec = module.as_module_spec(module_spec_path)
        _check_text_embedding(self.module_spec)

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        return {self.key: tf.io.FixedLenFeature([1], tf.string)}

    def create_state(self, state_manager: Any) -> None:
        trainable = self.trainable and state_manager._trainable
        state_manager.add_resource(self, _RESOURCE, module.Module(self.module_spec, trainable=trainable))

    def _get_dense_tensor(self, inputs: Any, weight_collections: Any = None, trainable: Any = None) -> Any:
        texts = inputs.get(self)
        return _embed_texts(texts, module.Module(self.module_spec, trainable=self.trainable and trainable))

    def get_dense_tensor(self, transformation_cache: Any, state_manager: Any) -> Any:
        texts = transformation_cache.get(self, state_manager)
        return _embed_texts(texts, state_manager.get_resource(self, _RESOURCE))


def _embed_texts(texts: Any, instance: Any) -> Any:
    return instance(tf.reshape(texts, shape=[-1]))


class _ImageFields(NamedTuple):
    key: Any
    module_spec_path: Any
    image_size: tuple[int, int] | None


class _ImageEmbeddingColumn(_ModuleColumn, _ImageFields):
    """Made by image_embedding_column(). Its module never trains."""

    def __init__(self, key: Any, module_spec_path: Any, image_size: Any) -> None:
        self.module_spec = module.as_module_spec(module_spec_path)
        _check_image_embedding(self.module_spec, check_image_size=image_size is None)

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        height, width = self.image_size or image_util.find_image_size(self.module_spec)
        return {self.key: tf.io.FixedLenFeature([height, width, 3], tf.float32)}

    def create_state(self, state_manager: Any) -> None:
        state_manager.add_resource(self, _RESOURCE, module.Module(self.module_spec))

    def _get_dense_tensor(self, inputs: Any, weight_collections: Any = None, trainable: Any = None) -> Any:
        images = inputs.get(self)
        return module.Module(self.module_spec)({"images": images})

    def get_dense_tensor(self, transformation_cache: Any, state_manager: Any) -> Any:
        images = transformation_cache.get(self, state_manager)
        return state_manager.get_resource(self, _RESOURCE)({"images": images})


class _SparseTextFields(NamedTuple):
    key: Any
    combiner: str
    module_spec: Any
    default_value: str | None
    trainable: bool


class _SparseTextEmbeddingColumn(_ModuleColumn, _SparseTextFields):
    """Made by sparse_text_embedding_column()."""

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        return {self.key: tf.io.VarLenFeature(tf.string)}

    def _embed(self, texts: Any, trainable: bool) -> Any:
        instance = module.Module(self.module_spec, trainable=trainable)
        if self.default_value is not None:
            texts = tf.sparse.fill_empty_rows(texts, self.default_value)[0]
        # The embedded strings are a table whose row i is the i-th string: so the lookup combines them by row.
        rows = tf.range(tf.shape(texts.indices)[0], dtype=tf.int32)
        ids = tf.SparseTensor(indices=texts.indices, values=rows, dense_shape=texts.dense_shape)
        return tf.nn.embedding_lookup_sparse(instance(texts.values), ids, None, combiner=self.combiner)

    def _get_dense_tensor(self, inputs: Any, weight_collections: Any = None, trainable: Any = None) -> Any:
        return self._embed(inputs.get(self), self.trainable and trainable)

    def get_dense_tensor(self, transformation_cache: Any, state_manager: Any) -> Any:
        return self._embed(transformation_cache.get(self, state_manager), self.trainable)

    def create_state(self, state_manager: Any) -> None:
        """The module is made anew at each application."""

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("A sparse text column holds a ModuleSpec and has no config.")


def _as_list(info: Any) -> list[int | None]:
    """The shape; [] for an unknown rank. Items of a TensorShape are Dimensions where TF2 behaviour is disabled."""
    shape = info.get_shape()
    return [] if shape.rank is None else shape.as_list()


def _check_text_embedding(spec: Any) -> None:
    """The default signature must map string [None] to float32 [None, dim].

    Raises:
      ValueError: it does not; all reasons are named at once.
    """
    issues = []
    infos = spec.get_input_info_dict()
    if len(infos) != 1:
        issues.append("Module default signature must require only one input")
    else:
        (info,) = infos.values()
        if info.dtype != tf.string or _as_list(info) != [None]:
            issues.append("Module default signature must have only one input tf.Tensor(shape=(?,), dtype=string)")
    output = spec.get_output_info_dict().get("default")
    if output is None:
        issues.append("Module default signature must have a 'default' output.")
    else:
        shape = _as_list(output)
        if output.dtype != tf.float32 or len(shape) != 2 or shape[0] or not shape[1]:
            issues.append("The 'default' output must be tf.Tensor(shape=(?,K), dtype=float32).")
    if issues:
        raise ValueError(f"Module is not a text-embedding: {issues!r}")


def _check_image_embedding(spec: Any, check_image_size: bool) -> None:
    """The default signature must map float32 `images` to float32 [batch, features].

    Raises:
      ValueError: it does not; all reasons are named at once.
    """
    issues = []
    infos = spec.get_input_info_dict()
    if list(infos) != ["images"] or infos["images"].dtype != tf.float32:
        issues.append("Module 'default' signature must require one input 'images' of type float32.")
    elif check_image_size:
        try:
            image_util.find_image_size(spec)
        except ValueError as error:
            issues.append(f"Module does not support hub.get_expected_image_size(): {error}")
    output = spec.get_output_info_dict().get("default")
    if output is None:
        issues.append("Module 'default' signature must have a 'default' output.")
    else:
        shape = _as_list(output)
        if output.dtype != tf.float32 or len(shape) != 2 or not shape[1]:
            issues.append("The 'default' output must be tf.Tensor(shape=(_,K), dtype=float32).")
    if issues:
        raise ValueError(f"Module is not usable as image embedding: {issues!r}")
