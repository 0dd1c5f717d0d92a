"""Code in Keras files: Lambda layers run only where they are allowed and this Python wrote them; objects of the user's
own come from --custom_objects."""

import base64
import json
import marshal

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import migrate
from migrate.options import MigrateOptions, ReadOptions
from tests.catalogue.truth import TESTDATA

VALUE = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


def migrate_file(path, **read):
    options = MigrateOptions(read=ReadOptions(**read), overwrite=True)
    return migrate.migrate_model(path, path.parent / "out", options)


def assert_computes(outcome, expected):
    assert outcome.status.value == "migrated", outcome.error
    assert outcome.verification.verdict.value == "PASS"
    np.testing.assert_allclose(tf.saved_model.load(outcome.dest)(VALUE), expected, rtol=1e-5, atol=1e-6)


@pytest.fixture
def scaled(tmp_path):
    """A model with a Lambda, saved as HDF5."""
    layers = [
        tf_keras.layers.Dense(3, input_shape=[4], name="y"),
        tf_keras.layers.Lambda(lambda x: 2 * x, name="scale"),
    ]
    model = tf_keras.Sequential(layers)
    model.save(tmp_path / "m.h5")
    return model, tmp_path / "m.h5"


def change_code(path, change):
    """Rewrites the bytecode of the Lambda."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        (entry,) = [layer for layer in config["config"]["layers"] if layer["class_name"] == "Lambda"]
        function = entry["config"]["function"]
        if isinstance(function, dict):
            function = function["config"]
            function["code"] = base64.b64encode(change(base64.b64decode(function["code"]))).decode()
        else:
            function[0] = base64.b64encode(change(base64.b64decode(function[0]))).decode()
        file.attrs["model_config"] = json.dumps(config)


def test_lambda_is_refused_unless_it_is_allowed(scaled):
    model, path = scaled
    refused = migrate_file(path)
    assert refused.status.value == "blocked" and not (path.parent / "out").exists()
    assert "Lambda scale" in refused.error and "--allow_lambda" in refused.error
    assert_computes(migrate_file(path, allow_lambda=True), model(VALUE))


def test_lambda_of_a_keras_file(scaled):
    model, path = scaled
    archive = path.with_name("m.keras")
    model.save(archive)
    assert "--allow_lambda" in migrate_file(archive).error
    assert_computes(migrate_file(archive, allow_lambda=True), model(VALUE))


def test_code_is_not_run_before_it_is_allowed(tmp_path, monkeypatch):
    """Bytecode that leaves a trace when it is run, as it does here where the model is made."""
    monkeypatch.chdir(tmp_path)
    trace = tmp_path / "trace"
    model = tf_keras.Sequential(
        [tf_keras.layers.Lambda(lambda x: (open("TRACE", "w").close(), x)[1], input_shape=[4], name="bad")]
    )
    model.save(tmp_path / "m.h5")
    change_code(tmp_path / "m.h5", lambda code: marshal.dumps(replace_constant(marshal.loads(code), str(trace))))
    assert migrate_file(tmp_path / "m.h5").status.value == "blocked"
    assert not trace.exists()


def test_code_beside_the_function_counts(scaled):
    """`output_shape` may be code as well, under a function that is none."""
    _, path = scaled
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        (entry,) = [layer["config"] for layer in config["config"]["layers"] if layer["class_name"] == "Lambda"]
        entry |= {"output_shape": entry["function"], "output_shape_type": "lambda"}
        entry |= {"function": "relu", "function_type": "function"}
        file.attrs["model_config"] = json.dumps(config)
    refused = migrate_file(path)
    assert refused.status.value == "blocked" and "--allow_lambda" in refused.error
    assert "another Python" not in migrate_file(path, allow_lambda=True).error


def replace_constant(code, path):
    return code.replace(co_consts=tuple(path if value == "TRACE" else value for value in code.co_consts))


# marshal.dumps((lambda x: 2 * x).__code__) of CPython 2.7, 3.6 and 3.8: how the numbers before its bytes differ.
@pytest.mark.parametrize(
    ("count", "origin"), [(4, "Python 2"), (5, "Python 3.0 to 3.7"), (6, "Python 3.8 to 3.10")], ids=str
)
def test_bytecode_of_another_python_is_named(scaled, count, origin):
    _, path = scaled
    instructions = b"d\x01|\x00\x14\x00S\x00"
    foreign = b"\xe3" + b"\x01\0\0\0" * count + b"s" + len(instructions).to_bytes(4, "little") + instructions
    change_code(path, lambda code: foreign + b"N")
    outcome = migrate_file(path, allow_lambda=True)
    assert outcome.status.value == "blocked"
    assert f"Lambda scale ({origin})" in outcome.error and "--custom_objects=module:scale" in outcome.error


@pytest.mark.parametrize("version", ["2.7", "3.7"])
def test_bytecode_of_an_old_python_is_run_where_it_is_allowed(scaled, version):
    """`x / 2` as CPython compiled it; the file's own code takes twice of the layer before."""
    model, path = scaled
    recorded = json.loads((TESTDATA / "old_bytecode" / f"{version}.json").read_text(encoding="utf-8"))
    change_code(path, lambda code: base64.b64decode(recorded["functions"]["divided"]["code"]))
    assert "--allow_lambda" in migrate_file(path).error
    assert_computes(migrate_file(path, allow_lambda=True), model(VALUE) / 4)


def test_bytecode_that_nothing_runs_is_not_to_be_allowed(scaled):
    """Before the user is asked for consent that would lead nowhere; what stands in the way is named."""
    _, path = scaled
    recorded = json.loads((TESTDATA / "old_bytecode" / "3.9.json").read_text(encoding="utf-8"))
    change_code(path, lambda code: base64.b64decode(recorded["functions"]["branch"]["code"]))
    refused = migrate_file(path).error
    assert "--allow_lambda" not in refused and "--custom_objects=module:scale" in refused
    assert "branches of Python 3.8 to 3.10" in migrate_file(path, allow_lambda=True).error


def test_objects_of_the_users_own(scaled, tmp_path, monkeypatch):
    """A function in the place of a Lambda's code, and a layer that no library has."""
    model, path = scaled
    (tmp_path / "my_objects.py").write_text(
        "import tf_keras\n"
        "def scale(x):\n"
        "    return 2 * x\n"
        "class Shift(tf_keras.layers.Layer):\n"
        "    def build(self, shape):\n"
        "        self.offset = self.add_weight(name='offset', shape=shape[1:], initializer='ones')\n"
        "    def call(self, x):\n"
        "        return x + self.offset\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import my_objects

    assert_computes(migrate_file(path, custom_objects=("my_objects:scale",)), model(VALUE))
    own = tf_keras.Sequential([my_objects.Shift(input_shape=[4], name="shift")])
    own.save(tmp_path / "own.h5")
    unknown = migrate_file(tmp_path / "own.h5")
    assert unknown.status.value == "blocked" and "Shift" in unknown.error and "--custom_objects" in unknown.error
    assert_computes(migrate_file(tmp_path / "own.h5", custom_objects=("my_objects:Shift",)), VALUE + 1)
    with pytest.raises(migrate.errors.UsageError, match="--custom_objects"):
        migrate_file(tmp_path / "own.h5", custom_objects=("my_objects:Absent",))
