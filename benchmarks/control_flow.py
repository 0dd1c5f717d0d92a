"""How long raising v1 control flow takes: nodes against seconds.

Run as `python benchmarks/control_flow.py [--gradients] [nodes ...]`. Each graph is a chain of blocks: a cond
within a while_loop with a TensorArray, next to a nested cond; the pass is linear when seconds per node stay.
With --gradients each block also holds its own tf.gradients: gradient arrays, stacks and backward loops.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from migrate.graph.control_flow import raise_control_flow

v1 = tf.compat.v1
SIZES = (1_000, 5_000, 10_000, 20_000, 50_000)


def _add_block(x: Any) -> Any:
    array = v1.TensorArray(tf.float32, 3, element_shape=[2])

    def body(i: Any, value: Any, array: Any) -> tuple[Any, Any, Any]:
        value = v1.cond(tf.reduce_sum(value) > 0.0, lambda: tf.tanh(value) * x, lambda: value - x)
        return i + 1, value, array.write(i, value)

    _, value, array = v1.while_loop(lambda i, *_: i < 3, body, [0, x, array])
    inner = v1.cond(
        value[0] > 0.0, lambda: v1.cond(value[1] > 0.0, lambda: x + 1.0, lambda: x - 1.0), lambda: value * 2.0
    )
    for _ in range(20):
        inner = tf.tanh(inner)
    return inner + tf.reduce_sum(array.stack(), 0)


def build_graph(nodes: int, gradients: bool = False) -> Any:
    """At least `nodes` nodes: one block under many prefixes, each block feeding the next."""
    v1.disable_control_flow_v2()
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [2], name="x")
        y = _add_block(x)
        tf.identity(y + tf.gradients(y, x)[0] if gradients else y, name="y")
    v1.enable_control_flow_v2()
    block = graph.as_graph_def()
    result = v1.GraphDef(versions=block.versions)
    count = -(-nodes // len(block.node))
    for k in range(count):
        for node in block.node:
            if node.name == "x" and k:
                continue
            copy = result.node.add()
            copy.CopyFrom(node)
            copy.name = f"b{k}/{node.name}"
            del copy.input[:]
            for text in node.input:
                control, name = ("^", text[1:]) if text.startswith("^") else ("", text)
                copy.input.append(f"{control}b{k - 1}/y" if k and name == "x" else f"{control}b{k}/{name}")
            if "frame_name" in copy.attr:
                copy.attr["frame_name"].s = f"b{k}/".encode() + copy.attr["frame_name"].s
    return result


def main(arguments: list[str]) -> None:
    print(f"{'nodes':>8} {'seconds':>8} {'us/node':>8} {'functions':>9}")
    gradients = "--gradients" in arguments
    for size in [int(argument) for argument in arguments if argument != "--gradients"] or SIZES:
        graph_def = build_graph(size, gradients)
        start = time.perf_counter()
        raised, findings = raise_control_flow(graph_def, keep=["b0/x"])
        seconds = time.perf_counter() - start
        assert not findings
        nodes = len(graph_def.node)
        functions = len(raised.library.function)
        print(f"{nodes:8} {seconds:8.2f} {seconds / nodes * 1e6:8.1f} {functions:9}")


if __name__ == "__main__":
    main(sys.argv[1:])
