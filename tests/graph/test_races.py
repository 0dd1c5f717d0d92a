"""Reads and writes of one call that TF1 put in no order."""

import pytest
import tensorflow as tf

from migrate.graph.index import GraphIndex
from migrate.graph.races import find_racing_outputs

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
