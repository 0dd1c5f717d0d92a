"""Counters beside each place of a graph: what a call reaches is what they say, and values stay as they are."""

import numpy as np
import pytest
import tensorflow as tf

from migrate.inputs.reach import counters, goals


def _build_v1(graph):
    tf.compat.v1.disable_control_flow_v2()
    try:
        with graph.as_default():
            x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
            n = tf.compat.v1.placeholder(tf.int32, [], name="n")
            ids = tf.compat.v1.placeholder(tf.int32, [None], name="ids")
            total = tf.reduce_sum(x)

            def grow():
                _, y = tf.compat.v1.while_loop(lambda i, _: i < n, lambda i, y: (i + 1, tf.nn.relu6(y * 2)), [0, x])
                return y

            y = tf.compat.v1.cond(total > 100, grow, lambda: tf.minimum(x, 5.0))
            table = tf.compat.v1.get_variable("table", initializer=tf.ones([4, 2]), use_resource=False)
            z = tf.reduce_sum(y) + tf.reduce_sum(tf.gather(table, ids))
            return tf.identity(z, name="z").op.name
    finally:
        tf.compat.v1.enable_control_flow_v2()


def _build_functional(graph):
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
        n = tf.compat.v1.placeholder(tf.int32, [], name="n")
        ids = tf.compat.v1.placeholder(tf.int32, [None], name="ids")

        @tf.function
        def compute(x, n, ids):
            if tf.reduce_sum(x) > 100:
                y, i = x, 0
                while i < n:
                    y, i = tf.nn.relu6(y * 2), i + 1
            else:
                y = tf.minimum(x, 5.0)
            return tf.reduce_sum(y) + tf.cast(tf.reduce_sum(ids), tf.float32)

        return tf.identity(compute(x, n, ids), name="z").op.name


def _run_counted(build, feeds):
    graph = tf.Graph()
    name = build(graph)
    graph_def = graph.as_graph_def()
    survey = goals.survey_graph(graph_def, ["z:0"], ["x:0", "n:0", "ids:0"])
    assert name == "z"
    assert not counters.add_counters(graph_def, survey.probes)
    found = []
    with tf.Graph().as_default() as counted, tf.compat.v1.Session(graph=counted) as session:
        tf.import_graph_def(graph_def, name="")
        handles = [
            tf.raw_ops.VarHandleOp(dtype=tf.int64, shape=[len(p.sides)], shared_name=counters.counter_name(i))
            for i, p in enumerate(survey.probes)
        ]
        if "table/Assign" in {op.name for op in counted.get_operations()}:
            session.run("table/Assign")
        for feed in feeds:
            for handle, probe in zip(handles, survey.probes, strict=True):
                session.run(tf.raw_ops.AssignVariableOp(resource=handle, value=tf.zeros([len(probe.sides)], tf.int64)))
            value = session.run("z:0", {f"{key}:0": v for key, v in feed.items()})
            reached = {
                (probe.kind, side)
                for handle, probe in zip(handles, survey.probes, strict=True)
                for side, count in zip(
                    probe.sides,
                    session.run(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.int64)).tolist(),
                    strict=True,
                )
                if count
            }
            found.append((float(value), reached))
    return survey, found


_SMALL, _LARGE = np.ones([1, 2], np.float32), np.full([1, 2], 60, np.float32)
_FEEDS = [
    {"x": _SMALL, "n": 3, "ids": [0]},
    {"x": _LARGE, "n": 0, "ids": [0, 3]},
    {"x": _LARGE, "n": 1, "ids": [1]},
    {"x": _LARGE, "n": 2, "ids": [2]},
]


@pytest.mark.parametrize("build", [_build_v1, _build_functional])
def test_counts_branches_rounds_and_sides(build):
    survey, found = _run_counted(build, _FEEDS)
    reached = [sides for _, sides in found]

    assert (goals.BRANCHES, "not taken") in reached[0]
    assert (goals.ACTIVATIONS, "first is smaller") in reached[0]
    assert not {side for kind, side in reached[0] if kind == goals.LOOPS}
    for sides, rounds in zip(reached[1:], ("no round", "one round", "several rounds"), strict=True):
        assert {side for kind, side in sides if kind == goals.LOOPS} == {rounds}
        assert {side for kind, side in sides if kind == goals.BRANCHES} == {"taken"}
    assert (goals.ACTIVATIONS, "upper side") in reached[2]
    assert (goals.ACTIVATIONS, "upper side") not in reached[1]
    assert 100.0 in survey.constants
    assert 5.0 in survey.constants


def test_counts_rows_of_a_small_table():
    _, found = _run_counted(_build_v1, _FEEDS)

    assert [{side for kind, side in sides if kind == goals.ROWS} for _, sides in found] == [
        {"row 0"},
        {"row 0", "row 3"},
        {"row 1"},
        {"row 2"},
    ]


def test_values_stay():
    _, found = _run_counted(_build_v1, _FEEDS)

    assert [value for value, _ in found] == [4.0, 124.0, 14.0, 14.0]


def test_what_no_input_changes_is_no_goal():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [], name="x")
        tf.add(x, tf.nn.relu(tf.constant(1.0)), name="z")
    assert not goals.survey_graph(graph.as_graph_def(), ["z:0"], ["x:0"]).probes


def test_counts_hits_and_misses_of_a_table():
    with tf.Graph().as_default() as graph:
        words = tf.compat.v1.placeholder(tf.string, [None], name="words")
        initializer = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([-1, 1], tf.int64))
        tf.identity(tf.lookup.StaticHashTable(initializer, -1).lookup(words), name="z")
        initializers = [op.name for op in tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS)]
    graph_def = graph.as_graph_def()
    survey = goals.survey_graph(graph_def, ["z:0"], ["words:0"])
    (probe,) = survey.probes
    assert (probe.kind, probe.sides) == (goals.LOOKUPS, ("hit", "miss"))
    counters.add_counters(graph_def, survey.probes)
    with tf.Graph().as_default() as counted, tf.compat.v1.Session(graph=counted) as session:
        tf.import_graph_def(graph_def, name="")
        handle = tf.raw_ops.VarHandleOp(dtype=tf.int64, shape=[2], shared_name=counters.counter_name(0))
        session.run([*initializers])
        counts = []
        for fed in (["a"], ["x"]):
            session.run(tf.raw_ops.AssignVariableOp(resource=handle, value=tf.zeros([2], tf.int64)))
            session.run("z:0", {"words:0": fed})
            counts.append(session.run(tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.int64)).tolist())
    # The key "a" has the value that a missing key gets: a hit all the same.
    assert counts == [[1, 0], [0, 1]]
