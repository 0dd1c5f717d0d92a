"""Is it the model's fault? What TensorFlow itself says of a graph on which the toolkit stumbled."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from migrate import errors

# TensorFlow refuses these for reasons that are none of the graph's: ops and attributes that it lost or never had.
_EXCUSES = ("Op type not registered", "not in Op<", "is not in the list of allowed values", "is not registered")


def explain_failure(model: Any, failure: Exception) -> errors.CorruptModelError | None:
    """The error that a model is owed whose graph TensorFlow refuses, too; None where the graph is valid.

    Args:
      model: LegacyModel.
      failure: what the rebuild ran into.
    """
    for variant in model.variants:
        wrong = _find_refusal(variant)
        if wrong:
            return errors.CorruptModelError(
                f"TensorFlow cannot load the graph: {wrong}", where=variant.label, hint="export the model again"
            )
    if isinstance(failure, RecursionError):
        return errors.CorruptModelError(
            "the graph is nested more deeply than any that TensorFlow wrote", where=model.source.path
        )
    return None


def _find_refusal(variant: Any) -> str:
    """The first line of what TensorFlow's importer says against a graph, "" for nothing."""
    try:
        with tf.Graph().as_default():
            tf.compat.v1.import_graph_def(variant.graph_def, name="", producer_op_list=variant.producer_ops)
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as refusal:
        line = (str(refusal).strip().splitlines() or [type(refusal).__name__])[0]
        return "" if any(excuse in line for excuse in _EXCUSES) else line
    return ""
