"""Ops that current TensorFlow lacks, or has no kernel for -> ops that it has.

Invariant: a rewritten node has the name, outputs, dtypes and values that TF 1.15 gave it (proof: recorded outputs in
testdata/removed_ops); an op that this TensorFlow can run is left alone, and so is a node that cannot be rewritten,
with a finding that says why. A new entry is one function in a file, and one line in REWRITES, or in WITHOUT_GRADIENT
for an op that runs but cannot be trained.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any

from tensorflow.core.framework import graph_pb2, types_pb2

from migrate.graph import availability
from migrate.graph.removed_ops import (
    bitpack,
    block_cells,
    bucketize,
    gather_tree,
    image_transform,
    quantiles,
    resampler,
    sparse_cross,
    splice,
    tree_debug,
    tree_predict,
    tree_resources,
)
from migrate.graph.removed_ops.context import CannotRewriteError, RewriteContext, make_context
from migrate.model import Finding, Severity

__all__ = [
    "REWRITES",
    "WITHOUT_GRADIENT",
    "RewriteContext",
    "describe_baseline",
    "find_refusals",
    "make_context",
    "replace_ops_without_gradient",
    "replace_removed_ops",
]

REWRITES: Mapping[str, splice.Rewrite] = {
    "BoostedTreesBucketize": bucketize.boosted_trees_bucketize,
    "BoostedTreesCreateEnsemble": tree_resources.forget,
    "BoostedTreesCreateQuantileStreamResource": tree_resources.forget,
    "BoostedTreesDeserializeEnsemble": tree_resources.forget,
    "BoostedTreesExampleDebugOutputs": tree_debug.boosted_trees_example_debug_outputs,
    "BoostedTreesGetEnsembleStates": tree_resources.get_ensemble_states,
    "BoostedTreesPredict": tree_predict.boosted_trees_predict,
    "BoostedTreesQuantileStreamResourceDeserialize": tree_resources.forget,
    "BoostedTreesQuantileStreamResourceGetBucketBoundaries": quantiles.get_bucket_boundaries,
    "BoostedTreesSerializeEnsemble": tree_resources.serialize_ensemble,
    "BucketizeWithInputBoundaries": bucketize.bucketize_with_input_boundaries,
    "CompareAndBitpack": bitpack.compare_and_bitpack,
    "GatherTree": gather_tree.gather_tree,
    "ImageProjectiveTransform": image_transform.image_projective_transform,
    "IsBoostedTreesEnsembleInitialized": tree_resources.is_initialized,
    "IsBoostedTreesQuantileStreamResourceInitialized": tree_resources.is_initialized,
    "Resampler": resampler.resampler,
    "ResamplerGrad": resampler.resampler_grad,
    "SparseFeatureCrossV2": sparse_cross.sparse_feature_cross_v2,
}

# Ops that run here, but whose gradient went with tf.contrib: training needs them as other ops.
WITHOUT_GRADIENT: Mapping[str, splice.Rewrite] = {
    "GRUBlockCell": block_cells.gru_block_cell,
    "LSTMBlockCell": block_cells.lstm_block_cell,
}

# They go when the last op that uses them has been rewritten.
_HANDLES = availability.LOST_HANDLES
_REWRITTEN, _REFUSED, _BASELINE = "op-rewritten", "op-not-rewritten", "baseline-rewritten"
_DIFFERENTIABLE = "op-made-differentiable"


def replace_removed_ops(graph_def: Any, context: RewriteContext | None = None) -> tuple[Any, tuple[Finding, ...]]:
    """A copy in which the ops of REWRITES that cannot run here are replaced, in the graph and in its functions.

    Args:
      graph_def: GraphDef, whole or a part.
      context: of the whole graph; without it ops that hold state stay.
    """
    missing = {op.op for op in availability.find_missing_ops(graph_def)} & {*REWRITES, *_HANDLES}
    if not missing:
        return graph_def, ()
    result, replaced, findings = _replace(graph_def, REWRITES, missing, context)
    return result, (*_tell(_REWRITTEN, replaced, "that this TensorFlow cannot run became ops that it can"), *findings)


def replace_ops_without_gradient(graph_def: Any) -> tuple[Any, tuple[Finding, ...]]:
    """A copy in which the ops of WITHOUT_GRADIENT are replaced, in the graph and in its functions."""
    bodies = (graph_def.node, *(function.node_def for function in graph_def.library.function))
    present = {node.op for body in bodies for node in body} & set(WITHOUT_GRADIENT)
    if not present:
        return graph_def, ()
    result, replaced, findings = _replace(graph_def, WITHOUT_GRADIENT, present, None)
    what = "for which this TensorFlow has no gradient became ops that have one"
    return result, (*_tell(_DIFFERENTIABLE, replaced, what), *findings)


def _tell(code: str, replaced: Mapping[str, int], what: str) -> list[Finding]:
    return [
        Finding(code=code, where=op, message=f"{_count(number)} of an op {what}")
        for op, number in sorted(replaced.items())
    ]


def _count(number: int) -> str:
    return f"{number} node{'' if number == 1 else 's'}"


def _replace(
    graph_def: Any, table: Mapping[str, splice.Rewrite], chosen: set[str], context: RewriteContext | None
) -> tuple[Any, collections.Counter[str], list[Finding]]:
    """A copy in which the `chosen` ops are replaced, how many nodes of each were, and what could not be."""
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    replaced: collections.Counter[str] = collections.Counter()
    findings: list[Finding] = []
    _replace_in_body(result.node, table, chosen, context, replaced, findings)
    for function in result.library.function:
        before = {node.name: node for node in _copies(function.node_def)}
        if _replace_in_body(function.node_def, table, chosen, context, replaced, findings, in_function=True):
            splice.rename_returns(function, function.node_def, before)
    return result, replaced, findings


def _replace_in_body(
    nodes: Any,
    table: Mapping[str, splice.Rewrite],
    missing: set[str],
    context: RewriteContext | None,
    replaced: collections.Counter[str],
    findings: list[Finding],
    *,
    in_function: bool = False,
) -> bool:
    """Rewrites one repeated NodeDef field in place; whether anything was rewritten."""
    siblings = {node.name: node for node in nodes}
    rewrites = {}
    for node in nodes:
        if node.op not in missing or node.op not in table:
            continue
        try:
            rewrites[node.name] = splice.trace_rewrite(table[node.op], node, siblings, context)
            replaced[node.op] += 1
        except CannotRewriteError as error:
            findings.append(
                Finding(code=_REFUSED, severity=Severity.WARNING, where=node.name, message=f"{node.op}: {error}")
            )
    made = splice.splice_nodes(nodes, rewrites, in_function=in_function) if rewrites else list(_copies(nodes))
    dropped = _drop_handles(made, missing)
    if rewrites or dropped:
        del nodes[:]
        nodes.extend(made)
    return bool(rewrites)


def _copies(nodes: Any) -> list[Any]:
    copies = []
    for node in nodes:
        copy = type(node)()
        copy.CopyFrom(node)
        copies.append(copy)
    return copies


def _drop_handles(nodes: list[Any], missing: set[str]) -> bool:
    """Makes a handle that nothing takes any more, and an Identity of one, a NoOp: control edges may name it."""
    by_name = {node.name: node for node in nodes}

    def is_handle(node: Any) -> bool:
        while node is not None and node.op == "Identity" and node.attr["T"].type == types_pb2.DT_RESOURCE:
            node = by_name.get(node.input[0].split(":")[0])
        return node is not None and node.op in _HANDLES and node.op in missing

    handles = [node for node in nodes if is_handle(node)]
    dropped = False
    while True:
        used = {text.split(":")[0] for node in nodes for text in node.input if not text.startswith("^")}
        free = [node for node in handles if node.name not in used and node.op != "NoOp"]
        if not free:
            return dropped
        for node in free:
            controls = [text for text in node.input if text.startswith("^")]
            node.op = "NoOp"
            node.attr.clear()
            del node.input[:]
            node.input.extend(controls)
            dropped = True


def describe_baseline(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """What to say of a comparison whose baseline could only run rewritten, from the findings of the migration."""
    ops = sorted({finding.where for finding in findings if finding.code == _REWRITTEN})
    if not ops:
        return ()
    return (
        Finding(
            code=_BASELINE,
            where=", ".join(ops),
            message="this TensorFlow cannot run the original: the baseline is its graph with only these ops replaced",
            hint="that the replacements compute what TF1 computed is proved by outputs recorded under TF 1.15",
        ),
    )


def find_refusals(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Why ops that have a rewrite were not rewritten."""
    return tuple(finding.message for finding in findings if finding.code == _REFUSED)
