"""Parts of Keras models: pieces by layer names, a core with its heads, explanation signatures; all against Keras."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras

import migrate
from migrate import errors, inspection, readers
from migrate.options import MigrateOptions, ReadOptions
from migrate.verdict import Verdict
from tests.catalogue.truth import TESTDATA
from tests.readers.keras.pretrainer import LAYERS, build_pretrainer

TOKENS = np.array([[1, 2, 3, 4], [0, 8, 7, 1]], np.int32)


@pytest.fixture(scope="module")
def model():
    return build_pretrainer()


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "pretrainer.h5"
    model.save(path)
    return path


def migrate_with(file, dest, **read):
    outcome = migrate.migrate_model(file, dest, MigrateOptions(read=ReadOptions(**read)))
    assert outcome.status.value == "migrated", outcome.error
    assert outcome.verification.verdict is Verdict.PASS
    return outcome


@pytest.fixture(scope="module")
def core(file, tmp_path_factory):
    """The core with its heads and vocabulary, and a piece across layers of the core."""
    dest = tmp_path_factory.mktemp("core") / "out"
    vocabulary = file.with_name("vocab.txt")
    vocabulary.write_text("the\nquick\n", encoding="utf-8")
    told = {"vocab_file": str(vocabulary), "do_lower_case": "false"}
    return migrate_with(file, dest, core="encoder", pieces=("hidden:normal",), **told)


def names_of(variables):
    return sorted(variable.name.removesuffix(":0") for variable in variables)


def test_core_is_the_root(core, model):
    loaded = tf.saved_model.load(core.dest)
    encoder = model.get_layer("encoder")
    found = loaded(TOKENS)
    for key, value in zip(("drop", "pooled"), encoder(TOKENS), strict=True):
        np.testing.assert_allclose(found[key], value, rtol=1e-5)
    assert names_of(loaded.variables) == names_of(encoder.variables)
    assert names_of(loaded.trainable_variables) == names_of(encoder.trainable_variables)
    assert len(loaded.regularization_losses) == 1 < len(model.losses)


def test_heads_are_pieces(core, model):
    loaded = tf.saved_model.load(core.dest)
    weights = np.ones([2, 4], np.float32)
    expected = model([TOKENS, weights])
    found = loaded(TOKENS)
    np.testing.assert_allclose(loaded.next_one(found["pooled"]), expected[1], rtol=1e-5)
    np.testing.assert_allclose(loaded.masked({"drop": found["drop"], "weights": weights}), expected[0], rtol=1e-5)
    assert names_of(loaded.masked.trainable_variables) == ["masked/bias", "masked/kernel"]
    assert len(loaded.masked.regularization_losses) == 1
    assert set(loaded.signatures) == {"serving_default", "masked", "next_one", "normal"}


def test_core_brings_its_vocabulary(core, tmp_path):
    """As Model Garden exports one; it moves with the model, survives a second save, and is no variable of the core."""
    moved = tmp_path / "moved"
    shutil.copytree(core.dest, moved)
    loaded = tf.saved_model.load(moved)
    tf.saved_model.save(loaded, tmp_path / "again")
    for found in (loaded, tf.saved_model.load(tmp_path / "again")):
        path = found.vocab_file.asset_path.numpy().decode()
        assert path.startswith(str(tmp_path)) and tf.io.gfile.GFile(path).read() == "the\nquick\n"
        assert found.do_lower_case.numpy() == np.False_
        assert "do_lower_case" not in names_of(found.variables)
        assert names_of(found.masked.trainable_variables) == ["masked/bias", "masked/kernel"]


def test_piece_has_the_whole_interface(core, model):
    """Named by its last layer, with a training mode that moves averages and losses of its own layers."""
    loaded = tf.saved_model.load(core.dest)
    value = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 4, 3)
    encoder = model.get_layer("encoder")
    expected = encoder.get_layer("normal")(encoder.get_layer("hidden")(value))
    np.testing.assert_allclose(loaded.normal(value, training=False), expected, rtol=1e-5)
    wanted = [*encoder.get_layer("hidden").variables, *encoder.get_layer("normal").variables]
    assert names_of(loaded.normal.variables) == names_of(wanted)
    assert len(loaded.normal.trainable_variables) == 4 and len(loaded.normal.regularization_losses) == 1
    (mean,) = [v for v in loaded.normal.variables if "moving_mean" in v.name]
    before = mean.numpy()
    batch = np.mean(encoder.get_layer("hidden")(value), (0, 1))
    np.testing.assert_allclose(loaded.normal(value, training=True).shape, expected.shape)
    np.testing.assert_allclose(mean, 0.6 * before + 0.4 * batch, rtol=1e-4)


def test_parts_are_compared(core):
    places = {diff.where.split("/")[1] for diff in core.verification.diffs if "/" in diff.where}
    assert {"serving_default", "masked", "next_one", "normal"} <= places
    assert {"piece (core)", "piece masked", "piece normal"} <= {diff.where for diff in core.verification.diffs}


def test_core_trains_as_a_layer(core):
    layer = hub.KerasLayer(core.dest, trainable=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(TOKENS)["pooled"] ** 2)
    gradients = tape.gradient(loss, layer.trainable_weights)
    assert len(gradients) == 5 and all(gradient is not None for gradient in gradients)
    assert len(layer.losses) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pieces": ("hiden:normal",)}, "has no layer 'hiden' [its layers: hidden, tokens, encoder, weights"),
        ({"pieces": ("normal:hidden",)}, "'normal' does not lead to hidden"),
        ({"pieces": ("hidden:masked",)}, "in different submodels"),
        ({"pieces": ("encoder:masked",)}, "masked also needs weights"),
        ({"pieces": ("p(x=a:0)->(y=b:0)",)}, "names no two layers"),
        ({"core": "masked"}, "is a layer, not a model [its submodels: encoder]"),
        ({"core": "nothing"}, "is no layer of the model [its submodels: encoder]"),
        ({"vocab_file": "/nowhere/vocab.txt"}, "there is no file /nowhere/vocab.txt"),
        ({"xai": True, "core": "encoder"}, "the core takes other inputs than numbers"),
        ({"xai": True, "preprocessing": "nowhere:f"}, "cannot be imported"),
    ],
)
def test_wrong_names(file, tmp_path, options, said):
    with pytest.raises(errors.UsageError) as raised:
        readers.read_model(file, ReadOptions(**options), str(tmp_path))
    assert said in str(raised.value)


def test_wrong_name_writes_nothing(file, tmp_path):
    with pytest.raises(errors.UsageError, match="its layers: hidden"):
        migrate.migrate_model(file, tmp_path / "out", MigrateOptions(read=ReadOptions(pieces=("hiden:normal",))))
    assert not (tmp_path / "out").exists()


def parse_rows(texts):
    """Rows of numbers as text: "1;2;3"."""
    split = tf.strings.split(texts, ";").to_tensor(shape=[None, 3])
    return {"x": tf.strings.to_number(split)}


@pytest.fixture(scope="module")
def explained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    x = tf_keras.Input([3], name="x")
    hidden = LAYERS.Dense(4, activation="tanh", name="hidden")(x)
    tf_keras.Model(x, LAYERS.Dense(2, name="scores")(hidden)).save(folder / "m.h5")
    return migrate_with(folder / "m.h5", folder / "out", xai=True, preprocessing=f"{__name__}:parse_rows")


def test_preprocessing_gives_all_three(explained):
    loaded = tf.saved_model.load(explained.dest)
    assert set(loaded.signatures) == {"serving_default", "xai_model", "xai_preprocess"}
    given = loaded.signatures["xai_preprocess"](texts=tf.constant(["1;2;3", "0;-1;0.5"]))
    model = loaded.signatures["xai_model"]
    assert set(given) == set(model.structured_input_signature[1])
    with tf.GradientTape() as tape:
        tape.watch(given["x"])
        scores = model(**given)["scores"]
    assert np.abs(tape.gradient(scores, given["x"])).min() > 0
    np.testing.assert_allclose(scores, loaded.signatures["serving_default"](x=given["x"])["scores"])


@pytest.mark.slow
def test_ids_are_cut_behind_the_embedding(tmp_path):
    """What a mask hangs on is no place to cut: the recurrent layer would not know it."""
    ids = tf_keras.Input([4], name="ids", dtype="int32")
    masked = LAYERS.GRU(3, name="read")(LAYERS.Embedding(9, 3, mask_zero=True, name="words")(ids))
    plain = LAYERS.Flatten(name="flat")(LAYERS.Embedding(9, 2, name="plain")(ids))
    scores = LAYERS.Dense(2, name="scores")(LAYERS.Concatenate(name="both")([masked, plain]))
    tf_keras.Model(ids, scores).save(tmp_path / "m.h5")
    outcome = migrate_with(tmp_path / "m.h5", tmp_path / "out", xai=True)
    loaded = tf.saved_model.load(outcome.dest)
    given = loaded.signatures["xai_preprocess"](ids=tf.constant(TOKENS))
    assert set(given) == {"read", "plain"} == set(loaded.signatures["xai_model"].structured_input_signature[1])
    found = loaded.signatures["xai_model"](**given)["scores"]
    np.testing.assert_allclose(found, loaded(TOKENS), rtol=1e-5)


@pytest.mark.parametrize("lacking", ["Mystery", pytest.param(None, marks=pytest.mark.slow)])
def test_saved_model_that_keras_cannot_rebuild_is_migrated_by_its_graph(tmp_path, lacking):
    """A layer of a lost library: the graph beside the config needs none of its code, and computes what it did."""
    source = tmp_path / "source"
    shutil.copytree(TESTDATA / "keras" / "tfkeras_224_dense_saved" / "model", source)
    config = source / "assets" / "saved_model.json"
    if lacking:
        config.write_text(config.read_text(encoding="utf-8").replace('"Dense"', f'"{lacking}"'), encoding="utf-8")
    outcome = migrate.migrate_model(source, tmp_path / "out")
    assert outcome.status.value == "migrated" and outcome.verification.verdict.value == "PASS", outcome.error
    assert outcome.format == ("tf1_saved_model" if lacking else "keras_saved_model")
    left = [finding for finding in outcome.findings if finding.code == "keras-structure-left-behind"]
    assert len(left) == bool(lacking) and all(lacking in finding.message for finding in left)
    compared = migrate.compare_models(source, outcome.dest)
    assert compared.verdict is Verdict.PASS and compared.diffs
    if lacking:
        named = MigrateOptions(read=ReadOptions(custom_objects=("os:path",)))
        assert migrate.migrate_model(source, tmp_path / "other", named).status.value == "blocked"


def test_config_beside_a_graph_is_scanned(tmp_path):
    """What Keras would run of a SavedModel of tf.keras in TF1, as of a file."""
    source = tmp_path / "source"
    shutil.copytree(TESTDATA / "keras" / "tfkeras_224_dense_saved" / "model", source)
    assert inspection.scan_source(source) == ()
    config = source / "assets" / "saved_model.json"
    told = json.loads(config.read_text(encoding="utf-8"))
    code = ["4wEAAAA=\n", None, None]
    entry = {"class_name": "Lambda", "config": {"name": "bad", "function_type": "lambda", "function": code}}
    told["config"]["layers"].append(entry)
    config.write_text(json.dumps(told), encoding="utf-8")
    assert [finding.code for finding in inspection.scan_source(source)] == ["keras-code"]
    config.write_text("{", encoding="utf-8")
    with pytest.raises(errors.CorruptModelError, match="is no config"):
        inspection.scan_source(source)
