"""Between a run and the next, nothing has happened."""

import pytest
import tensorflow as tf

from migrate.verify.runners.session_state import SessionState

v1 = tf.compat.v1


@pytest.mark.parametrize("resource", [False, True])
def test_what_a_call_writes_is_put_back(resource):
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        count = v1.get_variable("count", [2], use_resource=resource, initializer=v1.ones_initializer())
        empty = v1.get_variable("empty", [], use_resource=resource, initializer=v1.ones_initializer())
        out = tf.identity(v1.assign_add(count, [1.0, 2.0]), name="out")
        later = v1.assign_add(empty, 1.0)
        session.run(count.initializer)
        state = SessionState(session, graph, graph.as_graph_def(), [out.name, later.name])
        assert state.is_moved
        for _ in range(3):
            assert session.run("out:0").tolist() == [2, 3]
            state.restore()
            assert session.run(count).tolist() == [1, 1]
        with pytest.raises(tf.errors.FailedPreconditionError):
            session.run(empty)  # it had no value before, either


def test_calls_that_read_move_nothing():
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        weight = v1.get_variable("weight", [], use_resource=True, initializer=v1.ones_initializer())
        other = v1.assign_add(weight, 1.0)
        out = tf.identity(weight.read_value() * 2, name="out")
        session.run(weight.initializer)
        state = SessionState(session, graph, graph.as_graph_def(), [out.name])
        assert not state.is_moved
        session.run(other)
        state.restore()
        assert session.run(weight) == 2, "what no fetched op writes is left alone"
