"""Weights without a model in the formats that name no layers: TF's checkpoints and Keras' numbered HDF5."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import yaml

import migrate
from migrate.inspection import inspect_model
from migrate.options import MigrateOptions, ReadOptions

VALUE = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


def build(library=tf_keras, units=3):
    x = library.Input([4], name="x")
    hidden = library.layers.Dense(units, activation="tanh", name="hidden")(x)
    hidden = library.layers.BatchNormalization(name="normed")(hidden)
    return library.Model(x, library.layers.Dense(2, name="y")(hidden))


def fill(model, seed):
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.5, 1.5, weight.shape).astype("float32") for weight in model.get_weights()])
    return np.asarray(model(VALUE))


def migrate_weights(path, **read):
    dest = path.parent / f"out_of_{path.name}"
    return migrate.migrate_model(path, dest, MigrateOptions(read=ReadOptions(**read), overwrite=True))


def assert_computes(outcome, expected):
    assert outcome.status.value == "migrated", outcome.error
    assert outcome.verification.verdict.value == "PASS"
    np.testing.assert_allclose(tf.saved_model.load(outcome.dest)(VALUE), expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two checkpoints of a trained model in `ckpts`, one of a tf.train.Checkpoint, one by variables' names; JSON."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def expected(folder):
    model = build()
    model.compile("adam", "mse")
    model.fit(VALUE, np.zeros([2, 2]), verbose=0)
    (folder / "m.json").write_text(model.to_json())
    (folder / "other.json").write_text(build(units=5).to_json())
    values = {"first": fill(model, 1)}
    model.save_weights(folder / "ckpts" / "cp-0001.ckpt")
    values["last"] = fill(model, 2)
    model.save_weights(folder / "ckpts" / "cp-0002.ckpt")
    tf.train.Checkpoint(net=model, step=tf.Variable(1)).write(folder / "held" / "ckpt")
    model.save_weights(folder / "m.weights.h5")
    third = build(keras)
    values["third"] = fill(third, 3)
    third.save_weights(folder / "third.weights.h5")
    (folder / "third.json").write_text(third.to_json())
    return values


def test_folder_of_checkpoints_gives_its_newest_or_the_chosen_one(folder, expected):
    known = {"architecture": str(folder / "m.json")}
    newest = migrate_weights(folder / "ckpts", **known)
    assert_computes(newest, expected["last"])
    assert newest.format == "keras_weights"
    found = {finding.code: finding.message for finding in newest.findings}
    assert "cp-0001.ckpt" in found["checkpoint-chosen"] and "optimizer (" in found["optimizer-left-behind"]
    assert_computes(migrate_weights(folder / "ckpts", checkpoint="cp-0001.ckpt", **known), expected["first"])
    inspection = inspect_model(folder / "ckpts" / "cp-0001.ckpt", ReadOptions(**known))
    assert inspection.variants[0].trainable == 6 and inspection.variants[0].variables == 8


def test_model_within_a_checkpoint_of_objects(folder, expected):
    outcome = migrate_weights(folder / "held", architecture=str(folder / "m.json"))
    assert_computes(outcome, expected["last"])
    assert any("step (1 value)" in finding.message for finding in outcome.findings)


def test_checkpoint_of_another_architecture_or_of_none(folder, expected):
    outcome = migrate_weights(folder / "ckpts", architecture=str(folder / "other.json"))
    assert outcome.status.value == "blocked"
    assert "[4, 3] in the checkpoint, [4, 5] in the model" in outcome.error
    smaller = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=[4], name="hidden")])
    (folder / "less.json").write_text(smaller.to_json())
    outcome = migrate_weights(folder / "ckpts", architecture=str(folder / "less.json"))
    assert "without a value in the checkpoint: none; without a variable: layer_with_weights-1/" in outcome.error
    assert "--architecture" in migrate_weights(folder / "ckpts").error


@pytest.mark.slow
def test_numbered_weights_of_either_keras(folder, expected):
    assert_computes(migrate_weights(folder / "m.weights.h5", architecture=str(folder / "m.json")), expected["last"])
    third = migrate_weights(folder / "third.weights.h5", architecture=str(folder / "third.json"))
    assert_computes(third, expected["third"])
    wrong = migrate_weights(folder / "third.weights.h5", architecture=str(folder / "other.json"))
    assert "layers/dense/vars/0 is [4, 3] in the file, [4, 5] in the model" in wrong.error


@pytest.mark.parametrize(
    ("weights", "config", "severity"),
    [
        ("net.weights.h5", "net.json", "info"),
        pytest.param("net_weights.hdf5", "net.yaml", "info", marks=pytest.mark.slow),
        ("weights.01-0.20.h5", "anything.json", "warning"),
        pytest.param("net", "net.json", "info", marks=pytest.mark.slow),
        ("net", "net/architecture.json", "warning"),
    ],
)
def test_config_beside_weights(folder, expected, tmp_path, weights, config, severity):
    """It is taken by name, or where it is the only one; other JSON is no config."""
    source = {".h5": folder / "m.weights.h5", ".hdf5": folder / "m.weights.h5"}.get((tmp_path / weights).suffix)
    shutil.copytree(folder / "ckpts", tmp_path / weights) if source is None else shutil.copy(source, tmp_path / weights)
    text = (folder / "m.json").read_text()
    if config.endswith(".yaml"):
        text = yaml.safe_dump(json.loads(text))
        (tmp_path / "other.json").write_text((folder / "other.json").read_text())
    (tmp_path / config).write_text(text)
    (tmp_path / "history.json").write_text('{"loss": [1, 2]}')
    outcome = migrate_weights(tmp_path / weights)
    assert outcome.status.value == "migrated", outcome.error
    np.testing.assert_allclose(tf.saved_model.load(outcome.dest)(VALUE), expected["last"], rtol=1e-5, atol=1e-6)
    (found,) = [finding for finding in outcome.findings if finding.code == "architecture-beside"]
    assert (tmp_path / config).name in found.message and found.severity.value == severity


def test_one_of_several_configs_beside_weights_is_not_guessed(folder, expected, tmp_path):
    shutil.copy(folder / "m.weights.h5", tmp_path / "some.weights.h5")
    for name in ("m.json", "other.json"):
        shutil.copy(folder / name, tmp_path / name)
    assert "--architecture" in migrate_weights(tmp_path / "some.weights.h5").error
    (tmp_path / "m.json").unlink()
    assert "[4, 3] in the file, [4, 5] in the model" in migrate_weights(tmp_path / "some.weights.h5").error


def test_old_format_under_the_new_name(folder, expected):
    model = build()
    value = fill(model, 4)
    model.save_weights(folder / "old.h5")
    (folder / "old.h5").rename(folder / "old.weights.h5")
    assert_computes(migrate_weights(folder / "old.weights.h5", architecture=str(folder / "m.json")), value)
