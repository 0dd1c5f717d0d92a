"""The resource of a tree ensemble becomes constants: an exported model's trees do not change.

Invariant: what reads the ensemble sees what TF1's loader leaves in it: the saver restores it before the init op
runs, and creating an ensemble that exists does nothing (tensorflow/core/kernels/boosted_trees/resource_ops.cc,
TF 1.15). Ops that let it grow have no rewrite, and so block what needs them.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from migrate.graph import index as graph_index
from migrate.graph.removed_ops.context import CannotRewriteError, RemovedOp, ResourceName, RewriteContext
from migrate.graph.removed_ops.tree_ensemble import TreeEnsemble, parse_ensemble


def find_ensemble(op: RemovedOp) -> TreeEnsemble:
    """The ensemble behind the op's handle.

    Raises:
      CannotRewriteError: nothing says what it holds.
    """
    return parse_ensemble(_find_serialized(*op.find_state())[1])


def _find_serialized(context: RewriteContext, resource: ResourceName) -> tuple[int, bytes]:
    """(stamp, serialized TreeEnsemble), as _TreeEnsembleSavable wrote them (python/ops/boosted_trees_ops.py)."""
    for node in context.find_users("BoostedTreesDeserializeEnsemble", resource):
        stamp, serialized = context.read_value(node.input[1]), context.read_value(node.input[2])
        if stamp is not None and serialized is not None:
            return int(stamp), _as_bytes(serialized)
    for node in context.index.graph_def.node:
        # Without a saver (a hub module), by the key that the Savable gives: the handle's tensor name.
        if node.op == resource.op and graph_index.find_resource_name(node) == resource.name:
            stamp = context.read_entry(f"{node.name}:0_stamp")
            serialized = context.read_entry(f"{node.name}:0_serialized")
            if stamp is not None and serialized is not None:
                return int(stamp), _as_bytes(serialized)
    for node in context.find_users("BoostedTreesCreateEnsemble", resource):
        stamp, serialized = context.read_value(node.input[1]), context.read_value(node.input[2])
        if stamp is not None and serialized is not None:
            return int(stamp), _as_bytes(serialized)
    raise CannotRewriteError(f"nothing says what the ensemble {resource.name!r} holds")


def _as_bytes(value: np.ndarray) -> bytes:
    item = value.item()
    return item if isinstance(item, bytes) else str(item).encode()


def forget(op: RemovedOp) -> list[tf.Tensor]:
    """An op that fills the resource: its values are constants by now."""
    op.find_state()
    return []


def is_initialized(op: RemovedOp) -> list[tf.Tensor]:
    """handle -> bool []."""
    op.find_state()
    return [tf.constant(True)]


def serialize_ensemble(op: RemovedOp) -> list[tf.Tensor]:
    """handle -> stamp_token int64 [], tree_ensemble_serialized string []."""
    stamp, serialized = _find_serialized(*op.find_state())
    return [tf.constant(stamp, tf.int64), tf.constant(serialized)]


def get_ensemble_states(op: RemovedOp) -> list[tf.Tensor]:
    """handle -> stamp_token int64 [], num_trees, num_finalized_trees, num_attempted_layers int32 [],
    last_layer_nodes_range int32 [2]."""
    stamp, serialized = _find_serialized(*op.find_state())
    ensemble = parse_ensemble(serialized)
    trees = len(ensemble.roots)
    start, end = ensemble.last_layer
    return [
        tf.constant(stamp, tf.int64),
        tf.constant(trees, tf.int32),
        tf.constant(trees if ensemble.is_last_finalized else trees - 1, tf.int32),
        tf.constant(ensemble.layers_attempted, tf.int32),
        # An ensemble that has not begun to grow has one node to split.
        tf.constant([start, max(1, end)], tf.int32),
    ]
