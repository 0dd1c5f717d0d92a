"""One small model that draws at random when it serves, in many copies: sound ones, and ones that draw otherwise."""

import numpy as np
import tensorflow as tf

KERNEL = np.random.default_rng(4).normal(size=(12, 5)).astype(np.float32)


def compute(x, *, kept=0.5, weight=1.0, seed=None, share_rows=False, share_outputs=False, scope="mask"):
    """x [batch, 12] -> two outputs [batch, 5] and [batch, 12], each behind a mask of its own, whose op is named so."""

    def mask(number):
        shape = tf.stack([1 if share_rows else tf.shape(x)[0], 12])
        numbers = tf.random.uniform(shape, seed=None if seed is None else seed + number, name=f"{scope}_{number}")
        return tf.cast(numbers < kept, tf.float32) / kept

    first = mask(0)
    second = first if share_outputs else mask(1)
    hidden = tf.abs(x) + 1.0
    return {
        "scores": tf.matmul(hidden * first, tf.constant(weight * KERNEL), name="product"),
        "noisy": hidden * second,
    }


def save(path, **changes):
    """As a SavedModel of TF2."""
    tf.random.set_seed(None)  # A test that asked Keras for a seed leaves it to all that is traced later.
    module = tf.Module()
    spec = tf.TensorSpec([None, 12], tf.float32, name="x")
    module.serve = tf.function(lambda x: compute(x, **changes), input_signature=[spec], autograph=False)
    tf.saved_model.save(module, str(path), signatures=module.serve.get_concrete_function())
    return str(path)


def save_tf1(path, **changes):
    """As a SavedModel of TF1."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 12], name="x")
        tf.compat.v1.saved_model.simple_save(session, str(path), {"x": x}, compute(x, **changes))
    return str(path)
