"""A migrated model inside a Keras model of mixed precision: it keeps its own dtypes, its neighbours compute in half."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def half(request):
    """The compute dtype of the policy that is set."""
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy(request.param)
    yield tf.as_dtype(request.param.removeprefix("mixed_"))
    tf_keras.mixed_precision.set_global_policy(before)


def test_trains_between_half_precision_layers(half, catalogue):
    """`dtype="float32"` says that the layer takes and computes float32; loss scaling reaches its variables."""
    layer = hub.KerasLayer(str(catalogue.path("hub_dense_l2")), trainable=True, dtype="float32")
    inputs = tf_keras.Input((3,))
    before = tf_keras.layers.Dense(3)(inputs)
    middle = layer(before)
    after = tf_keras.layers.Dense(1)(middle)
    assert (before.dtype, middle.dtype, after.dtype) == (half, tf.float32, half)
    model = tf_keras.Model(inputs, tf_keras.layers.Activation("linear", dtype="float32")(after))
    model.compile(tf_keras.optimizers.SGD(0.05), "mse")
    initial = [weight.numpy() for weight in layer.trainable_weights]
    rows = np.random.default_rng(0).random((64, 3), np.float32)
    losses = model.fit(rows, rows.sum(1, keepdims=True), epochs=5, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert all(weight.dtype == tf.float32 for weight in layer.trainable_weights)
    moved = [not np.array_equal(a, b.numpy()) for a, b in zip(initial, layer.trainable_weights, strict=True)]
    assert any(moved) and len(layer.losses) == len(layer.resolved_object.regularization_losses)


def test_layer_without_its_dtype_is_refused(half, catalogue):
    """Keras casts what comes in to the policy's dtype, for which a SavedModel's function has no trace; in no dtype but
    its own are its numbers those of TF1."""
    layer = hub.KerasLayer(str(catalogue.path("hub_dense_l2")), trainable=True)
    with pytest.raises(ValueError, match="matching concrete function"):
        layer(np.zeros((2, 3), np.float32))
