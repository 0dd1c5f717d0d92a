"""Frozen graphs and training checkpoints: what is read, guessed, chosen and refused. Nothing runs."""

import json
import pathlib
import shutil

import pytest
import tensorflow as tf
from google.protobuf import text_format

import migrate
from migrate import errors, readers
from migrate.model import GraphVariant, LegacyModel, Signature, SignatureTensor, Source
from migrate.options import ReadOptions
from migrate.readers import recorded_signatures, signature_map

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"


def write_graph(path, build):
    with tf.Graph().as_default() as graph:
        build()
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return str(path)


def read_only(path, scratch="", **options):
    (variant,) = readers.read_model(str(path), ReadOptions(**options), str(scratch)).variants
    return variant


def keys(signature):
    return sorted(signature.inputs), sorted(signature.outputs)


def two_heads():
    x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
    y = tf.compat.v1.placeholder(tf.float32, [None, 2], name="scope/y")
    total = tf.add(x, y, name="total")
    tf.identity(total, name="first")
    tf.split(x, 2, axis=1, name="second")


def test_guess(tmp_path):
    signature = read_only(write_graph(tmp_path / "g.pb", two_heads)).signatures["serving_default"]
    assert keys(signature) == (["scope/y", "x"], ["first", "second", "second_1"])


def test_guess_is_said_as_flags(tmp_path):
    model = readers.read_model(write_graph(tmp_path / "g.pb", two_heads))
    (finding,) = model.findings
    assert "--inputs=scope/y=scope/y:0,x=x:0 --outputs=first=first:0" in finding.message


def test_stated(tmp_path):
    path = write_graph(tmp_path / "g.pb", two_heads)
    signature = read_only(path, inputs=("a=total",), outputs=("first:0",)).signatures["serving_default"]
    assert {k: t.name for k, t in signature.inputs.items()} == {"a": "total:0"}
    assert {k: t.name for k, t in signature.outputs.items()} == {"first": "first:0"}


def test_half_stated(tmp_path):
    path = write_graph(tmp_path / "g.pb", two_heads)
    assert keys(read_only(path, outputs=("second:1",)).signatures["serving_default"]) == (["x"], ["second_1"])
    assert keys(read_only(path, inputs=("scope/y",)).signatures["serving_default"])[1] == ["first"]


def test_unknown_tensor(tmp_path):
    with pytest.raises(errors.UsageError, match=r"frist.*first"):
        read_only(write_graph(tmp_path / "g.pb", two_heads), outputs=("frist",))


def test_graph_that_hands_its_input_on(tmp_path):
    path = write_graph(tmp_path / "g.pb", lambda: tf.compat.v1.placeholder(tf.int8, [None], name="input"))
    assert keys(read_only(path).signatures["serving_default"]) == (["input"], ["input"])


def test_loop_and_branch_are_no_outputs(tmp_path):
    """Loose ends in frames have no value that could be fetched."""

    def build():
        tf.compat.v1.disable_control_flow_v2()
        x = tf.compat.v1.placeholder(tf.float32, [], name="x")
        tf.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v * 2.0), [0, x])
        tf.cond(x > 0, lambda: x + 1.0, lambda: x - 1.0)
        tf.identity(x, name="result")

    path = write_graph(tmp_path / "g.pb", build)
    assert keys(read_only(path).signatures["serving_default"]) == (["x"], ["result"])


def test_what_an_iterator_gives_has_the_shapes_that_it_states(tmp_path):
    def pipeline():
        rows = {"x": tf.zeros([6, 3]), "label": tf.range(6)}
        dataset = tf.data.Dataset.from_tensor_slices(rows).batch(2)
        element = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
        tf.identity(tf.cast(element["label"], tf.float32) + tf.reduce_sum(element["x"], 1), name="total")

    (signature,) = read_only(write_graph(tmp_path / "g.pb", pipeline)).signatures.values()
    assert {(tensor.dtype, tensor.shape) for tensor in signature.inputs.values()} == {
        ("float32", (None, 3)),
        ("int32", (None,)),
    }


def test_graph_with_variables_is_not_frozen(tmp_path):
    def build():
        tf.compat.v1.get_variable("weights", [2], use_resource=False)

    with pytest.raises(errors.CorruptModelError, match=r"not frozen.*weights"):
        read_only(write_graph(tmp_path / "g.pb", build))


def test_truncated_graph(tmp_path):
    path = tmp_path / "g.pb"
    write_graph(path, two_heads)
    path.write_bytes(path.read_bytes()[:-20])
    outcome = migrate.migrate_model(path, tmp_path / "out")
    assert outcome.status.value == "blocked" and not (tmp_path / "out").exists()


def test_thaw_by_trace_and_by_size(tmp_path):
    """With a trace the author's own table stays a constant; without any, what is large trains."""

    def build(traced):
        x = tf.compat.v1.placeholder(tf.float32, [None, 100], name="x")
        weights = tf.constant(0.5, tf.float32, [100, 3], name="weights")
        mean = tf.constant(0.1, tf.float32, [3], name="norm/moving_mean")
        table = tf.constant(2.0, tf.float32, [100], name="table")
        if traced:
            weights, mean = tf.identity(weights, name="weights/read"), tf.identity(mean, name="norm/moving_mean/read")
        tf.identity(tf.matmul(x * table, weights) - mean, name="y")

    traced = read_only(write_graph(tmp_path / "a.pb", lambda: build(True)), tmp_path / "a", thaw=True)
    assert {v.name: v.trainable for v in traced.variables} == {"weights": True, "norm/moving_mean": False}
    bare = read_only(write_graph(tmp_path / "b.pb", lambda: build(False)), tmp_path / "b", thaw=True)
    assert {v.name: v.trainable for v in bare.variables} == {"weights": True, "table": True}


def test_nothing_to_thaw(tmp_path):
    with pytest.raises(errors.UsageError, match="nothing to thaw"):
        read_only(write_graph(tmp_path / "g.pb", two_heads), tmp_path, thaw=True)


# --- checkpoints -----------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "ckpt"
    shutil.copytree(ZOO / "checkpoint_image_classifier" / "model", folder)
    return folder


def read_checkpoint(path, **options):
    return readers.read_model(str(path), ReadOptions(**options))


def test_newest_is_chosen_and_said(checkpoint):
    model = read_checkpoint(checkpoint)
    assert model.checkpoint.endswith("model.ckpt-40")
    assert "checkpoint-chosen" in [f.code for f in model.findings]


@pytest.mark.parametrize("name", ["model.ckpt-7", "7", "model.ckpt-7.index", "model.ckpt-7.meta"])
def test_chosen(checkpoint, name):
    assert read_checkpoint(checkpoint, checkpoint=name).checkpoint.endswith("model.ckpt-7")


@pytest.mark.parametrize("ending", ["", ".index", ".meta"])
def test_given_by_file_or_prefix(checkpoint, ending):
    assert read_checkpoint(f"{checkpoint / 'model.ckpt-7'}{ending}").checkpoint.endswith("model.ckpt-7")


def test_no_such_checkpoint(checkpoint):
    with pytest.raises(errors.UsageError, match=r"model\.ckpt-7, model\.ckpt-40"):
        read_checkpoint(checkpoint, checkpoint="model.ckpt-8")


def test_state_file_of_another_machine(checkpoint):
    (checkpoint / "checkpoint").write_text('model_checkpoint_path: "C:\\\\train\\\\model.ckpt-7"\n', encoding="utf-8")
    assert read_checkpoint(checkpoint).checkpoint.endswith("model.ckpt-7")


def test_without_state_file_the_highest_step(checkpoint):
    (checkpoint / "checkpoint").unlink()
    for file in list(checkpoint.glob("model.ckpt-7.*")):
        file.rename(checkpoint / file.name.replace("-7.", "-100."))
    assert read_checkpoint(checkpoint).checkpoint.endswith("model.ckpt-100")


def test_slots_are_listed_and_left_behind(checkpoint):
    origin = json.loads((ZOO / "checkpoint_image_classifier" / "origin.json").read_text(encoding="utf-8"))
    model = read_checkpoint(checkpoint)
    (finding,) = [f for f in model.findings if f.code == "training-state-left-behind"]
    assert finding.message.endswith(", ".join(origin["left_behind"]))
    assert not {spec.name for spec in model.variants[0].variables} & set(origin["left_behind"])


FAULTS = {
    "a missing shard": (["model.ckpt-40.data-00000-of-00001"], "shards"),
    "no values at all": (["model.ckpt-*.index", "model.ckpt-*.data-*"], "no checkpoint"),
    "no graph": (["*.meta"], "values only"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_incomplete(checkpoint, tmp_path, name):
    patterns, reason = FAULTS[name]
    for pattern in patterns:
        for file in list(checkpoint.glob(pattern)):
            file.unlink()
    outcome = migrate.migrate_model(checkpoint, tmp_path / "out")
    assert outcome.status.value == "blocked" and reason in outcome.error, outcome
    assert not (tmp_path / "out").exists()


def test_missing_v1_shard(tmp_path):
    folder = tmp_path / "ckpt"
    shutil.copytree(ZOO / "checkpoint_v1_sharded" / "model", folder)
    (folder / "model.ckpt-40-00001-of-00003").unlink()
    with pytest.raises(errors.CorruptModelError, match="00001-of-00003"):
        read_checkpoint(folder)


def test_graph_of_another_step(checkpoint):
    (checkpoint / "model.ckpt-40.meta").unlink()
    model = read_checkpoint(checkpoint)
    assert model.checkpoint.endswith("model.ckpt-40")
    assert "graph-of-other-checkpoint" in [f.code for f in model.findings]


def test_graph_pbtxt_alone(checkpoint):
    """An Estimator's graph.pbtxt says no more than the graph: nothing trains, but all is there."""
    meta = tf.compat.v1.MetaGraphDef.FromString((checkpoint / "model.ckpt-40.meta").read_bytes())
    for file in list(checkpoint.glob("*.meta")):
        file.unlink()
    (checkpoint / "graph.pbtxt").write_text(text_format.MessageToString(meta.graph_def), encoding="utf-8")
    model = read_checkpoint(checkpoint, outputs=("probabilities",))
    assert not any(spec.trainable for spec in model.variants[0].variables)
    assert all(spec.checkpoint_key for spec in model.variants[0].variables)


# --- signatures ------------------------------------------------------------------------------------------


def pack(number, data):
    """One length-delimited field of the wire format."""
    return bytes([number << 3 | 2, len(data)]) + data


def test_session_bundle():
    """tensorflow.serving.Signatures, as session_bundle's exporter packed it."""
    binding = {name: pack(1, f"{name}:0".encode()) for name in ("in", "classes", "scores", "x", "y")}
    classify = pack(2, pack(1, binding["in"]) + pack(2, binding["classes"]) + pack(3, binding["scores"]))
    generic = {n: pack(3, pack(1, pack(1, n.encode()) + pack(2, binding[n]))) for n in ("x", "y")}
    named = pack(2, pack(1, b"inputs") + pack(2, generic["x"])) + pack(2, pack(1, b"outputs") + pack(2, generic["y"]))
    meta = tf.compat.v1.MetaGraphDef()
    meta.collection_def["serving_signatures"].any_list.value.add(value=pack(1, classify) + named)
    meta.collection_def["serving_init_op"].node_list.value.append("init")
    recorded_signatures.adopt_signatures(meta)
    default, predict = meta.signature_def["serving_default"], meta.signature_def["predict"]
    assert default.method_name == "tensorflow/serving/classify"
    assert {k: t.name for k, t in default.outputs.items()} == {"classes": "classes:0", "scores": "scores:0"}
    assert (predict.inputs["x"].name, predict.outputs["y"].name) == ("x:0", "y:0")
    assert list(meta.collection_def["legacy_init_op"].node_list.value) == ["init"]


def test_collections_of_another_content():
    meta = tf.compat.v1.MetaGraphDef()
    meta.collection_def["inputs"].bytes_list.value.append(b"\xff")
    meta.collection_def["outputs"].node_list.value.append("y:0")
    recorded_signatures.adopt_signatures(meta)
    assert not meta.signature_def


def make_model(*names):
    tensor = SignatureTensor(name="x:0", dtype="float32", shape=())
    signatures = {n: Signature(key=n, method="", inputs={"x": tensor}, outputs={"y": tensor}) for n in names}
    variant = GraphVariant(
        tags=(), graph_def=None, signatures=signatures, collections={}, variables=(), assets=(), attachments={}
    )
    return LegacyModel(source=Source(path="", format=None), variants=(variant,), checkpoint=None, producer="")


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [(["a=c"], ["c", "b"]), (["a=a", "a=c"], ["a", "c", "b"]), (["a=b", "b=a"], ["b", "a"]), ([], ["a", "b"])],
)
def test_signature_map(pairs, expected):
    (variant,) = signature_map.map_signatures(make_model("a", "b"), pairs).variants
    assert list(variant.signatures) == expected
    assert all(key == signature.key for key, signature in variant.signatures.items())


@pytest.mark.parametrize(("pair", "reason"), [("a=b", "two"), ("z=c", "no signature z"), ("a", "no old=new")])
def test_bad_signature_map(pair, reason):
    with pytest.raises(errors.UsageError, match=reason):
        signature_map.map_signatures(make_model("a", "b"), [pair])
