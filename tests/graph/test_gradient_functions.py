"""A function's own gradient stays where TF2 can keep one, and is reported where it cannot."""

import tensorflow as tf
from tensorflow.python.framework import function

from migrate.graph import gradient_functions, prepare, subgraph
from migrate.graph import index as graph_index

v1 = tf.compat.v1


@function.Defun(tf.float32, tf.float32, func_name="halved_gradient")
def halved_gradient(x, dy):
    return dy * 0.5 + 0.0 * x


@function.Defun(tf.float32, grad_func=halved_gradient, func_name="plain")
def plain(x):
    return tf.identity(x)


@function.Defun(tf.float32)
def around(x):
    return plain(x * 2.0)


def prepare_graph(make):
    with v1.Graph().as_default() as graph:
        y = make(v1.placeholder(tf.float32, [None], name="x"))
    feeds = [subgraph.Feed(tensor="x:0", dtype="float32", shape=(None,))]
    return prepare.prepare_graph(graph_index.GraphIndex(graph.as_graph_def()), feeds=feeds, fetches=[y.name])


def test_calls_are_marked():
    """Both the call and the one within another function, which is inlined."""
    prepared = prepare_graph(lambda x: plain(x) + around(x))
    assert not prepared.findings
    assert [gradient.results for gradient in prepared.gradients] == [1, 1]
    carriers = {node.name: node.op for node in prepared.subgraph.graph_def.node}
    assert all(carriers[gradient.node] == "IdentityN" for gradient in prepared.gradients)


def test_call_within_a_loop_is_reported():
    prepared = prepare_graph(
        lambda x: tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, tf.ensure_shape(plain(y), [None])), [0, x])[1]
    )
    assert not prepared.gradients
    (finding,) = prepared.findings
    assert finding.code == "custom-gradient-lost" and finding.where.startswith("plain")
    assert "halved_gradient" in finding.message


def test_no_gradient_functions():
    graph_def = v1.GraphDef()
    graph_def.node.add(name="x", op="NoOp")
    assert gradient_functions.mark_calls(graph_def) == (graph_def, ())
