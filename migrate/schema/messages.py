"""Protocol buffer classes by their full names ("tensorflow.SavedModel"); see the package."""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import sys
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Where TensorFlow keeps the classes that are asked for.
_MODULES = {
    "tensorflow.AssetFileDef": "tensorflow.core.protobuf.meta_graph_pb2",
    "tensorflow.GraphDef": "tensorflow.core.framework.graph_pb2",
    "tensorflow.MetaGraphDef": "tensorflow.core.protobuf.meta_graph_pb2",
    "tensorflow.OpList": "tensorflow.core.framework.op_def_pb2",
    "tensorflow.SavedModel": "tensorflow.core.protobuf.saved_model_pb2",
    "tensorflow.VariableDef": "tensorflow.core.framework.variable_pb2",
}


def is_tensorflow_loaded() -> bool:
    return "tensorflow" in sys.modules


def find_message(name: str) -> Any:
    """The message class `name`; not to be kept: it is another one once TensorFlow was imported."""
    if is_tensorflow_loaded():
        return getattr(importlib.import_module(_MODULES[name]), name.rpartition(".")[2])
    return message_factory.GetMessageClass(find_pool().FindMessageTypeByName(name))


@functools.cache
def find_pool() -> descriptor_pool.DescriptorPool:
    """A pool of its own: the default one belongs to TensorFlow, which may be imported later."""
    data = importlib.resources.files(__package__).joinpath("messages.pb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool
