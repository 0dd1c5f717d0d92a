"""Keras files as a side: every level, the names they answer to, and what no one can load."""

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import migrate
from migrate import errors
from migrate.comparison import naming

from .keras_models import build


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same model as HDF5, as .keras, as a SavedModel of Keras, and as a TF1 SavedModel with keys of its own."""
    folder = tmp_path_factory.mktemp("keras")
    model = build()
    model.save(folder / "m.h5")
    model.save(folder / "m.keras")
    model.save(folder / "saved", save_format="tf")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.keras.backend.set_session(session)
        again = build(dropout=False)
        tf.compat.v1.saved_model.simple_save(
            session, str(folder / "tf1"), {"x": again.inputs[0]}, {"y": again.outputs[0]}
        )
    return folder


def compare(baseline, candidate, **options):
    return migrate.compare_models(baseline, candidate, migrate.CompareOptions(**options))


@pytest.mark.slow
def test_every_level_of_a_keras_file_and_its_saved_model(files):
    found = compare(files / "m.h5", files / "saved", level="gradients")
    assert found.verdict.value == "PASS", found.failures
    assert found.not_compared == ()
    places = {(diff.level, diff.where, diff.output) for diff in found.diffs}
    assert ("inference", "serve/serving_default/batch_3", "scores") in places
    assert ("inference", "train/serving_default/batch_3", "scores") in places
    assert ("training", "regularization_losses", "0") in places
    assert ("training", "update", "normal/moving_mean") in places
    assert ("training", "variables", "scores/kernel") in places
    assert ("gradients", "serve/serving_default/batch_1", "d scores / d hidden/kernel") in places
    assert any("compared in distribution" in note for note in found.notes), "dropout is not on"


def test_a_keras_file_answers_to_the_names_of_a_tf1_model(files):
    """TF1 exports choose keys of their own: x and y here, which no layer is called."""
    found = compare(files / "tf1", files / "m.keras", level="inference")
    assert found.verdict.value == "PASS", found.failures
    assert any("input 'features' as 'x', output 'scores' as 'y'" in note for note in found.notes)
    assert {diff.output for diff in found.diffs} == {"y"}
    # And the other way round.
    back = compare(files / "m.h5", files / "tf1", level="interface")
    assert back.verdict.value == "PASS", back.failures


@pytest.mark.slow
def test_a_candidate_without_training_mode_fails_at_the_training_level(files):
    found = compare(files / "m.h5", files / "tf1", level="training")
    assert found.verdict.value == "FAIL"
    assert any("the candidate has no training mode of this signature" in line for line in found.failures)
    assert compare(files / "m.h5", files / "tf1").verdict.value == "PASS"


def test_a_changed_weight_is_found(files, tmp_path):
    model = tf_keras.models.load_model(files / "m.h5", compile=False)
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([kernel, bias + np.float32([0, 1e-2, 0])])
    model.save(tmp_path / "changed.h5")
    found = compare(files / "m.h5", tmp_path / "changed.h5", bisect=True)
    assert found.verdict.value == "FAIL" and "elements differ" in found.failures[0]
    assert [item["node"] for item in found.bisection] == [f"{model.name}/scores/BiasAdd/ReadVariableOp"]


def test_a_weight_that_no_call_shows_is_found_at_the_training_level(files, tmp_path):
    """Behind a relu that no input opens."""
    for name, amount in (("old", 0.0), ("new", 0.5)):
        x = tf_keras.Input([4], name="x")
        hidden = tf_keras.layers.Dense(3, activation="relu", kernel_initializer="zeros", name="dead")(x)
        model = tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(hidden))
        model.set_weights([np.zeros((4, 3)), -np.ones(3), np.full((3, 2), amount), np.zeros(2)])
        model.save(tmp_path / f"{name}.h5")
    assert compare(tmp_path / "old.h5", tmp_path / "new.h5").is_bit_identical
    found = compare(tmp_path / "old.h5", tmp_path / "new.h5", level="training")
    assert found.verdict.value == "FAIL" and "variables/y/kernel" in found.failures[0]


def test_keras_3_file(tmp_path):
    import keras

    x = keras.Input([4], name="x")
    keras.Model(x, keras.layers.Dense(2, name="y", kernel_regularizer="l2")(x)).save(tmp_path / "m.keras")
    found = compare(tmp_path / "m.keras", tmp_path / "m.keras", level="gradients")
    assert found.verdict.value == "PASS", found.failures
    assert found.is_bit_identical
    assert {diff.output for diff in found.diffs if diff.level == "gradients"} == {
        "d y / d input x",
        "d y / d y/kernel",
        "d y / d y/bias",
    }
    assert any("has no training mode that changes anything" in line for line in found.not_compared)


def test_what_cannot_be_loaded_says_why(files, tmp_path):
    model = build()
    model.save_weights(tmp_path / "weights.h5")
    with pytest.raises(errors.BlockedError, match="holds weights without a model"):
        compare(tmp_path / "weights.h5", files / "m.h5")
    model.save(tmp_path / "strange.h5")
    with h5py.File(tmp_path / "strange.h5", "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"Dense"', '"Attention2017"')
    with pytest.raises(errors.CorruptModelError, match=r"Attention2017.*--custom_objects"):
        compare(files / "m.h5", tmp_path / "strange.h5")
    (tmp_path / "cut.h5").write_bytes((files / "m.h5").read_bytes()[:500])
    with pytest.raises(errors.CorruptModelError, match=r"cannot be read.*truncated"):
        compare(tmp_path / "cut.h5", files / "m.h5")
    x = tf_keras.Input([2], name="x")
    tf_keras.Model(x, tf_keras.layers.Lambda(lambda x: x + 1)(x)).save(tmp_path / "code.h5")
    with pytest.raises(errors.BlockedError, match=r"holds Python code.*--allow_lambda"):
        compare(tmp_path / "code.h5", files / "m.h5")


@pytest.mark.parametrize(
    ("own", "other", "pairs"),
    [
        (["a"], ["x"], {"a": "x"}),
        (["a", "b"], ["b", "x"], {"a": "x", "b": "b"}),
        (["a", "b"], ["x", "y"], {"a": "a", "b": "b"}),
        (["a"], ["x", "y"], {"a": "a"}),
    ],
)
def test_only_what_is_left_alone_on_both_sides_is_paired(own, other, pairs):
    assert naming.pair_keys(own, other) == pairs
