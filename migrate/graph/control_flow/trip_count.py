"""Read a loop's counters: an upper bound for its iterations, as TF2 wants it in a While's second variable, and twins.

XLA needs the bound to size the lists in which a loop's gradient keeps its intermediates. Only the form that
tf.while_loop and its users write is recognised: a counter that starts at a constant >= 0, grows by a
constant >= 1, and is tested by `counter < bound` (alone or within LogicalAnd) with an int32 bound.
"""

from __future__ import annotations

import tensorflow as tf

from migrate.graph.control_flow.frames import Loop
from migrate.graph.control_flow.functions import Context
from migrate.graph.control_flow.nodes import INT32, Tensor
from migrate.graph.index import read_attr


def find_trip_limit(loop: Loop, context: Context) -> Tensor | int | None:
    """A scalar int32 of the parent's scope or a constant that bounds the iterations, None where unknown."""
    header = {merge: k for k, merge in enumerate(loop.merges)}
    conjuncts = [loop.pred]
    while conjuncts:
        node, _ = _strip(conjuncts.pop(), context)
        if node.kind == "LogicalAnd":
            conjuncts.extend(node.inputs)
        elif node.kind == "Less" and read_attr(node.proto, "T").type == INT32:
            counter, _ = _strip(node.inputs[0], context)
            bound = _strip(node.inputs[1], context)
            if counter in header and _counts_up(loop, header[counter], context):
                constant = _constant(bound, context)
                if constant is not None:
                    return constant
                if node.inputs[1].node.kind == "Enter":
                    return node.inputs[1].node.inputs[0]
    return None


def _strip(tensor: Tensor, context: Context) -> Tensor:
    tensor = context.follow(tensor)
    while tensor.node.kind == "Identity" and not tensor.node.payload:
        source = tensor.node.inputs[0]
        tensor = context.follow(source)
    return tensor


def _constant(tensor: Tensor, context: Context) -> int | None:
    node = _strip(tensor, context).node
    if node.kind != "Const" or read_attr(node.proto, "dtype").type != INT32:
        return None
    value = tf.make_ndarray(read_attr(node.proto, "value").tensor)
    return int(value) if value.ndim == 0 else None


def find_twins(loop: Loop, kept: list[int], context: Context) -> dict[int, int]:
    """Counters that count alike: each but the first -> the first. tf.nn.dynamic_rnn has two, and each costs time."""
    first: dict[tuple[int, int], int] = {}
    twins: dict[int, int] = {}
    for k in kept:
        counter = _find_counter(loop, k, context)
        if counter is not None and first.setdefault(counter, k) != k:
            twins[k] = first[counter]
    return twins


def _counts_up(loop: Loop, k: int, context: Context) -> bool:
    counter = _find_counter(loop, k, context)
    return counter is not None and counter[0] >= 0 and counter[1] >= 1


def _find_counter(loop: Loop, k: int, context: Context) -> tuple[int, int] | None:
    """(start, step) of an int32 scalar that grows by a constant."""
    start = _constant(loop.inits[k], context)
    step = _strip(loop.nexts[k], context).node
    if start is None or step.kind not in ("Add", "AddV2"):
        return None
    counter, one = (_strip(tensor, context) for tensor in step.inputs)
    if counter.node is not loop.merges[k]:
        counter, one = one, counter
    grows = _constant(one, context)
    return (start, grows) if counter.node is loop.merges[k] and grows is not None else None
