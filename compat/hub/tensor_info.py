"""TensorInfo protos <-> what a caller sees of a signature (tensorflow/core/protobuf/meta_graph.proto: TensorInfo).

A TensorInfo spells a tensor in one of three encodings: `name` (dense), `coo_sparse`, `composite_tensor`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import struct_pb2

from compat.hub import tf_utils
from migrate import tensorflow_private


class ParsedTensorInfo:
    """An input or output of a signature: answers `dtype` and `get_shape()` as a tensor would."""

    def __init__(self, dtype: Any, shape: Any, is_sparse: bool | None, type_spec: Any = None) -> None:
        if type_spec is None:
            type_spec = tf.SparseTensorSpec(shape, dtype) if is_sparse else tf.TensorSpec(shape, dtype)
        elif (dtype, shape, is_sparse) != (None, None, None):
            raise ValueError("type_spec already tells dtype, shape and sparsity: pass None for these.")
        self._type_spec = type_spec

    @classmethod
    def from_type_spec(cls, type_spec: Any) -> ParsedTensorInfo:
        return cls(None, None, None, type_spec)

    @property
    def dtype(self) -> Any:
        """The tf.DType of the elements."""
        return self._type_spec.dtype

    def get_shape(self) -> Any:
        """The dense tf.TensorShape."""
        return self._type_spec.shape

    @property
    def is_sparse(self) -> bool:
        return isinstance(self._type_spec, tf.SparseTensorSpec)

    @property
    def is_composite(self) -> bool:
        """True for sparse and ragged tensors, too."""
        return not isinstance(self._type_spec, tf.TensorSpec)

    @property
    def type_spec(self) -> Any:
        return self._type_spec

    @property
    def is_supported_type(self) -> bool:
        return issubclass(self._type_spec.value_type, tf_utils.SUPPORTED_ARGUMENT_TYPES)

    def __repr__(self) -> str:
        if isinstance(self._type_spec, tf.TensorSpec | tf.SparseTensorSpec):
            details = f"shape={self.get_shape()} dtype={self.dtype.name} is_sparse={self.is_sparse}"
        else:
            details = f"type_spec={self._type_spec}"
        return f"<hub.ParsedTensorInfo {details}>"


def parse_tensor_info(info: Any) -> ParsedTensorInfo:
    """Parses one TensorInfo.

    Raises:
      ValueError: it has no encoding that is known.
    """
    encoding = info.WhichOneof("encoding")
    if encoding in ("name", "coo_sparse"):
        shape = tf.TensorShape(info.tensor_shape)
        return ParsedTensorInfo(tf.as_dtype(info.dtype), shape, encoding == "coo_sparse")
    if encoding == "composite_tensor":
        return ParsedTensorInfo.from_type_spec(_decode_type_spec(info))
    raise ValueError(f"Unsupported TensorInfo encoding {encoding!r}")


def _decode_type_spec(info: Any) -> Any:
    value = struct_pb2.StructuredValue(type_spec_value=info.composite_tensor.type_spec)
    return tensorflow_private.decode_structure(value)


def parse_tensor_info_map(infos: Mapping[str, Any]) -> dict[str, ParsedTensorInfo]:
    return {key: parse_tensor_info(info) for key, info in infos.items()}


def convert_dict_to_compatible_tensor(
    values: Mapping[str, Any], targets: Mapping[str, ParsedTensorInfo]
) -> dict[str, Any]:
    """Converts the values of a call into tensors that `targets` accept.

    Raises:
      TypeError: a value has the wrong dtype, shape or kind.
      ValueError: a value is of a kind that no signature takes.
    """
    return {key: _convert_input(key, values[key], targets[key]) for key in sorted(values)}


def _convert_input(key: str, value: Any, target: ParsedTensorInfo) -> Any:
    prefix = f"Can't convert {key!r}"
    tensor = value
    if not tf_utils.is_composite_tensor(value):
        try:
            tensor = tf.compat.v1.convert_to_tensor_or_indexed_slices(value, target.dtype)
        except TypeError as error:
            raise TypeError(f"{prefix}: {error}") from error
    given = tf_utils.get_composite_tensor_type_spec(tensor) or tf.TensorSpec.from_tensor(tensor)
    wanted = target.type_spec
    if not ParsedTensorInfo.from_type_spec(given).is_supported_type:
        raise ValueError(
            f"{prefix}: Passed argument of type {given.value_type.__name__}, which is not supported by this version "
            "of tensorflow_hub."
        )
    if given.value_type != wanted.value_type:
        raise TypeError(f"{prefix}: Got {given.value_type.__name__}. Expected {wanted.value_type.__name__}.")
    if not given.is_compatible_with(wanted):
        raise TypeError(f"{prefix}: Got {given}. Expected {wanted}.")
    return tensor


def tensor_info_proto_maps_match(map_a: Mapping[str, Any], map_b: Mapping[str, Any]) -> bool:
    """Whether two maps of TensorInfos have the same keys, kinds, dtypes and shapes, under whatever names."""
    parsed = (parse_tensor_info_map(map_a), parse_tensor_info_map(map_b))
    first, second = ({key: info.type_spec for key, info in infos.items()} for infos in parsed)
    return first == second


def component_names(info: Any) -> list[str]:
    """Graph tensors behind a TensorInfo, in the order of `tf.nest.flatten(value, expand_composites=True)`."""
    encoding = info.WhichOneof("encoding")
    if encoding == "name":
        return [info.name]
    if encoding == "coo_sparse":
        sparse = info.coo_sparse
        return [sparse.indices_tensor_name, sparse.values_tensor_name, sparse.dense_shape_tensor_name]
    if encoding == "composite_tensor":
        return [component.name for component in info.composite_tensor.components]
    raise ValueError(f"Invalid TensorInfo.encoding: {encoding}")


def build_input_map(infos: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Tensor name of the module's graph -> tensor to feed.

    Raises:
      ValueError: the keys differ, or a TensorInfo is malformed.
    """
    if set(infos) != set(inputs):
        raise ValueError("build_input_map: keys do not match.")
    found: dict[str, Any] = {}
    for key, info in infos.items():
        tensors = tf.nest.flatten(inputs[key], expand_composites=True)
        found.update(zip(component_names(info), tensors, strict=True))
    return found


def build_output_map(infos: Mapping[str, Any], get_tensor_by_name: Callable[[str], Any]) -> dict[str, Any]:
    """Output key -> tensor, sparse tensor or ragged tensor."""
    return {key: _build_output(info, get_tensor_by_name) for key, info in infos.items()}


def _build_output(info: Any, get_tensor_by_name: Callable[[str], Any]) -> Any:
    tensors = [get_tensor_by_name(name) for name in component_names(info)]
    encoding = info.WhichOneof("encoding")
    if encoding == "name":
        return tensors[0]
    if encoding == "coo_sparse":
        return tf.SparseTensor(*tensors)
    spec = _decode_type_spec(info)
    return tf.nest.pack_sequence_as(spec, tensors, expand_composites=True)
