"""Resampler of tf.contrib.resampler: values of images between pixels."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from migrate.graph.removed_ops.context import RemovedOp


def resampler(op: RemovedOp) -> Sequence[tf.Tensor]:
    """Bilinear values `[batch, ..., channels]` of `[batch, height, width, channels]` at points (x, y).

    Pixels outside of the image are zero (tensorflow/contrib/resampler/kernels/resampler_ops.cc of TF 1.15).
    """
    return [_resample(op.input(0, op.dtype("T"), 4), op.input(1, op.dtype("T")))]


def resampler_grad(op: RemovedOp) -> Sequence[tf.Tensor]:
    """Gradients by the images and by the points; the third input is the gradient of the values."""
    dtype = op.dtype("T")
    data, warp, gradient = op.input(0, dtype, 4), op.input(1, dtype), op.input(2, dtype)
    found: Sequence[tf.Tensor] = tf.gradients(_resample(data, warp), [data, warp], gradient)
    return found


def _resample(data: tf.Tensor, warp: tf.Tensor) -> tf.Tensor:
    dtype = data.dtype
    shape, points = tf.shape(data), tf.shape(warp)[:-1]
    size = tf.reverse(shape[1:3], [0])
    warp = tf.reshape(warp, tf.stack([shape[0], -1, 2]))
    low = tf.floor(tf.stop_gradient(warp))
    share = low + 1 - warp  # Of the lower pixel, in x and y.

    def pixel(corner: tf.Tensor) -> tf.Tensor:
        index = tf.cast(corner, tf.int32)
        inside = tf.reduce_all((corner >= 0) & (corner < tf.cast(size, dtype)), -1, keepdims=True)
        index = tf.where(tf.concat([inside, inside], -1), index, tf.zeros_like(index))
        found = tf.gather_nd(data, tf.reverse(index, [-1]), batch_dims=1)
        return tf.where(tf.tile(inside, tf.stack([1, 1, shape[3]])), found, tf.zeros_like(found))

    x, y = share[..., :1], share[..., 1:]
    one = tf.constant(1, dtype)
    value = x * y * pixel(low)
    value += (one - x) * (one - y) * pixel(low + 1)
    value += x * (one - y) * pixel(low + tf.constant([0, 1], dtype))
    value += (one - x) * y * pixel(low + tf.constant([1, 0], dtype))
    return tf.reshape(value, tf.concat([points, shape[3:]], 0))
