"""Constants of a frozen graph -> the variables that they were.

`convert_variables_to_constants` (tensorflow/python/framework/graph_util_impl.py of TF 1.15) puts a Const under the
variable's own name, and leaves the op that read it as an Identity: `<name>/read` of a reference variable, a name that
ends in `ReadVariableOp` of a resource; a ResourceGather becomes a GatherV2, colocated with the constant. That trace
tells a variable from a constant of the author. Tools that simplify graphs take the trace out: in a graph without any,
large constants are taken for variables.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from migrate import errors
from migrate.graph import index as graph_index
from migrate.graph import shapes
from migrate.model import Finding, GraphVariant, Severity, VariableSpec
from migrate.readers import large_constants

# Of a graph without traces: a constant of fewer elements is more likely the author's (an epsilon, a mean colour).
_LARGE = 64
_READ = re.compile(r"(.*/)?(read|ReadVariableOp(_\d+)?)")
_FLOATS = ("float32", "float64", "float16", "bfloat16")
_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "BatchNormWithGlobalNormalization")
# Positions of mean and variance among a norm's inputs (nn_ops.cc); of the oldest op: t, m, v, beta, gamma.
_STATISTICS = {"BatchNormWithGlobalNormalization": (1, 2)}
# Names that TF1's layers and optimizers give to what no gradient moves.
_MOVING = re.compile(r"moving_(mean|variance|average)|ExponentialMovingAverage|global_step", re.IGNORECASE)
_CHECKPOINT = os.path.join("thawed", "variables")


def thaw_variant(
    variant: GraphVariant, scratch: str, where: str
) -> tuple[GraphVariant, str | None, tuple[Finding, ...]]:
    """Makes variables of constants.

    Args:
      variant: of the frozen graph.
      scratch: folder for the checkpoint that holds their values.
      where: the file, for messages.

    Returns:
      The variant, the checkpoint's prefix, and a finding that says what trains now.

    Raises:
      UsageError: there is nothing to thaw.
    """
    index = graph_index.GraphIndex(variant.graph_def)
    traced = _find_traced(index)
    chosen = traced or [node.name for node in variant.graph_def.node if _is_large(node)]
    if not chosen:
        raise errors.UsageError(
            f"there is nothing to thaw: the graph has no constant that was a variable, nor one of {_LARGE} elements",
            where=where,
            hint="leave out --thaw",
        )
    statistics = _find_statistics(index, set(chosen))
    graph_def = graph_pb2.GraphDef()
    graph_def.CopyFrom(variant.graph_def)
    if not scratch:
        raise ValueError("thawing writes a checkpoint, and needs a folder for it")
    shard = large_constants.ConstantsShard(os.path.join(scratch, _CHECKPOINT))
    specs = []
    for node in graph_def.node:
        if node.name in chosen:
            entry = large_constants.describe_constant(node)
            assert entry is not None, "only constants of floats are chosen"
            shard.add(node.name, entry, tf.make_ndarray(node.attr["value"].tensor).tobytes())
            large_constants.become_variable(node)
            specs.append(
                VariableSpec(
                    name=node.name,
                    node=node.name,
                    dtype=entry.dtype,
                    shape=entry.shape,
                    trainable=node.name not in statistics,
                    checkpoint_key=node.name,
                )
            )
    thawed = dataclasses.replace(variant, graph_def=graph_def, variables=(*variant.variables, *specs))
    return thawed, shard.finish(), (_describe(specs, bool(traced)),)


def _find_traced(index: graph_index.GraphIndex) -> list[str]:
    """Constants that are read as a variable is."""
    found = {
        graph_index.parse_tensor_name(node.input[0]).node
        for node in index.graph_def.node
        if (node.op == "Identity" and node.input and _READ.fullmatch(node.name)) or _is_embedding_lookup(node)
    }
    return [node.name for node in index.graph_def.node if node.name in found and _is_float_constant(node)]


def _is_embedding_lookup(node: Any) -> bool:
    return node.op == "GatherV2" and f"loc:@{node.input[0]}".encode() in node.attr["_class"].list.s


def _is_float_constant(node: Any) -> bool:
    return node.op == "Const" and graph_index.dtype_name(node.attr["dtype"].type) in _FLOATS


def _is_large(node: Any) -> bool:
    if not _is_float_constant(node):
        return False
    shape = shapes.parse_shape(node.attr["value"].tensor.tensor_shape)
    return shape is not None and math.prod(size or 0 for size in shape) >= _LARGE


def _find_statistics(index: graph_index.GraphIndex, chosen: set[str]) -> set[str]:
    """Moving averages: what a batch norm takes as mean and variance, and what is named so."""
    found = {name for name in chosen if _MOVING.search(name)}
    for node in index.graph_def.node:
        if node.op in _NORMS:
            for position in _STATISTICS.get(node.op, (3, 4)):
                behind = graph_index.parse_tensor_name(node.input[position]).node
                while behind in index.nodes and index.nodes[behind].op == "Identity":
                    behind = graph_index.parse_tensor_name(index.nodes[behind].input[0]).node
                found |= {behind} & chosen
    return found


def _describe(specs: list[VariableSpec], traced: bool) -> Finding:
    trained = [spec.name for spec in specs if spec.trainable]
    still = [spec.name for spec in specs if not spec.trainable]
    large = f"of {_LARGE} and more elements (the graph does not say what a variable was)"
    how = "that were variables" if traced else large
    return Finding(
        code="constants-thawed",
        severity=Severity.INFO if traced else Severity.WARNING,
        where="serve",
        message=f"{len(specs)} constants {how} are variables again, {len(trained)} of them train: "
        f"{', '.join(trained[:5])}{', ...' if len(trained) > 5 else ''}"
        + (f"; moving averages do not: {', '.join(still[:5])}{', ...' if len(still) > 5 else ''}" if still else ""),
        hint="" if traced else "say what trains with --trainable",
    )
