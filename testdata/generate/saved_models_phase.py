"""A learning phase that nobody feeds, as Keras leaves it in a graph that is exported by hand."""

import numpy as np
import tensorflow as tf

import program
import saved_models


def _write(path):
    """Batch norm and a loss over the phase; `phase` is the placeholder of Keras 2.0 to 2.2 on TF1."""
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    phase = tf.placeholder(tf.bool, [], name="keras_learning_phase")
    hidden = tf.layers.dense(x, 4, name="hidden", kernel_regularizer=tf.contrib.layers.l2_regularizer(0.1))
    normed = tf.layers.batch_normalization(hidden, momentum=0.7, training=phase, name="norm")
    scaled = tf.cond(phase, lambda: normed * 2.0, lambda: tf.identity(normed))
    y = tf.layers.dense(tf.nn.relu(scaled), 2, name="top")
    saved_models.write(path, {"serving_default": saved_models.signature({"x": x}, {"y": y}, saved_models.PREDICT)})


RECIPES = [
    program.Recipe(
        "keras_open_phase", "tf1_saved_model", saved_models.graph(_write),
        ["learning phase left open", "batch norm", "v1 cond"], tags=(("serve",), ("serve", "train")),
        cases={"serving_default": [{"x": np.float32([[1, -2, 0.5], [0, 0.25, 3]])}]}, phase="keras_learning_phase:0"),
]

if __name__ == "__main__":
    program.run_program(RECIPES)
