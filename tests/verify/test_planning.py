"""How many rows a verification feeds."""

import pytest
import tensorflow as tf

import migrate
from migrate import readers
from migrate.model import GraphVariant, Signature, SignatureTensor
from migrate.options import BATCH_SIZES, RebuildOptions
from migrate.rebuild import module
from migrate.verify import planning
from tests.source_kinds import TESTDATA

SMALL = {f"batch_{n}" for n in BATCH_SIZES}
FEW = {"batch_0", "batch_3"}


def list_sizes(shapes, build=tf.identity):
    """The batches that a signature with inputs of these shapes is fed."""
    with tf.Graph().as_default() as graph:
        inputs = [tf.compat.v1.placeholder(tf.float32, shape) for shape in shapes]
        outputs = [build(tensor) for tensor in inputs] or [tf.constant(1.0)]
    described = []
    for tensors in (inputs, outputs):
        known = [None if tensor.shape.rank is None else tuple(tensor.shape.as_list()) for tensor in tensors]
        named = [SignatureTensor(name=x.name, dtype="float32", shape=k) for x, k in zip(tensors, known, strict=True)]
        described.append({str(number): tensor for number, tensor in enumerate(named)})
    signature = Signature(key="s", method="", inputs=described[0], outputs=described[1])
    variant = GraphVariant(
        tags=(), graph_def=graph.as_graph_def(), signatures={"s": signature}, collections={}, variables=(), assets=(),
        attachments={},
    )  # fmt: skip
    _, cases = planning._make_cases(variant, signature, 0)
    return {case.name for case in cases if case.name.startswith("batch_")}


@pytest.mark.parametrize(
    ("shapes", "sizes"),
    [
        ([(None, 299, 299, 3)], FEW),
        ([(None, 8), (None, 300, 300, None)], FEW),
        ([(None, 32, 32, 3)], SMALL),
        ([()], SMALL - {"batch_0"}),
        ([None], SMALL),
        ([], SMALL - {"batch_0"}),
    ],
)
def test_large_rows_come_in_small_batches(shapes, sizes):
    assert list_sizes(shapes) == sizes


@pytest.mark.parametrize(("wide", "sizes"), [(40_000, FEW), (4_000, SMALL)])
def test_how_large_a_row_is_only_the_graph_may_say(wide, sizes):
    assert list_sizes([(None, None)], lambda x: x @ tf.zeros([wide, 2])) == sizes


def test_signatures_over_the_same_images_are_fed_the_same(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, [None, 160, 160, 3], name="images")
        others = tf.compat.v1.placeholder(tf.float32, [None, 160, 160, 3], name="others")
        weight = tf.compat.v1.get_variable("weight", [3, 2], use_resource=True)
        session.run(weight.initializer)
        describe = tf.compat.v1.saved_model.predict_signature_def
        signatures = {
            key: describe({key: tensor}, {"y": tf.reduce_mean(tensor, [1, 2]) @ weight})
            for key, tensor in (("serving_default", images), ("same", images), ("other", others))
        }
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "model"))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    verification = migrate.migrate_model(tmp_path / "model", tmp_path / "migrated").verification
    assert verification.verdict.value == "PASS"
    texts = {preview["where"]: preview["text"] for preview in verification.inputs}
    fed = [texts[f"serve/{key}/batch_3"] for key in ("serving_default", "same", "other")]
    assert fed[0] == fed[1] != fed[2]


@pytest.mark.parametrize(
    "name",
    [
        "zoo/hub_text_mean",  # reading the file of its table has defaults that the writer left out
        "zoo/hub_reference_variables",  # variables without a shared name
        "control_flow/loop_table_lookup",  # a table without one
        "removed_ops/trees_regressor",  # an ensemble without a container
    ],
)
def test_preparing_and_planning_change_no_graph(name):
    """What asks a protobuf map for an attribute that is not there puts one there; tables are told by their graphs."""
    model = readers.read_model(str(TESTDATA / name / "model"))

    def serialize():
        return [variant.graph_def.SerializeToString(deterministic=True) for variant in model.variants]

    read = serialize()
    prepared = module.prepare_model(model, RebuildOptions(), "0" * 64)
    assert serialize() == read
    calls = planning.plan_calls(prepared)
    planning.plan_extras(prepared, calls)
    assert calls and serialize() == read
    tables = list(prepared.state.tables)
    module.trace_model(prepared)
    assert list(prepared.state.tables) == tables
