"""LSTMBlockCell, GRUBlockCell: their kernels are there, but tf.contrib.rnn, which held their gradients, is gone.

The gradients of these plain ops are those that tf.contrib.rnn registered: clipping the cell state does not stop a
gradient (tensorflow/core/kernels/rnn/lstm_ops.h of TF 1.15), and outputs other than the state hand none back.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from migrate.graph.removed_ops.context import RemovedOp


def lstm_block_cell(op: RemovedOp) -> Sequence[tf.Tensor]:
    """i, cs, f, o, ci, co, h, each `[batch, cells]`; the kernel's columns are those of i, ci, f, o."""
    dtype = op.dtype("T")
    x, cs_prev, h_prev, w, wci, wcf, wco, b = (op.input(position, dtype) for position in range(8))
    gates = tf.nn.bias_add(tf.matmul(tf.concat([x, h_prev], 1), w), b)
    i, ci, f, o = tf.split(gates, 4, axis=1)
    f += tf.constant(op.number("forget_bias", 1.0), dtype)
    peephole, clip = op.flag("use_peephole"), op.number("cell_clip", 3.0)
    i = tf.sigmoid(i + cs_prev * wci if peephole else i)
    f = tf.sigmoid(f + cs_prev * wcf if peephole else f)
    ci = tf.tanh(ci)
    cs = ci * i + cs_prev * f
    if clip > 0:
        value = tf.stop_gradient(cs)
        # Zero is added to what clipping gives, so the value stays exact.
        cs = tf.clip_by_value(value, tf.constant(-clip, dtype), tf.constant(clip, dtype)) + (cs - value)
    o = tf.sigmoid(o + cs * wco if peephole else o)
    co = tf.tanh(cs)
    h = co * o
    i, f, o, ci, co = (tf.stop_gradient(output) for output in (i, f, o, ci, co))
    return i, cs, f, o, ci, co, h


def gru_block_cell(op: RemovedOp) -> Sequence[tf.Tensor]:
    """r, u, c, h, each `[batch, cells]`."""
    dtype = op.dtype("T")
    x, h_prev, w_ru, w_c, b_ru, b_c = (op.input(position, dtype) for position in range(6))
    gates = tf.nn.bias_add(tf.matmul(tf.concat([x, h_prev], 1), w_ru), b_ru)
    r, u = tf.split(tf.sigmoid(gates), 2, axis=1)
    c = tf.tanh(tf.nn.bias_add(tf.matmul(tf.concat([x, h_prev * r], 1), w_c), b_c))
    h = u * h_prev + (tf.constant(1, dtype) - u) * c
    r, u, c = (tf.stop_gradient(output) for output in (r, u, c))
    return r, u, c, h
