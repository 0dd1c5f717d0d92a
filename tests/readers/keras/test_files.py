"""Keras files end to end: what Keras computes, in every mode, is what the migrated model computes."""

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras

import migrate


def build():
    """Two inputs, two outputs; regularizers, a frozen layer, moving averages, dropout, a recurrent layer, a mask."""
    layers = tf_keras.layers
    ids = tf_keras.Input([5], dtype="int32", name="ids")
    wide = tf_keras.Input([3], name="wide")
    words = layers.Embedding(7, 4, mask_zero=True, name="words")(ids)
    text = layers.LSTM(3, name="text")(words)
    frozen = layers.Dense(3, kernel_regularizer="l2", name="frozen")
    frozen.trainable = False
    both = layers.concatenate([text, frozen(wide)])
    normal = layers.BatchNormalization(momentum=0.7, name="normal")(both)
    hidden = layers.Dense(4, kernel_regularizer="l1", activity_regularizer="l2", name="hidden")(normal)
    scores = layers.Dense(2, name="scores")(layers.Dropout(0.5)(hidden))
    model = tf_keras.Model([ids, wide], [scores, hidden])
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.1, 1, w.shape).astype(np.float32) for w in model.get_weights()])
    model.compile(tf_keras.optimizers.Ftrl(l1_regularization_strength=0.25), "mse")
    return model


INPUTS = {
    "ids": np.array([[1, 2, 3, 0, 0], [6, 5, 0, 0, 0]], np.int32),
    "wide": np.array([[1, -2, 3], [0, 0.5, 1]], np.float32),
}


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module", params=["m.h5", pytest.param("m.keras", marks=pytest.mark.slow)])
def migrated(request, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    model.save(folder / request.param)
    outcome = migrate.migrate_model(folder / request.param, folder / "out")
    assert outcome.status.value == "migrated", outcome.error
    return outcome


def test_verified_against_keras(migrated):
    verification = migrated.verification
    assert verification.verdict.value == "PASS" and verification.outputs_compared > 16
    assert {diff.where for diff in verification.diffs} >= {"regularization_losses", "update"}
    assert any(diff.random for diff in verification.diffs), "dropout is not on"


def test_outputs(migrated, model):
    expected = model(INPUTS)
    loaded = tf.saved_model.load(migrated.dest)
    found = loaded({key: tf.constant(value) for key, value in INPUTS.items()})
    served = loaded.signatures["serving_default"](**{key: tf.constant(value) for key, value in INPUTS.items()})
    for name, value in zip(("scores", "hidden"), expected, strict=True):
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(served[name], value, rtol=1e-5, atol=1e-6)


def test_state(migrated, model):
    """Variables by the names of the file; a frozen layer stays frozen, moving averages never train."""
    loaded = tf.saved_model.load(migrated.dest)
    named = {v.name.removesuffix(":0"): v for v in loaded.variables}
    for variable in model.variables:
        name = variable.name.removesuffix(":0")
        np.testing.assert_array_equal(named[name], variable)
    trained = {v.name for v in model.trainable_variables}
    assert {v.name for v in loaded.trainable_variables} == trained
    assert "frozen/kernel:0" not in trained and "normal/moving_mean:0" not in trained


def test_losses_are_those_of_weights(migrated, model):
    loaded = tf.saved_model.load(migrated.dest)
    expected = [
        0.01 * np.sum(np.square(model.get_layer("frozen").kernel)),
        0.01 * np.sum(model.get_layer("hidden").kernel),
    ]
    np.testing.assert_allclose(sorted(float(f()) for f in loaded.regularization_losses), sorted(expected), rtol=1e-5)
    assert "regularization-loss-needs-input" in [finding.code for finding in migrated.findings]


def test_training_moves_averages(migrated, model):
    loaded = tf.saved_model.load(migrated.dest)
    (mean,) = [v for v in loaded.variables if v.name == "normal/moving_mean:0"]
    before = mean.numpy()
    loaded({key: tf.constant(value) for key, value in INPUTS.items()})
    np.testing.assert_array_equal(mean, before)
    loaded({key: tf.constant(value) for key, value in INPUTS.items()}, training=True)
    again = tf_keras.models.clone_model(model)
    again.set_weights(model.get_weights())
    again(INPUTS, training=True)
    np.testing.assert_allclose(mean, again.get_layer("normal").moving_mean, rtol=1e-5)
    assert not np.allclose(mean, before)


def test_optimizer_is_left_and_said(migrated):
    found = {finding.code: finding.message for finding in migrated.findings}
    assert "include_optimizer=False" in found["optimizer-left-behind"]
    assert "l1_regularization_strength=0.25" in found["optimizer-regularization-left-behind"]


def test_single_output_is_a_tensor_and_a_layer(tmp_path):
    x = tf_keras.Input([4], name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(x))
    model.save(tmp_path / "m.h5")
    outcome = migrate.migrate_model(tmp_path / "m.h5", tmp_path / "out")
    assert outcome.verification.verdict.value == "PASS", outcome
    value = np.ones((3, 4), np.float32)
    layer = hub.KerasLayer(outcome.dest, trainable=True)
    stacked = tf_keras.Sequential([tf_keras.Input([4]), layer, tf_keras.layers.Dense(1)])
    stacked.compile("sgd", "mse")
    stacked.fit(value, np.ones((3, 1)), verbose=0)
    assert len(layer.trainable_weights) == 2
    np.testing.assert_allclose(tf.saved_model.load(outcome.dest)(value), model(value), rtol=1e-5)


def test_stateful_layers_carry_their_state(tmp_path):
    """An inference call moves the states of a stateful RNN, in Keras and in the migrated model."""
    x = tf_keras.Input(batch_shape=[2, 3, 4], name="x")
    model = tf_keras.Model(x, tf_keras.layers.GRU(3, stateful=True, name="y")(x))
    model.save(tmp_path / "m.h5")
    outcome = migrate.migrate_model(tmp_path / "m.h5", tmp_path / "out", migrate.MigrateOptions(verify="none"))
    assert outcome.status.value == "migrated", outcome.error
    loaded = tf.saved_model.load(outcome.dest)
    value = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    first, second = (model.predict(value, verbose=0) for _ in range(2))
    assert not np.allclose(first, second)
    np.testing.assert_allclose(loaded(value), first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loaded(value), second, rtol=1e-5, atol=1e-6)


def test_damaged_files_are_blocked_and_nothing_is_written(model, tmp_path):
    model.save(tmp_path / "m.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "m.h5").read_bytes()[:9000])
    (tmp_path / "tail.h5").write_bytes((tmp_path / "m.h5").read_bytes()[:-2000])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1, 2, 3]
    model.save_weights(tmp_path / "weights.h5")
    for name, text in (
        ("cut.h5", "cannot be read"),
        ("tail.h5", "cannot be read"),
        ("other.h5", "none of Keras"),
        ("weights.h5", "weights without a model (10 layers, with weights words 7x4"),
    ):
        outcome = migrate.migrate_model(tmp_path / name, tmp_path / "out")
        assert outcome.status.value == "blocked" and text in outcome.error, outcome
        assert "\n" not in outcome.error
        assert not (tmp_path / "out").exists()
