"""tf2onnx takes what it would take of a fresh TF2 model, and onnxruntime gives the recorded outputs."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from tests.catalogue.loaded import load_once
from tests.catalogue.truth import SLUGS, load_truth

_NO_KERNEL = "INVALID_GRAPH"  # converted, but ONNX has no such op: strings, tf.Examples, sparse tensors
_WRITES = "incompatible with expected resource"  # tf2onnx freezes variables, even those that are written
_TABLES = "Only lookup tables of type string<->int64"
# What does not convert, and tf2onnx's or onnxruntime's reason; `FRESH` shows each of a fresh TF2 model, too.
LEFT = {
    "estimator_all_modes": _WRITES,
    "estimator_custom": _NO_KERNEL,
    "estimator_dnn_classifier": _NO_KERNEL,
    "estimator_hub_column": _NO_KERNEL,
    "estimator_linear_classifier": _NO_KERNEL,
    "estimator_linear_regressor": _NO_KERNEL,
    "estimator_rnn": "'int' object has no attribute 'tolist'",  # SegmentMax of integers
    "estimator_wide_deep": _NO_KERNEL,
    "frozen_tables": _NO_KERNEL,
    "functions_defun": _TABLES,
    "functions_effects": _WRITES,
    "gradients_in_graph": "KeyError: 0",  # loops of TF1's gradients, which keep their values on lists
    "hub_bidirectional": _NO_KERNEL,
    "hub_nested": _NO_KERNEL,
    "hub_sparse": _NO_KERNEL,
    "hub_text_mean": _NO_KERNEL,
    "hub_text_partitioned": _NO_KERNEL,
    "hub_text_same_asset_names": _NO_KERNEL,
    "hub_train_only_variable": _NO_KERNEL,
    "init_signature": _NO_KERNEL,
    "resources_unused": _TABLES,
    "saved_model_counter": _WRITES,
    "saved_model_methods": _NO_KERNEL,
    "saved_model_sparse": _NO_KERNEL,
    "shapes_empty": _NO_KERNEL,
    "tables_chained": _TABLES,
    "tables_imported": _TABLES,
    "tables_mutable": "table",  # one more: "Could not determine table shared name"
    "tf18_dnn_classifier": _NO_KERNEL,
    "tf18_hub_text": _NO_KERNEL,
    "variables_devices": _WRITES,
    "variables_dtypes": "tensor(complex64)",
    "variables_shapes": _NO_KERNEL,
    "variables_training": _WRITES,
}


def convert(path, folder, *keys):
    """{key: "" or error}; the models are `folder`/<number of the key>.onnx."""
    script = pathlib.Path(__file__).with_name("convert_onnx.py")
    command = [sys.executable, str(script), str(path), str(folder), *keys]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def check_outputs(slug, catalogue, folder):
    """Compares onnxruntime's outputs to the recorded ones for the first call of the main signature."""
    truth = load_truth(slug)
    call = next(c for c in truth.calls if "train" not in c.tags and c.signature in ("default", "serving_default"))
    piece, _ = load_once(str(catalogue.path(slug))).find_piece(call)
    key = piece["signature_def"]
    assert convert(catalogue.path(slug), folder, key) == {key: ""}
    session = onnxruntime.InferenceSession(str(folder / "0.onnx"))
    names = {given.name.removesuffix("_input"): given.name for given in session.get_inputs()}
    inputs = {names[piece["arguments"][name][0]]: value for name, value in call.inputs.items()}
    outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))
    assert sorted(outputs) == sorted(call.outputs)
    for name, expected in call.outputs.items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-5, err_msg=f"{slug}/{name}")


# Inputs and outputs of one key; v1 control flow; a recurrent network of TF1's Keras.
@pytest.mark.parametrize(
    "slug",
    [
        pytest.param("hub_dense_l2", marks=pytest.mark.slow),
        "hub_lstm",
        pytest.param("keras_simple_save", marks=pytest.mark.slow),
    ],
)
def test_onnx(slug, catalogue, tmp_path):
    check_outputs(slug, catalogue, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("slug", SLUGS)
def test_every_signature(slug, catalogue, tmp_path):
    """All signatures of a model convert and load, but for what LEFT lists."""
    loaded = load_once(str(catalogue.path(slug)))
    keys = sorted({piece["signature_def"] for piece in loaded.record["pieces"]})
    found = {key: error for key, error in convert(loaded.path, tmp_path, *keys).items() if error}
    assert bool(found) == (slug in LEFT), found
    for key, error in found.items():
        assert LEFT[slug] in error, (key, error)


def _write():
    count = tf.Variable(0.0)
    return lambda x: (count.assign_add(tf.reduce_sum(x)), x * 2.0)[1], [tf.TensorSpec([None], tf.float32)], [count]


def _look_up():
    keys, values = tf.constant([1, 2], tf.int64), tf.constant([0.5, 2.5])
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0.0)
    return table.lookup, [tf.TensorSpec([None], tf.int64)], [table]


def _split():
    return lambda x: tf.strings.split(x).values, [tf.TensorSpec([None], tf.string)], []


def _parse():
    features = {"x": tf.io.FixedLenFeature([2], tf.float32)}
    return lambda x: tf.io.parse_example(x, features)["x"], [tf.TensorSpec([None], tf.string)], []


def _segment():
    ids = tf.TensorSpec([None], tf.int64)
    return lambda x: tf.math.segment_max(x, tf.cast(x, tf.int32)), [ids], []


def _rank():
    return tf.rank, [tf.TensorSpec(None, tf.float32)], []


FRESH = [
    (_write, _WRITES),
    (_look_up, _TABLES),
    (_split, _NO_KERNEL),
    (_parse, _NO_KERNEL),
    (_segment, LEFT["estimator_rnn"]),
    (_rank, _NO_KERNEL),
]


@pytest.mark.slow
@pytest.mark.parametrize(("make", "reason"), FRESH)
def test_fresh_models_fail_alike(make, reason, tmp_path):
    function, specs, kept = make()
    module = tf.Module()
    module.kept = kept
    module.f = tf.function(lambda x: {"y": function(x)}, input_signature=specs)
    tf.saved_model.save(module, str(tmp_path / "fresh"), signatures={"default": module.f})
    (error,) = convert(tmp_path / "fresh", tmp_path, "default").values()
    assert reason in error
