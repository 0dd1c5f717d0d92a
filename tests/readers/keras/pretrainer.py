"""A model as those that were pretrained: a core with two heads."""

import numpy as np
import tf_keras

LAYERS = tf_keras.layers


def build_pretrainer():
    """A core with dropout, batch norm and a regularizer; two heads, one of which also takes positions."""
    ids = tf_keras.Input([4], name="ids", dtype="int32")
    words = LAYERS.Embedding(9, 3, name="words")(ids)
    hidden = LAYERS.Dense(5, kernel_regularizer="l2", name="hidden")(words)
    normal = LAYERS.BatchNormalization(momentum=0.6, name="normal")(hidden)
    sequence = LAYERS.Dropout(0.4, name="drop")(normal)
    pooled = LAYERS.GlobalAveragePooling1D(name="pooled")(sequence)
    core = tf_keras.Model(ids, [sequence, pooled], name="encoder")
    tokens = tf_keras.Input([4], name="tokens", dtype="int32")
    weights = tf_keras.Input([4], name="weights")
    outputs = core(tokens)
    scaled = LAYERS.Dot(1, name="scaled")([outputs[0], weights])
    masked = LAYERS.Dense(9, kernel_regularizer="l1", name="masked")(scaled)
    next_one = LAYERS.Dense(2, name="next_one")(outputs[1])
    model = tf_keras.Model([tokens, weights], [masked, next_one], name="pretrainer")
    random = np.random.default_rng(3)
    model.set_weights([random.uniform(0.1, 1, w.shape).astype(np.float32) for w in model.get_weights()])
    return model
