"""Training checkpoints: graphs as they were trained, with optimizer slots and a global step beside the weights."""

import json
import os

import numpy as np
import tensorflow as tf

import frozen_graphs
import program
import weights

SERVE = (("serve",),)


def save(version=tf.train.SaverDef.V2, sharded=False, steps=(40,), record=None):
    """Turns write_graph(), which builds a graph and its training, into a Recipe's `build`.

    version, sharded: of the saver.   steps: checkpoints of these steps, the last with the fixed weights.
    record: (inputs, outputs) for the collections in which Cloud ML looked for signatures.
    """
    def decorate(write_graph):
        def build(path):
            config = tf.ConfigProto(device_count={"CPU": 2})
            with tf.Graph().as_default() as graph, tf.Session(graph=graph, config=config) as session:
                write_graph()
                for key, side in zip(("inputs", "outputs"), record or ()):
                    tf.add_to_collection(key, json.dumps(side, sort_keys=True))
                saver = tf.train.Saver(write_version=version, sharded=sharded)
                session.run(tf.global_variables_initializer())
                os.makedirs(path)
                for step in steps:
                    if step == steps[-1]:
                        weights.fill_variables(session, tf.global_variables())
                    saver.save(session, os.path.join(path, "model.ckpt"), global_step=step)
        return build
    return decorate


def image_classifier():
    """Batch norm with update ops, L2 losses, dropout, Adam; `training` is fed or off; labels only train."""
    images = tf.placeholder(tf.float32, [None, 6, 6, 1], name="images")
    labels = tf.placeholder(tf.int64, [None], name="labels")
    training = tf.placeholder_with_default(False, [], name="training")
    regularizer = tf.contrib.layers.l2_regularizer(0.01)
    net = tf.layers.conv2d(images, 3, 3, name="conv", kernel_regularizer=regularizer)
    net = tf.nn.relu(tf.layers.batch_normalization(net, training=training, momentum=0.6, name="norm", fused=False))
    net = tf.layers.dropout(tf.layers.flatten(net), 0.4, training=training)
    logits = tf.layers.dense(net, 4, name="logits", kernel_regularizer=regularizer)
    tf.nn.softmax(logits, name="probabilities")
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits) + tf.losses.get_regularization_loss()
    tf.summary.scalar("loss", loss)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        tf.train.AdamOptimizer(0.01).minimize(loss, global_step=tf.train.get_or_create_global_step())


def regression():
    """Two dense layers over momentum, on two devices."""
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    with tf.device("/cpu:0"):
        hidden = tf.layers.dense(x, 5, tf.nn.tanh, name="hidden")
    with tf.device("/cpu:1"):
        y = tf.layers.dense(hidden, 2, name="top")
    tf.identity(y, name="y")
    target = tf.placeholder(tf.float32, [None, 2], name="target")
    loss = tf.losses.mean_squared_error(target, y)
    tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, global_step=tf.train.get_or_create_global_step())


def _adam(*names):
    slots = [name + suffix for name in names for suffix in ("/Adam", "/Adam_1")]
    return sorted(slots + ["beta1_power", "beta2_power", "global_step"])


LEFT_IMAGES = _adam("conv/bias", "conv/kernel", "logits/bias", "logits/kernel", "norm/beta", "norm/gamma")
LEFT_ROWS = sorted(["global_step"] + [
    name + "/Momentum" for name in ("hidden/bias", "hidden/kernel", "top/bias", "top/kernel")])
IMAGES_STATED = ({"images": "images:0", "training": "training:0"}, {"probabilities": "probabilities:0"})
IMAGES = {"serving_default": [{"images": case["images"], "training": np.array(False)}
                              for case in frozen_graphs.IMAGES["serving_default"]]}
ROWS = {"serving_default": [{"x": np.float32([[1, -2, 0.5], [0, 0.25, 3]])}]}
ROWS_STATED = ({"x": "x:0"}, {"y": "y:0"})

RECIPES = [
    program.Recipe(
        "checkpoint_image_classifier", "checkpoint", save(steps=(7, 40))(image_classifier),
        ["training checkpoint", "two steps", "Adam slots", "update ops", "L2 losses"], tags=SERVE, cases=IMAGES,
        stated=IMAGES_STATED, left_behind=LEFT_IMAGES,
        options={"inputs": ["images=images:0", "training=training:0"], "outputs": ["probabilities=probabilities:0"]}),
    program.Recipe(
        "checkpoint_recorded", "checkpoint", save(record=ROWS_STATED, sharded=True)(regression),
        ["training checkpoint", "signature in collections", "shards on two devices", "momentum slots"], tags=SERVE,
        cases=ROWS, stated=ROWS_STATED, left_behind=LEFT_ROWS),
    program.Recipe(
        "checkpoint_v1", "checkpoint", save(tf.train.SaverDef.V1, record=ROWS_STATED)(regression),
        ["training checkpoint", "format V1"], tags=SERVE, cases=ROWS, stated=ROWS_STATED, left_behind=LEFT_ROWS),
    program.Recipe(
        "checkpoint_v1_sharded", "checkpoint", save(tf.train.SaverDef.V1, True, record=ROWS_STATED)(regression),
        ["training checkpoint", "format V1 in shards"], tags=SERVE, cases=ROWS, stated=ROWS_STATED,
        left_behind=LEFT_ROWS),
]

if __name__ == "__main__":
    program.run_program(RECIPES)
