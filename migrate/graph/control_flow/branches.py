"""Find the conditionals: under which predicates each node of a scope runs.

A `State` is a path of (region, branch) literals from the scope's root; a region is one predicate within one
state. A node's state is the deepest of its inputs'; output b of a Switch adds a literal, a Merge of both
branches of one region takes it off. That is the executor's propagation of dead tensors, seen statically.

Invariant: a Switch and a Merge bear the state that they lie in (the region's parent), and `regions` names
the region they belong to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

from migrate.graph.control_flow.nodes import Node, NotRaised, Tensor, strip_identity


@dataclasses.dataclass(slots=True, eq=False)
class State:
    """Where a node runs: in `branch` of `region`; the root runs always."""

    region: Region | None = None
    branch: int = 0
    depth: int = 0
    regions: dict[Tensor, Region] = dataclasses.field(default_factory=dict)

    @property
    def outer(self) -> State:
        """The state in which its region lies; not for the root."""
        assert self.region is not None, "the root lies in no region"
        return self.region.parent


@dataclasses.dataclass(slots=True, eq=False)
class Region:
    """The part of a scope that one predicate rules. `branches` are (false, true)."""

    parent: State
    pred: Tensor
    branches: tuple[State, State] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        depth = self.parent.depth + 1
        self.branches = (State(self, 0, depth), State(self, 1, depth))


@dataclasses.dataclass(slots=True, eq=False)
class Branches:
    """What `assign_states` finds. `preds` are those that stay as Switch and Merge, as (node name, output)."""

    root: State
    states: dict[Node, State]
    regions: dict[Node, Region]
    preds: Collection[tuple[str, int]]


def enclosing(state: State, outer: State) -> State | None:
    """The branch directly within `outer` that holds `state`; None where `state` is `outer`."""
    if state is outer:
        return None
    while state.outer is not outer:
        state = state.outer
    return state


def assign_states(scope: list[Node], left: Collection[tuple[str, int]]) -> Branches:
    """State of every node of a sorted scope.

    Args:
      left: predicates, as (node name, output), whose Switches and Merges stay as they are.

    Raises:
      NotRaised: about a predicate, where the nodes it rules do not nest.
    """
    root = State()
    result = Branches(root, {}, {}, left)
    states = result.states
    for node in scope:
        if node.kind == "Merge":
            _place_merge(node, result)
            continue
        # A ControlTrigger runs even where what it waits for does not.
        state = _meet(node, result) if node.kind == "ControlTrigger" else _join(node, result)
        states[node] = state
        if node.kind == "Switch":
            pred = strip_identity(node.inputs[1])
            if name_pred(pred) not in left:
                result.regions[node] = _find_region(state, pred)
    return result


def name_pred(pred: Tensor) -> tuple[str, int]:
    return pred.node.name, pred.index


def _find_region(state: State, pred: Tensor) -> Region:
    if pred not in state.regions:
        state.regions[pred] = Region(state, pred)
    return state.regions[pred]


def tensor_state(tensor: Tensor, found: Branches) -> State:
    """State in which a consumer of `tensor` runs at least."""
    node, index = tensor
    region = found.regions.get(node)
    if region is not None and node.kind == "Switch":
        return region.branches[index]
    return found.states.get(node, found.root)


def _input_states(node: Node, found: Branches) -> Iterable[State]:
    for tensor in node.inputs:
        yield tensor_state(tensor, found)
    for control in node.controls:
        yield found.states.get(control, found.root)


def _join(node: Node, found: Branches) -> State:
    deepest = found.root
    for state in _input_states(node, found):
        low, high = (deepest, state) if deepest.depth <= state.depth else (state, deepest)
        outer = high
        while outer.depth > low.depth:
            outer = outer.outer
        if outer is not low:
            raise _refuse(node, low, high, "its inputs come from branches that do not nest")
        deepest = high
    return deepest


def _meet(node: Node, found: Branches) -> State:
    """The deepest state that holds all inputs of `node`."""
    states = list(_input_states(node, found))
    common = states[0] if states else found.root
    for state in states[1:]:
        while common is not state:
            if common.depth >= state.depth:
                common = common.outer
            else:
                state = state.outer
    return common


def _place_merge(node: Node, found: Branches) -> None:
    states = [tensor_state(tensor, found) for tensor in node.inputs]
    if len(states) == 1:
        found.states[node] = states[0]
        return
    regions = {state.region for state in states}
    branches = {state.branch for state in states}
    region = states[0].region
    if len(states) == 2 and len(regions) == 1 and branches == {0, 1} and region is not None:
        found.regions[node] = region
        found.states[node] = region.parent
        _check_merge_controls(node, states[0], states[1], found)
        return
    outermost = [state for state in states if state.region is not None]
    ruling = [state.region for state in states if state.region is not None]
    if any(name_pred(region.pred) in found.preds for region in ruling) or not outermost:
        found.states[node] = _join(node, found)  # Merge of a predicate that stays.
        if outermost:
            raise _refuse(node, outermost[0], outermost[-1], "it merges a conditional that stays with another")
        return
    raise _refuse(node, outermost[0], outermost[-1], "it does not merge the two branches of one conditional")


def _check_merge_controls(node: Node, one: State, other: State, found: Branches) -> None:
    own = found.states[node]
    for control in node.controls:
        inner = found.states.get(control, found.root)
        if inner.depth <= own.depth:
            continue
        while inner.region is not None and inner.outer is not own:
            inner = inner.outer
        if inner.region is not found.regions[node]:
            raise _refuse(node, one, other, "a control input comes from another conditional")


def _refuse(node: Node, one: State, other: State, reason: str) -> NotRaised:
    """Blame the outermost regions on both paths: with them left, the node needs no nesting."""
    preds = set()
    for state in (one, other):
        while state.region is not None:
            preds.add(name_pred(state.region.pred))
            state = state.region.parent
    return NotRaised(frozenset(preds), node.name, reason)
