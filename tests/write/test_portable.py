"""What only newer TensorFlows know, and what changes nothing, goes; everything that waited for it still waits."""

import pathlib

import pytest
from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

import migrate
from migrate.options import MigrateOptions
from migrate.write import portable

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"

META_GRAPH = """
graph_def {
  node {
    name: 'v' op: 'VarHandleOp'
    attr { key: 'debug_name' value { s: 'v/' } } attr { key: 'dtype' value { type: DT_FLOAT } }
  }
  node { name: 'a' op: 'NoOp' }
  node { name: 'd' op: 'DisableCopyOnRead' input: 'v' input: '^a' }
  node { name: 'e' op: 'DisableCopyOnRead' input: 'v' input: '^d' }
  node { name: 'r' op: 'ReadVariableOp' input: 'v' input: '^e' input: '^a' }
  library { function {
    signature { name: 'f' control_output: 'gone' control_output: 'stays' }
    node_def { name: 'd' op: 'DisableCopyOnRead' input: 'x' }
    node_def { name: 'r' op: 'ReadVariableOp' input: 'x' input: '^d' }
    control_ret { key: 'gone' value: 'd' }
    control_ret { key: 'stays' value: 'r' }
  } }
}
"""


@pytest.fixture
def meta_graph():
    parsed = text_format.Parse(META_GRAPH, meta_graph_pb2.MetaGraphDef())
    portable.make_portable(parsed)
    return parsed


def test_idle_ops_go_and_their_order_stays(meta_graph):
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    assert sorted(nodes) == ["a", "r", "v"]
    assert list(nodes["r"].input) == ["v", "^a"]


def test_functions_lose_them_with_their_control_outputs(meta_graph):
    (function,) = meta_graph.graph_def.library.function
    assert [(node.name, list(node.input)) for node in function.node_def] == [("r", ["x"])]
    assert dict(function.control_ret) == {"stays": "r"} and list(function.signature.control_output) == ["stays"]


def test_attributes_that_matter_stay(meta_graph):
    (variable,) = [node for node in meta_graph.graph_def.node if node.name == "v"]
    assert list(variable.attr) == ["dtype"]


@pytest.mark.parametrize("slug", ["hub_dense_l2", "tables_mutable", "hub_functions"])
def test_written_models_have_none(tmp_path, slug):
    outcome = migrate.migrate_model(str(ZOO / slug / "model"), str(tmp_path / "new"), MigrateOptions(verify="none"))
    assert outcome.status.value == "migrated", outcome.error
    saved = saved_model_pb2.SavedModel.FromString((tmp_path / "new" / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [node for body in (graph.node, *(f.node_def for f in graph.library.function)) for node in body]
    assert any(node.op == "VarHandleOp" for node in nodes) or slug != "hub_dense_l2"
    assert not [node.name for node in nodes if node.op == "DisableCopyOnRead" or "debug_name" in node.attr]
