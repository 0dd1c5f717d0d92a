"""A loop's list says the shape of its elements where, and only where, the loop shows it."""

import numpy as np
import pytest
import tensorflow as tf

from migrate.graph import list_shapes

v1 = tf.compat.v1
raw = tf.raw_ops


def _fill(x, write, steps=3):
    """A loop that writes `write(step, state)` to a list of [-1, -1]; the stacked list."""
    reserved = raw.TensorListReserve(element_shape=[-1, -1], num_elements=steps, element_dtype=tf.float32)
    state = tf.zeros([tf.shape(x)[0], 2])

    def body(i, state, filled):
        state = tf.tanh(tf.matmul(tf.concat([x, state], 1), tf.ones([5, 2])))
        return i + 1, state, write(i, state, filled)

    shapes = [tf.TensorShape([]), tf.TensorShape([None, 2]), tf.TensorShape(None)]
    filled = tf.while_loop(lambda i, *_: i < steps, body, [0, state, reserved], shape_invariants=shapes)[2]
    return raw.TensorListStack(input_handle=filled, element_shape=[-1, -1], element_dtype=tf.float32)


def _set(i, item, filled):
    return raw.TensorListSetItem(input_handle=filled, index=i, item=item)


WRITES = {
    "state": (lambda i, state, filled: _set(i, state, filled), True),
    "twice": (lambda i, state, filled: _set(i, state * 2, _set(0, state, filled)), True),
    "another shape the second time": (lambda i, state, filled: _set(i, state, _set(0, state[:1], filled)), False),
    "a part of the rows": (lambda i, state, filled: _set(i, state[:2], filled), False),
    "rows that grow": (lambda i, state, filled: _set(i, tf.tile(state, [i + 1, 1])[:3], filled), False),
    "in a branch": (lambda i, state, filled: tf.cond(i > 0, lambda: _set(i, state, filled), lambda: filled), False),
}


def _build(write):
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        tf.identity(_fill(x, write), name="y")
    return graph.as_graph_def()


def _run(graph_def, rows):
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(graph_def, name="")
        x = np.random.default_rng(rows).normal(size=[rows, 3])
        try:
            return session.run("y:0", {"x:0": x})
        except tf.errors.InvalidArgumentError as error:
            return type(error)


@pytest.mark.parametrize("name", WRITES)
def test_told_where_it_is_certain(name):
    write, certain = WRITES[name]
    before = _build(write)
    serialized = before.SerializeToString(deterministic=True)
    after = list_shapes.tell_element_shapes(before)
    assert before.SerializeToString(deterministic=True) == serialized, "the source was changed"
    assert (after is not before) == certain
    made = next(node for node in after.node if node.op == "TensorListReserve")
    shape = next(node for node in after.node if node.name == made.input[0])
    assert shape.op == ("Pack" if certain else "Const")
    for rows in (1, 3, 4):
        np.testing.assert_array_equal(_run(after, rows), _run(before, rows))


def test_list_that_others_take_too_stays():
    """Whoever else writes to it may write another shape."""
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        tf.identity(_fill(x, WRITES["state"][0]), name="y")
        reserved = next(op.outputs[0] for op in graph.get_operations() if op.type == "TensorListReserve")
        tf.identity(raw.TensorListLength(input_handle=_set(0, tf.ones([7, 7]), reserved)), name="z")
    graph_def = graph.as_graph_def()
    assert list_shapes.tell_element_shapes(graph_def) is graph_def


def test_graph_without_lists_is_not_touched():
    with tf.Graph().as_default() as graph:
        tf.identity(v1.placeholder(tf.float32, [None, 3], name="x"), name="y")
    graph_def = graph.as_graph_def()
    assert list_shapes.tell_element_shapes(graph_def) is graph_def
