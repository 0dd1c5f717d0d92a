"""The rewrites against what TF 1.15 recorded: the original graph with only its removed ops replaced, in a session."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from migrate.readers import read_model
from migrate.verify.runners.baseline import LoadedVariant, join_parts
from tests.catalogue.truth import codec

TESTDATA = pathlib.Path(__file__).resolve().parents[3] / "testdata"
MODELS = {path.parent.name: path.parent for path in sorted((TESTDATA / "removed_ops").glob("*/origin.json"))}
MODELS["boosted_trees"] = TESTDATA / "blocked" / "boosted_trees"
# Above this a float is another sum: trees are added in the kernel's order, so logits agree to the bit; what an
# Estimator's head makes of them (sigmoid, softmax) goes through kernels that TensorFlow has rewritten since.
TOLERANCE = 1e-6


def load_recorded(name):
    """{(signature, case): inputs}, {(signature, case, output): value}."""
    inputs, outputs = {}, {}
    with np.load(MODELS[name] / "inputs.npz") as file:
        for key, value in codec.decode_all(dict(file)).items():
            case, signature, tensor = key.split("|")
            inputs.setdefault((signature, case), {})[tensor] = value
    with np.load(MODELS[name] / "outputs.npz") as file:
        for key, value in codec.decode_all(dict(file)).items():
            _, case, signature, tensor = key.split("|")
            outputs[signature, case, tensor] = value
    return inputs, outputs


def model_path(name):
    folder = MODELS[name] / "model"
    return str(folder if (folder / "saved_model.pb").exists() else next(folder.iterdir()))


def assert_same(found, expected, where):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, where
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE, err_msg=where)
    else:
        assert found.tolist() == expected.tolist(), where


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_tf1(name):
    inputs, outputs = load_recorded(name)
    model = read_model(model_path(name))
    (variant,) = model.variants
    compared = set()
    with tf.Graph().as_default():
        loaded = LoadedVariant(model, variant, set(variant.signatures))
        for (key, case), values in inputs.items():
            signature = variant.signatures[key]
            fetches = {name: list(tensor.tensor_names) for name, tensor in signature.outputs.items()}
            for tensor, parts in loaded.session.run(fetches, loaded.make_feeds(signature.inputs, values)).items():
                found = join_parts(signature.outputs[tensor], parts)
                assert_same(found, outputs[key, case, tensor], f"{key}/{case}/{tensor}")
                compared.add((key, case, tensor))
        loaded.close()
    assert compared == set(outputs)


@pytest.mark.parametrize("name", ["tree_ensembles", "trees_regressor", "trees_pruned"])
def test_logits_are_equal_to_the_bit(name):
    """A tolerance would hide a tree whose weight is small."""
    inputs, outputs = load_recorded(name)
    key, tensor = {"tree_ensembles": ("vectors", "logits"), "trees_regressor": ("predict", "predictions")}.get(
        name, ("predict", "logits")
    )
    model = read_model(model_path(name))
    (variant,) = model.variants
    with tf.Graph().as_default():
        loaded = LoadedVariant(model, variant, {key})
        for case in (case for signature, case in inputs if signature == key):
            signature = variant.signatures[key]
            feeds = loaded.make_feeds(signature.inputs, inputs[key, case])
            found = loaded.session.run(signature.outputs[tensor].name, feeds)
            assert np.array_equal(found, outputs[key, case, tensor])
        loaded.close()
