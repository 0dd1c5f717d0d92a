"""How a process that answers for a side is set up: alike for all sides, so that they differ by their models alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf


def prepare_process(op_library: Iterable[str]) -> None:
    """Loads libraries of custom ops, and lets sessions and functions compute what is written.

    TensorFlow's Grappler rewrites a session's graph and a function's body each in its own way: the same BERT came to
    differ from itself by 3e-6 by the arithmetic optimizer alone (TF 2.21), which is quadratic in chains of element-wise
    ops besides. Sessions without a config of their own take this one, too.
    """
    for path in op_library:
        tf.load_op_library(path)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def make_config() -> tf.compat.v1.ConfigProto:
    """For a session that needs a config of its own."""
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def keep_as_written(graph_def: Any) -> None:
    """The same for functions that the graph calls: each call carries the config of the process that traced it."""
    config = make_config().SerializeToString()
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            if "config_proto" in node.attr:
                node.attr["config_proto"].s = config
