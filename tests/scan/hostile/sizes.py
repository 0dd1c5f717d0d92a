"""Little files that would fill the memory."""

import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2

from tests.scan.hostile.case import Hostile, add_node, find_node, make_meta_graph, tf1, write_model


def _shape(*sizes):
    return tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in sizes])


def _constant(tensor):
    def write(folder, outside):
        meta_graph = make_meta_graph(lambda x, y: y + tf.constant(1.0, name="hidden"))
        find_node(meta_graph, "hidden").attr["value"].tensor.CopyFrom(tensor)
        write_model(folder, meta_graph)

    return write


def _graph(build):
    return lambda folder, outside: write_model(folder, make_meta_graph(build))


def _doubled_strings(x, y):
    text = tf.constant("lol" * 100)
    for _ in range(40):
        text = tf.strings.join([text, text])
    return y + tf.cast(tf.strings.length(text), tf.float32)


def _doubled_tensors(x, y):
    value = tf.constant([1.0, 2.0])
    for _ in range(40):
        value = tf.concat([value, value], 0)
    return y + tf.reduce_sum(value)


def _computed_fill(x, y):
    side = tf.multiply(tf.constant(70_000), tf.constant(1))
    return y + tf.reduce_sum(tf.fill(tf.stack([side, side]), 1.0))


def _nested_calls(folder, outside):
    """f30 calls f29 twice, f29 calls f28 twice, ..."""
    meta_graph = make_meta_graph(None)
    library = meta_graph.graph_def.library
    for level in range(31):
        function = library.function.add()
        function.signature.name = f"f{level}"
        function.signature.input_arg.add(name="v", type=1)
        function.signature.output_arg.add(name="r", type=1)
        op, second = (f"f{level - 1}", "a:r:0") if level else ("Neg", "a:y:0")
        for name, source in (("a", "v"), ("b", second)):
            node = function.node_def.add(name=name, op=op, input=[source])
            if not level:
                node.attr["T"].type = 1
        function.ret["r"] = "b:r:0" if level else "b:y:0"
    add_node(meta_graph.graph_def, "call", "f30", ["y"])
    find_node(meta_graph, "result").input[0] = "call"
    write_model(folder, meta_graph)


def _placeholder_shape(*sizes):
    def write(folder, outside):
        meta_graph = make_meta_graph(None)
        find_node(meta_graph, "x").attr["shape"].shape.CopyFrom(_shape(*sizes))
        write_model(folder, meta_graph)

    return write


def _variants(folder, outside):
    """Tensors within tensors within tensors, each of which a value fills."""
    tensor = tensor_pb2.TensorProto(dtype=1, tensor_shape=_shape(2**30), float_val=[1.0])
    for _ in range(20):
        outer = tensor_pb2.TensorProto(dtype=21, tensor_shape=_shape())
        outer.variant_val.add(tensors=[tensor])
        tensor = outer
    many = tensor_pb2.TensorProto(dtype=21, tensor_shape=_shape())
    many.variant_val.add(tensors=[tensor] * 5)
    _constant(many)(folder, outside)


def _many_constants(folder, outside):
    def build(x, y):
        for position in range(40):
            tf.constant(1.0, name=f"hidden{position}")

    meta_graph = make_meta_graph(build)
    for node in meta_graph.graph_def.node:
        if node.name.startswith("hidden"):
            node.attr["value"].tensor.CopyFrom(
                tensor_pb2.TensorProto(dtype=1, tensor_shape=_shape(10**9), float_val=[1.0])
            )
    write_model(folder, meta_graph)


_LARGE = tensor_pb2.TensorProto(dtype=1, tensor_shape=_shape(5 * 10**9), float_val=[1.0])
_OVERFLOW = tensor_pb2.TensorProto(dtype=1, tensor_shape=_shape(2**40, 2**40), float_val=[1.0])
_LYING = tensor_pb2.TensorProto(dtype=1, tensor_shape=_shape(3), tensor_content=b"12345678")


def _padded(x, y):
    return y + tf.reduce_sum(tf.pad(y, [[2**30, 2**30 + 1]]))


def _enlarged(x, y):
    return y + tf.reduce_sum(tf1.image.resize_bilinear(tf.ones([1, 1, 1, 1]), [1_000_000, 1_000_000]))


def _many_segments(x, y):
    count = tf.constant(2**40, tf.int64)
    return y + tf.reduce_sum(tf.math.unsorted_segment_sum(tf.constant([1.0]), tf.constant([0]), count))


def _one_hot(x, y):
    return y + tf.reduce_sum(tf.one_hot(tf.zeros([4], tf.int32), 2**31 - 1))


CASES = (
    Hostile("padded", _graph(_padded), ("Pad makes", "elements")),
    Hostile("enlarged", _graph(_enlarged), ("ResizeBilinear makes", "elements")),
    Hostile("many_segments", _graph(_many_segments), ("UnsortedSegmentSum makes", "elements")),
    Hostile("one_hot", _graph(_one_hot), ("OneHot makes", "elements")),
    Hostile("constant_of_5e9", _constant(_LARGE), ("'hidden'", "5,000,000,000 elements")),
    Hostile("constant_overflow", _constant(_OVERFLOW), ("'hidden'", "elements")),
    Hostile("constant_that_lies", _constant(_LYING), ("'hidden'", "holds 8 bytes")),
    Hostile("constants_together", _many_constants, ("bytes that a few values fill",)),
    Hostile("variants", _variants, ("bytes that a few values fill",)),
    Hostile("fill", _graph(lambda x, y: y + tf.reduce_sum(tf.fill([5 * 10**9], 1.0))), ("Fill makes", "5,000,000,000")),
    Hostile("computed_fill", _graph(_computed_fill), ("Fill makes", "4,900,000,000")),
    Hostile("range", _graph(lambda x, y: y + tf.cast(tf.range(5 * 10**9)[0], tf.float32)), ("Range makes",)),
    Hostile("tile", _graph(lambda x, y: y + tf.reduce_sum(tf.tile([1.0], [5 * 10**9]))), ("Tile makes",)),
    Hostile("random", _graph(lambda x, y: y + tf.reduce_sum(tf.random.uniform([10**5, 10**5]))), ("RandomUniform",)),
    Hostile("doubled_strings", _graph(_doubled_strings), ("StringJoin makes",)),
    Hostile("doubled_tensors", _graph(_doubled_tensors), ("ConcatV2 makes",)),
    Hostile("nested_calls", _nested_calls, ("written out", "nodes")),
    Hostile("shape_negative", _placeholder_shape(-7), ("'x'", "a dimension of -7")),
    Hostile("shape_overflow", _placeholder_shape(2**50, 2**50), ("'x'", "elements")),
    Hostile("shape_of_many_dimensions", _placeholder_shape(*[1] * 300), ("'x'", "300 dimensions")),
)
