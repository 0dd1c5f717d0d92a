"""What models legitimately do is not refused: the sample zoo, savers, tables and files of assets, warm starts."""

import pathlib

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

import migrate
from migrate import scan
from migrate.verdict import Verdict
from tests.scan.hostile.case import make_meta_graph, write_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = sorted(
    path.parent for pattern in ("saved_model.pb", "saved_model.pbtxt") for path in ROOT.glob(f"testdata/**/{pattern}")
)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: str(path.relative_to(ROOT / "testdata")))
def test_sample_models(path):
    assert scan.scan_model(path) == ()


def test_migrated_models(catalogue):
    """Their tables take assets out of variables, within functions."""
    found = {path.parent: scan.scan_model(path.parent) for path in catalogue.root.rglob("saved_model.pb")}
    assert len(found) > 50
    assert {path: findings for path, findings in found.items() if findings} == {}


def _with_asset(build, folder):
    meta_graph = make_meta_graph(build)
    meta_graph.asset_file_def.add(filename="a.txt", tensor_info=meta_graph_pb2.TensorInfo(name="asset:0"))
    write_model(folder, meta_graph)
    (folder / "assets").mkdir()
    (folder / "assets" / "a.txt").write_text("a", encoding="utf-8")


def test_assets_may_be_read(tmp_path):
    def build(x, y):
        path = tf.constant("", name="asset")
        lines = tf.compat.v1.data.make_initializable_iterator(tf.compat.v1.data.TextLineDataset([path]))
        return (
            y
            + tf.cast(tf.strings.length(tf.io.read_file(path)), tf.float32)
            + 0.0 * tf.cast(tf.strings.length(lines.get_next()), tf.float32)
        )

    _with_asset(build, tmp_path / "model")
    assert scan.scan_model(tmp_path / "model") == ()


def test_assets_of_odd_names(tmp_path):
    """What a file may be called a vocabulary may be: it is migrated, and shown without what commands a terminal."""
    names = ["a\nb", "\x1b[31mred", "a\u202eb", "n" * 255, "sub/folder/x", "other/x", "-rf", 'it\'s; "q" $(rm)', " "]

    def build(x, y):
        for number in range(len(names)):
            lines = tf.lookup.TextFileInitializer(
                tf.constant("", name=f"asset_{number}"),
                *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
            )
            y += tf.cast(tf.lookup.StaticHashTable(lines, -1).lookup(tf.constant([f"w{number}"])), tf.float32)
        tf.group(tf.compat.v1.tables_initializer(), name="hidden")
        return y

    meta_graph = make_meta_graph(build, collections=["legacy_init_op"])
    for number, name in enumerate(names):
        info = meta_graph_pb2.TensorInfo(name=f"asset_{number}:0")
        meta_graph.asset_file_def.add(filename=name, tensor_info=info)
        path = tmp_path / "model" / "assets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"v\nw{number}\n", encoding="utf-8")
    write_model(tmp_path / "model", meta_graph)
    assert scan.scan_model(tmp_path / "model") == ()
    outcome = migrate.migrate_model(tmp_path / "model", tmp_path / "out")
    assert outcome.verification.verdict is Verdict.PASS, outcome.error
    written = sorted(path.name for path in (tmp_path / "out" / "assets").iterdir())
    assert written == sorted([*(name for name in names if "/" not in name), "x", "x_1"])
    for text in (migrate.inspect_model(tmp_path / "model").to_text(), (tmp_path / "out" / "README.md").read_text()):
        assert "\x1b" not in text and "\u202e" not in text


def test_warm_start(tmp_path):
    """An initialiser that nothing runs reads the checkpoint of whoever trained the model."""

    def build(x, y):
        restored = tf.raw_ops.RestoreV2(
            prefix="/home/trainer/model.ckpt", tensor_names=["v"], shape_and_slices=[""], dtypes=[tf.float32]
        )
        variable = tf.compat.v1.get_variable("v", [2], use_resource=True)
        variable.assign(tf.ensure_shape(restored[0], [2]), read_value=False)
        return y

    write_model(tmp_path / "model", make_meta_graph(build))
    assert scan.scan_model(tmp_path / "model") == ()


def test_large_initialiser(tmp_path):
    """Fills that only a variable's initialiser would make."""

    def build(x, y):
        tf.fill([3 * 10**9], 0.0)
        return y

    write_model(tmp_path / "model", make_meta_graph(build))
    assert scan.scan_model(tmp_path / "model") == ()


def test_links_within(tmp_path):
    write_model(tmp_path / "model", make_meta_graph(None))
    (tmp_path / "model" / "assets").mkdir()
    (tmp_path / "model" / "assets" / "b.txt").write_text("b", encoding="utf-8")
    (tmp_path / "model" / "assets" / "a.txt").symlink_to("b.txt")
    (tmp_path / "latest").symlink_to("model")
    assert scan.scan_model(tmp_path / "model") == scan.scan_model(tmp_path / "latest") == ()
