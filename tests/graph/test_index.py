"""Walks over a graph: backwards and forwards they say the same, and what is parsed once says what is parsed anew."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import graph_pb2

from migrate.graph import prepare, randomness, write_order
from migrate.graph.index import FixedIndex, GraphIndex
from migrate.graph.races import Waits

_OPS = ("Placeholder", "Identity", "AddV2", "RandomUniform", "NoOp")


@st.composite
def graphs(draw):
    """Any graph, cycles included, with control edges; and tensors that are fed."""
    size = draw(st.integers(1, 12))
    graph = graph_pb2.GraphDef()
    for i in range(size):
        node = graph.node.add(name=f"n{i}", op=draw(st.sampled_from(_OPS)))
        for j in draw(st.lists(st.integers(0, size - 1), max_size=3)):
            node.input.append(draw(st.sampled_from([f"n{j}", f"n{j}:1", f"^n{j}"])))
    feeds = draw(st.lists(st.integers(0, size - 1), max_size=3))
    return graph, [f"n{i}:0" for i in feeds]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_descendants_are_those_that_have_the_ancestor(case):
    graph, feeds = case
    index, fixed = GraphIndex(graph), FixedIndex(graph)
    for source in index.nodes:
        expected = {name for name in index.nodes if source in index.ancestors([f"^{name}"], stop=feeds)}
        # A fed placeholder hangs its control edges on the feed: as a target it is not computed either.
        found = index.descendants([source], stop=feeds)
        fed = {name for name in index.nodes if not index.ancestors([f"^{name}"], stop=feeds)}
        assert found - fed - {source} == expected - fed - {source}
        assert fixed.descendants([source], stop=feeds) == found
        assert fixed.ancestors([source], stop=feeds) == index.ancestors([source], stop=feeds)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_what_nodes_need_of_one_another_is_found_in_one_walk(case):
    graph, _ = case
    index = GraphIndex(graph)
    some = list(index.nodes)[::2]
    waits = Waits(index, some)
    for name in some:
        assert {other for other in some if waits.has(name, other)} == index.ancestors([name]) & set(some)
    first, last = some[0], some[-1]
    waits.add(first, last)
    index.nodes[first].input.append(f"^{last}")
    for name in some:
        assert {other for other in some if waits.has(name, other)} == index.ancestors([name]) & set(some)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_open_ends_all_at_once_are_those_of_each(case):
    graph, feeds = case
    index = FixedIndex(graph)
    unable = prepare.find_unable(index, feeds)
    for name, node in index.nodes.items():
        if node.op != "Placeholder":
            assert (name in unable) == bool(prepare.find_open_ends(index, [f"^{name}"], feeds)), name


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_random_nodes_are_those_that_need_a_random_op(case):
    graph, feeds = case
    index = FixedIndex(graph)
    drawn = randomness.find_random_nodes(index, feeds)
    for name in index.nodes:
        ancestors = index.ancestors([name], stop=feeds)
        expected = any(index.nodes[other].op == "RandomUniform" for other in ancestors)
        assert randomness.is_among(drawn, [name], feeds) == expected


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_the_nearest_first_finds_what_the_whole_walk_finds(case):
    graph, _ = case
    index = GraphIndex(graph)
    for name in index.nodes:
        others = set(index.nodes) - {name}
        assert write_order._find_near(index, name, others) == index.ancestors([f"^{name}"]) & others
