"""--coverage: inputs that the default ones do not think of are found, and a fault that shows there only is caught."""

import dataclasses

import pytest
import tensorflow as tf

from migrate import comparison
from migrate.options import CompareOptions
from migrate.verdict import INPUTS, Verdict


def _save(folder, factor):
    """y = x, or x * factor in a branch that is taken where all of x is large."""
    tf.compat.v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
            weight = tf.compat.v1.get_variable("weight", initializer=1.0, use_resource=False)
            smallest = tf.reduce_min(x) * weight
            y = tf.compat.v1.cond(smallest > 70.0, lambda: x * factor, lambda: tf.identity(x))
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": tf.identity(y)})
    finally:
        tf.compat.v1.enable_control_flow_v2()
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coverage")
    return _save(folder / "old", 2.0), _save(folder / "new", 2.5)


@pytest.fixture(scope="module")
def covered(models):
    return comparison.compare_models(*models, CompareOptions(coverage=True))


def test_fault_in_a_branch_that_default_inputs_do_not_reach(models, covered):
    assert comparison.compare_models(*models, CompareOptions()).verdict is Verdict.PASS

    assert covered.verdict is Verdict.FAIL
    assert {diff.where.rpartition("/")[2][:8] for diff in covered.diffs if not diff.equal} == {"reached_"}


def test_line_says_what_was_reached(covered):
    (branches,) = [item for item in covered.coverage if item.name == "branches"]

    assert branches.level == INPUTS
    assert branches.describe() == "branches 2 of 2"
    assert "branches 2 of 2" in covered.coverage_line
    assert not branches.missed
    assert any("a search of" in note for note in covered.notes)


def test_reaching_proves_no_level(covered):
    only = [item for item in covered.coverage if item.level == INPUTS]
    bare = dataclasses.replace(covered, diffs=(), coverage=tuple(only), problems=())

    assert bare.levels["inference"] is Verdict.NOTHING_COMPARED
