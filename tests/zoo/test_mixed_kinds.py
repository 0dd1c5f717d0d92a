"""A folder that mixes every kind of source: each model is migrated with PASS, or blocked for what it lacks."""

import os
import pathlib
import shutil
import tarfile

import keras
import pytest
import tensorflow as tf
import tf_keras

from migrate import zoo
from migrate.options import ZooOptions

tf1 = tf.compat.v1
CATALOGUE = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"


def build_dense(library):
    x = library.Input([4], name="x")
    return library.Model(x, library.layers.Dense(2, name="y")(x))


def write_graphs(frozen, training):
    """A classifier as its trainer left it, and frozen."""
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        x = tf1.placeholder(tf.float32, [None, 3], name="x")
        weights = tf1.get_variable("weights", [3, 2], initializer=tf1.random_normal_initializer(seed=1))
        tf.nn.softmax(tf.matmul(x, weights), name="probabilities")
        session.run(tf1.global_variables_initializer())
        training.mkdir()
        tf1.train.Saver().save(session, str(training / "model.ckpt"), global_step=7)
        constant = tf1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["probabilities"])
    frozen.write_bytes(constant.SerializeToString())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed") / "zoo"
    root.mkdir()
    shutil.copytree(CATALOGUE / "hub_dense_l2" / "model", root / "module")
    shutil.copytree(CATALOGUE / "saved_model_pbtxt" / "model", root / "saved_model")
    shutil.copytree(CATALOGUE / "frozen_constants" / "model", root.parent / "packed")
    with tarfile.open(root / "archive.tar.gz", "w:gz") as archive:
        archive.add(root.parent / "packed", "model")
    write_graphs(root / "frozen.pb", root / "training")
    model = build_dense(tf_keras)
    model.save(root / "whole.h5")
    model.save(root / "second.keras")
    build_dense(keras).save(root / "third.keras")
    model.save_weights(root / "alone_weights.h5")
    model.save_weights(root / "alone" / "cp-0001.ckpt")
    tf_keras.Sequential([tf_keras.layers.Lambda(lambda x: x + 1, input_shape=[4], name="code")]).save(root / "code.h5")
    (root / "damaged.h5").write_bytes((root / "whole.h5").read_bytes()[:3000])
    (root / "notes.txt").write_text("a zoo")
    yield root, zoo.migrate_zoo(root, root.parent / "tf2", ZooOptions(jobs=2))
    shutil.rmtree(root.parent)


def test_every_kind_is_migrated_or_says_what_it_lacks(report):
    root, done = report
    found = {os.path.relpath(outcome.source, root): outcome for outcome in done.outcomes}
    migrated = {name: outcome for name, outcome in found.items() if outcome.status.value == "migrated"}
    assert {name: outcome.format for name, outcome in migrated.items()} == {
        "archive.tar.gz": "tf1_saved_model",
        "frozen.pb": "frozen_graph",
        "module": "tf1_hub_module",
        "saved_model": "tf1_saved_model",
        "second.keras": "keras_v3",
        "third.keras": "keras_v3",
        "training": "checkpoint",
        "whole.h5": "keras_h5",
    }
    assert {outcome.verification.verdict.value for outcome in migrated.values()} == {"PASS"}
    assert all(os.path.isfile(os.path.join(outcome.dest, "saved_model.pb")) for outcome in migrated.values())
    blocked = {name: outcome.error for name, outcome in found.items() if outcome.status.value == "blocked"}
    assert set(found) == {*migrated, *blocked}
    assert set(blocked) == {"alone", "alone_weights.h5", "code.h5", "damaged.h5"}
    assert "--architecture" in blocked["alone"] and "--architecture" in blocked["alone_weights.h5"]
    assert "--allow_lambda" in blocked["code.h5"] and "copy it again" in blocked["damaged.h5"]
