"""Weights without a model: the architecture comes from JSON, YAML or code; every weight is accounted for."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import yaml

import migrate
from migrate.options import MigrateOptions, ReadOptions


def build(units=3):
    x = tf_keras.Input([4], name="x")
    hidden = tf_keras.layers.Dense(units, activation="tanh", name="hidden")(x)
    return tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(hidden))


@pytest.fixture
def model(tmp_path, monkeypatch):
    made = build()
    made.save_weights(tmp_path / "m_weights.h5")
    (tmp_path / "m.json").write_text(made.to_json())
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(json.loads(made.to_json())))
    (tmp_path / "other.json").write_text(build(5).to_json())
    (tmp_path / "my_models.py").write_text(
        "import tf_keras\n"
        "def build():\n"
        "    x = tf_keras.Input([4], name='x')\n"
        "    h = tf_keras.layers.Dense(3, activation='tanh', name='hidden')(x)\n"
        "    return tf_keras.Model(x, tf_keras.layers.Dense(2, name='y')(h))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return made


def migrate_weights(folder, **read):
    options = MigrateOptions(read=ReadOptions(**read), overwrite=True)
    return migrate.migrate_model(folder / "m_weights.h5", folder / "out", options)


def test_architecture_from_json_yaml_and_code(model, tmp_path):
    value = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    for read in (
        {"architecture": str(tmp_path / "m.json")},
        {"architecture": str(tmp_path / "m.yaml")},
        {"builder": "my_models:build"},
    ):
        outcome = migrate_weights(tmp_path, **read)
        assert outcome.status.value == "migrated" and outcome.verification.verdict.value == "PASS", outcome.error
        np.testing.assert_allclose(tf.saved_model.load(outcome.dest)(value), model(value), rtol=1e-5, atol=1e-6)


def test_weights_of_another_architecture_list_both_sides(model, tmp_path):
    outcome = migrate_weights(tmp_path, architecture=str(tmp_path / "other.json"))
    assert outcome.status.value == "blocked" and not (tmp_path / "out").exists()
    assert "hidden/kernel:0 is [4, 3] in the file, [4, 5] in the model" in outcome.error
    (tmp_path / "less.json").write_text(
        tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=[4], name="hidden")]).to_json()
    )
    outcome = migrate_weights(tmp_path, architecture=str(tmp_path / "less.json"))
    assert "without weights in the file: none; without a layer: y" in outcome.error
