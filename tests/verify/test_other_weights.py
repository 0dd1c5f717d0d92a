"""Other weights on both sides: what a model's own hide from every input shows with them."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import migrate
from migrate.verify.weights import draw_all, draw_weights
from tests.faults import planting

v1 = tf.compat.v1


def test_drawn_by_name_and_shape_alone():
    own = np.linspace(-3, 5, 12, dtype=np.float32).reshape(3, 4)
    drawn = draw_weights("layer/kernel", own)
    assert drawn.dtype == np.float32 and drawn.shape == (3, 4)
    assert np.array_equal(drawn, draw_weights("layer/kernel", own * 2 - 1))
    assert not np.array_equal(drawn, draw_weights("other/kernel", own))


def test_what_is_never_negative_stays_so():
    assert draw_weights("moving_variance", np.ones(100, np.float32)).min() >= 0.5
    assert draw_weights("bias", np.zeros(100, np.float32)).min() < 0


def test_only_floats_get_others():
    loaded = {"step": np.array(3), "name": np.array([b"x"], object), "w": np.ones((2, 2), np.float64)}
    assert list(draw_all(loaded)) == ["w"]


@pytest.fixture(scope="module")
def saturated(tmp_path_factory):
    """(original, its migration): a bias of zero, and weights so large that its output is 0 or 1 for any input; an
    update op, though no training graph."""
    base = tmp_path_factory.mktemp("saturated")
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        weights = v1.get_variable("w", initializer=np.full((4, 3), -3e4, np.float32) + np.eye(4, 3, dtype=np.float32))
        bias = v1.get_variable("b", initializer=np.zeros(3, np.float32))
        hidden = tf.nn.relu(tf.add(tf.matmul(x, weights), bias, name="biased"))
        offset = v1.get_variable("c", initializer=np.full(1, -1e8, np.float32))
        y = tf.sigmoid(tf.reduce_sum(hidden, 1) + offset, name="y")
        seen = v1.get_variable("seen", initializer=np.float32(0), trainable=False)
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, v1.assign_add(seen, tf.reduce_sum(x)))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(base / "original"), {"x": x}, {"y": y})
    outcome = migrate.migrate_model(base / "original", base / "migrated")
    assert outcome.status.value == "migrated", outcome.error
    return base / "original", outcome.dest


FAULTS = {
    "nothing": (None, ""),
    "activation": (planting.set_op("Elu"), "with other weights"),
    "sign of the bias": (planting.set_op("Sub"), "with other weights"),
    "update": (planting.set_op("AssignSubVariableOp"), "update/seen"),
}
PLACES = {"activation": ("Relu", ""), "sign of the bias": ("AddV2", "biased"), "update": ("AssignAddVariableOp", "")}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_weights_hide(saturated, tmp_path, fault):
    original, migrated = saturated
    shutil.copytree(migrated, tmp_path / "candidate")
    change, message = FAULTS[fault]
    if change is not None:
        op, name = PLACES[fault]
        planting.change_nodes(tmp_path / "candidate", op, change, name=name)
    found = migrate.compare_models(original, tmp_path / "candidate", migrate.CompareOptions(level="training"))
    assert bool(found.failures) == bool(message)
    assert all(message in line for line in found.failures[:1]), found.failures
    if fault != "update" and message:
        at_own = migrate.compare_models(original, tmp_path / "candidate", migrate.CompareOptions(level="inference"))
        assert at_own.verdict.value == "PASS", "it shows with its own weights, too"
