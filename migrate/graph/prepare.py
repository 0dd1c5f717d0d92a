"""All passes in order: the part of a variant's graph that one call needs, ready to be imported by TF2."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from migrate import errors
from migrate.graph import (
    attributes,
    availability,
    control_flow,
    control_triggers,
    counting,
    function_library,
    gradient_functions,
    inlining,
    loadable,
    removed_ops,
    resource_tables,
    resource_variables,
    strip,
    subgraph,
    write_order,
)
from migrate.graph import index as graph_index
from migrate.model import Finding


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A subgraph after all passes, and what they found.

    Attributes:
      racy: the fetches that read a variable which the same call writes, in no order that TF1 stated.
      gradients: to be registered when the graph is imported.
    """

    subgraph: subgraph.Subgraph
    findings: tuple[Finding, ...]
    racy: frozenset[str] = frozenset()
    gradients: tuple[gradient_functions.CallGradient, ...] = ()


def prepare_graph(
    index: graph_index.GraphIndex,
    *,
    feeds: Sequence[subgraph.Feed],
    fetches: Sequence[str],
    producer_ops: Any = None,
    where: str = "",
    state: removed_ops.RewriteContext | None = None,
) -> Prepared:
    """Cuts out what `fetches` need and raises it to what TF2 can run, differentiate and save.

    Args:
      index: of the variant's whole graph.
      feeds, fetches: as for `subgraph.extract_subgraph`.
      producer_ops: the writer's OpList.
      where: for messages.
      state: what removed ops may know of the whole variant and its checkpoint.

    Raises:
      BlockedError: an op cannot run on this TensorFlow, or needs a feed that no signature has.
    """
    cut = subgraph.extract_subgraph(index, feeds=feeds, fetches=fetches)
    _check_fed(cut, where)
    graph_def, findings = attributes.fit_attributes(cut.graph_def, producer_ops)
    graph_def, more = strip.strip_placement(graph_def)
    cut = dataclasses.replace(cut, graph_def=graph_def)
    findings += more
    flat, lowered = inlining.inline_functions(cut, lower=True)
    prepared = _raise_graph(flat, findings, where, state)
    if lowered and any(finding.code == control_flow.CODE for finding in prepared.findings):
        # What was functional before must not end as v1 control flow.
        flat, _ = inlining.inline_functions(cut, lower=False)
        prepared = _raise_graph(flat, findings, where, state)
    return prepared


def _raise_graph(
    cut: subgraph.Subgraph, findings: tuple[Finding, ...], where: str, state: removed_ops.RewriteContext | None
) -> Prepared:
    """The passes after inlining."""
    graph_def, more = removed_ops.replace_removed_ops(cut.graph_def, state)
    findings += more
    cut = dataclasses.replace(cut, graph_def=graph_def)
    missing = availability.find_missing_ops(cut.graph_def)
    if missing:
        lost_in_tf1_too = all(op.op in availability.PYTHON_OPS for op in missing)
        raise (errors.UnrunnableError if lost_in_tf1_too else errors.BlockedError)(
            "ops that this TensorFlow cannot run: " + "; ".join((*map(str, missing), *removed_ops.find_refusals(more))),
            where=where,
            hint="load the ops with --op_library=PATH, or migrate the other signatures with --partial",
        )
    graph_def, more = removed_ops.replace_ops_without_gradient(cut.graph_def)
    findings += more
    unloadable = loadable.find_unloadable(cut.graph_def)
    if unloadable:
        raise errors.BlockedError(
            f"ops that a SavedModel cannot bring back: {'; '.join(unloadable)}",
            where=where,
            hint="feed what the iterator gives (--signature), or migrate the other signatures with --partial",
        )
    cut = resource_variables.convert_reference_variables(dataclasses.replace(cut, graph_def=graph_def))
    cut = resource_tables.convert_tables(cut)
    graph_def, raced = write_order.order_writes(counting.replace_counters(cut.graph_def))
    cut = dataclasses.replace(cut, graph_def=graph_def)
    racy = _find_dependents(cut, raced)
    keep = {graph_index.parse_tensor_name(name).node for name in (*cut.fetches.values(), *cut.feeds.values())}
    given = {graph_index.parse_tensor_name(name).node for name in cut.feeds.values()}
    graph_def, more = control_flow.raise_control_flow(_drop_controls(cut.graph_def, given), keep=keep)
    graph_def = strip.strip_shapes(control_triggers.replace_control_triggers(graph_def))
    findings += more + gradient_functions.find_lost_gradients(graph_def)
    graph_def = function_library.name_by_content(graph_def)
    graph_def, gradients = gradient_functions.mark_calls(graph_def)
    return Prepared(
        subgraph=dataclasses.replace(cut, graph_def=graph_def), findings=findings, racy=racy, gradients=gradients
    )


def _find_dependents(cut: subgraph.Subgraph, nodes: frozenset[str]) -> frozenset[str]:
    """Fetches that need one of `nodes`."""
    if not nodes:
        return frozenset()
    index = graph_index.GraphIndex(cut.graph_def)
    return frozenset(name for name, tensor in cut.fetches.items() if index.ancestors([tensor]) & nodes)


def _drop_controls(graph_def: Any, given: set[str]) -> Any:
    """Drops control edges that wait for a feed: it is there from the start, and import_graph_def's input_map
    would leave its Placeholder behind for the edge's sake."""
    result = type(graph_def)()
    result.CopyFrom(graph_def)
    for node in result.node:
        kept = [text for text in node.input if not (text.startswith("^") and text[1:] in given)]
        if len(kept) != len(node.input):
            del node.input[:]
            node.input.extend(kept)
    return result


def find_open_ends(index: graph_index.GraphIndex, fetches: Sequence[str], feeds: Sequence[str]) -> list[str]:
    """Placeholders that `fetches` need and `feeds` do not supply: nothing can run them, in TF1 neither."""
    return sorted(
        name
        for name in index.ancestors(fetches, stop=feeds)
        if index.nodes[name].op in ("Placeholder", "PlaceholderV2")
    )


def _check_fed(cut: subgraph.Subgraph, where: str) -> None:
    open_ends = find_open_ends(
        graph_index.GraphIndex(cut.graph_def), list(cut.fetches.values()), list(cut.feeds.values())
    )
    if open_ends:
        raise errors.UnrunnableError(
            f"placeholders that the signature needs but does not feed: {', '.join(open_ends)}",
            where=where,
            hint="give a signature that feeds them (--signature), or migrate the other signatures with --partial",
        )
