"""What fine-tuning a text module of 2018 on a new task gave in TensorFlow 1: the loss before each step.

    python how_to_fine_tuning.py [--write]

CPython 3.7 environment. The module is testdata/zoo/tf18_hub_text, written by TF 1.8 with hub 0.1.1; the task is that of
docs/fine_tune_a_text_module.md, which trains the migrated module from the same start. Dry run unless --write.
"""

from __future__ import print_function

import json
import os
import sys

import tensorflow.compat.v1 as tf
import tensorflow_hub as hub

tf.disable_v2_behavior()

TESTDATA = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODULE = os.path.join(TESTDATA, "zoo", "tf18_hub_text", "model")
FOLDER = os.path.join(TESTDATA, "how_to", "fine_tuning")
# Does the sentence speak of a cat?
TASK = [
    ("the cat sat", 1),
    ("the cat", 1),
    (u"\u732b sat", 1),
    (u"the \u732b", 1),
    ("the dog sat", 0),
    ("sat the", 0),
    (u"the gr\u00f6\u00dfe", 0),
    ("dog", 0),
]
RATE, STEPS = 0.5, 200


def main():
    sentences = [text.encode("utf-8") for text, _ in TASK]
    labels = [[float(label)] for _, label in TASK]
    with tf.Graph().as_default():
        module = hub.Module(MODULE, trainable=True)
        features = module(tf.constant(sentences))
        weights = tf.get_variable("head/weights", initializer=tf.zeros([features.shape[1].value, 1]))
        bias = tf.get_variable("head/bias", initializer=tf.zeros([1]))
        logits = tf.matmul(features, weights) + bias
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))
        regularization = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
        total = loss + tf.add_n(regularization)
        step = tf.train.GradientDescentOptimizer(RATE).minimize(total)
        with tf.Session() as session:
            session.run([tf.global_variables_initializer(), tf.tables_initializer()])
            losses = []
            for _ in range(STEPS):
                losses.append(float(session.run(total)))
                session.run(step)
            losses.append(float(session.run(total)))
    print("%d regularization losses; %.4f -> %.4f" % (len(regularization), losses[0], losses[-1]))
    if "--write" not in sys.argv:
        return
    if not os.path.isdir(FOLDER):
        os.makedirs(FOLDER)
    task = {"sentences": [text for text, _ in TASK], "labels": [label for _, label in TASK]}
    record = dict(task, rate=RATE, steps=STEPS, losses=losses)
    with open(os.path.join(FOLDER, "tf1.json"), "w") as file:
        json.dump(record, file, indent=1, sort_keys=True)
    origin = {
        "generator": os.path.basename(__file__),
        "module": "zoo/tf18_hub_text",
        "python": "%d.%d.%d" % sys.version_info[:3],
        "tensorflow": tf.__version__,
        "tensorflow_hub": hub.__version__,
    }
    with open(os.path.join(FOLDER, "origin.json"), "w") as file:
        json.dump(origin, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
