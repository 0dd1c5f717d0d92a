"""Modules that compat.hub writes, loaded by the real tensorflow_hub on TF 1.15. Run by hand.

    python compat_interchange.py --write=DIR          # current TensorFlow: exports modules and what they compute
    python compat_interchange.py --read=DIR           # CPython 3.7, TF 1.15.5, hub 0.12.0: loads and compares
    python compat_interchange.py --write=DIR --v2     # ... with TF2 behaviour on: functional control flow

`--write` exports module functions of its own, exports each again after it was migrated to TF2, and re-exports every
hub module of ../zoo.
"""

from __future__ import print_function

import glob
import json
import os
import sys

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow.compat.v1 as tf

import compat_behaviour
import compat_behaviour_record as record

HERE = os.path.dirname(os.path.abspath(__file__))
KEYS = tf.GraphKeys


def _layers(is_training):
    images = tf.placeholder(tf.float32, [None, 6, 6, 3], name="images")
    net = tf.layers.conv2d(images, 4, 3, activation=tf.nn.relu)
    net = tf.layers.batch_normalization(net, training=is_training, fused=False)  # TF 1.15's kernel refuses TF2's fused one
    net = tf.layers.max_pooling2d(net, 2, 2)
    net = tf.layers.flatten(net)
    net = tf.layers.dropout(net, 0.5, training=False)
    record.hub_signature(inputs={"images": images}, outputs=tf.layers.dense(net, 2))


def _control_flow():
    x = tf.placeholder(tf.float32, [3], name="x")
    v = tf.get_variable("v", initializer=2.0)
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: x * v, lambda: -x)
    _, z = tf.while_loop(lambda i, z: i < 3, lambda i, z: (i + 1, z * v), [tf.constant(0), y])
    record.hub_signature(inputs=x, outputs={"default": z, "mapped": tf.map_fn(lambda e: e + v, x)})


def _composite():
    s = tf.sparse_placeholder(tf.float32, [None, 4], name="s")
    r = tf.ragged.placeholder(tf.int64, ragged_rank=1, value_shape=[], name="r")
    kernel = tf.get_variable("kernel", [4, 2], initializer=tf.ones_initializer())
    record.hub_signature(inputs={"s": s, "r": r}, outputs={
        "default": tf.sparse_tensor_dense_matmul(s, kernel), "ragged": r.with_values(r.values + 1),
        "sparse": tf.SparseTensor(s.indices, s.values * 2.0, s.dense_shape)})


def _text(path):
    def module_fn():
        from tensorflow.python.ops import lookup_ops
        texts = tf.placeholder(tf.string, [None], name="texts")
        table = lookup_ops.index_table_from_file(path, num_oov_buckets=2)
        words = tf.strings.split(texts)
        ids = table.lookup(words.values if hasattr(words, "values") else words.flat_values)
        weights = tf.get_variable("weights", [5, 2], initializer=tf.ones_initializer(),
                                  partitioner=tf.fixed_size_partitioner(2),
                                  regularizer=lambda w: tf.reduce_sum(w * w))
        record.hub_signature(inputs=texts, outputs=tf.nn.embedding_lookup(weights, ids, partition_strategy="div"))

    return module_fn


def _attached():
    hub = record._HUB[0]
    info = hub.ImageModuleInfo()
    info.default_image_size.height, info.default_image_size.width = 4, 5
    hub.attach_image_module_info(info)
    images = tf.placeholder(tf.float32, [None, None, None, 3])
    record.hub_signature(inputs={"images": images}, outputs=tf.reduce_mean(images, axis=[1, 2]))


TRAIN_AND_INFER = [(set(), {"is_training": False}), ({"train"}, {"is_training": True})]
IMAGES = (np.arange(2 * 6 * 6 * 3, dtype=np.float32).reshape(2, 6, 6, 3) * 0.17) % 1.0


def own_modules(folder):
    """name -> (module_fn, tags_and_args, inputs by key)."""
    words = record.write_lines(os.path.join(folder, "words.txt"), ["one", "two", "three"])
    return {
        "half_plus_two": (record.half_plus_two, None, {"default": [1.0, 2.0]}),
        "regularized": (record.regularized, None, {"default": [[1.0, 2.0]]}),
        "partitioned": (record.partitioned, None, {}),
        "layers": (_layers, TRAIN_AND_INFER, {"images": IMAGES.tolist()}),
        "control_flow": (_control_flow, None, {"default": [1.0, 2.0, 3.0]}),
        "composite": (_composite, None, {"s": {"sparse": [[[0, 1], [1, 3]], [2.0, 3.0], [2, 4]]},
                                         "r": {"ragged": [[1, 2], [], [3]]}}),
        "text": (_text(words), None, {"default": ["one two", "other"]}),
        "attached": (_attached, None, {"images": IMAGES.tolist()}),
    }


def as_tensor(value):
    if isinstance(value, dict) and "sparse" in value:
        indices, values, shape = value["sparse"]
        return tf.SparseTensor(indices, tf.constant(values, tf.float32), shape)
    if isinstance(value, dict):
        return tf.ragged.constant(value["ragged"], tf.int64)
    return value


def compute(hub, path, tags, inputs):
    """Outputs, losses and the number of update ops, of an instance in a graph of its own."""
    with tf.Graph().as_default() as graph:
        module = hub.Module(path, trainable=True, tags=tags)
        outputs = module({key: as_tensor(value) for key, value in inputs.items()}, as_dict=True)
        losses = graph.get_collection(KEYS.REGULARIZATION_LOSSES)
        values = record.evaluate([outputs, losses])
        found = {key: value.to_list() if hasattr(value, "to_list") else list(value) if hasattr(value, "indices") else
                 value for key, value in values[0].items()}
        return compat_behaviour.simplify(
            {"outputs": found, "losses": values[1], "updates": len(graph.get_collection(KEYS.UPDATE_OPS)),
             "variables": record.variable_shapes(module.variable_map)})


def count_variables(hub, path, tags):
    with tf.Graph().as_default():
        return len(hub.Module(path, tags=tags).variables)


def export_migrated(hub, path, tags):
    """Migrates a module, and exports what it became as a module again."""
    import migrate
    from migrate.options import MigrateOptions

    outcome = migrate.migrate_model(path, path + "_migrated", MigrateOptions(verify="none"))
    assert outcome.status.value == "migrated", outcome.error
    with tf.Graph().as_default(), tf.Session() as session:
        module = hub.Module(path + "_migrated", tags=tags)
        record.start(session)
        module.export(path + "_again", session)


def write(hub, folder):
    os.makedirs(folder)
    expected = {}
    for name, (module_fn, variants, inputs) in own_modules(folder).items():
        path = record.export(hub, os.path.join(folder, name), module_fn, variants)
        expected[name] = [[tags, inputs, compute(hub, path, tags, inputs)] for tags in
                          [sorted(tags) for tags in hub.load_module_spec(path).get_tags()]]
        export_migrated(hub, path, expected[name][0][0])
        # Update ops of a migrated model run with its outputs.
        expected[name + "_again"] = [[tags, inputs, dict(wanted, updates=0)] for tags, inputs, wanted in expected[name]]
    for source in sorted(glob.glob(os.path.join(HERE, os.pardir, "zoo", "*", "model", "tfhub_module.pb"))):
        source = os.path.dirname(source)
        name = "zoo_" + os.path.basename(os.path.dirname(source))
        # Whoever exports must instantiate the variant that has all variables.
        tags = max(hub.load_module_spec(source).get_tags(), key=lambda tags: count_variables(hub, source, tags))
        with tf.Graph().as_default(), tf.Session() as session:
            module = hub.Module(source, tags=tags)
            session.run(tf.global_variables_initializer())
            module.export(os.path.join(folder, name), session)
    with open(os.path.join(folder, "expected.json"), "w") as stream:
        json.dump(expected, stream)


def close(one, other):
    """Whether two plain values are equal, floats to 1e-4."""
    if isinstance(one, dict):
        return set(one) == set(other) and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(close(a, b) for a, b in zip(one, other))
    if isinstance(one, float):
        return abs(one - other) <= 1e-4 * max(1.0, abs(one))
    return one == other


def read(hub, folder):
    with open(os.path.join(folder, "expected.json")) as stream:
        expected = json.load(stream)
    failed = 0
    for name, runs in sorted(expected.items()):
        for tags, inputs, wanted in runs:
            try:
                same = close(wanted, compute(hub, os.path.join(folder, name), tags, inputs))
            except Exception as raised:
                same = "%s: %s" % (type(raised).__name__, raised)
            failed += same is not True
            print(name, tags, same)
    zoo = sorted(glob.glob(os.path.join(folder, "zoo_*")))
    for path in zoo:
        try:
            for tags in hub.load_module_spec(path).get_tags():
                with tf.Graph().as_default(), tf.Session() as session:
                    module = hub.Module(path, tags=tags)
                    record.start(session)
                    session.run(module.variables)
            print(os.path.basename(path), True)
        except Exception as raised:
            failed += 1
            print(os.path.basename(path), type(raised).__name__, str(raised)[:300])
    print(failed, "failed")
    return 1 if failed else 0


def main(arguments):
    if "--v2" not in arguments:
        tf.disable_v2_behavior()
    action, _, folder = arguments[0].partition("=")
    if action == "--write":
        from compat import hub
        return write(record.use(hub), os.path.abspath(folder))
    import tensorflow_hub as hub
    return read(record.use(hub), os.path.abspath(folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
