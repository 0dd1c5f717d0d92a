"""Recordings and given inputs: what each form means, and what is refused."""

import base64
import json
import struct

import numpy as np
import pytest
import tensorflow as tf

from migrate import errors
from migrate.arrays import load_arrays, make_bytes_array, save_arrays
from migrate.comparison import recording
from migrate.inputs import given, preview, recorded
from migrate.inputs.calls import Call

ENTRY = {"tags": ["serve"], "signature": "f", "inputs": {"x": {"dtype": "float32"}}, "outputs": {}, "method": ""}


@pytest.mark.parametrize(
    ("text", "tags", "case", "signature", "key"),
    [
        ("y", None, "given", None, "y"),
        ("f|y", None, "given", "f", "y"),
        ("0|f|y", None, "0", "f", "y"),
        ("|0|f|y", (), "0", "f", "y"),
        ("serve,gpu|0|f|y|z", ("gpu", "serve"), "0", "f", "y|z"),
    ],
)
def test_keys(text, tags, case, signature, key):
    place, found = recorded.parse_key(text)
    assert (place.tags, place.case, place.signature, found) == (tags, case, signature, key)


def test_open_keys_are_settled_by_the_other_side(tmp_path):
    save_arrays(tmp_path / "r.npz", {"y": np.ones(2)})
    found = recorded.load_recording(str(tmp_path / "r.npz"))
    known = [ENTRY | {"tags": ["train"]}, ENTRY]
    results = recording.to_results(found, known, {})
    assert list(results.outputs) == [("recorded", "serve/f/given")]


def test_saved_inputs_are_read_back_with_calls_that_have_none(tmp_path):
    path = str(tmp_path / "i.npz")
    calls = [
        Call(tags=("serve",), signature="f", case="batch_1", inputs={"x": np.ones(2)}),
        Call(tags=(), signature="g", case="no_inputs", inputs={}),
    ]
    recorded.save_inputs(path, calls)
    found = recorded.load_recording(path).entries
    assert {(p.tags, p.signature, p.case): sorted(v) for p, v in found.items()} == {
        (("serve",), "f", "batch_1"): ["x"],
        ((), "g", "no_inputs"): [],
    }


def test_empty_recording_is_refused(tmp_path):
    save_arrays(tmp_path / "r.npz", {})
    with pytest.raises(errors.CorruptModelError, match="empty"):
        recorded.load_recording(str(tmp_path / "r.npz"))


def write_lines(path, *lines):
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return str(path)


def test_json_lines(tmp_path):
    path = write_lines(
        tmp_path / "i.jsonl",
        {"x": [[1, 2]]},
        {"signature_name": "f", "inputs": {"x": [[3, 4]]}},
        {"instances": [{"x": [1]}, {"x": [2]}]},
        {"instances": [[1.5], [2.5]]},
    )
    first, second, third, fourth = given.read_offers(path, [ENTRY])
    assert first.values == {"x": [[1, 2]]} and first.place.signature is None and first.loose
    assert second.place.signature == "f"
    assert third.values == {"x": [[1], [2]]}
    assert fourth.key_open and fourth.values == {"": [[1.5], [2.5]]}


def test_broken_json_line_is_named(tmp_path):
    (tmp_path / "i.jsonl").write_text('{"x": 1}\n{"x": ', encoding="utf-8")
    with pytest.raises(errors.CorruptModelError, match=r"i\.jsonl:2"):
        given.read_offers(str(tmp_path / "i.jsonl"), [])


def test_casts():
    assert given.cast_value([1, 2], "float32", "x").dtype == np.float32
    assert given.cast_value(["a", {"b64": base64.b64encode(b"\xff").decode()}], "string", "x").tolist() == [
        b"a",
        b"\xff",
    ]
    with pytest.raises(errors.UsageError, match="cannot be cast to int32"):
        given.cast_value(["a"], "int32", "x")


def test_tfrecord_of_examples(tmp_path):
    path = str(tmp_path / "e.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for i in range(70):
            writer.write(f"example {i}".encode())
    first, second = given.read_offers(path, [])
    assert first.key_open and first.values[""].shape == (64,) and second.values[""].shape == (6,)
    assert second.values[""][-1] == b"example 69"


def test_truncated_tfrecord_is_refused(tmp_path):
    (tmp_path / "e.tfrecord").write_bytes(struct.pack("<Q", 100) + b"abcd")
    with pytest.raises(errors.CorruptModelError, match="cut off"):
        given.read_offers(str(tmp_path / "e.tfrecord"), [])


def field(number, data):
    """A length-delimited field of a protocol buffer."""
    assert len(data) < 128 * 128
    size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
    return bytes([number << 3 | 2]) + size + data


def test_warmup_records(tmp_path):
    """Written by hand from tensorflow_serving/apis/*.proto, which no TensorFlow package carries."""
    tensor = tf.make_tensor_proto(np.float32([[1, 2]])).SerializeToString()
    spec = field(1, field(1, b"model") + field(3, b"f"))
    predict = field(6, field(1, spec + field(2, field(1, b"x") + field(2, tensor))))
    example = tf.train.Example().SerializeToString()
    classify = field(2, field(1, spec + field(2, field(1, field(1, example) + field(1, example)))))
    path = str(tmp_path / "tf_serving_warmup_requests")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(predict)
        writer.write(classify)
    first, second = given.read_offers(path, [])
    assert first.place.signature == "f" and first.values["x"].tolist() == [[1, 2]]
    assert second.key_open and second.values[""].tolist() == [example, example]


def test_function(tmp_path, monkeypatch):
    (tmp_path / "my_inputs.py").write_text(
        "def make(key, inputs):\n    return [{'x': [[1.0]]}] if key == 'f' else None\n"
    )
    monkeypatch.chdir(tmp_path)
    (offer,) = given.read_offers("my_inputs:make", [ENTRY, ENTRY | {"signature": "g"}])
    assert offer.place.signature == "f" and offer.values == {"x": [[1.0]]}
    with pytest.raises(errors.UsageError, match="cannot be imported"):
        given.read_offers("my_inputs:absent", [ENTRY])


def test_unknown_forms(tmp_path):
    (tmp_path / "x.csv").write_text("1")
    with pytest.raises(errors.UsageError, match="unknown form"):
        given.read_offers(str(tmp_path / "x.csv"), [])
    with pytest.raises(errors.SourceNotFoundError):
        given.read_offers(str(tmp_path / "absent.npz"), [])


def test_previews():
    image = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)
    text = make_bytes_array(np.array(["naïve", b"\xff\x00"], dtype=object))
    calls = [Call(tags=(), signature="f", case="0", inputs={"image": image, "text": text, "n": np.arange(20)})]
    picture, words, numbers = preview.preview_calls(calls)
    data = base64.b64decode(picture.image.removeprefix("data:image/png;base64,"))
    assert tf.io.decode_png(data).shape == (8, 8, 3)
    assert "'naïve'" in words.text and "2 bytes" in words.text and not words.image
    assert numbers.text.startswith("0, 1, 2") and numbers.text.endswith("…") and numbers.shape == (20,)


def test_codec_of_answers(tmp_path):
    save_arrays(tmp_path / "a.npz", {"serve|0|f|y": np.ones(2)})
    assert list(load_arrays(tmp_path / "a.npz")) == ["serve|0|f|y"]
