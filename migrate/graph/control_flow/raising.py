"""The pass: v1 control flow (Switch, Merge, Enter, Exit, NextIteration, LoopCond) to If and While.

Invariant: the result computes what the source computes, node names outside of loops and branches stay, and
a construct that is not understood stays as it is, with a Finding "control-flow-not-raised".
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import tensorflow as tf

from migrate.graph.control_flow.branches import Branches, assign_states
from migrate.graph.control_flow.depths import lay_out
from migrate.graph.control_flow.emit import Emitter
from migrate.graph.control_flow.frames import FrameKey, Loop, assign_frames, collapse_loops, collect_parts
from migrate.graph.control_flow.functions import Builder, Context
from migrate.graph.control_flow.live import find_live
from migrate.graph.control_flow.nodes import (
    CONTROL_FLOW_OPS,
    Node,
    NotRaised,
    Ops,
    Tensor,
    parse_nodes,
    sort_nodes,
)
from migrate.graph.control_flow.reads import hoist_reads
from migrate.graph.control_flow.stacks import convert_stacks
from migrate.graph.control_flow.tensor_arrays import ARRAY_OPS, convert_tensor_arrays, has_gradients
from migrate.graph.control_flow.writes import thread_variables
from migrate.graph.index import read_attr
from migrate.model import Finding, Severity

CODE = "control-flow-not-raised"
# Ops that only make a handle: they run anywhere, so they leave the loop or branch they were written in.
HANDLE_OPS = frozenset(("VarHandleOp", "HashTableV2", "MutableHashTableV2", "MutableDenseHashTableV2"))
_MAX_RESTARTS = 100


def raise_control_flow(graph_def: Any, *, keep: Collection[str] = ()) -> tuple[Any, tuple[Finding, ...]]:
    """Raise v1 control flow to functional control flow.

    Args:
      graph_def: a tf.compat.v1.GraphDef without reference variables; not changed.
      keep: names of nodes ("Merge") or tensors ("Merge:1") that have to exist afterwards: what signatures
        fetch and feed. Merges and Exits that nothing needs and nobody keeps disappear.

    Returns:
      A new GraphDef and what could not be raised. Where nothing is to be done, the graph is an equal copy.
    """
    result = tf.compat.v1.GraphDef()
    ops = {proto.op.removeprefix("Ref") for proto in graph_def.node}
    if not ops & (CONTROL_FLOW_OPS | ARRAY_OPS):
        result.CopyFrom(graph_def)
        return result, ()
    left_frames: set[FrameKey] = set()
    left_preds: set[tuple[str, int]] = set()
    findings: list[Finding] = []
    for _ in range(_MAX_RESTARTS):
        try:
            nodes, functions, notes = _raise_once(graph_def, keep, left_frames, left_preds)
        except NotRaised as error:
            findings.append(_describe(error))
            before = len(left_frames) + len(left_preds)
            if isinstance(error.subject, frozenset):
                left_preds |= error.subject
            elif error.subject is not None:
                left_frames.add(error.subject)
            if error.subject is None or len(left_frames) + len(left_preds) == before:
                break
        else:
            result.versions.CopyFrom(graph_def.versions)
            result.library.CopyFrom(graph_def.library)
            result.library.function.extend(functions)
            result.node.extend(nodes)
            _drop_lost_colocations(result)
            return result, (*(findings or _find_strays(result)), *notes)
    result.CopyFrom(graph_def)
    return result, tuple(findings)


def _find_strays(graph_def: Any) -> list[Finding]:
    """Merges that merge nothing conditional: they are v1 control flow without any construct around it."""
    reason = "none of its inputs comes from a branch"
    strays = [node for node in graph_def.node if node.op.removeprefix("Ref") in CONTROL_FLOW_OPS]
    return [_describe(NotRaised(None, node.name, reason)) for node in strays]


def _describe(error: NotRaised) -> Finding:
    return Finding(
        code=CODE,
        severity=Severity.WARNING,
        where=error.where,
        message=f"v1 control flow stays as it is: {error.reason}",
        hint="outputs are as before; gradients through this construct do not work in TF2",
    )


def _raise_once(
    graph_def: Any,
    keep: Collection[str],
    left_frames: Collection[FrameKey],
    left_preds: Collection[tuple[str, int]],
) -> tuple[list[Any], list[Any], list[Finding]]:
    ops = Ops(graph_def.library)
    nodes = parse_nodes(graph_def)
    for node in nodes:
        if node.kind in HANDLE_OPS:
            node.controls.clear()
    nodes, lists, notes = _convert_lists(nodes, keep)
    nodes, more = thread_variables(nodes, left_frames, {name.partition(":")[0] for name in keep})
    notes += more
    ordered = sort_nodes(nodes)
    assigned = assign_frames(ordered)
    taken = hoist_reads(ordered, assigned, left_frames)
    scopes, loops = collapse_loops(list(assigned), assigned, left_frames)
    for loop in loops:
        loop.node.inputs.extend(taken.get(loop.frame, ()))
    scopes = {frame: sort_nodes(scope) for frame, scope in scopes.items()}
    found = {frame: assign_states(scope, left_preds) for frame, scope in scopes.items()}
    for loop in loops:
        collect_parts(loop, scopes[loop.frame], ops)
    kept = _parse_kept(keep, nodes)
    live = find_live(scopes[None], found[None], {tensor.node for tensor in kept})
    context = Context(
        ops=ops,
        alias=_find_aliases(found.values(), loops),
        lists=lists,
        names={node.name for node in (*nodes, *assigned)},
        argument=_argument_prefix(nodes),
        digest=_digest(graph_def, keep),
        value_indices=_find_value_indices(nodes, kept),
    )
    builder = Builder(context, None, None)
    inside = [node for node in dict.fromkeys(t.node for t in kept) if _lies_inside(node, found[None])]
    outputs = {node: [Tensor(node, k) for k in range(_count_outputs(node, ops))] for node in inside}
    Emitter(context=context, found=found, live=live).emit_scope(
        builder,
        [node for node in scopes[None] if node in live],
        None,
        found[None].root,
        [tensor for tensors in outputs.values() for tensor in tensors],
        inside,
    )
    for node in inside:
        builder.emit_stand_in(node, outputs[node])
        notes.append(_describe_inside(node))
    return builder.nodes, list(context.functions.values()), notes


def _convert_lists(nodes: list[Node], keep: Collection[str]) -> tuple[list[Node], set[Tensor], list[Finding]]:
    """TensorArrays and stacks to TensorLists: the nodes then, the tensors that are lists, and what stays."""
    kept = {text.removeprefix("^").partition(":")[0] for text in keep}
    # Only gradients ask for the layout so early.
    layout = lay_out(nodes) if has_gradients(nodes) else None
    nodes, lists, notes = convert_tensor_arrays(nodes, kept, layout)
    if layout is None:
        return nodes, lists, notes
    added, more, others = convert_stacks(nodes, layout, kept)
    return nodes + added, lists | more, notes + others


def _lies_inside(node: Node, found: Branches) -> bool:
    """Whether a node that somebody keeps is moved into a branch function."""
    if node.kind == "Switch":
        return node in found.regions
    return node in found.states and found.states[node] is not found.root


def _count_outputs(node: Node, ops: Ops) -> int:
    return len(ops.outputs(node.proto))


def _describe_inside(node: Node) -> Finding:
    return Finding(
        code="fetch-in-branch",
        severity=Severity.WARNING,
        where=node.name,
        message="it runs in one branch of a conditional only, yet is named from outside",
        hint="TF1 failed to fetch it when the branch was not taken; now its value is then meaningless",
    )


def _parse_kept(keep: Collection[str], nodes: list[Node]) -> list[Tensor]:
    by_name = {node.name: node for node in nodes}
    kept = []
    for text in keep:
        name, _, index = text.removeprefix("^").partition(":")
        if name in by_name:
            kept.append(Tensor(by_name[name], int(index or 0)))
    return kept


def _find_aliases(found: Collection[Any], loops: list[Loop]) -> dict[Tensor, Tensor]:
    alias = {}
    for branches in found:
        for node in branches.regions:
            if node.kind == "Switch":
                alias[Tensor(node, 0)] = alias[Tensor(node, 1)] = node.inputs[0]
    for loop in loops:
        for node in loop.switches:
            alias[Tensor(node, 1)] = node.inputs[0]
        for node in loop.frame.enters:
            if read_attr(node.proto, "is_constant").b:
                alias[Tensor(node, 0)] = node.inputs[0]
    return alias


def _find_value_indices(nodes: list[Node], kept: list[Tensor]) -> set[Node]:
    wanted = {tensor for node in nodes for tensor in node.inputs if tensor.index == 1} | set(kept)
    return {node for node, index in wanted if node.kind == "Merge" and index == 1}


def _argument_prefix(nodes: list[Node]) -> str:
    """A prefix that begins no node's name, so that arguments and nodes of a function never clash."""
    prefix = "arg"
    while any(node.name.startswith(prefix) for node in nodes):
        prefix += "_"
    return prefix


def _digest(graph_def: Any, keep: Collection[str]) -> str:
    digest = hashlib.blake2b(graph_def.SerializeToString(deterministic=True), digest_size=6)
    digest.update("\n".join(sorted(keep)).encode())
    return digest.hexdigest()


def _drop_lost_colocations(graph_def: Any) -> None:
    """Drop `_class` entries that name nodes which moved into functions."""
    names = {f"loc:@{proto.name}".encode() for proto in graph_def.node}
    for proto in graph_def.node:
        if "_class" in proto.attr:
            present = [entry for entry in proto.attr["_class"].list.s if entry in names]
            del proto.attr["_class"]
            if present:
                proto.attr["_class"].list.s.extend(present)
