"""SparseFeatureCrossV2 of tf.contrib.layers, from which today's SparseCross was made, attribute for attribute."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from migrate.graph.removed_ops.context import RemovedOp


def sparse_feature_cross_v2(op: RemovedOp) -> Sequence[tf.Tensor]:
    """Indices `[n, 2]`, values `[n]` and shape `[2]` of the crosses of N sparse and some dense columns."""
    count = op.integer("N")
    sparse_types, dense_types = (op.dtypes(name) for name in ("sparse_types", "dense_types"))
    dtypes = [tf.int64] * count + sparse_types + [tf.int64] * count + dense_types
    inputs = [op.input(position, dtype) for position, dtype in enumerate(dtypes)]
    crossed: Sequence[tf.Tensor] = tf.raw_ops.SparseCross(
        indices=inputs[:count],
        values=inputs[count : 2 * count],
        shapes=inputs[2 * count : 3 * count],
        dense_inputs=inputs[3 * count :],
        hashed_output=op.flag("hashed_output"),
        num_buckets=op.integer("num_buckets"),
        hash_key=op.integer("hash_key"),
        out_type=op.dtype("out_type"),
        internal_type=op.dtype("internal_type"),
    )
    return crossed
