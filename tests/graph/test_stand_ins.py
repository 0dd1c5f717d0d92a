"""Generators without state in place of those with it: both graphs draw alike, and each draw is a real one."""

import numpy as np
import pytest
import tensorflow as tf

from migrate.graph import stand_ins
from migrate.graph.index import GraphIndex

v1 = tf.compat.v1

DRAWS = {
    "RandomUniform": lambda: tf.raw_ops.RandomUniform(shape=[400], dtype=tf.float32, name="draw"),
    "RandomStandardNormal": lambda: tf.raw_ops.RandomStandardNormal(shape=[400], dtype=tf.float32, name="draw"),
    "TruncatedNormal": lambda: tf.raw_ops.TruncatedNormal(shape=[400], dtype=tf.float32, name="draw"),
    "ParameterizedTruncatedNormal": lambda: tf.raw_ops.ParameterizedTruncatedNormal(
        shape=[400], means=3.0, stdevs=1.0, minvals=2.0, maxvals=4.0, name="draw"
    ),
    "RandomUniformInt": lambda: tf.raw_ops.RandomUniformInt(shape=[400], minval=3, maxval=9, name="draw"),
    "Multinomial": lambda: tf.raw_ops.Multinomial(logits=[[0.0, 0.0, 0.0]], num_samples=400, name="draw"),
    "RandomGamma": lambda: tf.raw_ops.RandomGamma(shape=[400], alpha=[2.0], name="draw"),
    "RandomPoissonV2": lambda: tf.raw_ops.RandomPoissonV2(shape=[400], rate=[2.0], name="draw"),
}


def replaced(build, streams=None):
    """The graph of `build` with stand-ins."""
    with tf.Graph().as_default() as graph:
        build()
    graph_def = graph.as_graph_def()
    stand_ins.replace_generators(graph_def, streams or {})
    return graph_def


def run(graph_def, fetch):
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.import_graph_def(graph_def, name="")
        return session.run(fetch)


@pytest.mark.parametrize("op", DRAWS)
def test_each_stand_in_runs_and_draws_the_same_in_every_session(op):
    graph_def = replaced(DRAWS[op])
    assert not [node for node in graph_def.node if node.op == op], "the generator is still there"
    first, second = run(graph_def, "draw:0"), run(graph_def, "draw:0")
    assert np.array_equal(first, second)
    assert first.size == 400 and len(np.unique(first)) > 2, "no draw at all"


def test_a_stand_in_draws_from_the_same_distribution():
    assert 0.45 < run(replaced(DRAWS["RandomUniform"]), "draw:0").mean() < 0.55
    whole = run(replaced(DRAWS["RandomUniformInt"]), "draw:0")
    assert set(whole.tolist()) == set(range(3, 9))
    bounded = run(replaced(DRAWS["ParameterizedTruncatedNormal"]), "draw:0")
    assert bounded.min() >= 2 and bounded.max() <= 4 and 2.8 < bounded.mean() < 3.2


@pytest.mark.parametrize(
    "draw",
    [
        lambda: tf.raw_ops.RandomGamma(shape=[500], alpha=[[1.0, 4.0, 9.0]], name="draw"),
        lambda: tf.raw_ops.RandomPoissonV2(shape=[500], rate=[[1.0, 4.0, 9.0]], name="draw"),
    ],
)
def test_shapes_of_draws_for_each_parameter(draw):
    values = run(replaced(draw), "draw:0")
    assert values.shape == (500, 1, 3)
    assert np.allclose(values.mean(axis=(0, 1)), [1, 4, 9], rtol=0.15)


def test_streams_go_by_name_unless_they_are_given():
    def build():
        for name in ("a", "b"):
            tf.raw_ops.RandomUniform(shape=[8], dtype=tf.float32, name=name)

    apart = run(replaced(build), ["a:0", "b:0"])
    assert not np.array_equal(*apart)
    assert np.array_equal(*run(replaced(build, {"b": "a"}), ["a:0", "b:0"]))


def test_generators_in_functions_are_replaced():
    @tf.function(autograph=False)
    def noisy(x):
        return x + tf.raw_ops.RandomUniform(shape=[8], dtype=tf.float32, name="inner")

    graph_def = replaced(lambda: tf.identity(noisy(tf.zeros([8])), name="out"))
    assert not list(stand_ins.iterate_generators(graph_def))
    assert np.array_equal(run(graph_def, "out:0"), run(graph_def, "out:0"))


def test_a_generator_in_a_loop_of_old_stays_in_its_frame():
    v1.disable_control_flow_v2()

    def build():
        def body(i, total):
            return i + 1, total + tf.raw_ops.RandomUniform(shape=tf.shape(total), dtype=tf.float32, name="draw")

        tf.identity(v1.while_loop(lambda i, _: i < 3, body, [0, tf.zeros([4])])[1], name="out")

    total = run(replaced(build), "out:0")
    assert total.shape == (4,) and (total > 0).all()


def test_pairs_by_name_then_the_one_that_is_left():
    pair = stand_ins.pair_generators
    assert pair({"a": "RandomUniform"}, {"a": "RandomUniform", "more": "RandomUniform"}) == {"a": "a"}
    assert pair({"a": "RandomUniform"}, {"z": "RandomUniform"}) == {"z": "a"}
    assert pair({"a": "RandomUniform"}, {"a": "TruncatedNormal"}) is None, "another op draws otherwise"
    assert pair({"a": "RandomUniform", "b": "RandomUniform"}, {"y": "RandomUniform", "z": "RandomUniform"}) is None
    assert pair({}, {"a": "RandomUniform"}) is None
    assert pair({"a": "RandomShuffle"}, {"a": "RandomShuffle"}) is None, "it has no stand-in"


def test_generators_are_those_that_an_output_needs():
    with tf.Graph().as_default() as graph:
        x = tf.raw_ops.RandomUniform(shape=[2], dtype=tf.float32, seed=3, name="needed")
        tf.raw_ops.RandomUniform(shape=[2], dtype=tf.float32, name="other")
        tf.identity(x * 2, name="out")
    graph_def = graph.as_graph_def()
    assert stand_ins.find_generators(GraphIndex(graph_def), ["out:0"], []) == {"needed": "RandomUniform"}
    described = stand_ins.describe_generators(stand_ins.iterate_generators(graph_def))
    assert described == {"needed": ("RandomUniform", True), "other": ("RandomUniform", False)}
