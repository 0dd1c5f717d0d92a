"""Every format is told by its evidence, without TensorFlow."""

import json
import pathlib
import shutil

import pytest

from migrate import detect, errors
from migrate.model import Format

ZOO = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "zoo"
SLUGS = sorted(path.parent.name for path in ZOO.glob("*/origin.json"))


@pytest.mark.parametrize("slug", SLUGS)
def test_zoo(slug):
    """Every model of the zoo is what its author says it is; Estimator's timestamp folder is found by itself."""
    expected = json.loads((ZOO / slug / "origin.json").read_text(encoding="utf-8"))["format"]
    found = detect.detect_format(ZOO / slug / "model")
    assert found.format.value == expected
    assert found.evidence
    is_whole = detect.is_saved_model_dir(found.path) or detect.is_checkpoint_dir(found.path)
    assert is_whole or pathlib.Path(found.path).is_file()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("m.h5", b"\x89HDF\r\n\x1a\n....", Format.KERAS_H5),
        ("weights", b"\x89HDF\r\n\x1a\n....", Format.KERAS_H5),
        ("m.keras", b"PK\x03\x04....", Format.KERAS_V3),
        ("m.zip", b"PK\x03\x04....", Format.ARCHIVE),
        ("m.tar.gz", b"\x1f\x8b\x08....", Format.ARCHIVE),
        ("m.tar", b"\0" * 257 + b"ustar\0", Format.ARCHIVE),
        ("m.tflite", b"\x1c\0\0\0TFL3....", Format.TFLITE),
        ("m.onnx", b"\x08\x07....", Format.ONNX),
        ("model.ckpt.index", b"....", Format.CHECKPOINT),
        ("model.ckpt.data-00000-of-00002", b"....", Format.CHECKPOINT),
        ("g.pb", b"\x0a\x03\x0a\x01x", Format.FROZEN_GRAPH),
        ("g.pb", b"\x2a\x01x", Format.UNKNOWN),
        ("g.pb", b"\xff\xff\xff", Format.UNKNOWN),
        ("g.pbtxt", b'node {\n  name: "x"\n}\n', Format.FROZEN_GRAPH),
        ("g.pbtxt", b"item { id: 1 }", Format.UNKNOWN),
        ("notes.txt", b"hello", Format.UNKNOWN),
        ("nothing.bin", b"", Format.UNKNOWN),
    ],
)
def test_files(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    assert detect.detect_format(tmp_path / name).format is expected


def test_a_file_inside_a_model_stands_for_the_model():
    for slug, name in (("hub_dense_l2", "tfhub_module.pb"), ("frozen_constants", "saved_model.pb")):
        found = detect.detect_format(ZOO / slug / "model" / name)
        assert pathlib.Path(found.path) == ZOO / slug / "model"


def test_newest_version_folder(tmp_path):
    """As in TF Serving, 10 is newer than 9; a number that holds no model is none."""
    for name in ("9", "10"):
        shutil.copytree(ZOO / "frozen_constants" / "model", tmp_path / name)
    (tmp_path / "11").mkdir()
    found = detect.detect_format(tmp_path)
    assert pathlib.Path(found.path) == tmp_path / "10"
    assert "version folder 10, the newest of 2" in found.evidence


def test_timestamp_alone_is_no_estimator(tmp_path):
    """One sign is not enough: a plain export in a folder of ten digits stays a plain export."""
    shutil.copytree(ZOO / "frozen_constants" / "model", tmp_path / "1580000000")
    assert detect.detect_format(tmp_path).format is Format.TF1_SAVED_MODEL


def test_migrated_models_are_tf2(catalogue):
    for slug in ("hub_dense_l2", "estimator_dnn_classifier"):
        found = detect.detect_format(catalogue.path(slug))
        assert found.format is Format.TF2_SAVED_MODEL
        assert any("object graph" in line for line in found.evidence)


def test_chunked_saved_model_is_tf2(tmp_path):
    (tmp_path / "saved_model.cpb").write_bytes(b"riegeli")
    assert detect.detect_format(tmp_path).format is Format.TF2_SAVED_MODEL


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], Format.EMPTY_DIRECTORY),
        (["checkpoint", "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001"], Format.CHECKPOINT),
        (["readme.md"], Format.UNKNOWN),
    ],
)
def test_folders(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert detect.detect_format(tmp_path).format is expected


def test_folder_with_one_model_file(tmp_path):
    (tmp_path / "frozen.h5").write_bytes(b"\x89HDF\r\n\x1a\n....")
    (tmp_path / "labels.txt").write_bytes(b"cat")
    found = detect.detect_format(tmp_path)
    assert found.format is Format.KERAS_H5 and found.path == str(tmp_path / "frozen.h5")


def test_header_of_a_module():
    header = detect.parse_saved_model_header(str(ZOO / "hub_image_batch_norm" / "model" / "saved_model.pb"))
    assert set(header.tag_sets) == {(), ("train",)}
    assert {key for key, _ in header.signatures} == {"default", "image_classification", "image_feature_vector"}
    assert header.tensorflow_version.startswith("1.15")
    assert "regularization_losses" in header.collections
    assert not header.has_object_graph


def test_missing_path(tmp_path):
    with pytest.raises(errors.SourceNotFoundError, match="no such file"):
        detect.detect_format(tmp_path / "nowhere")
