"""Values of variables out of the checkpoint, by TF1's own op: any part of any entry, of any version of the format."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from migrate import errors
from migrate.model import VariableSpec


def restore_tensors(prefix: str, specs: Sequence[VariableSpec]) -> list[tf.Tensor]:
    """The value of each variable, all of which have a checkpoint key.

    Raises:
      CorruptModelError: an entry is missing or damaged.
    """
    return restore_entries(
        prefix,
        [spec.checkpoint_key or "" for spec in specs],
        [spec.slice_spec for spec in specs],
        [tf.as_dtype(spec.dtype) for spec in specs],
    )


def restore_entries(prefix: str, keys: list[str], slices: list[str], dtypes: list[tf.DType]) -> list[tf.Tensor]:
    """`restore_tensors` by the entries' keys."""
    try:
        values: list[tf.Tensor] = tf.raw_ops.RestoreV2(
            prefix=prefix, tensor_names=keys, shape_and_slices=slices, dtypes=dtypes
        )
        return values
    except tf.errors.OpError as error:
        raise errors.CorruptModelError(
            f"the checkpoint cannot be restored: {error.message.splitlines()[0]}",
            where=prefix,
            hint="a data shard is missing, truncated or of another export: copy the variables folder again",
        ) from error
