"""The small passes: placement, attributes, tables, availability. Each works on a copy and keeps values."""

import pytest
import tensorflow as tf
from legacy_graphs import build, cut, ops_of, v1
from tensorflow.core.framework import graph_pb2, op_def_pb2

from migrate import errors
from migrate.graph import prepare, tables
from migrate.graph.attributes import fit_attributes
from migrate.graph.availability import find_missing_ops, find_provider
from migrate.graph.index import GraphIndex
from migrate.graph.resource_tables import convert_tables
from migrate.graph.strip import strip_placement

raw = tf.raw_ops


def _graph(*nodes):
    graph = graph_pb2.GraphDef()
    for name, op, inputs in nodes:
        graph.node.add(name=name, op=op, input=inputs)
    return graph


def test_strip_placement():
    graph = _graph(("a", "NoOp", []), ("b", "NoOp", ["^a"]))
    node = graph.node[0]
    node.device = "/job:worker/task:7/device:GPU:0"
    node.attr["_class"].list.s.append(b"loc:@nowhere")
    node.attr["_XlaScope"].s = b"x"
    node.attr["_kept"].s = b"y"
    function = graph.library.function.add()
    function.node_def.add(name="inner", op="NoOp", device="/gpu:0")
    before = graph.SerializeToString(deterministic=True)
    result, findings = strip_placement(graph)
    assert result.node[0].device == "" and set(result.node[0].attr) == {"_kept"}
    assert result.library.function[0].node_def[0].device == ""
    assert list(result.node[1].input) == ["^a"] and findings == ()
    assert graph.SerializeToString(deterministic=True) == before


def test_lost_python_gradient_is_reported():
    """An override that only the writer's Python knew is dropped with a finding; a registered one stays."""
    graph = _graph(("a", "NoOp", []), ("b", "NoOp", []))
    graph.node[0].attr["_gradient_op_type"].s = b"NobodyRegisteredThis"
    graph.node[1].attr["_gradient_op_type"].s = b"Identity"
    result, (finding,) = strip_placement(graph)
    assert finding.code == "custom-gradient-lost" and finding.where == "a"
    assert "_gradient_op_type" not in result.node[0].attr and "_gradient_op_type" in result.node[1].attr


def _writer_ops(default):
    ops = op_def_pb2.OpList()
    attr = ops.op.add(name="Identity").attr.add(name="long_gone", type="bool")
    attr.default_value.b = default
    return ops


@pytest.mark.parametrize(("value", "findings"), [(True, 0), (False, 1)])
def test_attributes_of_the_past(value, findings):
    """Dropped in silence only where the writer's own default says that it had no effect."""
    graph = _graph(("x", "Identity", ["y"]))
    graph.node[0].attr["long_gone"].b = value
    graph.node[0].attr["T"].type = 1
    graph.node[0].attr["_internal"].b = True
    result, found = fit_attributes(graph, _writer_ops(True))
    assert set(result.node[0].attr) == {"T", "_internal"}
    assert len(found) == findings and all(f.code == "attribute-dropped" and f.where == "x" for f in found)
    assert "long_gone" in graph.node[0].attr


def test_attributes_of_unknown_ops_stay():
    graph = _graph(("x", "NoSuchOpAtAll", []))
    graph.node[0].attr["anything"].i = 1
    result, found = fit_attributes(graph, None)
    assert "anything" in result.node[0].attr and found == ()


def test_missing_ops():
    """Unknown ops and ops whose kernel is gone, each once, with their provider; functions count when used."""
    graph = _graph(("a", "BucketizeWithInputBoundaries", []), ("b", "BoostedTreesBucketize", []), ("c", "NoOp", []))
    found = {op.op: op for op in find_missing_ops(graph)}
    assert set(found) == {"BucketizeWithInputBoundaries", "BoostedTreesBucketize"}
    assert "no such op" in found["BucketizeWithInputBoundaries"].reason
    assert "kernel is gone" in found["BoostedTreesBucketize"].reason
    assert all(op.provider for op in found.values())
    assert find_missing_ops(graph, nodes=["c"]) == ()


def test_missing_ops_inside_functions():
    graph = _graph(("call", "f", []), ("plain", "NoOp", []))
    function = graph.library.function.add()
    function.signature.name = "f"
    function.node_def.add(name="x", op="NobodyHasThisOp")
    assert [op.op for op in find_missing_ops(graph)] == ["NobodyHasThisOp"]
    assert find_missing_ops(graph, nodes=["plain"]) == ()


def test_structural_ops_are_not_missing():
    def program():
        x = v1.placeholder(tf.float32, [], name="x")
        tf.identity(x)

    assert find_missing_ops(build(program).graph_def) == ()


@pytest.mark.parametrize(
    ("op", "word"),
    [("SentencepieceTokenizeOp", "tensorflow-text"), ("TPUReplicate", "TPU"), ("Addons>Foo", "addons"), ("Foo", "")],
)
def test_providers(op, word):
    assert word in find_provider(op) and bool(find_provider(op)) == bool(word)


def _first_tables():
    table = raw.HashTable(key_dtype=tf.string, value_dtype=tf.int64, shared_name="words", name="table")
    raw.InitializeTable(table_handle=table, keys=["a", "b"], values=tf.constant([1, 2], tf.int64), name="fill")
    word = v1.placeholder(tf.string, [None], name="word")
    raw.LookupTableFind(table_handle=table, keys=word, default_value=tf.constant(-1, tf.int64), name="find")


def test_first_tables_become_resources():
    """The same look-ups come out; the source is not touched."""
    index = build(_first_tables)
    subgraph = convert_tables(cut(index, ["find:0", "^fill"], [("word:0", "string", (None,))]))
    assert {"HashTableV2", "InitializeTableV2", "LookupTableFindV2"} <= set(ops_of(subgraph.graph_def))
    assert "HashTable" in ops_of(index.graph_def)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(subgraph.graph_def, name="")
        with v1.Session(graph=graph) as session:
            session.run("fill")
            assert session.run("find:0", {"word:0": [b"b", b"x", b"a"]}).tolist() == [2, -1, 1]


def test_table_specs():
    """Only initialisers that loading runs count; nodes of one shared name are one table."""
    index = build(_first_tables)
    assert tables.find_tables(index, {"table": ["fill"]})["table"].initializers == ("fill",)
    spec = tables.find_tables(index, {})["table"]
    assert spec.initializers == () and spec.resource_name == "words" and not spec.mutable


def test_identity_of_tables():
    """Equal content is equal; another key, or another asset behind the same tensor, is not."""

    def with_key(key):
        def program():
            table = raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="t", name="table")
            keys = tf.constant([key], name="keys")
            raw.InitializeTableV2(table_handle=table, keys=keys, values=tf.constant([1], tf.int64), name="fill")

        index = build(program)
        return index, tables.find_tables(index, {"table": ["fill"]})["table"]

    def digest(key, assets=()):
        return tables.digest_initialization(*with_key(key), assets)

    assert digest("a") == digest("a") != digest("b")
    assert digest("a", [("keys:0", "x.txt")]) == digest("b", [("keys:0", "x.txt")]) != digest("a", [("keys:0", "y")])


def test_index_dtypes():
    """Reference types read as their base; a tensor beyond the op's outputs is none."""

    def program():
        raw.VariableV2(shape=[], dtype=tf.int32, name="n")
        tf.split(tf.zeros([2]), 2, name="s")

    index = GraphIndex(build(program).graph_def)
    assert index.dtype("n:0") == "int32" and index.dtype("s:1") == "float32" and index.dtype("nowhere:0") == ""
    assert index.has_tensor("s:1") and not index.has_tensor("s:2") and not index.has_tensor("nowhere:0")


def test_iterator_that_no_loader_brings_back():
    with tf.Graph().as_default() as graph:
        batch = tf.compat.v1.data.make_one_shot_iterator(tf.data.Dataset.range(3)).get_next()
    with pytest.raises(errors.BlockedError, match="OneShotIterator"):
        prepare.prepare_graph(GraphIndex(graph.as_graph_def()), feeds=[], fetches=[batch.name])
