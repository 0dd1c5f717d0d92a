"""Models of the TF 1.8 / hub 0.1.1 time. Needs CPython 3.6 with tensorflow==1.8.0 tensorflow-hub==0.1.1."""

import io

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
from tensorflow.python.ops import gen_lookup_ops

import checkpoints
import estimators
import frozen_graphs
import hub_dense
import hub_modules
import hub_text
import program
import saved_models

SERVE = (("serve",),)


def dense_fn(training):
    """hub 0.1.1: dense with L2 and batch norm in two variants."""
    x = tf.placeholder(tf.float32, [None, 3])
    regularizer = tf.contrib.layers.l2_regularizer(0.05)
    hidden = tf.layers.dense(x, 4, name="hidden", kernel_regularizer=regularizer)
    normed = tf.layers.batch_normalization(hidden, momentum=0.7, training=training)
    y = tf.layers.dense(tf.nn.relu(normed), 2, name="top", kernel_regularizer=regularizer)
    hub.add_signature(inputs=x, outputs={"default": y, "hidden": hidden})


def _write_partitioned(path):
    """Partitioned reference variables: 5 rows in 2 parts, and 4 columns in 3 parts along axis 1."""
    ids = tf.placeholder(tf.int64, [None, None], name="ids")
    rows = tf.get_variable("rows", [5, 4], partitioner=tf.fixed_size_partitioner(2))
    columns = tf.get_variable("columns", [4, 4], partitioner=tf.fixed_size_partitioner(3, axis=1))
    lookup = tf.reduce_sum(tf.nn.embedding_lookup(rows, ids, partition_strategy="div"), 1)
    y = tf.matmul(lookup, tf.convert_to_tensor(columns))
    saved_models.write(path, {"serving_default": saved_models.signature(
        {"ids": ids}, {"y": y, "lookup": lookup}, saved_models.PREDICT)})


def _write_first_tables(path):
    """The first generation of table ops: HashTable with a string handle, from a file and from constants."""
    with io.open("words.txt", "w", encoding="utf-8") as stream:
        stream.write(u"alpha\nbeta\ngamma\n")
    asset = tf.constant("words.txt", name="asset")
    tf.add_to_collection(tf.GraphKeys.ASSET_FILEPATHS, asset)
    forward = gen_lookup_ops.hash_table(tf.string, tf.int64, shared_name="words", name="forward")
    backward = gen_lookup_ops.hash_table(tf.int64, tf.string, name="backward")
    whole_line, line_number = -2, -1
    init = tf.group(
        gen_lookup_ops.initialize_table_from_text_file(forward, asset, whole_line, line_number),
        gen_lookup_ops.initialize_table(backward, np.int64([7, 8, 9]), [b"seven", b"eight", b"nine"]))
    word = tf.placeholder(tf.string, [None], name="word")
    found = gen_lookup_ops.lookup_table_find(forward, word, np.int64(-1))
    rows = tf.get_variable("rows", [4, 2])
    saved_models.write(path, {"serving_default": saved_models.signature(
        {"word": word},
        {"id": found, "row": tf.gather(rows, found + 1), "size": gen_lookup_ops.lookup_table_size(forward),
         "name": gen_lookup_ops.lookup_table_find(backward, found + 7, b"none")},
        saved_models.PREDICT)}, legacy_init_op=init)


def _recurrent():
    """An LSTM over words in a v1 loop; reference variables, which is what TF 1.8 can freeze."""
    ids = tf.placeholder(tf.int32, [None, None], name="ids")
    lengths = tf.placeholder(tf.int32, [None], name="lengths")
    embedded = tf.nn.embedding_lookup(tf.get_variable("embedding", [9, 3]), ids)
    _, state = tf.nn.dynamic_rnn(tf.nn.rnn_cell.LSTMCell(4), embedded, sequence_length=lengths, dtype=tf.float32)
    tf.layers.dense(state.h, 2, name="score")


_IDS = [{"ids": np.array([[0, 4], [2, 2]])}, {"ids": np.array([[1, 3, 0]])}]
_WORDS = [{"word": np.array([b"beta", b"omega"], object)}, {"word": np.array([b"gamma", b"alpha", b""], object)}]

RECIPES = [
    program.Recipe("tf18_hub_dense", "tf1_hub_module",
                   lambda path: hub_modules.write_module(
                       path, dense_fn, hub_modules.TRAIN_AND_INFER, {"train"}),
                   ["TF 1.8", "hub 0.1.1", "dense", "batch norm", "update ops", "regularization losses"],
                   hub_dense.CASES, ((), ("train",))),
    program.Recipe("tf18_hub_reference_variables", "tf1_hub_module",
                   lambda path: hub_modules.write_module(
                       path, hub_dense.reference_fn, hub_modules.TRAIN_AND_INFER, {"train"}),
                   ["TF 1.8", "hub 0.1.1", "reference variables in a hub module", "partitioned", "update ops"],
                   hub_dense.CASES, ((), ("train",))),
    program.Recipe("tf18_hub_text", "tf1_hub_module", hub_text.write_partitioned,
                   ["TF 1.8", "hub 0.1.1", "vocabulary asset", "oov buckets", "partitioned variable"],
                   {"default": hub_text.CASES}),
    program.Recipe("tf18_dnn_classifier", "estimator_export", estimators.write_dnn_classifier,
                   ["TF 1.8", "DNNClassifier", "serialized tf.Example", "classify", "predict", "legacy_init_op"],
                   {"serving_default": estimators.dnn_cases("inputs"), "predict": estimators.dnn_cases("examples"),
                    "classification": estimators.dnn_cases("inputs")}, SERVE, model_dir=estimators.TIMESTAMP),
    program.Recipe("tf18_partitioned", "tf1_saved_model", saved_models.graph(_write_partitioned),
                   ["TF 1.8", "partitioned reference variables", "partitions along axis 1", "uneven parts"],
                   {"serving_default": _IDS}, SERVE),
    program.Recipe("tf18_first_tables", "tf1_saved_model", saved_models.graph(_write_first_tables),
                   ["TF 1.8", "HashTable of the first version", "InitializeTable", "InitializeTableFromTextFile",
                    "LookupTableFind", "table without shared_name", "legacy_init_op"],
                   {"serving_default": _WORDS}, SERVE),
    program.Recipe("tf18_frozen_classifier", "frozen_graph",
                   frozen_graphs.freeze(["probabilities"], keep=False)(frozen_graphs.classifier),
                   ["TF 1.8", "frozen graph", "batch norm", "reference variables"], tags=SERVE,
                   cases=frozen_graphs.IMAGES, stated=frozen_graphs.IMAGES_STATED),
    program.Recipe("tf18_frozen_recurrent", "frozen_graph",
                   frozen_graphs.freeze(["score/BiasAdd"], as_text=True, keep=False)(_recurrent),
                   ["TF 1.8", "frozen graph", "text form", "v1 loop"], tags=SERVE, cases=frozen_graphs.SEQUENCES,
                   stated=frozen_graphs.SEQUENCES_STATED),
    program.Recipe("tf18_checkpoint", "checkpoint", checkpoints.save(
                       steps=(7, 40), record=checkpoints.ROWS_STATED, sharded=True)(checkpoints.regression),
                   ["TF 1.8", "training checkpoint", "two steps", "shards on two devices", "momentum slots"],
                   tags=SERVE, cases=checkpoints.ROWS, stated=checkpoints.ROWS_STATED,
                   left_behind=checkpoints.LEFT_ROWS),
    program.Recipe("tf18_checkpoint_v1", "checkpoint", checkpoints.save(
                       tf.train.SaverDef.V1, record=checkpoints.ROWS_STATED)(checkpoints.regression),
                   ["TF 1.8", "training checkpoint", "format V1"], tags=SERVE, cases=checkpoints.ROWS,
                   stated=checkpoints.ROWS_STATED, left_behind=checkpoints.LEFT_ROWS),
]

if __name__ == "__main__":
    program.run_program(RECIPES)
