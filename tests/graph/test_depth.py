"""Depth decides whether TensorFlow's quadratic rewriting is left out."""

import pytest
import tensorflow as tf

from migrate.graph import depth


def _graph(build):
    with tf.Graph().as_default() as graph:
        build(tf.compat.v1.placeholder(tf.float32, [None], name="x"))
    return graph.as_graph_def()


def _chain(length):
    def build(x):
        for _ in range(length):
            x = tf.negative(x)

    return build


def _wide(x):
    tf.add_n([tf.negative(x) for _ in range(2_500)])


@pytest.mark.parametrize(("build", "deep"), [(_chain(100), False), (_chain(2_500), True), (_wide, False)])
def test_is_deep(build, deep):
    assert depth.is_deep(_graph(build)) is deep
