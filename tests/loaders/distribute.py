"""Trains a migrated model on two virtual CPU devices, and on one: run by test_distribution.py, since devices are laid
out before TensorFlow runs anything.

    python distribute.py MODEL ROWS.npy {plain|training}

Prints JSON: "replicated", "single": loss of each step; "weights": largest difference of a trainable variable between
the two; "replicas": the same between the replicas; "saved": loss of the saved model, loaded again.
"""

import json
import os
import sys
import tempfile

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf

STEPS, RATE = 3, 0.1


def compute_loss(model, rows, total, training, share):
    """This replica's part of the mean over `total` rows; regularization counts once over all replicas."""
    outputs = model(rows, training=True) if training else model(rows)
    loss = tf.reduce_sum(tf.reduce_mean(tf.square(outputs - 1.0), axis=-1)) / total
    return loss + share * sum(term() for term in getattr(model, "regularization_losses", ()))


def train_step(model, rows, total, training, share, combine):
    with tf.GradientTape() as tape:
        loss = compute_loss(model, rows, total, training, share)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        if gradient is not None:
            variable.assign_sub(RATE * combine(tf.convert_to_tensor(gradient)))
    return loss


def train_replicated(path, rows, training):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = tf.saved_model.load(path)
    replicas = strategy.num_replicas_in_sync

    def combine(gradient):
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradient)

    @tf.function
    def step(batch):
        losses = strategy.run(train_step, args=(model, batch, len(rows), training, 1 / replicas, combine))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    data = tf.data.Dataset.from_tensor_slices(rows).batch(len(rows)).repeat(STEPS)
    losses = [float(step(batch)) for batch in strategy.experimental_distribute_dataset(data)]
    return model, losses


def train_single(path, rows, training):
    model = tf.saved_model.load(path)
    return model, [float(train_step(model, rows, len(rows), training, 1.0, lambda g: g)) for _ in range(STEPS)]


def main():
    path, rows, mode = sys.argv[1], np.load(sys.argv[2]), sys.argv[3]
    training = mode == "training"
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    model, replicated = train_replicated(path, rows, training)
    other, single = train_single(path, rows, training)

    def differ(one, two):
        return float(np.max(np.abs(np.asarray(one) - np.asarray(two))))

    weights = [differ(a, b) for a, b in zip(model.trainable_variables, other.trainable_variables, strict=True)]
    replicas = [differ(*variable.values) for variable in model.trainable_variables]
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder)
        saved = float(compute_loss(tf.saved_model.load(folder), rows, len(rows), False, 1.0))
    now = float(compute_loss(other, rows, len(rows), False, 1.0))
    told = {"replicated": replicated, "single": single, "saved": saved, "now": now}
    print(json.dumps({**told, "weights": max(weights), "replicas": max(replicas)}))


if __name__ == "__main__":
    main()
