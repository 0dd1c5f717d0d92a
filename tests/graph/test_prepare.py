"""The list of passes: each keeps its promise to the end, and can be looked at."""

import pathlib
import re

import pytest
from google.protobuf import text_format
from tensorflow.core.framework import graph_pb2

import migrate
from migrate import readers
from migrate.graph import invariants
from migrate.graph.prepare import PASSES
from migrate.options import MigrateOptions, RebuildOptions
from migrate.rebuild.module import rebuild_model

TESTDATA = pathlib.Path(__file__).resolve().parents[2] / "testdata"
MODELS = sorted(path.parent for folder in ("zoo", "control_flow") for path in (TESTDATA / folder).glob("*/model"))
# By default those that few passes leave as they are.
CHOSEN = (
    "functions_tf1",
    "hub_functions",
    "gradients_in_graph",
    "estimator_all_modes",
    "partitioned",
    "tables",
    "while",
)
PLACES = {step.name: position for position, step in enumerate(PASSES)}


class Checker:
    """Collects breaches: of the graph itself, and of what this pass and all before it promised."""

    def __init__(self):
        self.seen = []
        self.breaches = []

    def make_observer(self, where):
        def observe(name, cut):
            self.seen.append(name)
            found = [("graph", line) for line in invariants.find_dangling(cut.graph_def)]
            for step in PASSES[: PLACES.get(name, -1) + 1]:
                found += [(step.holds, line) for line in step.find_breaches(cut.graph_def)]
            self.breaches += [f"{where} after {name}: {promise}: {line}" for promise, line in found]

        return observe


def is_chosen(model):
    return any(text in model.name for text in CHOSEN)


@pytest.mark.parametrize(
    "model", [pytest.param(m, id=m.name, marks=[] if is_chosen(m) else [pytest.mark.slow]) for m in MODELS]
)
def test_promises_hold_to_the_end(model):
    checker = Checker()
    legacy = readers.read_model(str(model / "model"))
    rebuild_model(legacy, RebuildOptions(), "0" * 64, checker.make_observer)
    assert checker.breaches == []
    assert checker.seen[:1] == ["subgraph"] and set(checker.seen) == {"subgraph", *PLACES}


def test_the_design_lists_the_passes():
    assert len(PLACES) == len(PASSES)
    design = (TESTDATA.parent / "migrate" / "DESIGN.md").read_text(encoding="utf-8")
    assert re.findall(r"^\d+\. `(\w+)`:", design, re.MULTILINE) == list(PLACES)


@pytest.mark.parametrize(
    ("find", "node"),
    [
        (invariants.find_unknown_attributes, "op: 'Identity' attr { key: 'strange' value { i: 1 } }"),
        (invariants.find_placement, "op: 'NoOp' device: '/cpu:0'"),
        (invariants.find_placement, "op: 'NoOp' attr { key: '_class' value { i: 1 } }"),
        (invariants.find_missing_ops, "op: 'NoSuchOp'"),
        (invariants.find_ops_without_gradient, "op: 'LSTMBlockCell'"),
        (invariants.find_reference_variables, "op: 'VariableV2'"),
        (invariants.find_reference_tables, "op: 'HashTable'"),
        (invariants.find_counters, "op: 'ResourceCountUpTo'"),
        (invariants.find_idle_triggers, "op: 'ControlTrigger'"),
        (invariants.find_stated_shapes, "op: 'NoOp' attr { key: '_output_shapes' value { i: 1 } }"),
        (invariants.find_dangling, "op: 'NoOp' attr { key: 'f' value { func { name: 'absent' } } }"),
    ],
)
def test_breaches_are_found_in_the_graph_and_in_functions(find, node):
    graph = text_format.Parse(f"node {{ name: 'n' {node} }}", graph_pb2.GraphDef())
    within = text_format.Parse(
        f"library {{ function {{ signature {{ name: 'f' }} node_def {{ name: 'n' {node} }} }} }}", graph_pb2.GraphDef()
    )
    assert find(graph) and find(within)
    assert not find(text_format.Parse("node { name: 'n' op: 'NoOp' }", graph_pb2.GraphDef()))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("node { name: 'a' op: 'NoOp' } node { name: 'a' op: 'NoOp' }", "a: 2 nodes have this name"),
        ("node { name: 'a' op: 'Identity' input: 'b:1' }", "a: its input b:1 is not in the graph"),
        ("node { name: 'a' op: 'NoOp' input: '^b' }", "a: its input ^b is not in the graph"),
    ],
)
def test_loose_ends_are_named(nodes, message):
    assert invariants.find_dangling(text_format.Parse(nodes, graph_pb2.GraphDef())) == [message]


def test_dump_shows_each_pass(tmp_path):
    model = MODELS[-1] / "model"
    dumps = tmp_path / "dumps"
    outcome = migrate.migrate_model(
        str(model), str(tmp_path / "new"), MigrateOptions(verify="none", dump_graphs=str(dumps))
    )
    assert outcome.status.value == "migrated", outcome.error
    calls = sorted(dumps.iterdir())
    names = [path.stem.partition("_")[2] for path in sorted(calls[0].iterdir())]
    assert names == ["subgraph", *PLACES]
    for path in calls[0].iterdir():
        text_format.Parse(path.read_text(), graph_pb2.GraphDef())
    assert "dumps" not in (tmp_path / "new" / "assets.extra" / "migration.json").read_text()
