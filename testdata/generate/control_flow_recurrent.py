"""Recurrent networks over v1 while loops: cells, wrappers, lengths, initial states.

    python control_flow_recurrent.py --write [--only=SLUG]
"""

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub

from control_flow_recording import make_recipe, run_program

cells = tf.nn.rnn_cell


def floats(*shape):
    return (np.arange(int(np.prod(shape)), dtype=np.float32) * 0.29 - 0.6).reshape(shape) % 1.1 - 0.4


def sequence(batch=None):
    """A placeholder [batch, time, 3]."""
    return tf.placeholder(tf.float32, [batch, None, 3], name="x")


def _with_cell(make_cell):
    """module_fn: dynamic_rnn of the cell over x, all states as outputs."""
    def module_fn():
        x = sequence()
        outputs, state = tf.nn.dynamic_rnn(make_cell(), x, dtype=tf.float32)
        named = {"state_%d" % i: part for i, part in enumerate(tf.contrib.framework.nest.flatten(state))}
        hub.add_signature(inputs=x, outputs=dict(named, default=outputs))
    return module_fn


def _stacked():
    return cells.MultiRNNCell([cells.LSTMCell(4, num_proj=2, use_peepholes=True),
                               cells.ResidualWrapper(cells.LSTMCell(3, num_proj=2, cell_clip=0.3))])


def lengths_fn():
    """Past a sequence's end outputs are zero and the state is carried on: a cond in the loop, and masks."""
    x, lengths = sequence(), tf.placeholder(tf.int32, [None], name="lengths")
    outputs, state = tf.nn.dynamic_rnn(cells.GRUCell(4), x, lengths, dtype=tf.float32)
    mask = tf.expand_dims(tf.sequence_mask(lengths, tf.shape(x)[1], tf.float32), 2)
    mean = tf.reduce_sum(outputs * mask, 1) / tf.reduce_sum(mask, 1)
    hub.add_signature(inputs={"x": x, "lengths": lengths},
                      outputs={"default": mean, "sequence": outputs, "state": state})


def bidirectional_fn():
    x, lengths = sequence(), tf.placeholder(tf.int32, [None], name="lengths")
    outputs, states = tf.nn.bidirectional_dynamic_rnn(
        cells.LSTMCell(3), cells.GRUCell(3), x, lengths, dtype=tf.float32)
    hub.add_signature(inputs={"x": x, "lengths": lengths},
                      outputs={"default": tf.concat(outputs, 2), "forward": states[0].h, "backward": states[1]})


def time_major_fn():
    """Time first, the initial state given by the caller."""
    x = tf.placeholder(tf.float32, [None, None, 3], name="x")
    c = tf.placeholder(tf.float32, [None, 4], name="c")
    h = tf.placeholder(tf.float32, [None, 4], name="h")
    outputs, state = tf.nn.dynamic_rnn(cells.BasicLSTMCell(4), x, initial_state=cells.LSTMStateTuple(c, h),
                                       time_major=True)
    hub.add_signature(inputs={"x": x, "c": c, "h": h}, outputs={"default": outputs, "c": state.c, "h": state.h})


def raw_rnn_fn():
    """raw_rnn whose loop function ends each sequence by its length and keeps a loop state."""
    x, lengths = sequence(), tf.placeholder(tf.int32, [None], name="lengths")
    cell, size = cells.GRUCell(3), tf.shape(x)[1]
    array = tf.TensorArray(tf.float32, size).unstack(tf.transpose(x, [1, 0, 2]))

    def step(time, output, state, total):
        emit = None if output is None else output * 0.5
        state = cell.zero_state(tf.shape(x)[0], tf.float32) if output is None else state
        total = tf.zeros([]) if output is None else total + tf.reduce_sum(output)
        following = tf.cond(tf.reduce_all(time >= size), lambda: tf.zeros([tf.shape(x)[0], 3]),
                            lambda: array.read(time))
        following.set_shape([None, 3])
        return time >= lengths, following, state, emit, total

    emitted, state, total = tf.nn.raw_rnn(cell, step)
    hub.add_signature(inputs={"x": x, "lengths": lengths},
                      outputs={"default": tf.transpose(emitted.stack(), [1, 0, 2]), "state": state, "total": total})


def dropout_fn():
    """Dropout drawn in every step: `default` is random, `clean` runs the same cell without."""
    x = sequence()
    cell = cells.GRUCell(3)
    outputs, _ = tf.nn.dynamic_rnn(cells.DropoutWrapper(cell, output_keep_prob=0.5, state_keep_prob=0.8), x,
                                   dtype=tf.float32, scope="net")
    with tf.variable_scope("net", reuse=True):
        clean, _ = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32, scope=tf.get_variable_scope())
    hub.add_signature(inputs=x, outputs={"default": outputs, "clean": clean})


_X = [{"default": floats(2, 4, 3)}, {"default": floats(3, 1, 3) + 0.2}]
_X_AND_LENGTHS = [{"x": floats(2, 4, 3), "lengths": np.array([4, 2], np.int32)},
                  {"x": floats(3, 2, 3), "lengths": np.array([1, 2, 1], np.int32)}]

RECIPES = [
    make_recipe("lstm", _with_cell(lambda: cells.LSTMCell(4)), ["dynamic_rnn", "LSTM"], _X),
    make_recipe("gru", _with_cell(lambda: cells.GRUCell(4)), ["dynamic_rnn", "GRU"], _X),
    make_recipe("layer_norm_lstm", _with_cell(lambda: tf.contrib.rnn.LayerNormBasicLSTMCell(4)),
                ["dynamic_rnn", "layer-norm LSTM", "moments in a loop"], _X),
    make_recipe("lstm_block_cell", _with_cell(lambda: tf.contrib.rnn.LSTMBlockCell(3)),
                ["dynamic_rnn", "LSTMBlockCell kernel"], _X),
    make_recipe("lstm_block_peephole", _with_cell(lambda: tf.contrib.rnn.LSTMBlockCell(
        3, forget_bias=0.5, cell_clip=0.2, use_peephole=True)),
                ["dynamic_rnn", "LSTMBlockCell kernel", "peepholes", "cell clip"], _X),
    make_recipe("gru_block_cell", _with_cell(lambda: tf.contrib.rnn.GRUBlockCellV2(4)),
                ["dynamic_rnn", "GRUBlockCell kernel"], _X),
    make_recipe("stacked_projections", _with_cell(_stacked),
                ["dynamic_rnn", "stacked cells", "projections", "peepholes", "cell clip", "residual"], _X),
    make_recipe("sequence_lengths", lengths_fn, ["dynamic_rnn", "cond in while", "sequence mask"], _X_AND_LENGTHS),
    make_recipe("bidirectional", bidirectional_fn, ["two loops", "ReverseSequence"], _X_AND_LENGTHS),
    make_recipe("time_major_state", time_major_fn, ["time major", "initial state is an input"],
                [{"x": floats(4, 2, 3), "c": floats(2, 4), "h": floats(2, 4) * 0.5},
                 {"x": floats(1, 3, 3), "c": floats(3, 4) + 0.3, "h": floats(3, 4)}]),
    make_recipe("raw_rnn", raw_rnn_fn, ["raw_rnn", "cond in while", "loop state", "TensorArray read in a cond"],
                _X_AND_LENGTHS),
    make_recipe("dropout_in_loop", dropout_fn, ["random op in a loop", "DropoutWrapper"], _X,
                random_outputs=["|default|default"]),
]

if __name__ == "__main__":
    run_program(RECIPES)
