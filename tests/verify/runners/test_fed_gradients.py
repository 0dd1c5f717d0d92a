"""A signature may feed a tensor that the graph computes from another input: fed, it depends on nothing."""

import numpy as np
import tensorflow as tf

import migrate

v1 = tf.compat.v1


def test_what_is_fed_hands_no_gradient_on(tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        scaled = tf.multiply(x, 2.0, name="scaled")
        weights = v1.get_variable("w", initializer=np.arange(6, dtype=np.float32).reshape(3, 2))
        y = tf.matmul(tf.tanh(scaled), weights, name="y")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "original"), {"x": x, "scaled": scaled}, {"y": y})
    outcome = migrate.migrate_model(tmp_path / "original", tmp_path / "migrated")
    assert outcome.status.value == "migrated", outcome.error
    options = migrate.CompareOptions(level="trajectory", steps=2)
    found = migrate.compare_models(tmp_path / "original", outcome.dest, options)
    assert found.verdict.value == "PASS", found.failures
    assert {level: verdict.value for level, verdict in found.levels.items()}["gradients"] == "PASS"
