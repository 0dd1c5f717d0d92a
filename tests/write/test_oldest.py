"""Which TensorFlow a written model needs: told from its ops, attributes and features, and asserted on request."""

import json
import pathlib

import pytest
from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2

import migrate
from migrate import errors
from migrate.options import MigrateOptions
from migrate.write import oldest

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"


NEW_OP = "node { name: 'n' op: 'AnonymousHashTable' }"
IN_FUNCTION = "graph_def { library { function { node_def { name: 'n' op: 'AnonymousHashTable' } } } }"


def find(text, *, has_contents=False):
    return oldest.find_oldest(text_format.Parse(text, meta_graph_pb2.MetaGraphDef()), has_contents=has_contents)


def test_plain_models_need_the_oldest():
    assert find("graph_def { node { name: 'n' op: 'MatMul' } }") == oldest.OldestTensorFlow(version="2.4")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("graph_def { node { name: 'n' op: 'AnonymousHashTable' } }", "op AnonymousHashTable"),
        (
            "graph_def { library { function { node_def { name: 'n' op: 'AnonymousHashTable' } } } }",
            "op AnonymousHashTable",
        ),
        (
            "graph_def { node { name: 'n' op: 'VarHandleOp' attr { key: 'debug_name' value { s: 'x' } } } }",
            "attribute debug_name of op VarHandleOp",
        ),
        ("graph_def { library { registered_gradients { gradient_func: 'g' } } }", "gradient functions"),
    ],
)
def test_what_is_newer_is_named(text, reason):
    found = find(text)
    assert oldest.order_version(found.version) > (2, 4)
    assert any(line.startswith(reason) for line in found.reasons)


def test_the_newest_need_decides():
    found = find(f"graph_def {{ {NEW_OP} }}", has_contents=True)
    assert found.version == "2.10" and len(found.reasons) == 1 and "mutable tables" in found.reasons[0]


def test_the_table_is_in_order():
    known = oldest.load_versions()
    assert known["versions"] == sorted(known["versions"], key=oldest.order_version)
    named = [*known["ops"].values(), *(v for names in known["attributes"].values() for v in names.values())]
    assert set(named) <= set(known["versions"][1:])


def test_versions_are_numbers():
    assert oldest.order_version("2.10.1") > oldest.order_version("2.9")


@pytest.mark.parametrize("target", ["1.15", "2", "two", "2.x"])
def test_other_targets_are_refused(target):
    with pytest.raises(errors.UsageError, match="target_tensorflow"):
        MigrateOptions(target_tensorflow=target)


@pytest.mark.parametrize(
    ("slug", "target", "status"),
    [("tables_mutable", "2.8", "blocked"), ("tables_mutable", "2.10", "migrated"), ("hub_dense_l2", "2.4", "migrated")],
)
def test_target_is_asserted(tmp_path, slug, target, status):
    options = MigrateOptions(verify="none", target_tensorflow=target)
    outcome = migrate.migrate_model(str(ZOO / slug / "model"), str(tmp_path / "new"), options)
    assert outcome.status.value == status, outcome.error
    assert (tmp_path / "new").exists() == (status == "migrated")
    if status == "blocked":
        assert "2.10" in outcome.error and "mutable tables" in outcome.error
    else:
        record = json.loads((tmp_path / "new" / "assets.extra" / "migration.json").read_text())
        assert oldest.order_version(record["oldest_tensorflow"]["version"]) <= oldest.order_version(target)
