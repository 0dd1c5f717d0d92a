"""Graphs that hold their own weights: large constants become variables, and all else is as it was."""

import os

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import migrate
from migrate import detect, readers
from migrate.options import MigrateOptions, RebuildOptions
from migrate.readers import large_constants
from migrate.rebuild import module
from migrate.write import writer

v1 = tf.compat.v1
TABLE = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
BYTES = np.arange(512, dtype=np.int8)


def save(folder, variants, *, table=TABLE, with_variable=False):
    """A SavedModel whose graphs, one for each of `variants` (tags -> factor), gather rows of a constant."""
    builder = v1.saved_model.Builder(str(folder))
    for position, (tags, factor) in enumerate(variants.items()):
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.int32, [None], "x")
            rows = tf.gather(tf.constant(table * factor, name="table"), x)
            kept = tf.gather(tf.constant(BYTES, name="bytes"), x)
            words = tf.gather(tf.constant(["word"] * 300, name="words"), x)
            if with_variable:
                rows *= v1.get_variable("scale", initializer=np.full(8, 2, np.float32), use_resource=True)
            session.run(v1.global_variables_initializer())
            named = {"rows": tf.identity(rows), "kept": tf.identity(kept), "words": tf.identity(words)}
            signature = v1.saved_model.predict_signature_def({"x": x}, named)
            add = builder.add_meta_graph if position else builder.add_meta_graph_and_variables
            arguments = () if position else (session,)
            add(*arguments, list(tags), signature_def_map={"serving_default": signature})
    builder.save()
    return folder


def migrate_parts(source, dest, scratch, weights="copy"):
    scratch.mkdir()
    model = readers.read_model(detect.detect_format(str(source)), None, str(scratch))
    model = large_constants.move_constants(model, str(scratch), large_model=1, large_constant=512)
    rebuilt = module.rebuild_model(model, RebuildOptions(), "digest")
    writer.write_model(rebuilt, str(dest), weights, scratch=str(scratch))
    return model, tf.saved_model.load(str(dest))


@pytest.mark.parametrize("weights", ["copy", "link", "rewrite"])
@pytest.mark.parametrize("with_variable", [False, True])
def test_constants_are_variables_that_do_not_train(tmp_path, weights, with_variable):
    source = save(tmp_path / "old", {("serve",): 1}, with_variable=with_variable)
    model, loaded = migrate_parts(source, tmp_path / "new", tmp_path / "scratch", weights)
    (variant,) = model.variants
    assert {n.name: n.op for n in variant.graph_def.node if n.name in ("table", "bytes", "words")} == {
        "table": "VariableV2", "bytes": "VariableV2", "words": "Const",
    }  # fmt: skip
    assert [finding.code for finding in model.findings] == ["constants-moved"]
    found = loaded.signatures["serving_default"](x=tf.constant([3, 0, 39]))
    np.testing.assert_array_equal(found["rows"], TABLE[[3, 0, 39]] * (2 if with_variable else 1))
    np.testing.assert_array_equal(found["kept"], BYTES[[3, 0, 39]])
    assert [v.name for v in loaded.trainable_variables] == (["scale:0"] if with_variable else [])
    assert {v.name for v in loaded.variables} == {"table:0", "bytes:0"} | ({"scale:0"} if with_variable else set())


def test_a_copy_shares_no_file_with_its_source(tmp_path):
    """The old shards lie behind links in the scratch folder, whose own files are linked."""
    source = save(tmp_path / "old", {("serve",): 1}, with_variable=True)
    migrate_parts(source, tmp_path / "new", tmp_path / "scratch")
    (shard,) = (source / "variables").glob("*.data-*")
    assert os.stat(shard).st_nlink == 1
    assert not any(path.is_symlink() for path in (tmp_path / "new").rglob("*"))


@pytest.mark.parametrize("weights", ["copy", "link"])
def test_only_files_of_the_source_are_told_as_linked(tmp_path, weights):
    source = save(tmp_path / "old", {("serve",): 1}, with_variable=True)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    model = readers.read_model(detect.detect_format(str(source)), None, str(scratch))
    model = large_constants.move_constants(model, str(scratch), large_model=1, large_constant=512)
    rebuilt = module.rebuild_model(model, RebuildOptions(), "digest")
    written = writer.write_model(rebuilt, str(tmp_path / "new"), weights, scratch=str(scratch))
    told = [finding.code for finding in written.findings if finding.code == "weights-linked"]
    assert told == (["weights-linked"] if weights == "link" else [])


def test_variants_share_what_is_equal(tmp_path):
    variants = {("serve",): 1, ("serve", "train"): 1, ("serve", "other"): 3}
    source = save(tmp_path / "old", variants)
    (tmp_path / "scratch").mkdir()
    model = readers.read_model(detect.detect_format(str(source)), None, str(tmp_path / "scratch"))
    model = large_constants.move_constants(model, str(tmp_path / "scratch"), large_model=1, large_constant=512)
    names = {v.tags: sorted(spec.name for spec in v.variables) for v in model.variants}
    assert names == {
        ("serve",): ["bytes", "table"],
        ("serve", "train"): ["bytes", "table"],
        ("other", "serve"): ["bytes", "table_1"],
    }
    reader = tf.train.load_checkpoint(model.checkpoint)
    np.testing.assert_array_equal(reader.get_tensor("table_1"), TABLE * 3)
    np.testing.assert_array_equal(reader.get_tensor("table"), TABLE)


def test_small_graphs_stay(tmp_path):
    source = save(tmp_path / "old", {("serve",): 1})
    (tmp_path / "scratch").mkdir()
    model = readers.read_model(detect.detect_format(str(source)), None, str(tmp_path / "scratch"))
    assert model.checkpoint is None and not model.findings
    assert [n.op for n in model.variants[0].graph_def.node if n.name == "table"] == ["Const"]


@pytest.mark.slow
def test_a_graph_of_700_mb(tmp_path):
    """Verified, in memory that a dozen copies of the graph would not fit into."""
    table = np.random.default_rng(0).standard_normal((700 * 1024, 256), np.float32)
    source = save(tmp_path / "old", {("serve",): 1}, table=np.zeros((1, 256), np.float32))
    path = source / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for node in proto.meta_graphs[0].graph_def.node:
        node.attr.pop("_output_shapes", None)
        if node.name == "table":
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(table))
    path.write_bytes(proto.SerializeToString())
    outcome = migrate.migrate_model(source, tmp_path / "out", MigrateOptions())
    assert outcome.status.value == "migrated", outcome.error
    assert outcome.verification.verdict.value == "PASS"
    assert outcome.peak_rss_bytes < 8 * 2**30
    assert (tmp_path / "out" / "saved_model.pb").stat().st_size < 2**20
