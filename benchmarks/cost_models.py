"""Models for `cost.py`, written without holding their weights: large ones, deep ones, wide ones."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import google_crc32c
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import variable_pb2
from tensorflow.core.protobuf import saved_model_pb2

from migrate.checkpoint import entries, index, table

v1 = tf.compat.v1
_COLUMNS = 1024


def write_model(
    folder: str,
    shapes: dict[str, tuple[int, ...]],
    nodes: int = 0,
    variants: Sequence[Sequence[str]] = (("serve",),),
) -> str:
    """A TF1 SavedModel whose one signature reads every variable; a chain behind it brings its graph to `nodes`. Each
    set of tags has the same graph."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, "variables"))
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        y, zero = x, tf.constant(0, name="zero")
        for name, shape in shapes.items():
            variable = v1.get_variable(name, shape, tf.float32, v1.zeros_initializer(), use_resource=True)
            # One row of it: the cost is that of the weights, not of arithmetic.
            y = tf.raw_ops.AddV2(x=y, y=tf.gather(variable, [zero])[:, :4] if len(shape) == 2 else variable)
        one = tf.constant(1.0)
        for _ in range(max(0, nodes - len(graph.get_operations()))):
            y = tf.raw_ops.Mul(x=y, y=one)
        saver = v1.train.Saver() if shapes else None
        meta_graph = v1.train.export_meta_graph(saver_def=saver.saver_def if saver else None, graph=graph)
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
    meta_graph.signature_def["serving_default"].CopyFrom(signature)
    saved_model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    for tags in variants:
        saved_model.meta_graphs.add().CopyFrom(meta_graph)
        saved_model.meta_graphs[-1].meta_info_def.tags.extend(tags)
    (pathlib.Path(folder) / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    write_checkpoint(os.path.join(folder, "variables", "variables"), shapes)
    return folder


def write_checkpoint(prefix: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """One shard of random weights, one tensor at a time."""
    rng = np.random.default_rng(0)
    found, at = {}, 0
    with open(index.shard_path(prefix, 0, 1), "wb") as file:
        for name in sorted(shapes):
            data = (rng.random(shapes[name], np.float32) * 1e-3).tobytes()
            file.write(data)
            checksum = table.mask_checksum(google_crc32c.value(data))
            found[index.encode_name(name)] = entries.Entry(
                dtype="float32", shape=shapes[name], offset=at, size=len(data), checksum=checksum
            )
            at += len(data)
    index.write_index(prefix, entries.Header(shards=1), found)


def write_large(folder: str, megabytes: float) -> str:
    """A model of so many megabytes of weights, in tensors of at most 64 MB."""
    rows = max(1, int(megabytes * 2**20 / (4 * _COLUMNS)))
    most = 2**26 // (4 * _COLUMNS)
    shapes = {f"large_{i}": (min(most, rows - start), _COLUMNS) for i, start in enumerate(range(0, rows, most))}
    return write_model(folder, shapes)


def write_variants(folder: str, nodes: int, variables: int) -> str:
    """Two variants, as modules that can be trained have them."""
    return write_model(folder, {f"v{i}": (4,) for i in range(variables)}, nodes, variants=((), ("train",)))


def write_copies(source: str, folder: str, count: int) -> None:
    """Copies that differ in a node which does nothing: a zoo migrates models that are the same once."""
    for i in range(count):
        path = pathlib.Path(shutil.copytree(source, os.path.join(folder, f"model_{i}"))) / "saved_model.pb"
        saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        for meta_graph in saved_model.meta_graphs:
            meta_graph.graph_def.node.add(name=f"copy_{i}", op="NoOp")
        path.write_bytes(saved_model.SerializeToString())


def write_deep(folder: str, nodes: int) -> str:
    return write_model(folder, {f"v{i}": (4,) for i in range(10)}, nodes)


def write_wide(folder: str, variables: int) -> str:
    """A hub module (it has no saver) of so many variables. Its nodes are copies of those of one variable: TensorFlow
    takes a quarter of an hour to make the largest, op by op."""
    write_model(folder, {"v": (4,)})
    path = pathlib.Path(folder) / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (meta_graph,) = saved_model.meta_graphs
    signature = meta_graph.signature_def["serving_default"]
    result = signature.outputs["y"].name.partition(":")[0]
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    handle = next(node.name for node in nodes.values() if node.op == "VarHandleOp")
    (read,) = (text for text in nodes[result].input if text != "x")
    parts = [handle, read.partition(":")[0], result]
    for i in range(1, variables):
        for part in parts:
            node = meta_graph.graph_def.node.add()
            node.CopyFrom(nodes[part])
            node.name = f"{part}_{i}"
            node.input[:] = [f"{text}_{i}" if text in parts else text for text in node.input]
            if part == handle:
                node.attr["shared_name"].s = node.name.encode()
            if part == result:
                node.input[list(node.input).index("x")] = f"{result}_{i - 1}" if i > 1 else result
    if variables > 1:
        signature.outputs["y"].name = f"{result}_{variables - 1}:0"
    meta_graph.ClearField("saver_def")
    for kind in ("variables", "trainable_variables"):
        definitions = meta_graph.collection_def[kind].bytes_list
        first = variable_pb2.VariableDef.FromString(definitions.value[0])
        for i in range(1, variables):
            other = variable_pb2.VariableDef()
            other.CopyFrom(first)
            other.variable_name, other.snapshot_name = f"{handle}_{i}:0", f"{parts[1]}_{i}:0"
            definitions.value.append(other.SerializeToString())
    signature_def = meta_graph.signature_def.pop("serving_default")
    meta_graph.signature_def["default"].CopyFrom(signature_def)
    meta_graph.meta_info_def.ClearField("tags")
    path.write_bytes(saved_model.SerializeToString())
    # google-research/tensorflow_hub: module_def.proto, FORMAT_V3.
    (pathlib.Path(folder) / "tfhub_module.pb").write_bytes(b"\x08\x03")
    write_checkpoint(
        os.path.join(folder, "variables", "variables"), {f"v_{i}" if i else "v": (4,) for i in range(variables)}
    )
    return folder
