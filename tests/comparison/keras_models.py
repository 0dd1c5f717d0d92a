"""One small Keras model in many copies: sound ones, and ones with a fault that shows in training alone."""

import numpy as np
import tensorflow as tf
import tf_keras


def build(*, l2=0.01, momentum=0.9, dropout=True, stopped=False, always=False, names=("features", "scores")):
    """features [batch, 4] -> scores [batch, 3], with every thing that training mode changes."""
    tf_keras.utils.set_random_seed(3)
    x = tf_keras.Input([4], name=names[0])
    hidden = tf_keras.layers.Dense(5, kernel_regularizer=tf_keras.regularizers.L2(l2), name="hidden")(x)
    if stopped:
        hidden = tf.stop_gradient(hidden)
    normal = tf_keras.layers.BatchNormalization(momentum=momentum, name="normal")(hidden)
    if dropout:
        normal = tf.nn.dropout(normal, 0.5) if always else tf_keras.layers.Dropout(0.5)(normal)
    model = tf_keras.Model(x, tf_keras.layers.Dense(3, name=names[1])(normal))
    rng = np.random.default_rng(5)
    model.set_weights([np.abs(rng.normal(size=w.shape)).astype(np.float32) for w in model.get_weights()])
    return model


def save_reusable(path, *, l2=0.5, momentum=0.9, rate=0.5):
    """A reusable SavedModel as TensorFlow Hub's publishers write it by hand: no Keras in it."""
    saved = tf.train.Checkpoint()
    kernel = tf.Variable(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), name="kernel")
    mean = tf.Variable(np.zeros(3, np.float32), trainable=False, name="mean")
    spec = tf.TensorSpec([None, 4], tf.float32)

    @tf.function(autograph=False)
    def call(x, training=False):
        found = tf.matmul(x, kernel)
        if not training:
            return {"y": found - mean, "features": found}
        batch_mean = tf.reduce_mean(found, 0)
        mean.assign(momentum * mean + (1 - momentum) * batch_mean)
        return {"y": tf.nn.dropout(found - batch_mean, rate), "features": found}

    for training in (False, True):
        call.get_concrete_function(spec, training=training)
    saved.__call__ = call
    saved.variables, saved.trainable_variables = [kernel, mean], [kernel]
    saved.regularization_losses = [tf.function(lambda: l2 * tf.reduce_sum(kernel**2), input_signature=[])]
    serve = tf.function(lambda x: call(x, training=False), input_signature=[spec], autograph=False)
    tf.saved_model.save(saved, str(path), signatures=serve.get_concrete_function())
    return str(path)
