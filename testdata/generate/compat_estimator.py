"""compat.hub with tf.estimator, which TF >= 2.16 cannot import. Run by hand; it fails with an AssertionError.

    CPython 3.11:  pip install tensorflow-cpu==2.15.1 tensorflow-estimator==2.15.0 'setuptools<70'
    PYTHONPATH=../.. python compat_estimator.py
"""

import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow.compat.v1 as tf

from compat import hub

EXPORT_NAME = "embedding"


def text_module():
    texts = tf.placeholder(tf.string, [None])
    weights = tf.get_variable("weights", [100, 10])
    hub.add_signature(inputs=texts, outputs=tf.gather(weights, tf.strings.to_hash_bucket_fast(texts, 100)))


def image_module():
    images = tf.placeholder(tf.float32, [None, 1, 2, 3])
    weight = tf.get_variable("weight", [1])
    hub.add_signature(inputs={"images": images}, outputs=tf.reduce_sum(images, axis=[1, 2]) * weight)


def input_fn():
    return {"text": tf.constant(["one", "two"])}, tf.constant([0, 1])


def serving_input_fn():
    texts = tf.placeholder(tf.string, [None])
    return tf.estimator.export.ServingInputReceiver({"text": texts}, texts)


def make_model_fn(register):
    def model_fn(features, labels, mode):
        module = hub.Module(hub.create_module_spec(text_module), trainable=True)
        if register:
            hub.register_module_for_export(module, EXPORT_NAME)
        embedded = module(features["text"])
        return tf.estimator.EstimatorSpec(mode, predictions=embedded, loss=tf.reduce_sum(embedded),
                                          train_op=tf.assign_add(tf.train.get_global_step(), 1))

    return model_fn


def check_direct_export(register):
    estimator = tf.estimator.Estimator(make_model_fn(register), tempfile.mkdtemp())
    estimator.train(input_fn, steps=1)
    base = os.path.join(tempfile.mkdtemp(), "export")
    path = hub.LatestModuleExporter("name", serving_input_fn).export(estimator, base)
    if not register:
        assert path is None and not os.path.exists(base)
        return
    assert [os.path.join(base, name).encode() for name in os.listdir(base)] == [path]
    with hub.eval_function_for_module(os.path.join(path.decode(), EXPORT_NAME)) as f:
        assert f(["one"]).shape == (1, 10)


def check_train_and_evaluate():
    estimator = tf.estimator.Estimator(make_model_fn(True), tempfile.mkdtemp())
    exporter = hub.LatestModuleExporter("modules", serving_input_fn, exports_to_keep=2)
    assert isinstance(exporter, tf.estimator.Exporter)
    evaluation = tf.estimator.EvalSpec(input_fn, steps=1, exporters=[exporter])
    kept = []
    for steps in (1, 2, 3):
        tf.estimator.train_and_evaluate(estimator, tf.estimator.TrainSpec(input_fn, max_steps=steps), evaluation)
        kept.append(sorted(os.listdir(os.path.join(estimator.model_dir, "export", "modules"))))
    assert [len(names) for names in kept] == [1, 2, 2] and kept[0][0] not in kept[2], kept


def check_canned_estimators():
    for column, values in (
        (hub.text_embedding_column("x", hub.create_module_spec(text_module), trainable=True), np.array([["a"], ["b"]])),
        (hub.image_embedding_column("x", hub.create_module_spec(image_module)), np.zeros([2, 1, 2, 3], np.float32)),
    ):
        estimator = tf.estimator.DNNClassifier([10], [column], tempfile.mkdtemp())
        feed = tf.estimator.inputs.numpy_input_fn({"x": values}, np.array([[1], [0]]), shuffle=True)
        estimator.train(feed, max_steps=1)
        assert estimator.evaluate(feed, steps=1)["global_step"] == 1


if __name__ == "__main__":
    check_direct_export(register=True)
    check_direct_export(register=False)
    check_train_and_evaluate()
    check_canned_estimators()
    print("all hold under TensorFlow", tf.__version__)
