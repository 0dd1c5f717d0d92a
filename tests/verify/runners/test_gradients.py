"""Gradients of one side, in a TF1 session."""

import pathlib

import numpy as np
import pytest

from migrate.readers import read_model
from migrate.verify.runners import gradients
from migrate.verify.runners.baseline import LoadedVariant

MODEL = pathlib.Path(__file__).resolve().parents[3] / "testdata" / "zoo" / "saved_model_odd_keys" / "model"


@pytest.fixture(scope="module")
def loaded():
    model = read_model(str(MODEL))
    (variant,) = model.variants
    found = LoadedVariant(model, variant, ["same_input_twice", "scalar"])
    yield found
    found.close()


def differentiate(loaded, key, inputs):
    signature = loaded.variant.signatures[key]
    with loaded.graph.as_default():
        feeds = loaded.make_feeds(signature.inputs, inputs)
        return gradients.session_gradients(loaded, signature, feeds, lambda: None)


def test_the_first_of_two_keys_of_one_tensor_has_the_gradient(loaded):
    value = np.ones([3, 2], np.float32)
    found = differentiate(loaded, "same_input_twice", {"a": value, "b": value})
    np.testing.assert_allclose(found["d y / d input a"], gradients.make_weights((3, 2)), rtol=1e-6)
    assert found["d y / d input b"].shape == (3, 2) and not found["d y / d input b"].any()


def test_a_scalar(loaded):
    found = differentiate(loaded, "scalar", {"value": np.float32(1.5)})
    assert found["d square / d input value"] == pytest.approx(3.0)
