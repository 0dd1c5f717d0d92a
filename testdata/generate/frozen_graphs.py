"""Frozen graphs: variables turned into constants, and what they computed and how they trained before."""

import os

import numpy as np
import tensorflow as tf

import program
import weights

SERVE = (("serve",),)


def freeze(outputs, initializers=(), as_text=False, keep=True):
    """Turns write_graph(), which builds a graph, into a Recipe's `build`.

    outputs: names of the nodes that the frozen graph computes.   initializers: names of nodes that fill its tables.
    as_text: writes .pbtxt.   keep: keeps the unfrozen graph beside, to record from.
    """
    def decorate(write_graph):
        def build(path):
            with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
                write_graph()
                session.run(tf.global_variables_initializer())
                weights.fill_variables(session, tf.global_variables())
                frozen = tf.graph_util.convert_variables_to_constants(
                    session, graph.as_graph_def(), list(outputs) + list(initializers))
                os.makedirs(path)
                tf.train.write_graph(frozen, path, "frozen.pbtxt" if as_text else "frozen.pb", as_text)
                if keep:
                    original = os.path.join(os.path.dirname(path), "original")
                    tf.train.Saver().save(session, os.path.join(original, "model.ckpt"))
        return build
    return decorate


def classifier():
    """Convolution, batch norm (fused and plain), dropout that is off, dense; reference variables."""
    images = tf.placeholder(tf.float32, [None, 6, 6, 1], name="images")
    net = tf.layers.conv2d(images, 3, 3, name="conv")
    net = tf.nn.relu(tf.layers.batch_normalization(net, name="fused"))
    net = tf.layers.dropout(tf.layers.flatten(tf.layers.max_pooling2d(net, 2, 2)), training=False)
    net = tf.layers.batch_normalization(tf.layers.dense(net, 5, name="dense"), name="plain", fused=False)
    logits = tf.layers.dense(tf.nn.relu(net), 4, name="logits")
    tf.nn.softmax(logits, name="probabilities")


def recurrent():
    """An LSTM in a loop over words, resource variables; a constant of the author's own that never trains."""
    with tf.variable_scope("", use_resource=True):
        ids = tf.placeholder(tf.int32, [None, None], name="ids")
        lengths = tf.placeholder(tf.int32, [None], name="lengths")
        embedded = tf.nn.embedding_lookup(tf.get_variable("embedding", [9, 3]), ids)
        scale = tf.constant(np.linspace(0.5, 1.5, 96).reshape(1, 32, 3).astype(np.float32), name="scale")
        scaled = embedded * scale[:, :tf.shape(ids)[1]]
        _, state = tf.nn.dynamic_rnn(
            tf.nn.rnn_cell.LSTMCell(4), scaled, sequence_length=lengths, dtype=tf.float32)
        tf.layers.dense(state.h, 2, name="score")


def tables():
    """Words looked up in a table of constants, which the caller had to fill."""
    words = tf.placeholder(tf.string, [None], name="words")
    table = tf.contrib.lookup.index_table_from_tensor(["ant", "bee", "cow"], num_oov_buckets=2, name="vocabulary")
    tf.tables_initializer(name="fill_tables")
    rows = tf.get_variable("rows", [5, 3])
    tf.reduce_sum(tf.gather(rows, table.lookup(words)), 1, name="sums")


def pipeline():
    """Fed by a data set, whose batches a caller gives instead; a branch; two results."""
    dataset = tf.data.Dataset.from_tensor_slices(np.ones([4, 3], np.float32)).batch(2)
    batch = tf.identity(tf.compat.v1.data.make_initializable_iterator(dataset).get_next(), name="batch")
    dense = tf.layers.dense(batch, 2, name="dense")
    positive = tf.cond(tf.reduce_sum(dense) > 0.0, lambda: dense * 2.0, lambda: dense - 1.0)
    tf.identity(positive, name="result")
    tf.reduce_mean(dense, name="mean")


IMAGES = {"serving_default": [{"images": np.random.RandomState(3).rand(n, 6, 6, 1).astype(np.float32)} for n in (2, 1)]}
SEQUENCES = {"serving_default": [
    {"ids": np.array([[1, 2, 3, 0], [4, 5, 0, 0]], np.int32), "lengths": np.array([3, 2], np.int32)},
    {"ids": np.array([[8, 7]], np.int32), "lengths": np.array([2], np.int32)}]}
IMAGES_STATED = ({"images": "images:0"}, {"probabilities": "probabilities:0"})
SEQUENCES_STATED = ({"ids": "ids:0", "lengths": "lengths:0"}, {"score/BiasAdd": "score/BiasAdd:0"})

RECIPES = [
    program.Recipe(
        "frozen_classifier", "frozen_graph", freeze(["probabilities"], keep=False)(classifier),
        ["frozen graph", "batch norm", "reference variables"], tags=SERVE, cases=IMAGES, stated=IMAGES_STATED),
    program.Recipe(
        "frozen_thawed", "frozen_graph", freeze(["probabilities"])(classifier),
        ["frozen graph", "thawed", "moving averages stay still"], tags=SERVE, cases=IMAGES, stated=IMAGES_STATED,
        options={"thaw": True}),
    program.Recipe(
        "frozen_recurrent", "frozen_graph", freeze(["score/BiasAdd"], as_text=True)(recurrent),
        ["frozen graph", "text form", "v1 loop", "resource variables", "thawed"], tags=SERVE, cases=SEQUENCES,
        stated=SEQUENCES_STATED, options={"thaw": True}),
    program.Recipe(
        "frozen_tables", "frozen_graph", freeze(["sums"], ["fill_tables"], keep=False)(tables),
        ["frozen graph", "tables that no collection names"], tags=SERVE,
        cases={"serving_default": [{"words": np.array([b"bee", b"emu", b"ant"], object)}]},
        stated=({"words": "words:0"}, {"sums": "sums:0"})),
    program.Recipe(
        "frozen_pipeline", "frozen_graph", freeze(["result", "mean"], keep=False)(pipeline),
        ["frozen graph", "fed by an iterator", "v1 cond"], tags=SERVE,
        cases={"serving_default": [{"IteratorGetNext": np.float32([[1, 2, 3]])},
                                   {"IteratorGetNext": np.float32([[-1, 2, -3], [0, 0.5, 1]])}]},
        stated=({"IteratorGetNext": "IteratorGetNext:0"}, {"result": "result:0", "mean": "mean:0"})),
]

if __name__ == "__main__":
    program.run_program(RECIPES)
