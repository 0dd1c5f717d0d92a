"""States of nodes, on graphs that no API of TF1 writes and a GraphDef may hold all the same."""

import pytest
import tensorflow as tf

from migrate.graph.control_flow.branches import assign_states, enclosing
from migrate.graph.control_flow.nodes import Node, NotRaised, Tensor


class Scope:
    """Nodes in the order in which they are made."""

    def __init__(self):
        self.nodes = []

    def add(self, kind, *inputs, controls=()):
        name = f"{kind}_{len(self.nodes)}"
        node = Node(name, kind, tf.compat.v1.NodeDef(name=name, op=kind), list(inputs), list(controls))
        self.nodes.append(node)
        return node

    def switch(self, tensor, pred):
        """An Identity in the true branch."""
        node = self.add("Switch", tensor, pred)
        return Tensor(self.add("Identity", Tensor(node, 1)), 0)

    def merge(self, tensor, pred, controls=()):
        """A conditional that passes `tensor` on in both branches."""
        node = self.add("Switch", tensor, pred)
        parts = [Tensor(self.add("Identity", Tensor(node, k)), 0) for k in (0, 1)]
        return self.add("Merge", *parts, controls=controls)


@pytest.fixture
def scope():
    return Scope()


@pytest.fixture
def place(scope):
    return lambda: Tensor(scope.add("Placeholder"), 0)


def test_merge_lies_where_its_conditional_does(scope, place):
    x, outer, inner = place(), place(), place()
    within = scope.switch(x, outer)
    merged = scope.merge(within, inner)
    found = assign_states(scope.nodes, ())
    state = found.states[merged]
    assert (state.depth, state.branch, state.region.pred) == (1, 1, outer)
    assert enclosing(found.states[merged.inputs[1].node], found.root) is state


def test_merge_that_waits_for_its_own_conditional(scope, place):
    x, pred = place(), place()
    node = scope.add("Switch", x, pred)
    parts = [Tensor(scope.add("Identity", Tensor(node, k)), 0) for k in (0, 1)]
    merged = scope.add("Merge", *parts, controls=[parts[0].node])
    assert assign_states(scope.nodes, ()).states[merged].depth == 0


@pytest.mark.parametrize("nested", [False, True])
def test_merge_that_waits_for_another_conditional_is_refused(scope, place, nested):
    """Also where the other one is not even a branch of the same: both preds are to blame, and nothing else breaks."""
    x, first, second, outer, pred = (place() for _ in range(5))
    other = scope.switch(scope.switch(x, first), second)
    merged = scope.merge(scope.switch(x, outer) if nested else x, pred, controls=[other.node])
    with pytest.raises(NotRaised) as refused:
        assign_states(scope.nodes, ())
    assert refused.value.where == merged.name
    assert (pred.node.name, 0) in refused.value.subject and (first.node.name, 0) not in refused.value.subject
