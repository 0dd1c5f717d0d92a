"""TensorArrays become TensorLists, in and out of loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from .harness import (
    Raised,
    check,
    compare,
    count_ops,
    differentiate,
    list_control_flow,
    raise_legacy,
    run_legacy,
    v1,
)

X = np.random.RandomState(0).randn(4, 3).astype(np.float32)
ARRAY_OPS = (
    "TensorArrayV3",
    "TensorArrayWriteV3",
    "TensorArrayReadV3",
    "TensorArrayGatherV3",
    "TensorArrayScatterV3",
)


def _fill(array: Any, n: Any, value: Any) -> Any:
    return v1.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a.write(i, value(i))), [0, array])[1]


@pytest.mark.parametrize("shape", [[3], [None], None], ids=str)
def test_write_and_stack(shape: Any, tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        return _fill(v1.TensorArray(tf.float32, 4, element_shape=shape), 4, lambda i: x[i] * x[0]).stack()

    graph_def = check(build, X, directory=tmp_path)
    assert not count_ops(graph_def, *ARRAY_OPS)


def test_unstack_and_read_with_unknown_sizes() -> None:
    def build(x: Any) -> Any:
        size = tf.shape(x)[0]
        array = v1.TensorArray(tf.float32, size).unstack(x)
        return v1.while_loop(lambda i, v: i < size, lambda i, v: (i + 1, tf.tanh(v + array.read(i))), [0, x[0]])[1]

    graph_def = check(build, X, shapes=[[None, 3]])
    assert count_ops(graph_def, "TensorListFromTensor") == 1
    check(build, X, shapes=[None], add_shapes=False)


def test_array_larger_than_what_is_unstacked() -> None:
    def build(x: Any) -> Any:
        array = v1.TensorArray(tf.float32, 6, element_shape=[3], clear_after_read=False).unstack(x)
        array = _fill_rest(array, x)
        return array.stack(), array.size()

    def _fill_rest(array: Any, x: Any) -> Any:
        return v1.while_loop(lambda i, a: i < 6, lambda i, a: (i + 1, a.write(i, x[0] * 2.0)), [4, array])[1]

    check(build, X)


def test_dynamic_size_gather_concat_size_and_double_read() -> None:
    def build(x: Any) -> Any:
        array = v1.TensorArray(tf.float32, 0, dynamic_size=True, clear_after_read=False)
        array = _fill(array, 5, lambda i: x[0] * tf.cast(i, tf.float32))
        twice = array.read(2) + array.read(2)
        return array.stack(), twice, array.concat(), array.gather([3, 1]), array.size()

    check(build, X)


def test_scatter_split_and_close_outside_of_loops() -> None:
    def build(x: Any) -> Any:
        scattered = v1.TensorArray(tf.float32, 6).scatter([1, 3, 0, 5], x)
        split = v1.TensorArray(tf.float32, 3, infer_shape=False).split(x, [1, 0, 3])
        chosen = v1.cond(x[0, 0] > 0.0, lambda: scattered.read(3) * 2.0, lambda: scattered.read(1))
        with tf.control_dependencies([chosen]):
            closed = scattered.close()
        with tf.control_dependencies([closed]):
            return tf.identity(chosen), split.read(2)

    check(build, X, gradients=False)
    check(build, -X, gradients=False)


def test_array_written_in_a_conditional() -> None:
    def build(x: Any) -> Any:
        array = v1.TensorArray(tf.float32, 2, element_shape=[3]).write(0, x[0])
        array = v1.cond(x[0, 0] > 0.0, lambda: array.write(1, x[1]), lambda: array.write(1, x[2] * x[2]))
        return array.stack()

    check(build, X)
    check(build, -X)


def test_array_made_in_a_loop() -> None:
    def body(i: Any, v: Any, x: Any) -> Any:
        inner = _fill(v1.TensorArray(tf.float32, 2, element_shape=[3]), 2, lambda j: v * tf.cast(j + i, tf.float32))
        return i + 1, tf.reduce_sum(inner.stack(), 0) + x, x

    check(lambda x: v1.while_loop(lambda i, *_: i < 3, body, [0, x[0], x[1]])[1], X)


def test_strings_read_in_a_loop_that_is_differentiated(tmp_path: Path) -> None:
    def build(x: Any, words: Any) -> Any:
        def embed(word: Any) -> Any:
            return tf.gather(x, tf.strings.to_hash_bucket_fast(word, 4)) * x[0]

        return tf.map_fn(embed, words, dtype=tf.float32)

    check(build, X, np.array([b"a", b"b", b"c"], object), shapes=[X.shape, [None]], directory=tmp_path)


@pytest.mark.parametrize("dtype", [tf.int64, tf.bool, tf.string], ids=lambda dtype: dtype.name)
def test_lists_that_have_no_gradient_next_to_one_that_has(dtype: Any, tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        plain = v1.TensorArray(dtype, 3)

        def body(i: Any, v: Any, array: Any) -> Any:
            element = {tf.string: tf.strings.as_string, tf.bool: lambda i: i > 1}.get(
                dtype, lambda i: tf.cast(i, dtype)
            )
            return i + 1, v * x[0], array.write(i, element(i))

        _, value, plain = v1.while_loop(lambda i, *_: i < 3, body, [0, x[1], plain])
        return value, plain.stack()

    check(build, X, directory=tmp_path)


def test_gradient_of_an_element_gathered_twice() -> None:
    """TensorListGather's own gradient would count it once."""

    def build(x: Any, indices: Any) -> Any:
        array = _fill(v1.TensorArray(tf.float32, 4, clear_after_read=False), 4, lambda i: x[i] * x[0])
        return array.gather(indices) * x, array.gather([3, 3])

    check(build, X, np.int32([1, 3, 1, 1]))


def test_older_arrays() -> None:
    """Before V3 the handle was a string and the flow started as a constant."""

    def build(x: Any) -> Any:
        return _fill(v1.TensorArray(tf.float32, 4), 4, lambda i: tf.sin(x[i])).stack()

    legacy = run_legacy(build, X)
    for node in legacy.graph_def.node:
        if node.op.startswith("TensorArray"):
            node.op = node.op.removesuffix("V3") + "V2"
        for k, text in enumerate(node.input):
            if text == "TensorArray:1":
                node.input[k] = "first_flow"
        if node.op == "Enter" and node.attr["T"].type == tf.resource.as_datatype_enum:
            node.attr["T"].type = tf.string.as_datatype_enum
    first = legacy.graph_def.node.add(name="first_flow", op="Const")
    first.attr["dtype"].type = tf.float32.as_datatype_enum
    first.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(0.0))
    graph_def, findings = raise_legacy(legacy)
    assert not findings and not list_control_flow(graph_def)
    assert not any("TensorArray" in node.op for node in graph_def.node)
    compare(legacy, *differentiate(Raised(legacy, graph_def).f, legacy, []))
