"""All passes in order: the part of a variant's graph that one call needs, ready to be imported by TF2.

PASSES is the list; each entry takes a Cut and gives a Cut, and states what holds after it and after all that follow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
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
    invariants,
    list_shapes,
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
class Cut:
    """What one call needs of a variant's graph, on its way through the passes.

    Attributes:
      subgraph: the nodes, and where the feeds and fetches are among them.
      findings: of the passes so far.
      racy: the fetches that read a variable which the same call writes, in no order that TF1 stated.
      gradients: to be registered when the graph is imported.
      lowered: whether functional control flow was taken apart, so that it has to be raised again.
    """

    subgraph: subgraph.Subgraph
    findings: tuple[Finding, ...] = ()
    racy: frozenset[str] = frozenset()
    gradients: tuple[gradient_functions.CallGradient, ...] = ()
    lowered: bool = False

    @property
    def graph_def(self) -> Any:
        return self.subgraph.graph_def

    def become(self, graph_def: Any, findings: Sequence[Finding] = ()) -> Cut:
        """The cut with another graph, and more findings."""
        changed = dataclasses.replace(self.subgraph, graph_def=graph_def)
        return dataclasses.replace(self, subgraph=changed, findings=(*self.findings, *findings))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Knowledge:
    """What passes may know beyond the cut.

    Attributes:
      producer_ops: the writer's OpList, None where it did not leave one.
      where: for messages.
      state: what removed ops may know of the whole variant and its checkpoint.
      lower: take functional loops and branches apart that take a resource.
    """

    producer_ops: Any = None
    where: str = ""
    state: removed_ops.RewriteContext | None = None
    lower: bool = True


# Called after each pass, for those who look on: the pass's name, and the cut as it left it.
Observer = Callable[[str, Cut], None]


def _check_fed(cut: Cut, known: Knowledge) -> Cut:
    open_ends = find_open_ends(
        graph_index.GraphIndex(cut.graph_def), list(cut.subgraph.fetches.values()), list(cut.subgraph.feeds.values())
    )
    if open_ends:
        raise errors.UnrunnableError(
            f"placeholders that the signature needs but does not feed: {', '.join(open_ends)}",
            where=known.where,
            hint="give a signature that feeds them (--signature), or migrate the other signatures with --partial",
        )
    return cut


def _fit_attributes(cut: Cut, known: Knowledge) -> Cut:
    return cut.become(*attributes.fit_attributes(cut.graph_def, known.producer_ops))


def _strip_placement(cut: Cut, known: Knowledge) -> Cut:
    return cut.become(*strip.strip_placement(cut.graph_def))


def _inline_functions(cut: Cut, known: Knowledge) -> Cut:
    flat, lowered = inlining.inline_functions(cut.subgraph, lower=known.lower)
    return dataclasses.replace(cut, subgraph=flat, lowered=lowered)


def _replace_removed_ops(cut: Cut, known: Knowledge) -> Cut:
    """Blocks what can still not run, all at once, before anything is executed."""
    graph_def, found = removed_ops.replace_removed_ops(cut.graph_def, known.state)
    missing = availability.find_missing_ops(graph_def)
    if missing:
        lacking = (*map(str, missing), *removed_ops.find_refusals(found))
        lost_in_tf1_too = all(op.op in availability.PYTHON_OPS for op in missing)
        raise (errors.UnrunnableError if lost_in_tf1_too else errors.BlockedError)(
            f"ops that this TensorFlow cannot run: {'; '.join(lacking)}",
            where=known.where,
            hint="load the ops with --op_library=PATH, or migrate the other signatures with --partial",
        )
    return cut.become(graph_def, found)


def _replace_ops_without_gradient(cut: Cut, known: Knowledge) -> Cut:
    return cut.become(*removed_ops.replace_ops_without_gradient(cut.graph_def))


def _check_loadable(cut: Cut, known: Knowledge) -> Cut:
    unloadable = loadable.find_unloadable(cut.graph_def)
    if unloadable:
        raise errors.BlockedError(
            f"ops that a SavedModel cannot bring back: {'; '.join(unloadable)}",
            where=known.where,
            hint="feed what the iterator gives (--signature), or migrate the other signatures with --partial",
        )
    return cut


def _convert_variables(cut: Cut, known: Knowledge) -> Cut:
    return dataclasses.replace(cut, subgraph=resource_variables.convert_reference_variables(cut.subgraph))


def _convert_tables(cut: Cut, known: Knowledge) -> Cut:
    return dataclasses.replace(cut, subgraph=resource_tables.convert_tables(cut.subgraph))


def _replace_counters(cut: Cut, known: Knowledge) -> Cut:
    return cut.become(counting.replace_counters(cut.graph_def))


def _order_writes(cut: Cut, known: Knowledge) -> Cut:
    graph_def, raced = write_order.order_writes(cut.graph_def)
    ordered = cut.become(graph_def)
    return dataclasses.replace(ordered, racy=_find_dependents(ordered.subgraph, raced))


def _free_feeds(cut: Cut, known: Knowledge) -> Cut:
    given = {graph_index.parse_tensor_name(name).node for name in cut.subgraph.feeds.values()}
    return cut.become(_drop_controls(cut.graph_def, given))


def _raise_control_flow(cut: Cut, known: Knowledge) -> Cut:
    held = (*cut.subgraph.fetches.values(), *cut.subgraph.feeds.values())
    keep = {graph_index.parse_tensor_name(name).node for name in held}
    return cut.become(*control_flow.raise_control_flow(cut.graph_def, keep=keep))


def _replace_control_triggers(cut: Cut, known: Knowledge) -> Cut:
    return cut.become(control_triggers.replace_control_triggers(cut.graph_def))


def _strip_shapes(cut: Cut, known: Knowledge) -> Cut:
    return cut.become(strip.strip_shapes(cut.graph_def))


def _tell_element_shapes(cut: Cut, known: Knowledge) -> Cut:
    return cut.become(list_shapes.tell_element_shapes(cut.graph_def))


def _tell_lost_gradients(cut: Cut, known: Knowledge) -> Cut:
    return cut.become(cut.graph_def, gradient_functions.find_lost_gradients(cut.graph_def))


def _name_functions(cut: Cut, known: Knowledge) -> Cut:
    return cut.become(function_library.name_by_content(cut.graph_def))


def _mark_gradients(cut: Cut, known: Knowledge) -> Cut:
    graph_def, gradients = gradient_functions.mark_calls(cut.graph_def)
    return dataclasses.replace(cut.become(graph_def), gradients=gradients)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One step.

    Attributes:
      name: as `--dump_graphs` and the tests call it.
      run: the step; raises BlockedError for what cannot be migrated.
      holds: what is true after it, and stays true.
      find_breaches: where it is not, in words; for the tests, which ask after each later pass too.
    """

    name: str
    run: Callable[[Cut, Knowledge], Cut]
    holds: str
    find_breaches: Callable[[Any], list[str]] = invariants.find_nothing


PASSES: tuple[Pass, ...] = (
    Pass(name="fed", run=_check_fed, holds="what the fetches need is fed"),
    Pass(
        name="attributes",
        run=_fit_attributes,
        holds="a node has only attributes that its op knows",
        find_breaches=invariants.find_unknown_attributes,
    ),
    Pass(
        name="placement",
        run=_strip_placement,
        holds="no device, no colocation, no mark of TF1's XLA",
        find_breaches=invariants.find_placement,
    ),
    Pass(name="inlining", run=_inline_functions, holds="a function is called only where it has to be one"),
    Pass(
        name="removed_ops",
        run=_replace_removed_ops,
        holds="every op can run here",
        find_breaches=invariants.find_missing_ops,
    ),
    Pass(
        name="ops_without_gradient",
        run=_replace_ops_without_gradient,
        holds="no op whose gradient went with tf.contrib",
        find_breaches=invariants.find_ops_without_gradient,
    ),
    Pass(
        name="loadable",
        run=_check_loadable,
        holds="every op can be brought back by a SavedModel",
        find_breaches=loadable.find_unloadable,
    ),
    Pass(
        name="resource_variables",
        run=_convert_variables,
        holds="no reference variable",
        find_breaches=invariants.find_reference_variables,
    ),
    Pass(
        name="resource_tables",
        run=_convert_tables,
        holds="no table of the first version",
        find_breaches=invariants.find_reference_tables,
    ),
    Pass(
        name="counting",
        run=_replace_counters,
        holds="no counter that cannot be loaded",
        find_breaches=invariants.find_counters,
    ),
    Pass(name="write_order", run=_order_writes, holds="a writer waits for the readers that do not wait for it"),
    Pass(name="free_feeds", run=_free_feeds, holds="nothing waits for a feed by a control edge"),
    Pass(name="control_flow", run=_raise_control_flow, holds="v1 control flow is raised, or a finding says why not"),
    Pass(
        name="control_triggers",
        run=_replace_control_triggers,
        holds="no ControlTrigger where no Switch is",
        find_breaches=invariants.find_idle_triggers,
    ),
    Pass(
        name="shapes",
        run=_strip_shapes,
        holds="no shapes but those that the importer infers",
        find_breaches=invariants.find_stated_shapes,
    ),
    Pass(
        name="list_shapes",
        run=_tell_element_shapes,
        holds="a list that a loop fills says the shape of its elements where the loop shows it",
    ),
    Pass(name="lost_gradients", run=_tell_lost_gradients, holds="a gradient function that is lost has a finding"),
    Pass(name="function_library", run=_name_functions, holds="functions of one name are the same function"),
    Pass(name="gradient_functions", run=_mark_gradients, holds="a call with its author's gradient carries it"),
)


def prepare_graph(
    index: graph_index.GraphIndex,
    *,
    feeds: Sequence[subgraph.Feed],
    fetches: Sequence[str],
    producer_ops: Any = None,
    where: str = "",
    state: removed_ops.RewriteContext | None = None,
    observe: Observer | None = None,
) -> Cut:
    """Cuts out what `fetches` need and raises it to what TF2 can run, differentiate and save.

    Args:
      index: of the variant's whole graph.
      feeds, fetches: as for `subgraph.extract_subgraph`.
      producer_ops, where, state: see Knowledge.
      observe: is shown each cut.

    Raises:
      BlockedError: an op cannot run on this TensorFlow, or needs a feed that no signature has.
    """
    known = Knowledge(producer_ops=producer_ops, where=where, state=state)
    whole = Cut(subgraph=subgraph.extract_subgraph(index, feeds=feeds, fetches=fetches))
    if observe is not None:
        observe("subgraph", whole)
    prepared = _run_passes(whole, known, observe)
    if prepared.lowered and any(finding.code == control_flow.CODE for finding in prepared.findings):
        # What was functional before must not end as v1 control flow.
        prepared = _run_passes(whole, dataclasses.replace(known, lower=False), observe)
    return prepared


def _run_passes(cut: Cut, known: Knowledge, observe: Observer | None) -> Cut:
    for step in PASSES:
        cut = step.run(cut, known)
        if observe is not None:
            observe(step.name, cut)
    return cut


def _find_dependents(cut: subgraph.Subgraph, nodes: frozenset[str]) -> frozenset[str]:
    """Fetches that need one of `nodes`."""
    if not nodes:
        return frozenset()
    behind = graph_index.GraphIndex(cut.graph_def).descendants(nodes)
    return frozenset(n for n, tensor in cut.fetches.items() if graph_index.parse_tensor_name(tensor).node in behind)


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


def find_unable(index: graph_index.GraphIndex, feeds: Sequence[str]) -> set[str]:
    """Nodes that have open ends, all at once; placeholders are among them, fed or not."""
    placeholders = [node.name for node in index.graph_def.node if node.op in ("Placeholder", "PlaceholderV2")]
    return index.descendants(placeholders, stop=feeds)


def find_open_ends(index: graph_index.GraphIndex, fetches: Sequence[str], feeds: Sequence[str]) -> list[str]:
    """Placeholders that `fetches` need and `feeds` do not supply: nothing can run them, in TF1 neither."""
    return sorted(
        name
        for name in index.ancestors(fetches, stop=feeds)
        if index.nodes[name].op in ("Placeholder", "PlaceholderV2")
    )
