"""`--also=keras`: the same model for Keras 3, or no file and the reason."""

import keras
import numpy as np
import pytest
import tf_keras

import migrate
from migrate import detect, keras3
from migrate.inputs import calls
from migrate.options import MigrateOptions, ReadOptions, Tolerance

ALSO = MigrateOptions(also=("keras",))
LAYERS = tf_keras.layers


def build():
    """Layers with arguments that Keras 3 no longer knows (time_major, noise_shape, groups), a frozen one, a loss."""
    ids = tf_keras.Input([6], dtype="int32", name="ids")
    words = LAYERS.SpatialDropout1D(0.5)(LAYERS.Embedding(9, 4, name="words")(ids))
    seen = LAYERS.SeparableConv1D(5, 2, depthwise_regularizer="l2", name="seen")(words)
    state = LAYERS.LSTM(3, name="state")(seen)
    frozen = LAYERS.Dense(2, kernel_regularizer="l1", name="frozen")
    frozen.trainable = False
    model = tf_keras.Model(ids, [LAYERS.BatchNormalization(name="normal")(state), frozen(state)])
    random = np.random.default_rng(3)
    model.set_weights([random.uniform(0.1, 0.4, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def find(outcome, code):
    return [finding for finding in outcome.findings if finding.code == code]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras3")
    model = build()
    model.save(folder / "m.h5")
    return model, migrate.migrate_model(folder / "m.h5", folder / "out", ALSO), folder


def test_the_same_model(written):
    model, outcome, folder = written
    assert outcome.status.value == "migrated", outcome.error
    (told,) = find(outcome, keras3.WRITTEN)
    assert "outputs" in told.message and "regularization losses" in told.message
    loaded = keras.models.load_model(folder / "out.keras", compile=False)
    ids = np.array([[1, 2, 3, 4, 5, 6], [8, 0, 0, 7, 2, 1], [3, 3, 3, 3, 3, 3]], np.int32)
    for expected, found in zip(model(ids), loaded(ids), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert [w.shape for w in loaded.trainable_weights] == [w.shape for w in model.trainable_weights]
    assert not loaded.get_layer("frozen").trainable
    assert "losses of frozen layers are left out" in told.message
    loaded.get_layer("frozen").trainable = True
    assert float(sum(loaded.losses)) == pytest.approx(float(sum(map(float, model.losses))))


def test_an_existing_file_is_kept(written):
    _, _, folder = written
    before = (folder / "out.keras").read_bytes()
    (folder / "other.keras").write_bytes(b"mine")
    with pytest.raises(migrate.errors.DestinationError, match="exists"):
        migrate.migrate_model(folder / "m.h5", folder / "other", ALSO)
    assert (folder / "other.keras").read_bytes() == b"mine"
    assert (folder / "out.keras").read_bytes() == before


@pytest.mark.slow
def test_activation_that_is_another_function_in_keras_3(tmp_path):
    """Its hard_sigmoid has another slope, which positive weights alone do not show: the gates are saturated."""
    assert keras3._is_another("hard_sigmoid") and not keras3._is_another("sigmoid")
    x = tf_keras.Input([4, 2], name="x")
    state = LAYERS.Bidirectional(LAYERS.GRU(3, recurrent_activation="hard_sigmoid"), name="state")(x)
    gates = LAYERS.Activation("hard_sigmoid", name="gates")(LAYERS.Dense(3, activation="hard_sigmoid")(state))
    model = tf_keras.Model(x, gates)
    model.set_weights([np.random.default_rng(5).normal(size=w.shape) * 2 for w in model.get_weights()])
    model.save(tmp_path / "m.h5")
    outcome = migrate.migrate_model(tmp_path / "m.h5", tmp_path / "out", ALSO)
    assert outcome.status.value == "migrated", outcome.error
    assert find(outcome, keras3.WRITTEN), outcome.findings
    loaded = keras.models.load_model(tmp_path / "out.keras", compile=False)
    values = np.random.default_rng(6).normal(size=[16, 4, 2]).astype(np.float32) * 4
    expected = model(values).numpy()
    assert len(np.unique(expected)) > 20, "the activations are saturated"
    np.testing.assert_allclose(loaded(values), expected, rtol=1e-5, atol=1e-6)


def test_what_keras_3_cannot_express_is_not_written(tmp_path):
    tf_keras.Sequential([LAYERS.LocallyConnected1D(2, 2, input_shape=[4, 2], name="local")]).save(tmp_path / "m.h5")
    outcome = migrate.migrate_model(tmp_path / "m.h5", tmp_path / "out", MigrateOptions(also=("keras",), verify="none"))
    assert outcome.status.value == "migrated", outcome.error
    (told,) = find(outcome, keras3.NOT_WRITTEN)
    assert "Keras 3 cannot express it" in told.message and "LocallyConnected1D" in told.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.h5", "out"]


@pytest.mark.slow
def test_models_within_models(tmp_path):
    """A Sequential that is applied twice, one within it, a functional model: Keras 3 counts their calls otherwise."""
    deepest = tf_keras.Sequential([LAYERS.Dense(3, activation="tanh", input_shape=[3], name="low")], name="deepest")
    inner = tf_keras.Sequential([LAYERS.Dense(3, input_shape=[3], name="first"), deepest], name="inner")
    a, b, c = (tf_keras.Input([3], name=name) for name in "abc")
    functional = tf_keras.Model(c, LAYERS.Dense(3, name="own")(c), name="functional")
    joined = LAYERS.Subtract(name="apart")([inner(a), functional(b)])
    model = tf_keras.Model([a, b], [LAYERS.Dense(2, name="y")(joined), inner(b)])
    model.save(tmp_path / "m.h5")
    outcome = migrate.migrate_model(tmp_path / "m.h5", tmp_path / "out", ALSO)
    assert outcome.status.value == "migrated", outcome.error
    assert find(outcome, keras3.WRITTEN), outcome.findings
    loaded = keras.models.load_model(tmp_path / "out.keras", compile=False)
    values = [np.random.default_rng(seed).normal(size=[4, 3]).astype(np.float32) for seed in (1, 2)]
    for expected, found in zip(model(values), loaded(values), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_source_without_keras_says_so(zoo_path, tmp_path):
    options = MigrateOptions(also=("keras",), verify="none")
    outcome = migrate.migrate_model(zoo_path / "frozen_constants" / "model", tmp_path / "out", options)
    assert outcome.status.value == "migrated", outcome.error
    assert "no architecture of Keras" in find(outcome, keras3.NOT_WRITTEN)[0].message


def test_nothing_is_written_on_calls_of_something_else(written, tmp_path):
    """Those of a core, say: they do not show that the whole is the same."""
    _, _, folder = written
    calls.save_calls(
        str(tmp_path), [calls.Call(tags=("serve",), signature="x", case="batch_1", inputs={"y": np.ones(2)})]
    )
    request = keras3.Keras3Request(
        source=detect.detect_format(folder / "m.h5"),
        read=ReadOptions(),
        calls=str(tmp_path),
        path=str(tmp_path / "m.keras"),
        scratch=str(tmp_path),
        tolerance=Tolerance(),
    )
    assert "no call of the whole model was planned" in keras3.write_model(request).refusal
    assert not (tmp_path / "m.keras").exists()
