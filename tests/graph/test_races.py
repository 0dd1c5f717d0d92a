"""Reads and writes of one call that TF1 put in no order."""

import pytest
import tensorflow as tf

from migrate.graph.index import GraphIndex
from migrate.graph.races import find_races, find_racing_outputs, order_reads_first

v1 = tf.compat.v1


@pytest.mark.parametrize("resource", [False, True])
def test_a_read_beside_a_write(resource):
    with tf.Graph().as_default() as graph:
        total = v1.get_variable("total", [], use_resource=resource, initializer=v1.zeros_initializer())
        other = v1.get_variable("other", [], use_resource=resource, initializer=v1.zeros_initializer())
        x = v1.placeholder(tf.float32, [])
        update = v1.assign_add(total, x)
        with tf.control_dependencies([update]):
            after = tf.identity(total.read_value()) * 2
        outputs = {
            "value": tf.identity(total.read_value()) + 1,
            "update": tf.identity(update),
            "after": after,
            "other": other.read_value() + x,
        }
    names = {key: [tensor.name] for key, tensor in outputs.items()}
    index = GraphIndex(graph.as_graph_def())
    assert find_racing_outputs(index, names) == {"value"}
    assert find_racing_outputs(index, {key: names[key] for key in ("value", "other")}) == set(), "nothing writes"


def find(graph, **outputs):
    return find_racing_outputs(GraphIndex(graph.as_graph_def()), {key: [t.name] for key, t in outputs.items()})


@pytest.mark.parametrize("resource", [False, True])
def test_branches_and_loops_that_read_are_no_writes(resource):
    v1.disable_control_flow_v2()
    with tf.Graph().as_default() as graph:
        weight = v1.get_variable("weight", [], use_resource=resource, initializer=v1.ones_initializer())
        x = v1.placeholder(tf.float32, [])
        branch = v1.cond(x > 0, lambda: weight * x, lambda: x - weight)
        loop = v1.while_loop(lambda y: y < 10.0, lambda y: y + tf.abs(weight) + 1.0, [x])
        plain = weight * 3.0
    ops = {node.op for node in graph.as_graph_def().node}
    assert {"Switch", "Enter"} <= ops, "these are v1's branches and loops"
    assert find(graph, branch=branch, loop=loop, plain=plain) == set()


@pytest.mark.parametrize("resource", [False, True])
def test_a_write_in_a_branch_races_with_a_read_beside_it(resource):
    v1.disable_control_flow_v2()
    with tf.Graph().as_default() as graph:
        weight = v1.get_variable("weight", [], use_resource=resource, initializer=v1.ones_initializer())
        x = v1.placeholder(tf.float32, [])

        def write():
            with tf.control_dependencies([v1.assign_add(weight, x)]):
                return tf.identity(x)

        branch = v1.cond(x > 0, write, lambda: x)
        plain = weight.read_value() * 3.0
    assert find(graph, branch=branch, plain=plain) == {"plain"}
    assert find(graph, plain=plain) == set()


def test_functions_that_read_are_no_writes_and_those_that_write_are():
    with tf.Graph().as_default() as graph:
        weight = v1.get_variable("weight", [], use_resource=True, initializer=v1.ones_initializer())
        x = v1.placeholder(tf.float32, [])

        @tf.function(autograph=False)
        def read(y):
            return weight * y

        @tf.function(autograph=False)
        def write(y):
            return weight.assign_add(y) * 2.0

        harmless, harmful, plain = read(x), write(x), weight.read_value() * 3.0
    assert find(graph, harmless=harmless, plain=plain) == set()
    assert "plain" in find(graph, harmful=harmful, plain=plain)


def test_reads_come_first_in_the_copy():
    with tf.Graph().as_default() as graph:
        total = v1.get_variable("total", [], use_resource=True, initializer=v1.ones_initializer())
        value = tf.identity(total.read_value(), name="value")
        update = tf.identity(v1.assign_add(total, 5.0), name="update")
    names = [value.name, update.name]
    ordered = order_reads_first(graph.as_graph_def(), names)
    assert find_races(GraphIndex(graph.as_graph_def()), names) and not find_races(GraphIndex(ordered), names)
    for _ in range(3):
        with tf.Graph().as_default() as fresh, v1.Session(graph=fresh) as session:
            tf.import_graph_def(ordered, name="")
            session.run("total/Assign")
            assert session.run(names) == [1, 6]


def test_what_takes_the_memory_of_a_reference_reads_it_then():
    """TF1's Identity does not copy: a write that comes after it, and before the op that takes what it gives, shows."""
    with tf.Graph().as_default() as graph:
        total = v1.get_variable("total", [3], use_resource=False, initializer=v1.ones_initializer())
        shared = tf.reshape(tf.identity(total, name="shared"), [3], name="reshaped")
        x = v1.placeholder(tf.float32, [])
        value = tf.add(shared, x, name="value")
        update = v1.assign_add(total, [5.0] * 3, name="update")
        with tf.control_dependencies([shared]):
            written_after_the_identity = v1.assign_add(total, [1.0] * 3, name="later")
    names = [value.name, update.name, written_after_the_identity.name]
    index = GraphIndex(graph.as_graph_def())
    races = find_races(index, names)
    assert {("value", "update"), ("value", "later")} <= set(races)
    assert ("shared", "later") not in races, "an edge says which comes first"
    ordered = order_reads_first(graph.as_graph_def(), names)
    waiting = {node.name: set(node.input) for node in ordered.node}
    assert "^value" in waiting["update"] and "^value" in waiting["later"]
    assert not {race for race in find_races(GraphIndex(ordered), names) if "value" in race}
