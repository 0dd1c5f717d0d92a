"""`--level=trajectory`: migrated models learn as their originals do; what learns otherwise is told with its step."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

import migrate
from migrate import detect, errors
from migrate.verdict import TRAJECTORY
from migrate.verify.courses import (
    OPTIMIZERS,
    Adam,
    Course,
    Momentum,
    clip_gradients,
    load_courses,
    save_courses,
    sketch,
)
from migrate.verify.judging.courses import compare_courses
from migrate.verify.judging.judgement import Criteria
from tests import sharing

TESTDATA = pathlib.Path(__file__).resolve().parents[2] / "testdata"
MODELS = sorted(path.parent for kind in ("zoo", "control_flow") for path in (TESTDATA / kind).glob("*/model"))
# A hub module with losses; update ops and reference variables; a loop of TF1; an original that cannot train.
FAST = ("hub_dense_l2", "frozen_constants")
STEPS = 2


def train(source, target, **options):
    """The verification of a migration at the trajectory level."""
    outcome = migrate.migrate_model(source, target, migrate.MigrateOptions(verify="none"))
    assert outcome.status.value == "migrated", outcome.error
    options = {"level": TRAJECTORY, "batch_sizes": (1, 3), "steps": STEPS} | options
    return migrate.compare_models(source, target, migrate.CompareOptions(**options))


def steps_of(verification):
    return [diff for diff in verification.diffs if diff.level == TRAJECTORY]


@pytest.mark.parametrize(
    "model", [p if p.name in FAST else pytest.param(p, marks=pytest.mark.slow) for p in MODELS], ids=lambda p: p.name
)
def test_migrated_model_learns_as_its_original(model, tmp_path):
    """Every model is trained, or the report says why its original cannot be."""
    source = detect.detect_format(model / "model").path
    found = train(source, tmp_path / "new")
    bad = [f"{diff.where}/{diff.output}: {diff.message}" for diff in steps_of(found) if not diff.equal]
    assert not bad, bad
    assert not [problem for problem in found.problems if "the candidate cannot" in problem], found.problems
    (item,) = [item for item in found.coverage if item.level == TRAJECTORY]
    assert item.reached == item.total or item.missed
    assert (found.levels[TRAJECTORY].value == "PASS") == bool(steps_of(found))
    reasons = [line for line in found.not_compared if line.startswith("trajectory: ")]
    assert steps_of(found) or reasons


def test_what_is_compared(tmp_path):
    """Losses, gradients, regularization and every variable, after each step of each optimizer."""
    found = train(TESTDATA / "zoo" / "hub_dense_l2" / "model", tmp_path / "new", steps=3)
    places = {diff.where for diff in steps_of(found)}
    label = next(iter(places)).rpartition("/")[0]
    assert places == {f"{label}/{name} step {number}" for name in OPTIMIZERS for number in (1, 2, 3)}
    outputs = {diff.output for diff in steps_of(found)}
    assert {"objective", "regularization_losses/0"} <= outputs
    trained = {name.removeprefix("gradient of ") for name in outputs if name.startswith("gradient of ")}
    assert trained and trained <= outputs
    assert "training steps 6 of 6" in found.coverage_line


class Learner(tf.Module):
    """y = tanh(x w) - mean, with a moving mean and an L2 loss; each fault shows in training only."""

    def __init__(self, *, decay=0.9, l2=0.1, late=False, frozen=False):
        super().__init__()
        self.w = tf.Variable(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), name="w")
        self.mean = tf.Variable(np.zeros(3, np.float32), trainable=False, name="mean")
        self.calls = tf.Variable(0.0, trainable=False, name="calls")
        self.variables_ = [self.w, self.mean, self.calls]
        self.trained = [] if frozen else [self.w]
        self.decay, self.l2, self.late = decay, l2, late

    def __call__(self, x, training=False):
        kernel = self.w
        if self.late:  # right for two steps, twice as steep from the third on
            factor = tf.where(self.calls >= 2, 2.0, 1.0)
            kernel = factor * kernel - tf.stop_gradient((factor - 1) * kernel)
        y = tf.tanh(x @ kernel)
        if training:
            # At once, as TF1 would: after what reads them.
            with tf.control_dependencies([y]):
                self.calls.assign_add(1.0)
                self.mean.assign(self.decay * self.mean + (1 - self.decay) * tf.reduce_mean(y, 0))
            return {"y": y - tf.reduce_mean(y, 0)}
        return {"y": y - self.mean}

    def penalize(self):
        return self.l2 * tf.reduce_sum(tf.square(self.w))


def save_learner(folder, **changes):
    learner = Learner(**changes)
    spec = tf.TensorSpec([None, 4], tf.float32, "x")
    root = tf.Module()
    root.learner = learner
    call = tf.function(learner.__call__, autograph=False)
    for training in (False, True):
        call.get_concrete_function(spec, training=training)
    serve = tf.function(lambda x: learner(x), input_signature=[spec], autograph=False)
    loss = tf.function(learner.penalize, input_signature=[], autograph=False)
    exported = tf.train.Checkpoint()
    exported.__call__ = call
    exported.variables = learner.variables_
    exported.trainable_variables = learner.trained
    exported.regularization_losses = [loss]
    tf.saved_model.save(exported, str(folder), signatures={"serving_default": serve})
    return folder


# Fault -> the first step that shows it and what it is seen in.
FAULTS = {
    "sound": ({}, None),
    "moving mean decays faster": ({"decay": 0.8}, ("sgd step 1", "mean")),
    "loss of another strength": ({"l2": 0.05}, ("sgd step 1", "regularization_losses/0")),
    "gradient wrong later on": ({"late": True}, ("sgd step 3", "gradient of w")),
    "trains nothing": ({"frozen": True}, None),
}


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    return save_learner(tmp_path_factory.mktemp("learner") / "old")


@pytest.mark.parametrize("fault", sharing.mark_slow(FAULTS, but=3))
def test_faults_of_training(learner, tmp_path, fault):
    changes, culprit = FAULTS[fault]
    options = migrate.CompareOptions(level=TRAJECTORY, steps=3, batch_sizes=(2,))
    found = migrate.compare_models(learner, save_learner(tmp_path / "new", **changes), options)
    bad = [diff for diff in steps_of(found) if not diff.equal]
    if fault == "sound":
        assert found.levels[TRAJECTORY].value == found.verdict.value == "PASS", found.failures
        assert len({diff.where for diff in steps_of(found)}) == 6
    elif culprit is None:
        assert "the baseline trains, the candidate cannot: it has no trainable variables" in " ".join(found.problems)
    else:
        step, output = culprit
        assert found.levels[TRAJECTORY].value == found.verdict.value == "FAIL"
        assert bad[0].where.endswith(step), [diff.where for diff in bad]
        assert output in {diff.output for diff in bad if diff.where == bad[0].where}
    if fault == "gradient wrong later on":
        assert not [diff for diff in found.diffs if not diff.equal and diff.level != TRAJECTORY], found.failures


def test_wrong_number_of_steps():
    with pytest.raises(errors.UsageError, match="--steps"):
        migrate.CompareOptions(level=TRAJECTORY, steps=0)


def course(*steps, optimizer="sgd", reason=""):
    listed = [{name: np.float32(value) for name, value in step.items()} for step in steps]
    return Course(label="train/f", optimizer=optimizer, outputs=("y",), steps=listed, reason=reason)


def judge(old, new):
    return compare_courses([old], [new] if new else [], Criteria(), steps=2, skipped=())


def test_a_course_is_judged_up_to_its_first_departure():
    old = course({"objective": 1.0}, {"objective": 2.0}, {"objective": 3.0})
    found = judge(old, course({"objective": 1.0}, {"objective": 2.5}, {"objective": 9.0}))
    assert [diff.equal for diff in found.diffs] == [True, False]
    assert found.diffs[1].where == "train/f/sgd step 2"
    assert found.coverage[0].reached == 1


def test_gradient_without_namesake_is_a_difference():
    found = judge(course({"gradient of w": 1.0, "other": 1.0}), course({"gradient of v": 1.0}))
    assert [diff.message for diff in found.diffs] == ["the candidate lacks it"]


def test_reasons():
    found = judge(course(reason="no gradient"), None)
    assert found.not_compared == ("trajectory: train/f: the baseline cannot train: no gradient",)
    assert not found.problems and not found.diffs
    found = judge(course({"objective": 1.0}), course(reason="it broke"))
    assert found.problems == ("train/f/sgd: the baseline trains, the candidate cannot: it broke",)


def test_optimizers_by_hand():
    w, g = np.array([1.0]), np.array([0.5])
    momentum = Momentum(rate=0.1)
    first = momentum.apply("w", w, g, 1)
    second = momentum.apply("w", first, g, 2)
    np.testing.assert_allclose([first[0], second[0]], [0.95, 0.95 - 0.1 * (0.45 + 0.5)])
    # The first step of Adam has the length of its rate, but for epsilon.
    np.testing.assert_allclose(Adam(rate=0.01).apply("w", w, g, 1), [1 - 0.01 * 0.5 / (0.5 + 1e-4)])
    # What is nothing but rounding moves nothing.
    assert abs(Adam().apply("w", w, np.array([1e-9]), 1)[0] - 1) < 1e-6


def test_clipping_and_sketches():
    clipped = clip_gradients({"a": np.array([3.0]), "b": np.array([4.0], np.float32)})
    np.testing.assert_allclose([clipped["a"][0], clipped["b"][0]], [0.6, 0.8])
    large = np.zeros((300, 100), np.float32)
    for place in ((0, 0), (150, 51), (299, 99), (7, 13)):
        changed = large.copy()
        changed[place] = 1.0
        assert not np.allclose(sketch(large), sketch(changed), atol=1e-5), place
    assert sketch(np.ones(5)).shape == (5,)


def test_codec(tmp_path):
    save_courses(tmp_path, [course({"objective": 1.0, "a/b|c": [1, 2]}), course(optimizer="adam", reason="why")])
    first, second = load_courses(tmp_path)
    assert first.steps[0]["a/b|c"].tolist() == [1, 2] and first.outputs == ("y",)
    assert second.reason == "why" and second.steps == []
