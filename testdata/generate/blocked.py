"""Models that today's TensorFlow cannot run: written to testdata/blocked, apart from the zoo that must pass.

    python blocked.py --write --zoo=../blocked
"""

import numpy as np
import tensorflow as tf

import estimators
import program
import saved_models
from estimators import COLUMNS, SERVE, TIMESTAMP


def _write_boosted_trees(path):
    """BoostedTreesClassifier: its ops are registered in TF2, its kernels are gone."""
    columns = [COLUMNS.bucketized_column(COLUMNS.numeric_column(name), [0.0, 1.0]) for name in ("a", "b")]
    estimator = tf.estimator.BoostedTreesClassifier(
        columns, n_batches_per_layer=1, n_trees=2, max_depth=2,
        config=tf.estimator.RunConfig(model_dir="estimator", tf_random_seed=7))

    def input_fn():
        return {"a": tf.constant([[-1.0], [0.5], [2.0]]), "b": tf.constant([[0.3], [1.5], [-2.0]])}, \
            tf.constant([[0], [1], [1]])

    estimators.export(estimator, input_fn, path, estimators.parsing(columns), fixed_weights=False)


def _write_contrib_op(path):
    """One signature uses an op of tf.contrib that no TF2 registers; the other does not."""
    x = tf.placeholder(tf.float32, [None, 4, 4, 2], name="x")
    kernel = tf.get_variable("kernel", [2, 3], use_resource=False)
    pooled = tf.reduce_mean(x, [1, 2])
    transforms = tf.constant([[1.0, 0.2, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    skewed = tf.contrib.image.transform(x, transforms)
    parts = tf.contrib.image.connected_components(x[..., 0] > 0.5)
    saved_models.write(path, {
        "serving_default": saved_models.signature({"x": x}, {"y": tf.matmul(pooled, kernel)}, saved_models.PREDICT),
        "components": saved_models.signature({"x": x}, {"y": parts, "skewed": skewed}, saved_models.PREDICT)})


def _examples(*rows):
    return estimators.batch(*[estimators.example(a=[a], b=[b]) for a, b in rows])


_TREES = [_examples((-0.5, 0.2), (0.5, 3.0)), _examples((2.0, -1.0))]
_IMAGES = [np.arange(64, dtype=np.float32).reshape(2, 4, 4, 2) / 50,
           np.arange(32, dtype=np.float32).reshape(1, 4, 4, 2)]

RECIPES = [
    program.Recipe("boosted_trees", "estimator_export", _write_boosted_trees,
                   ["BoostedTreesClassifier", "registered op without kernel"],
                   dict({key: [{"inputs": t} for t in _TREES]
                         for key in ("serving_default", "classification", "regression")},
                        predict=[{"examples": t} for t in _TREES]), SERVE, model_dir=TIMESTAMP),
    program.Recipe("contrib_op", "tf1_saved_model", saved_models.graph(_write_contrib_op),
                   ["op that no longer exists", "signature that can still be migrated"],
                   {key: [{"x": i} for i in _IMAGES] for key in ("serving_default", "components")}, SERVE),
]

if __name__ == "__main__":
    program.run_program(RECIPES)
