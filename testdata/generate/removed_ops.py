"""Ops that TF 1.15 could run and today's TensorFlow cannot: written to testdata/removed_ops.

    python removed_ops.py --write --zoo=../removed_ops
"""

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.contrib.boosted_trees.python.ops import quantile_ops
from tensorflow.contrib.layers.python.ops import sparse_feature_cross_op
from tensorflow.contrib.resampler.python.ops import resampler_ops
from tensorflow.contrib.seq2seq.python.ops import beam_search_ops
from tensorflow.contrib.image.ops import gen_image_ops
from tensorflow.contrib.image.python.ops import image_ops  # Its import loads the kernels.
from tensorflow.core.kernels.boosted_trees import boosted_trees_pb2
from tensorflow.python.ops import boosted_trees_ops
from tensorflow.python.ops import gen_boosted_trees_ops as trees
from tensorflow.python.ops import gen_math_ops

import program
import saved_models

SERVE = (("serve",),)
_DTYPES = {"float": tf.float32, "double": tf.float64, "int": tf.int32, "long": tf.int64}


def _write_boundaries(path):
    """BucketizeWithInputBoundaries in each of its dtypes, boundaries fed."""
    signatures = {}
    for key, dtype in sorted(_DTYPES.items()):
        x = tf.placeholder(dtype, None, name=key)
        boundaries = tf.placeholder(tf.float32, None, name=key + "_boundaries")
        found = quantile_ops.bucketize_with_input_boundaries(x, boundaries)
        signatures[key] = saved_models.signature(
            {"x": x, "boundaries": boundaries}, {"buckets": found}, saved_models.PREDICT)
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    static = quantile_ops.bucketize_with_input_boundaries(x, tf.constant([[0.0, 1.0, 1.0, 5.0]]))
    signatures["serving_default"] = saved_models.signature({"x": x}, {"buckets": static}, saved_models.PREDICT)
    saved_models.write(path, signatures)


def _write_tree_buckets(path):
    """BoostedTreesBucketize of one feature and of three."""
    x, y, z = [tf.placeholder(tf.float32, [None], name=name) for name in "xyz"]
    bounds = [tf.placeholder(tf.float32, [None], name="bounds_%d" % i) for i in range(3)]
    one, = trees.boosted_trees_bucketize([x], [bounds[0]])
    three = trees.boosted_trees_bucketize([x, y, z], bounds)
    named = {"bounds_%d" % i: bound for i, bound in enumerate(bounds)}
    saved_models.write(path, {
        "serving_default": saved_models.signature(
            {"x": x, "bounds": bounds[0]}, {"buckets": one}, saved_models.PREDICT),
        "three": saved_models.signature(
            dict(named, x=x, y=y, z=z), {"first": three[0], "second": three[1], "third": three[2]},
            saved_models.PREDICT)})


def _write_images(path):
    """ImageProjectiveTransform in two dtypes, with one and with several transforms."""
    images = tf.placeholder(tf.float32, [None, 5, 6, 2], name="images")
    letters = tf.placeholder(tf.uint8, [None, None, None, 1], name="letters")
    transforms = tf.placeholder(tf.float32, [None, 8], name="transforms")
    moved = {mode.lower(): gen_image_ops.image_projective_transform(images, transforms, mode)
             for mode in ("NEAREST", "BILINEAR")}
    near = gen_image_ops.image_projective_transform(letters, transforms, "NEAREST")
    saved_models.write(path, {
        "serving_default": saved_models.signature(
            {"images": images, "transforms": transforms}, moved, saved_models.PREDICT),
        "letters": saved_models.signature(
            {"images": letters, "transforms": transforms}, {"images": near}, saved_models.PREDICT)})


def _write_bits(path):
    """CompareAndBitpack of numbers and of booleans."""
    x = tf.placeholder(tf.float32, [None, 16], name="x")
    flags = tf.placeholder(tf.bool, [8], name="flags")
    threshold = tf.placeholder(tf.float32, [], name="threshold")
    saved_models.write(path, {"serving_default": saved_models.signature(
        {"x": x, "flags": flags, "threshold": threshold},
        {"bytes": gen_math_ops.compare_and_bitpack(x, threshold),
         "flags": gen_math_ops.compare_and_bitpack(flags, tf.constant(True))}, saved_models.PREDICT)})


def _write_beams(path):
    """GatherTree alone, and within a loop that has the frame of another one around it."""
    ids, parents = [tf.placeholder(tf.int32, [None, None, None], name=name) for name in ("ids", "parents")]
    lengths, end = tf.placeholder(tf.int32, [None], name="lengths"), tf.placeholder(tf.int32, [], name="end")
    beams = beam_search_ops.gather_tree(ids, parents, lengths, end)
    again = tf.while_loop(
        lambda i, _: i < 3,
        lambda i, total: (i + 1, total + tf.reduce_sum(beam_search_ops.gather_tree(ids + i, parents, lengths, end))),
        [0, 0])[1]
    saved_models.write(path, {"serving_default": saved_models.signature(
        {"ids": ids, "parents": parents, "lengths": lengths, "end": end}, {"beams": beams, "sums": again},
        saved_models.PREDICT)})


def _write_resampler(path):
    """Resampler of points inside, on the border and outside of the image."""
    data = tf.placeholder(tf.float32, [None, None, None, 2], name="data")
    warp = tf.placeholder(tf.float32, [None, None, 2], name="warp")
    grid = tf.placeholder(tf.float32, [None, None, None, 2], name="grid")
    values = resampler_ops.resampler(data, warp)
    gradients = tf.gradients(tf.reduce_sum(tf.square(values)), [data, warp])
    saved_models.write(path, {
        "serving_default": saved_models.signature(
            {"data": data, "warp": warp}, {"values": values}, saved_models.PREDICT),
        "grid": saved_models.signature(
            {"data": data, "grid": grid}, {"values": resampler_ops.resampler(data, grid)}, saved_models.PREDICT),
        "gradients": saved_models.signature(
            {"data": data, "warp": warp}, {"data": gradients[0], "warp": gradients[1]}, saved_models.PREDICT)})


def _write_crosses(path):
    """SparseFeatureCrossV2 of dense and sparse, string and integer columns, hashed and as text."""
    words = tf.placeholder(tf.string, [None, None], name="words")
    numbers = tf.placeholder(tf.int64, [None, 1], name="numbers")
    sparse = tf.SparseTensor(tf.where(tf.not_equal(words, "")), tf.boolean_mask(words, tf.not_equal(words, "")),
                             tf.shape(words, out_type=tf.int64))
    cross = sparse_feature_cross_op.sparse_feature_cross
    key = sparse_feature_cross_op.SPARSE_FEATURE_CROSS_DEFAULT_HASH_KEY
    crosses = {
        "text": cross([sparse, words], hash_key=key),
        "hashed": cross([sparse, numbers], hashed_output=True, num_buckets=100, hash_key=key),
        "unbounded": cross([words, sparse, numbers], hashed_output=True, hash_key=key)}
    outputs = {}
    for name, made in crosses.items():
        outputs.update({name: made.values, name + "_indices": made.indices, name + "_shape": made.dense_shape})
    saved_models.write(path, {"serving_default": saved_models.signature(
        {"words": words, "numbers": numbers}, outputs, saved_models.PREDICT)})


_SCALARS = """
trees { nodes { bucketized_split { feature_id: 0 threshold: 1 left_id: 1 right_id: 2 }
                metadata { gain: 3 original_leaf { scalar: 0.25 } } }
        nodes { leaf { scalar: 1.5 } }
        nodes { categorical_split { feature_id: 1 value: 3 left_id: 3 right_id: 4 }
                metadata { original_leaf { scalar: 0.3 } } }
        nodes { leaf { scalar: 2.5 } } nodes { leaf { scalar: 7 } } }
trees { nodes { leaf { scalar: 5 } } }
trees { nodes { bucketized_split { feature_id: 1 threshold: 3 left_id: 1 right_id: 2 default_direction: DEFAULT_RIGHT } }
        nodes { leaf { scalar: 1 } }
        nodes { bucketized_split { feature_id: 0 threshold: -2 left_id: 3 right_id: 4 }
                metadata { original_leaf { scalar: 0.7 } } }
        nodes { leaf { scalar: -0.1 } } nodes { leaf { scalar: 1e8 } } }
tree_weights: 0.1 tree_weights: 1 tree_weights: 0.3
tree_metadata { num_layers_grown: 2 is_finalized: true
                post_pruned_nodes_meta { new_node_id: 0 logit_change: 0.5 } }
tree_metadata { is_finalized: true } tree_metadata { num_layers_grown: 2 }
growing_metadata { num_trees_attempted: 4 num_layers_attempted: 7 last_layer_node_start: 1 last_layer_node_end: 4 }
"""
_VECTORS = """
trees { nodes { bucketized_split { feature_id: 1 threshold: 0 left_id: 2 right_id: 1 dimension_id: 1 } }
        nodes { leaf { vector { value: 1.5 value: 2 value: -3 } } }
        nodes { leaf { vector { value: 0.1 value: 0.2 value: 0.3 value: 9 } } } }
trees { nodes { leaf { vector { value: 1 value: -1 value: 0 } } } }
tree_weights: 0.7 tree_weights: 0.1 tree_metadata { is_finalized: true } tree_metadata { is_finalized: true }
"""


def _serialized(text):
    return text_format.Parse(text, boosted_trees_pb2.TreeEnsemble()).SerializeToString()


def _write_ensembles(path):
    """Ensembles made by hand: split kinds, weights, vectors, none; restored, created, and shared by name."""
    a, b = [tf.placeholder(tf.int32, [None], name=name) for name in "ab"]
    restored = boosted_trees_ops.TreeEnsemble("restored", stamp_token=4, serialized_proto=_serialized(_SCALARS))
    vectors = boosted_trees_ops.TreeEnsemble("vectors", serialized_proto=_serialized(_VECTORS))
    empty = boosted_trees_ops.TreeEnsemble("empty")
    created = trees.boosted_trees_ensemble_resource_handle_op(container="", shared_name="local", name="created")
    create = trees.boosted_trees_create_ensemble(created, 0, _serialized(_SCALARS.replace("0.3", "0.4")))
    again = trees.boosted_trees_ensemble_resource_handle_op(container="", shared_name="vectors/", name="again")
    tf.get_default_session().run([restored.initializer, vectors.initializer, empty.initializer, create])
    with tf.control_dependencies([restored.resource_handle]):
        logits = tf.identity(boosted_trees_ops.predict(restored.resource_handle, [a, b], 1))
    states = trees.boosted_trees_get_ensemble_states(restored.resource_handle)
    nothing = trees.boosted_trees_get_ensemble_states(empty.resource_handle)
    stamp, proto = restored.serialize()

    def signature(outputs):
        return saved_models.signature({"a": a, "b": b}, outputs, saved_models.PREDICT)

    saved_models.write(path, {
        "serving_default": signature({"logits": logits}),
        "created": signature({"logits": boosted_trees_ops.predict(created, [a, b], 1)}),
        "vectors": signature({"logits": boosted_trees_ops.predict(again, [a, b], 3)}),
        "empty": signature({"logits": boosted_trees_ops.predict(empty.resource_handle, [a, b], 2)}),
        "explained": signature(
            {"paths": boosted_trees_ops.example_debug_outputs(restored.resource_handle, [a, b], 1)}),
        "states": signature(dict(
            {"stamp": stamp, "proto": proto, "ready": restored.is_initialized(), "empty": nothing[4],
             "rows": tf.shape(a), "columns": tf.shape(b)},
            **{name: value for name, value in zip(states._fields, states)}))}, main_op=create)


_WORDS = [np.array([-2.5, 0.0, 1.0, 1.5, 5.0, np.nan, np.inf, -np.inf]),
          np.array([[1.0, -0.0, 3e38], [5.0, 4.999999, 0.99999994]])]
_BOUNDS = [np.float32([-2.5, 0.0, 1.0, 1.0, 5.0]), np.float32([]), np.float32([[-np.inf, 1.0, np.inf]]),
           np.float32([1.0, np.nan])]
_INTS = [np.array([-3, -2, -1, 0, 1, 2, 2147483647]), np.array(1)]
_INT_BOUNDS = [np.float32([-2.5, -0.5, 0.5, 1.5, 1.9]), np.float32([]), np.float32([np.nan, 2.0]),
               np.float32([-1e30, 1.0])]


def _pairs(values, bounds, dtype):
    return [{"x": value.astype(dtype), "boundaries": bound} for value in values for bound in bounds]


_TREE_VALUES = np.float32([-1.0, 0.0, 0.5, 1.0, 2.0, np.nan, np.inf, -np.inf])
_TREE_BOUNDS = [np.float32([0.0, 1.0, 1.0]), np.float32([]), np.float32([np.inf])]
_FEATURES = [{"a": np.int32([0, 1, 2, 2, -3, 5]), "b": np.int32([3, 3, 3, 4, 9, -1])},
             {"a": np.int32([]), "b": np.int32([])}, {"a": np.int32([7]), "b": np.int32([4])}]
_IMAGES = np.sin(np.arange(120, dtype=np.float32)).reshape(2, 5, 6, 2)
_TRANSFORMS = [np.float32([[1, 0, 1, 0, 1, -2, 0, 0]]),
               np.float32([[0.9, 0.2, -0.5, -0.3, 1.1, 0.7, 0.01, -0.02], [0, 1, 0, 1, 0, 0, 0, 0]])]
_LETTERS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1) * 10
_NUMBERS = np.cos(np.arange(48, dtype=np.float32)).reshape(3, 16)

_IDS = np.int32([[[3, 5], [1, 2]], [[4, 9], [6, 9]], [[9, 7], [8, 1]], [[2, 2], [9, 3]]])
_PARENTS = np.int32([[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 1], [1, 0]], [[1, 0], [0, 1]]])
_POINTS = np.float32([[[0, 0], [1.5, 0.25], [2, 3], [-0.5, 1.2]], [[-1, 0], [2.5, 3.5], [3, 1], [0.75, -0.999]]])
_PIXELS = np.sin(np.arange(48, dtype=np.float32)).reshape(2, 4, 3, 2)
_CROSSED = [{"words": np.array([[b"a", b"b"], [b"", b"c"], [b"d", b""]], object), "numbers": np.int64([[1], [-5], [0]])},
            {"words": np.array([[b"x"]], object), "numbers": np.int64([[7]])}]

RECIPES = [
    program.Recipe(
        "gather_tree", "tf1_saved_model", saved_models.graph(_write_beams), ["GatherTree", "loop"],
        {"serving_default": [
            {"ids": _IDS, "parents": _PARENTS, "lengths": np.int32(lengths), "end": np.int32(9)}
            for lengths in ([4, 4], [2, 3], [0, 9])]}, SERVE),
    program.Recipe(
        "resampler", "tf1_saved_model", saved_models.graph(_write_resampler), ["Resampler", "ResamplerGrad"],
        {"serving_default": [{"data": _PIXELS, "warp": _POINTS}], "gradients": [{"data": _PIXELS, "warp": _POINTS}],
         "grid": [{"data": _PIXELS, "grid": _POINTS.reshape(2, 2, 2, 2)}]}, SERVE),
    program.Recipe(
        "sparse_cross", "tf1_saved_model", saved_models.graph(_write_crosses), ["SparseFeatureCrossV2"],
        {"serving_default": _CROSSED}, SERVE),
    program.Recipe(
        "bucketize_boundaries", "tf1_saved_model", saved_models.graph(_write_boundaries),
        ["BucketizeWithInputBoundaries", "ties", "NaN and infinities", "no boundaries"],
        {"serving_default": [{"x": np.float32([[0, 1, 5], [-1, np.nan, 0.5]])}],
         "float": _pairs(_WORDS, _BOUNDS, np.float32), "double": _pairs(_WORDS, _BOUNDS, np.float64),
         "int": _pairs(_INTS, _INT_BOUNDS, np.int32), "long": _pairs(_INTS, _INT_BOUNDS, np.int64)}, SERVE),
    program.Recipe(
        "bucketize_trees", "tf1_saved_model", saved_models.graph(_write_tree_buckets),
        ["BoostedTreesBucketize", "ties", "NaN and infinities", "no boundaries"],
        {"serving_default": [{"x": _TREE_VALUES, "bounds": bound} for bound in _TREE_BOUNDS]
         + [{"x": _TREE_VALUES[:0], "bounds": _TREE_BOUNDS[0]}],
         "three": [dict({"bounds_%d" % i: bound for i, bound in enumerate(_TREE_BOUNDS)},
                        x=_TREE_VALUES, y=_TREE_VALUES[:3], z=_TREE_VALUES[4:])]}, SERVE),
    program.Recipe(
        "tree_ensembles", "tf1_saved_model", saved_models.graph(_write_ensembles),
        ["BoostedTreesPredict", "BoostedTreesExampleDebugOutputs", "categorical splits", "several logits",
         "empty ensemble", "ensemble that no saver restores", "two handles of one resource"],
        {key: _FEATURES for key in ("serving_default", "created", "vectors", "empty", "explained", "states")}, SERVE),
    program.Recipe(
        "image_transform", "tf1_saved_model", saved_models.graph(_write_images), ["ImageProjectiveTransform"],
        {"serving_default": [{"images": _IMAGES, "transforms": t} for t in _TRANSFORMS],
         "letters": [{"images": _LETTERS, "transforms": t} for t in _TRANSFORMS]}, SERVE),
    program.Recipe(
        "bitpack", "tf1_saved_model", saved_models.graph(_write_bits), ["CompareAndBitpack", "NaN and infinities"],
        {"serving_default": [
            {"x": _NUMBERS, "flags": np.array([1, 0, 0, 1, 1, 0, 1, 0], bool), "threshold": _NUMBERS[1, 3]},
            {"x": np.float32([[np.nan, np.inf, -np.inf, 0, -0.0, 1e-40, 1, -1] * 2]), "flags": np.zeros(8, bool),
             "threshold": np.float32(0)}]}, SERVE),
]

if __name__ == "__main__":
    program.run_program(RECIPES)
