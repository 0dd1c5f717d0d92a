"""Order a scope so that each conditional becomes as few functional ops as its data flow allows.

A conditional whose results feed, through nodes outside of it, a Switch of the same predicate (gradients
that were baked into a training graph do) cannot be one op: that would be a cycle. It is cut into phases that
run one after the other.

Invariant: the items of a schedule, run in order, find every input ready; edges are visited once per depth,
and once more where a conditional has to be cut.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator

from migrate.graph.control_flow.branches import Branches, Region, State, enclosing
from migrate.graph.control_flow.nodes import Node, Tensor, sources

Trace = Callable[[Tensor], Tensor]
Unit = tuple[Region, int]

# Upper bound of nodes times regions for finding the phases; beyond it, conditionals may be cut too often.
_MAX_LABELS = 20_000_000


@dataclasses.dataclass(slots=True, eq=False)
class Cluster:
    """Nodes of one region that run together: its Switches and Merges, and what lies in its branches.

    `nodes` tells the branch of each, None for the region's own Switches and Merges.
    """

    region: Region
    nodes: dict[Node, int | None] = dataclasses.field(default_factory=dict)

    @property
    def merges(self) -> list[Node]:
        """The region's own Merges: what the op returns."""
        return [node for node, branch in self.nodes.items() if branch is None and node.kind == "Merge"]


def find_region(node: Node, outer: State, found: Branches) -> tuple[Region | None, int | None]:
    """The region directly within `outer` that `node` belongs to and the branch it runs in.

    The region is None where the node runs in `outer` itself; the branch is None for a region's own Switch
    or Merge.
    """
    state = found.states[node]
    if state is outer:
        return found.regions.get(node), None
    branch = enclosing(state, outer)
    assert branch is not None, "the node does not run in `outer` itself"
    return branch.region, branch.branch


class _Queue:
    """Ready nodes: plain ones at once, units preferably when nothing from outside is missing any more."""

    def __init__(self, nodes: list[Node], outer: State, found: Branches, trace: Trace) -> None:
        self.place = {node: find_region(node, outer, found) for node in nodes}
        self.unit: dict[Node, Unit | None] = {
            node: None if region is None else (region, 0) for node, (region, _) in self.place.items()
        }
        self.sources: dict[Node, list[Node]] = {}
        self.consumers: dict[Node, list[Node]] = {node: [] for node in nodes}
        for node in nodes:
            found_sources = (*sources(node), *_traced_sources(node, trace))
            self.sources[node] = [s for s in found_sources if s in self.place and s is not node]
            for source in self.sources[node]:
                self.consumers[source].append(node)
        self.missing = {node: len(found_sources) for node, found_sources in self.sources.items()}
        self.done: set[Node] = set()
        self.plain = deque(node for node in nodes if self.unit[node] is None and not self.missing[node])
        self.were_cut = False
        self._count(nodes)

    def _count(self, nodes: list[Node]) -> None:
        """Fill the queues of units with `nodes`, none of which has run."""
        self.awaited: dict[Unit, int] = {}
        self.waiting: dict[Unit, deque[Node]] = {}
        self.complete: deque[Unit] = deque()
        for node in nodes:
            unit = self.unit[node]
            if unit is None:
                continue
            self.waiting.setdefault(unit, deque())
            foreign = sum(s not in self.done and self.unit[s] != unit for s in self.sources[node])
            self.awaited[unit] = self.awaited.get(unit, 0) + foreign
            if not self.missing[node]:
                self.waiting[unit].append(node)
        self.open = deque(unit for unit, queue in self.waiting.items() if queue)
        self.complete = deque(unit for unit, count in self.awaited.items() if not count)

    def _push(self, node: Node) -> None:
        unit = self.unit[node]
        if unit is None:
            self.plain.append(node)
            return
        if not self.waiting[unit]:
            self.open.append(unit)
        self.waiting[unit].append(node)

    def finish(self, node: Node) -> None:
        self.done.add(node)
        for consumer in self.consumers[node]:
            unit = self.unit[consumer]
            if unit is not None and unit != self.unit[node]:
                self.awaited[unit] -= 1
                if not self.awaited[unit]:
                    self.complete.append(unit)
            self.missing[consumer] -= 1
            if not self.missing[consumer]:
                self._push(consumer)

    def pick(self) -> Unit | None:
        unit = self._take(self.complete)
        if unit is None and self.open and not self.were_cut:
            self._cut()
            unit = self._take(self.complete)
        return self._take(self.open) if unit is None else unit

    def _take(self, units: deque[Unit]) -> Unit | None:
        while units:
            unit = units.popleft()
            if self.waiting[unit]:
                return unit
        return None

    def _cut(self) -> None:
        """Every region left waits, by a detour, for itself: tell apart what comes before and after it."""
        self.were_cut = True
        nodes = [node for node in self.place if node not in self.done]
        regions = {self.unit[node] for node in nodes}
        if len(nodes) * len(regions) > _MAX_LABELS:
            return
        passed: dict[Node, dict[Region, int]] = {}  # Phases that each node comes after.
        for node in nodes:  # `place` is in topological order.
            after: dict[Region, int] = {}
            region, own = self.place[node][0], 0
            for source in self.sources[node]:
                if source in self.done:
                    continue
                for other, phase in passed[source].items():
                    after[other] = max(after.get(other, 0), phase)
                source_region = self.place[source][0]
                unit = self.unit[source]
                if source_region is None or unit is None:
                    continue
                if source_region is region:
                    own = max(own, unit[1])
                else:
                    after[source_region] = max(after.get(source_region, 0), unit[1] + 1)
            if region is not None:
                self.unit[node] = (region, max(own, after.get(region, 0)))
            passed[node] = after
        self._count(nodes)


def _traced_sources(node: Node, trace: Trace) -> Iterator[Node]:
    """Sources that stand behind Switches and Merges which are no nodes of the scope any more."""
    for tensor in node.inputs:
        target = trace(tensor)
        if target is not tensor:
            yield target.node
    for control in node.controls:
        target = trace(Tensor(control, 0))
        if target.node is not control:
            yield target.node


def schedule_scope(nodes: list[Node], outer: State, found: Branches, trace: Trace) -> Iterator[Node | Cluster]:
    """`nodes` (all within `outer`, sorted) as single nodes of `outer` and clusters of the regions in it.

    Args:
      trace: the tensor that another one stands for in the function being written.
    """
    queue = _Queue(nodes, outer, found, trace)
    while True:
        while queue.plain:
            node = queue.plain.popleft()
            yield node
            queue.finish(node)
        unit = queue.pick()
        if unit is None:
            return
        cluster = Cluster(unit[0])
        waiting = queue.waiting[unit]
        while waiting:
            node = waiting.popleft()
            cluster.nodes[node] = queue.place[node][1]
            queue.finish(node)
        yield cluster
