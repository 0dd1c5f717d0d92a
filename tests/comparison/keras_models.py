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


class Reusable(tf.Module):
    """A reusable SavedModel as TensorFlow Hub's publishers write it by hand: no Keras in it."""

    def __init__(self, l2=0.5, momentum=0.9):
        super().__init__()
        self.kernel = tf.Variable(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), name="kernel")
        self.mean = tf.Variable(np.zeros(3, np.float32), trainable=False, name="mean")
        self.l2, self.momentum = l2, momentum
        # Lists of its own, since tf.Module's properties are not saved.
        self.regularization_losses = [self.loss]
        self.saved_variables = [self.kernel, self.mean]

    @tf.function(input_signature=[], autograph=False)
    def loss(self):
        return self.l2 * tf.reduce_sum(self.kernel**2)

    @tf.function(autograph=False)
    def __call__(self, x, training=False):
        found = tf.matmul(x, self.kernel)
        mean = tf.reduce_mean(found, 0) if training else self.mean
        if training:
            self.mean.assign(self.momentum * self.mean + (1 - self.momentum) * mean)
        return found - mean

    def save(self, path):
        spec = tf.TensorSpec([None, 4], tf.float32)
        for training in (False, True):
            self.__call__.get_concrete_function(spec, training=training)
        serve = tf.function(lambda x: {"y": self(x)}, input_signature=[spec], autograph=False)
        tf.saved_model.save(self, str(path), signatures=serve.get_concrete_function())
        return str(path)
