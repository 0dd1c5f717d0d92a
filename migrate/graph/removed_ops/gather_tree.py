"""GatherTree of tf.contrib.seq2seq (beam_search_ops.cc of TF 1.15): the beams that beam search ended with."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from migrate.graph.removed_ops.context import RemovedOp


def gather_tree(op: RemovedOp) -> Sequence[tf.Tensor]:
    """Beams `[time, batch, beam]`, followed from the last step to the first; after an end token come end tokens."""
    dtype = op.dtype("T")
    step_ids, parent_ids = op.input(0, dtype, 3), op.input(1, dtype, 3)
    lengths, end = op.input(2, tf.int32, 1), op.input(3, dtype, 0)
    shape = tf.shape(step_ids)
    steps, width = shape[0], shape[2]
    own = tf.tile(tf.range(width)[tf.newaxis], [shape[1], 1])
    # Arrays are made here as TF1 made them; the control flow pass raises them with the loop.
    ids, parents = (tf.compat.v1.TensorArray(dtype, steps).unstack(tensor) for tensor in (step_ids, parent_ids))

    def follow(step: tf.Tensor, beam: tf.Tensor, beams: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        active = tf.tile((step < lengths)[:, tf.newaxis], [1, width])
        found = tf.gather(ids.read(step), beam, batch_dims=1)
        parent = tf.cast(tf.gather(parents.read(step), beam, batch_dims=1), tf.int32)
        beams = beams.write(step, tf.where(active, found, tf.fill(tf.shape(found), end)))
        return step - 1, tf.where(active, parent, own), beams

    invariants = [tf.TensorShape([]), tf.TensorShape([None, None]), tf.TensorShape([])]
    beams = tf.compat.v1.while_loop(
        lambda step, *_: step >= 0,
        follow,
        [steps - 1, own, tf.compat.v1.TensorArray(dtype, steps)],
        shape_invariants=invariants,
    )[2].stack()
    ended = tf.cumsum(tf.cast(tf.equal(beams, end), tf.int32), exclusive=True) > 0
    return [tf.where(ended, tf.fill(tf.shape(beams), end), beams)]
