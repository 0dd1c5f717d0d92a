"""The part of TensorFlow's protocol buffers that the scan looks at, as message classes without TensorFlow.

Field numbers from tensorflow/core/protobuf/{saved_model,meta_graph,saver,saved_object_graph}.proto and
tensorflow/core/framework/{graph,function,op_def,node_def,attr_value,tensor,tensor_shape,types}.proto. protobuf's own
parser reads them, so that the scan and TensorFlow agree on every message, however oddly it is spelled (a field given
twice, a wrong wire type, a map entry without a key); what is not declared here is skipped.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

_SCHEMA = """
message SavedModel { repeated MetaGraphDef meta_graphs = 2; }
message MetaGraphDef {
  MetaInfoDef meta_info_def = 1; GraphDef graph_def = 2; SaverDef saver_def = 3;
  map<string, CollectionDef> collection_def = 4; map<string, SignatureDef> signature_def = 5;
  repeated AssetFileDef asset_file_def = 6; SavedObjectGraph object_graph_def = 7; }
message MetaInfoDef { repeated string tags = 4; }
message SaverDef { string filename_tensor_name = 1; string save_tensor_name = 2; string restore_op_name = 3; }
message CollectionDef { NodeList node_list = 1; AnyList any_list = 5; }
message NodeList { repeated string value = 1; }
message AnyList { repeated google.protobuf.Any value = 1; }
message SignatureDef { map<string, TensorInfo> inputs = 1; map<string, TensorInfo> outputs = 2; }
message TensorInfo {
  string name = 1; DataType dtype = 2; CooSparse coo_sparse = 4; CompositeTensor composite_tensor = 5; }
message CooSparse { string values_tensor_name = 1; string indices_tensor_name = 2; string dense_shape_tensor_name = 3; }
message CompositeTensor { repeated TensorInfo components = 2; }
message AssetFileDef { TensorInfo tensor_info = 1; string filename = 2; }
message SavedObjectGraph { repeated SavedObject nodes = 1; map<string, SavedConcreteFunction> concrete_functions = 2; }
message SavedObject { SavedAsset asset = 5; }
message SavedAsset { int32 asset_file_def_index = 1; }
message SavedConcreteFunction { repeated int32 bound_inputs = 2; }
message GraphDef { repeated NodeDef node = 1; FunctionDefLibrary library = 2; }
message FunctionDefLibrary {
  repeated FunctionDef function = 1; repeated GradientDef gradient = 2;
  repeated RegisteredGradient registered_gradients = 3; }
message GradientDef { string function_name = 1; string gradient_func = 2; }
message RegisteredGradient { string gradient_func = 1; string registered_op_type = 2; }
message FunctionDef {
  OpDef signature = 1; repeated NodeDef node_def = 3; map<string, string> ret = 4; map<string, AttrValue> attr = 5; }
message OpDef { string name = 1; repeated ArgDef input_arg = 2; }
message ArgDef { string name = 1; }
message NodeDef { string name = 1; string op = 2; repeated string input = 3; map<string, AttrValue> attr = 5; }
message AttrValue {
  ListValue list = 1; bytes s = 2; int64 i = 3; DataType type = 6; TensorShapeProto shape = 7; TensorProto tensor = 8;
  NameAttrList func = 10; }
message ListValue {
  repeated bytes s = 2; repeated DataType type = 6; repeated TensorShapeProto shape = 7;
  repeated TensorProto tensor = 8; repeated NameAttrList func = 9; }
message NameAttrList { string name = 1; map<string, AttrValue> attr = 2; }
message TensorShapeProto { repeated Dim dim = 2; bool unknown_rank = 3; }
message Dim { int64 size = 1; }
message TensorProto {
  DataType dtype = 1; TensorShapeProto tensor_shape = 2; bytes tensor_content = 4; repeated int32 int_val = 7;
  repeated bytes string_val = 8; repeated int64 int64_val = 10; repeated VariantTensorDataProto variant_val = 15; }
message VariantTensorDataProto { repeated TensorProto tensors = 3; }
"""

# types.proto, in order from DT_INVALID = 0; a reference type is its base type plus 100.
DATA_TYPES = (
    "INVALID", "FLOAT", "DOUBLE", "INT32", "UINT8", "INT16", "INT8", "STRING", "COMPLEX64", "INT64", "BOOL", "QINT8",
    "QUINT8", "QINT32", "BFLOAT16", "QINT16", "QUINT16", "UINT16", "COMPLEX128", "HALF", "RESOURCE", "VARIANT",
    "UINT32", "UINT64", "FLOAT8_E5M2", "FLOAT8_E4M3FN", "FLOAT8_E4M3FNUZ", "FLOAT8_E4M3B11FNUZ", "FLOAT8_E5M2FNUZ",
    "INT4", "UINT4", "INT2", "UINT2", "FLOAT4_E2M1FN",
)  # fmt: skip
_REFERENCE = 100
_PACKAGE = "tensorflow"

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "bool": _FIELD.TYPE_BOOL,
}


@functools.cache
def _load() -> tuple[Mapping[str, Any], Any]:
    """(message classes by full name, their descriptor pool)."""
    file = descriptor_pb2.FileDescriptorProto(
        name="migrate/scan.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[any_pb2.DESCRIPTOR.name],
    )
    enum = file.enum_type.add(name="DataType")
    for number, name in enumerate(DATA_TYPES):
        enum.value.add(name=f"DT_{name}", number=number)
    for number, name in enumerate(DATA_TYPES[1:], 1):
        enum.value.add(name=f"DT_{name}_REF", number=number + _REFERENCE)
    for name, body in re.findall(r"message (\w+) \{(.*?)\}", _SCHEMA, re.DOTALL):
        _declare(file.message_type.add(name=name), body)
    # A pool of its own: TensorFlow's full messages of the same names may be loaded in this process, too.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClassesForFiles([file.name], pool), pool


def _declare(message: descriptor_pb2.DescriptorProto, body: str) -> None:
    for label, kind, field, number in re.findall(r"(repeated )?(map<[^>]*>|[\w.]+) (\w+) = (\d+);", body):
        repeated = bool(label)
        if kind.startswith("map<"):
            key, value = (part.strip() for part in kind[4:-1].split(","))
            entry = message.nested_type.add(name=f"{field.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            _add_field(entry, "key", 1, key)
            _add_field(entry, "value", 2, value)
            kind, repeated = f"{message.name}.{entry.name}", True
        _add_field(message, field, int(number), kind, repeated=repeated)


def _add_field(
    message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str, *, repeated: bool = False
) -> None:
    field = message.field.add(name=name, number=number)
    field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _FIELD.TYPE_ENUM if kind == "DataType" else _FIELD.TYPE_MESSAGE
    field.type_name = f".{kind}" if kind.startswith("google.") else f".{_PACKAGE}.{kind}"


def make_message(name: str) -> Any:
    """An empty message, "SavedModel" say."""
    classes, _ = _load()
    return classes[f"{_PACKAGE}.{name}"]()


def find_pool() -> Any:
    """The descriptor pool, for the text format."""
    return _load()[1]


def base_type(dtype: int) -> str:
    """Name of a DataType without "DT_", of the base type for a reference; "" for one that is not known."""
    number = dtype - _REFERENCE if dtype > _REFERENCE else dtype
    return DATA_TYPES[number] if 0 < number < len(DATA_TYPES) else ""
