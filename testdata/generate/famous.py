"""Replicas of famous modules at full size, with random weights: CPython 3.7, TF 1.15, hub 0.12.

    python testdata/generate/famous.py inception_v3 FOLDER

They are for benchmarks and are never committed: a generator is a few lines, a model is 90 MB and more.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
import tensorflow_hub as hub
from tensorflow.contrib import slim
from tensorflow.contrib.slim.python.slim.nets import inception_v3, resnet_v2

import famous_text  # isort: skip

TAGS = [(set(), {"is_training": False}), ({"train"}, {"is_training": True})]


def image_module(build, size, classes=1001):
    """As the published image modules: signatures `default` (logits), `image_feature_vector` and
    `image_classification`, each with every endpoint of the network."""

    def module_fn(is_training):
        images = tf.placeholder(tf.float32, [None, size, size, 3])
        logits, endpoints = build(images * 2.0 - 1.0, is_training, classes)
        outputs = {name: value for name, value in endpoints.items() if value.shape.rank in (2, 4)}
        features = tf.reduce_mean(last_map(endpoints), [1, 2])
        hub.add_signature("default", images, dict(outputs, default=features))
        hub.add_signature("image_feature_vector", {"images": images}, dict(outputs, default=features))
        hub.add_signature("image_classification", {"images": images}, dict(outputs, default=logits))
        info = hub.ImageModuleInfo()
        info.default_image_size.height = info.default_image_size.width = size
        hub.attach_image_module_info(info)

    return hub.create_module_spec(
        module_fn, TAGS, drop_collections=["summaries", "moving_vars", "resnet_v2_50/_end_points"]
    )


def last_map(endpoints):
    maps = [value for value in endpoints.values() if value.shape.rank == 4 and value.shape[1].value != 1]
    return maps[-1]


def inception(images, is_training, classes):
    with slim.arg_scope(inception_v3.inception_v3_arg_scope()):
        logits, endpoints = inception_v3.inception_v3(images, classes, is_training=is_training)
    return logits, endpoints


def resnet(images, is_training, classes):
    with slim.arg_scope(resnet_v2.resnet_arg_scope()):
        logits, endpoints = resnet_v2.resnet_v2_50(images, classes, is_training=is_training)
    return tf.squeeze(logits, [1, 2]), endpoints


MODULES = {
    "inception_v3": lambda: image_module(inception, 299),
    "resnet_v2_50": lambda: image_module(resnet, 224),
    "bert": lambda: famous_text.bert_module(TAGS),
    "elmo": lambda: famous_text.elmo_module(TAGS),
}


def main(name, folder):
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        module = hub.Module(MODULES[name](), trainable=True)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            module.export(folder, session)
    print(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
