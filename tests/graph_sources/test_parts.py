"""What graphs give beside their signatures: explanation signatures, and pieces."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

import migrate
from migrate.options import ReadOptions

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained") / "model"
    options = migrate.MigrateOptions(read=ReadOptions(xai=True))
    outcome = migrate.migrate_model(ZOO / "estimator_dnn_classifier" / "model" / "1580000000", folder, options)
    assert outcome.verification.verdict.value == "PASS", outcome
    return tf.saved_model.load(str(folder))


def make_examples():
    def feature(**value):
        return tf.train.Feature(**{k: getattr(tf.train, v[0])(value=v[1]) for k, v in value.items()})

    features = {
        "weight": feature(float_list=("FloatList", [1.0])),
        "position": feature(float_list=("FloatList", [0.1, 0.2])),
        "species": feature(bytes_list=("BytesList", [b"ant"])),
        "colour": feature(bytes_list=("BytesList", [b"red"])),
        "tag": feature(bytes_list=("BytesList", [b"u"])),
    }
    return tf.constant([tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()] * 2)


def test_preprocess_gives_what_the_model_takes(explained):
    """Keys, dtypes and shapes; together they are the signature that they explain."""
    given = explained.signatures["xai_preprocess"]
    taken = explained.signatures["xai_model"]
    inputs = taken.structured_input_signature[1]
    assert set(given.structured_outputs) == set(inputs)
    assert all(spec.dtype.is_floating for spec in inputs.values())
    examples = make_examples()
    numbers = given(inputs=examples)
    found = taken(**numbers)
    expected = explained.signatures["serving_default"](inputs=examples)
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-6)


def test_every_number_has_a_gradient(explained):
    numbers = explained.xai_preprocess(make_examples())
    with tf.GradientTape() as tape:
        tape.watch(numbers)
        # A sum of probabilities is always one: a single class has slopes.
        scores = explained.xai_model(numbers)["scores"][:, 0]
    gradients = tape.gradient(scores, numbers)
    assert len(gradients) == len(numbers) >= 5
    for key, gradient in gradients.items():
        assert gradient is not None and np.isfinite(gradient.numpy()).all() and np.abs(gradient.numpy()).max() > 0, key


def test_numbers_need_no_preprocessing(tmp_path):
    options = migrate.MigrateOptions(read=ReadOptions(xai=True), verify="none")
    outcome = migrate.migrate_model(ZOO / "frozen_classifier" / "model", tmp_path / "out", options)
    assert outcome.status.value == "migrated", outcome.error
    signatures = tf.saved_model.load(str(tmp_path / "out")).signatures
    assert set(signatures) == {"serving_default", "xai_model"}


def test_core_of_a_graph(tmp_path):
    """The root applies the piece, with its own variables; what the whole graph had stays a piece of its own."""
    read = ReadOptions(
        thaw=True, core="encode", pieces=("encode(x=images:0)->(code=dense/BiasAdd:0)",), do_lower_case="true"
    )
    options = migrate.MigrateOptions(read=read)
    outcome = migrate.migrate_model(ZOO / "frozen_classifier" / "model", tmp_path / "out", options)
    assert outcome.verification.verdict.value == "PASS", outcome
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    images = tf.random.stateless_uniform([2, 6, 6, 1], [1, 2])
    (code,) = tf.nest.flatten(loaded(images))
    assert code.shape == (2, 5) and loaded.do_lower_case.numpy()
    assert set(loaded.signatures) == {"serving_default", "encode"}
    whole, own = ({v.name for v in part.variables} for part in (loaded.serving_default, loaded))
    assert own and own < whole
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.nest.flatten(loaded(images))[0])
    assert all(gradient is not None for gradient in tape.gradient(total, loaded.trainable_variables))


# What the core has of its own, of all that the whole has: variables, those that train, regularization losses.
@pytest.mark.parametrize(
    ("slug", "core", "own", "whole"),
    [
        ("hub_image_batch_norm", "default", (10, 6, 2), (12, 8, 3)),
        ("saved_model_methods", "lookup", (1, 1, 0), (2, 2, 0)),
    ],
)
def test_core_that_is_a_signature(tmp_path, slug, core, own, whole):
    """Of a module and of a plain SavedModel: the root is the signature, all others are pieces beside it."""
    options = migrate.MigrateOptions(read=ReadOptions(core=core))
    outcome = migrate.migrate_model(ZOO / slug / "model", tmp_path / "core", options)
    assert outcome.verification.verdict.value == "PASS", outcome.error
    module = tf.saved_model.load(outcome.dest)

    def count(part):
        return tuple(
            len(getattr(part, name, ())) for name in ("variables", "trainable_variables", "regularization_losses")
        )

    assert count(module) == own and count(module.whole) == whole
    assert {key for key in module.signatures if callable(getattr(module, key, None))} == {*module.signatures} - {core}
    layer = hub.KerasLayer(outcome.dest, trainable=True)
    assert (len(layer.trainable_weights), len(layer.losses)) == own[1:]


def test_core_that_no_graph_has(tmp_path):
    options = migrate.MigrateOptions(read=ReadOptions(core="absent"))
    with pytest.raises(migrate.errors.UsageError, match=r"no signature 'absent'.*lookup, predict"):
        migrate.migrate_model(ZOO / "saved_model_methods" / "model", tmp_path / "core", options)


def test_piece_of_a_graph(tmp_path):
    options = migrate.MigrateOptions(read=ReadOptions(pieces=("encode(x=images:0)->(code=dense/BiasAdd:0)",)))
    outcome = migrate.migrate_model(ZOO / "frozen_classifier" / "model", tmp_path / "out", options)
    assert outcome.verification.verdict.value == "PASS", outcome
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    assert loaded.encode(tf.zeros([2, 6, 6, 1]))["code"].shape == (2, 5)
    assert set(loaded.signatures) == {"serving_default", "encode"}
