"""hub.Module over what is neither a module nor a SavedModel: Keras files, frozen graphs, training checkpoints."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from compat import hub
from migrate.options import ReadOptions

TESTDATA = pathlib.Path(__file__).resolve().parents[2] / "testdata"
ZOO, KERAS = TESTDATA / "zoo", TESTDATA / "keras"
KEY = "serving_default"


def _apply(handle, inputs, tags=("serve",)):
    """Outputs, and the names of the variables that train."""
    with tf.Graph().as_default():
        module = hub.Module(handle, trainable=True, tags=set(tags))
        outputs = module({key: tf.constant(value) for key, value in inputs.items()}, signature=KEY, as_dict=True)
        with tf.compat.v1.Session() as session:
            session.run([tf.compat.v1.global_variables_initializer(), tf.compat.v1.tables_initializer()])
            trained = [variable.op.name.removeprefix("module/") for variable in tf.compat.v1.trainable_variables()]
            return session.run(outputs), trained


def _assert_same(found, expected):
    assert found.keys() == expected.keys() and found
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-6)


def _read_zoo(slug):
    """Inputs and outputs of the first recorded call."""
    arrays = [np.load(ZOO / slug / f"{name}.npz") for name in ("inputs", "outputs")]
    inputs = {key.split("|")[2]: value for key, value in arrays[0].items() if key.startswith("0|")}
    return inputs, {key.split("|")[3]: value for key, value in arrays[1].items() if key.split("|")[1] == "0"}


def _read_keras(slug):
    arrays = {tuple(key.split("|")): value for key, value in np.load(KERAS / slug / "truth.npz").items()}
    first = {key: value for key, value in arrays.items() if key[1] == "0" and len(key) == 3}
    inputs, outputs = ({key[2]: value for key, value in first.items() if key[0] == k} for k in ("input", "output"))
    trained = json.loads((KERAS / slug / "origin.json").read_text(encoding="utf-8"))["trainable_variables"]
    return inputs, outputs, trained


@pytest.mark.parametrize(
    ("slug", "place"),
    [
        ("frozen_classifier", "frozen.pb"),
        pytest.param("tf18_frozen_recurrent", "frozen.pbtxt", marks=pytest.mark.slow),
        ("checkpoint_recorded", "model.ckpt-40"),
        pytest.param("checkpoint_v1", "", marks=pytest.mark.slow),
    ],
)
def test_graph(slug, place):
    """A file, a prefix, a folder: the outputs are those that TF1 recorded."""
    inputs, expected = _read_zoo(slug)
    found, trained = _apply(str(ZOO / slug / "model" / place), inputs)
    _assert_same(found, expected)
    assert bool(trained) == slug.startswith("checkpoint")


def test_keras_file():
    """It serves and trains, with the variables that Keras trains."""
    inputs, expected, variables = _read_keras("tfkeras_224_dense")
    path = str(KERAS / "tfkeras_224_dense" / "model.h5")
    assert list(hub.load_module_spec(path).get_tags()) == [frozenset({"serve"}), frozenset({"train"})]
    found, trained = _apply(path, inputs)
    _assert_same(found, expected)
    assert sorted(trained) == sorted(variables)


def test_what_the_reader_is_told():
    """Weights need their architecture: without it the error says so, and how to say it."""
    folder = KERAS / "tfkeras_224_weights_tf"
    path = str(folder / "model" / "weights")
    with pytest.raises(OSError, match=r"(?s)--architecture.*create_module_spec_from_source"):
        hub.load_module_spec(path)
    spec = hub.create_module_spec_from_source(path, ReadOptions(architecture=str(folder / "model.json")))
    inputs, expected, _ = _read_keras("tfkeras_224_weights_tf")
    _assert_same(_apply(spec, inputs)[0], expected)


def test_damaged_file(tmp_path):
    data = (KERAS / "tfkeras_224_dense" / "model.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(OSError, match=r"cut\.h5"):
        hub.load_module_spec(str(tmp_path / "cut.h5"))
