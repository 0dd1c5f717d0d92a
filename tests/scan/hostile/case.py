"""What the cases are made with."""

import dataclasses
import pathlib
from collections.abc import Callable

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, graph_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

tf1 = tf.compat.v1


@dataclasses.dataclass(frozen=True)
class Hostile:
    """One input.

    Attributes:
      name: what it tries.
      write: (folder that becomes the model, folder outside with secret.txt) -> None.
      words: all stand in the refusal.
      allow: op names with which it is let through by the scan; () where nothing lets it through.
    """

    name: str
    write: Callable[[pathlib.Path, pathlib.Path], None]
    words: tuple[str, ...]
    allow: tuple[str, ...] = ()


def make_meta_graph(build, *, tags=("serve",), collections=()):
    """MetaGraphDef of a signature y = 2 x in which `build(x, y)` adds to the graph and may give another y.

    Args:
      build: called within the graph; returns the output, None for y itself.
      tags: of the MetaGraph.
      collections: names of node-list collections that hold the op or tensor named "hidden".
    """
    with tf1.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [None], name="x")
        y = tf.multiply(x, 2.0, name="y")
        y = build(x, y) if build is not None else y
        y = tf.identity(x * 2.0 if y is None else y, name="result")
        meta_graph = meta_graph_pb2.MetaGraphDef(graph_def=graph.as_graph_def())
    meta_graph.meta_info_def.tags.extend(tags)
    meta_graph.meta_info_def.tensorflow_version = "1.15.5"
    signature = meta_graph.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    for side, name in ((signature.inputs, "x"), (signature.outputs, "result")):
        side[name].CopyFrom(
            meta_graph_pb2.TensorInfo(name=f"{name}:0", dtype=1, tensor_shape=tf.TensorShape([None]).as_proto())
        )
    for key in collections:
        meta_graph.collection_def[key].node_list.value.append("hidden")
    return meta_graph


def write_model(folder, *meta_graphs, text=False):
    """A SavedModel without variables."""
    from google.protobuf import text_format

    saved_model = saved_model_pb2.SavedModel(saved_model_schema_version=1, meta_graphs=meta_graphs)
    folder.mkdir(parents=True, exist_ok=True)
    if text:
        (folder / "saved_model.pbtxt").write_text(text_format.MessageToString(saved_model), encoding="utf-8")
    else:
        (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())


def plain(folder):
    """A model without fault."""
    write_model(folder, make_meta_graph(None))


def find_node(meta_graph, name):
    return next(node for node in meta_graph.graph_def.node if node.name == name)


def add_node(graph_def, name, op, inputs=(), **attributes):
    """A node as no API makes it; attributes are AttrValues or plain values."""
    node = graph_def.node.add(name=name, op=op, input=list(inputs))
    for key, value in attributes.items():
        node.attr[key].CopyFrom(make_attribute(value))
    return node


def make_attribute(value):
    if isinstance(value, attr_value_pb2.AttrValue):
        return value
    if isinstance(value, tf.DType):
        return attr_value_pb2.AttrValue(type=value.as_datatype_enum)
    if isinstance(value, bytes):
        return attr_value_pb2.AttrValue(s=value)
    if isinstance(value, bool):
        return attr_value_pb2.AttrValue(b=value)
    if isinstance(value, int):
        return attr_value_pb2.AttrValue(i=value)
    if isinstance(value, tf.TensorShape):
        return attr_value_pb2.AttrValue(shape=value.as_proto())
    if isinstance(value, list) and value and isinstance(value[0], tf.DType):
        return attr_value_pb2.AttrValue(list={"type": [dtype.as_datatype_enum for dtype in value]})
    if isinstance(value, list):
        return attr_value_pb2.AttrValue(list={"s": value})
    return attr_value_pb2.AttrValue(tensor=tf.make_tensor_proto(value))


def graph_of(build):
    """GraphDef of what `build()` makes."""
    with tf1.Graph().as_default() as graph:
        build()
        found: graph_pb2.GraphDef = graph.as_graph_def()
    return found
