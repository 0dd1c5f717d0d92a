"""The weight path: whatever the mode, the written models are equal in every value, and the source stays as it is."""

import hashlib
import os
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

import migrate
from migrate import errors
from migrate.checkpoint import index, tensors
from migrate.options import WEIGHT_MODES, MigrateOptions
from migrate.readers import protos
from migrate.write import provenance, transfer, weights
from tests import sharing

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"
# Partitioned over shards, several dtypes, mutable tables, what loading changes, a checkpoint of the first version,
# optimizer slots, strings.
FEW = (
    "variables_sharded", "variables_dtypes", "tables_mutable", "saved_model_legacy_init", "variables_v1_checkpoint",
    "estimator_linear_regressor",
)  # fmt: skip
_NUMBER = re.compile(r"(?<=[a-z])_\d+(?=\")")
ALL = sorted(path.parent.name for path in ZOO.glob("*/model"))


def find_model(slug):
    return migrate.detect_format(ZOO / slug / "model").path


def convert(source, dest, mode, **options):
    return migrate.migrate_model(source, dest, MigrateOptions(verify="none", weights=mode, **options))


def read_values(model):
    """Key -> (dtype, value) of the model's checkpoint, without the object graph, which names functions by number."""
    prefix = os.path.join(model, "variables", "variables")
    if not os.path.exists(f"{prefix}.index"):
        return {}
    found = index.read_index(prefix)
    index.check_shards(found)
    tensors.check_weights(found)
    shards = tensors.Shards(found)
    return {n: (e.dtype, shards.read(n)) for n, e in found.tensors() if n != "_CHECKPOINTABLE_OBJECT_GRAPH"}


def read_graph(model):
    """Text of the graph and, sorted, of its functions, without the numbers that functions get in the order of tracing;
    without the object graph, which lists them in that order."""
    graph_def = protos.parse_saved_model(str(model)).meta_graphs[0].graph_def
    for function in graph_def.library.function:
        function.ClearField("arg_attr")  # `_user_specified_name`: for what is captured the number of a handle
    functions = sorted(_NUMBER.sub("", str(function)) for function in graph_def.library.function)
    graph_def.ClearField("library")
    return _NUMBER.sub("", str(graph_def)), functions


def digest_files(folder):
    files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_same_values(first, second):
    assert list(first) == list(second)
    for key, (dtype, value) in first.items():
        assert dtype == second[key][0], key
        assert (value.shape == second[key][1].shape and value.tolist() == second[key][1].tolist()) or np.array_equal(
            value, second[key][1], equal_nan=True
        ), key


def check_modes(slug, folder):
    source = find_model(slug)
    before = digest_files(source)
    expected = written = None
    for mode in reversed(WEIGHT_MODES):  # "rewrite" first
        outcome = convert(source, folder / mode, mode)
        assert outcome.status.value == "migrated", outcome.error
        values, graph = read_values(folder / mode), read_graph(folder / mode)
        expected = values if expected is None else expected
        written = graph if written is None else written
        assert_same_values(expected, values)
        assert written == graph
    assert digest_files(source) == before


@pytest.mark.parametrize("slug", sharing.mark_slow(FEW, but=2))
def test_modes_write_equal_values(slug, tmp_path):
    check_modes(slug, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("slug", sorted(set(ALL) - set(FEW)))
def test_modes_write_equal_values_over_the_zoo(slug, tmp_path):
    check_modes(slug, tmp_path)


def test_links_are_links_and_said(tmp_path):
    source = shutil.copytree(find_model("hub_dense_l2"), tmp_path / "source")
    outcome = convert(source, tmp_path / "out", "link")
    assert [finding.code for finding in outcome.findings if finding.code.startswith("weights")] == ["weights-linked"]
    old = source / "variables" / "variables.data-00000-of-00001"
    new = tmp_path / "out" / "variables" / "variables.data-00000-of-00002"
    assert os.path.samefile(old, new)
    copied = convert(source, tmp_path / "copy", "copy")
    assert not copied.findings
    assert not os.path.samefile(old, tmp_path / "copy" / "variables" / new.name)


def save_legacy(folder, values, *, unused=0):
    """A TF1 SavedModel that adds its input to the sum of its variables; `unused` floats in the checkpoint are slots."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None])
        y = x
        for name, value in values.items():
            y = y + tf.reduce_sum(tf.compat.v1.get_variable(name, initializer=value, use_resource=True))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
        prefix = str(folder / "variables" / "variables")
        for data in (folder / "variables").iterdir():
            data.unlink()
        slots = {"optimizer/slot": np.ones(unused, np.float32)} if unused else {}
        everything = slots | values
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=list(everything), shape_and_slices=[""] * len(everything),
        tensors=[tf.constant(value) for value in everything.values()],
    )  # fmt: skip
    return folder


@pytest.fixture
def with_slots(tmp_path):
    rng = np.random.default_rng(0)
    values = {f"v{i}": rng.normal(size=(100 + i,)).astype(np.float32) for i in range(5)}
    return save_legacy(tmp_path / "slots", values, unused=1000), values


def test_dead_bytes_are_left_behind_by_a_copy_and_said_of_a_link(with_slots, tmp_path):
    source, values = with_slots
    live = sum(value.nbytes for value in values.values())
    assert not convert(source, tmp_path / "copy", "copy").findings
    data = tmp_path / "copy" / "variables" / "variables.data-00000-of-00002"
    assert data.stat().st_size == live
    codes = [finding.code for finding in convert(source, tmp_path / "link", "link").findings]
    assert codes == ["weights-linked", "dead-weights"]
    assert (tmp_path / "link" / "variables" / data.name).stat().st_size == live + 4000
    assert_same_values(read_values(tmp_path / "copy"), read_values(tmp_path / "link"))
    expected = 1 + sum(value.sum(dtype=np.float64) for value in values.values())
    for mode in ("copy", "link"):
        loaded = tf.saved_model.load(str(tmp_path / mode))
        np.testing.assert_allclose(loaded(tf.constant([1.0]))["y"], [expected], rtol=1e-4)


def test_every_reader_takes_the_merged_checkpoint(with_slots, tmp_path):
    source, values = with_slots
    convert(source, tmp_path / "out", "copy")
    out = str(tmp_path / "out")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], out)
        signature = loaded.signature_def["serving_default"]
        (old,) = session.run([signature.outputs["y"].name], {signature.inputs["x"].name: [0.0]})
    again = tf.saved_model.load(out)
    tf.saved_model.save(again, str(tmp_path / "again"), signatures=again.signatures)
    np.testing.assert_array_equal(tf.saved_model.load(str(tmp_path / "again")).signatures["serving_default"](
        x=tf.constant([0.0]))["y"], old)  # fmt: skip
    holder = tf.Module()
    holder.variables_ = [tf.Variable(tf.zeros_like(value)) for value in values.values()]
    checkpoint = tf.train.Checkpoint(variables=holder.variables_)
    checkpoint.read(os.path.join(out, "variables", "variables")).expect_partial()
    for variable, value in zip(holder.variables_, values.values(), strict=True):
        np.testing.assert_array_equal(variable, value)


def test_fingerprint_is_of_the_written_files(with_slots, tmp_path):
    convert(with_slots[0], tmp_path / "out", "copy")
    written = (tmp_path / "out" / "fingerprint.pb").read_bytes()
    found = tf.saved_model.experimental.read_fingerprint(str(tmp_path / "out"))
    assert found.checkpoint_hash and found.saved_model_checksum
    other = save_legacy(tmp_path / "other", {k: v + 1 for k, v in with_slots[1].items()}, unused=1000)
    convert(other, tmp_path / "out2", "copy")
    assert (tmp_path / "out2" / "fingerprint.pb").read_bytes() != written
    changed = tf.saved_model.experimental.read_fingerprint(str(tmp_path / "out2"))
    assert changed.checkpoint_hash != found.checkpoint_hash


def test_a_default_that_is_computed_from_a_variable(tmp_path):
    """It is evaluated while building, when variables have no values yet."""
    source = tmp_path / "source"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        v = tf.compat.v1.get_variable("v", initializer=np.float32([2.0, 5.0]), use_resource=True)
        other = tf.compat.v1.get_variable("other", initializer=np.float32([7.0]), use_resource=True)
        x = tf.compat.v1.placeholder(tf.float32, [None, 2])
        scale = tf.compat.v1.placeholder_with_default(v * 3.0, [2])
        session.run(tf.compat.v1.global_variables_initializer())
        inputs = {"x": x, "scale": scale}
        tf.compat.v1.saved_model.simple_save(session, str(source), inputs, {"y": x * scale + other})
    outcome = migrate.migrate_model(source, tmp_path / "out", MigrateOptions(verify="auto"))
    assert outcome.status.value == "migrated", outcome.error
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    np.testing.assert_allclose(loaded(tf.constant([[1.0, 1.0]]))["y"], [[13.0, 22.0]])
    assert_same_values(
        read_values(tmp_path / "out"),
        read_values(convert(source, tmp_path / "rewritten", "rewrite").dest),
    )


# Damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", WEIGHT_MODES)
def test_damaged_weights_block_the_model(with_slots, tmp_path, mode):
    source, _ = with_slots
    data = source / "variables" / "variables.data-00000-of-00001"
    raw = bytearray(data.read_bytes())
    raw[-9] ^= 1  # of a variable: the slots lie first
    data.write_bytes(raw)
    outcome = convert(source, tmp_path / "out", mode)
    assert outcome.status.value == "blocked" and not (tmp_path / "out").exists()
    assert "checksum" in outcome.error.lower(), outcome.error


@pytest.mark.parametrize("mode", WEIGHT_MODES)
def test_a_short_shard_blocks_the_model(with_slots, tmp_path, mode):
    source, _ = with_slots
    os.truncate(source / "variables" / "variables.data-00000-of-00001", 4100)
    outcome = convert(source, tmp_path / "out", mode)
    assert outcome.status.value == "blocked" and "truncated" in outcome.error


def test_large_checkpoints_are_checked_on_request(with_slots, monkeypatch):
    source, _ = with_slots
    monkeypatch.setattr(weights, "_CHECKED_ALWAYS", 100)
    found = index.read_index(str(source / "variables" / "variables"))
    carried = weights.Carried(source=found, places={})
    data = source / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(bytes(data.stat().st_size))
    weights.check_bytes(carried, everything=False)
    with pytest.raises(errors.CorruptModelError, match="checksum"):
        weights.check_bytes(carried, everything=True)


def test_digest_changes_with_a_value(with_slots, tmp_path):
    source, values = with_slots
    first = provenance.digest_source(str(source))
    values["v0"] = values["v0"] + np.float32(1e-3)
    assert provenance.digest_source(str(save_legacy(tmp_path / "slots2", values, unused=1000))) != first
    (source / "assets").mkdir()
    (source / "assets" / "vocab.txt").write_text("a")
    assert provenance.digest_source(str(source)) != first


# Transfer ----------------------------------------------------------------------------------------------------


def _refuse(*_args, **_options):
    raise OSError("not here")


def test_what_a_file_system_lacks_gives_way(tmp_path, monkeypatch):
    source, data = tmp_path / "a", os.urandom(3_000_001)
    source.write_bytes(data)
    for lacking in ((), ("link",), ("link", "copy_file_range")):
        for name in lacking:
            monkeypatch.setattr(os, name, _refuse)
        dest = tmp_path / "-".join(("b", *lacking))
        done = transfer.transfer_file(str(source), str(dest), transfer.LINK)
        assert (done == transfer.LINK) == (not lacking)
        assert dest.read_bytes() == data
    ranges = [(5, 10), (1_000_000, 2_000_001), (0, 1)]
    transfer.copy_ranges(str(source), str(tmp_path / "r"), ranges[:2])
    transfer.copy_ranges(str(source), str(tmp_path / "r"), ranges[2:])
    assert (tmp_path / "r").read_bytes() == b"".join(data[at : at + size] for at, size in ranges)
    with pytest.raises(EOFError, match="ends at byte 3000001"):
        transfer.copy_ranges(str(source), str(tmp_path / "s"), [(3_000_000, 5)])


def test_a_shared_tree_is_the_same_tree(tmp_path, monkeypatch):
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "large").write_bytes(b"x" * 2**20)
    (tmp_path / "a" / "small").write_bytes(b"y")
    transfer.share_tree(str(tmp_path / "a"), str(tmp_path / "b"))
    assert os.path.samefile(tmp_path / "a" / "deep" / "large", tmp_path / "b" / "deep" / "large")
    assert not os.path.samefile(tmp_path / "a" / "small", tmp_path / "b" / "small")
    monkeypatch.setattr(os, "link", _refuse)
    transfer.share_tree(str(tmp_path / "a"), str(tmp_path / "c"))
    assert (tmp_path / "c" / "deep" / "large").read_bytes() == b"x" * 2**20


@pytest.mark.parametrize(
    ("text", "extents"),
    [("", ()), ("10 4 0,3:0,4", ((0, 3), (0, 4))), ("10 4 -:2,2", ((0, None), (2, 2)))],
)
def test_slice_specs_are_parsed(text, extents):
    assert weights.parse_slice_spec(text) == extents
