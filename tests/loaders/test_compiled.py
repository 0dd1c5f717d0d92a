"""Callers that compile: `tf.function(jit_compile=True)` over a migrated model, forward and a training step.

Loops and conditionals are in tests/control_flow_catalogue/test_compiled.py. Strings and tables have no XLA kernels.
TF 2.21 says so at the first call (InvalidArgumentError). Where strings are looked up in a table it aborts the process
at the second (`DataTypeCanUseMemcpy`, tensor.cc), of `hub_text_mean` as of a fresh TF2 model of tf.strings.split and a
StaticHashTable: no test can hold that.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests.catalogue.loaded import load_once, to_values
from tests.catalogue.truth import assert_same, load_truth

SLUGS = ("hub_dense_l2", "hub_image_batch_norm", "hub_resource_variables", "tf18_hub_dense")


def _inference_call(truth):
    return next(call for call in truth.calls if "train" not in call.tags and call.signature == "default")


@pytest.mark.parametrize("slug", SLUGS)
def test_forward(slug, catalogue):
    truth, loaded = load_truth(slug), load_once(str(catalogue.path(slug)))
    call = _inference_call(truth)

    def run(**inputs):
        return loaded.run(type(call)(call.tags, call.signature, call.case, inputs, call.outputs))

    compiled = tf.function(run, jit_compile=True, autograph=False)
    found = to_values(compiled(**{key: tf.constant(value) for key, value in call.inputs.items()}))
    for key, expected in call.outputs.items():
        assert_same(expected, found[key], f"{slug}/{key}", rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("slug", ["hub_dense_l2"])
def test_training_step(slug, catalogue):
    """Gradients of outputs and regularization losses, compiled and not."""
    loaded = load_once(str(catalogue.path(slug)))
    (value,) = _inference_call(load_truth(slug)).inputs.values()
    variables = loaded.object.trainable_variables

    def differentiate(rows):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(loaded.object(rows)) + tf.add_n([f() for f in loaded.object.regularization_losses])
        return [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]

    plain = differentiate(tf.constant(value))
    compiled = tf.function(differentiate, jit_compile=True, autograph=False)(tf.constant(value))
    assert plain and any(np.any(gradient) for gradient in plain)
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
