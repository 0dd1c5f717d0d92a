"""Strings that the graph decodes: Examples, images, sound, text."""

import numpy as np
import pytest
import tensorflow as tf

from .harness import run_graph, v1
from .test_values import WORDS, index_table, weights


@pytest.mark.parametrize("version", [1, 2])
def test_examples_from_the_parsing_spec(version):
    spec = {
        "age": tf.io.FixedLenFeature([], tf.float32),
        "pixels": tf.io.FixedLenFeature([2, 3], tf.float32, np.ones((2, 3))),
        "color": tf.io.VarLenFeature(tf.string),
        "count": tf.io.FixedLenFeature([1], tf.int64),
        "steps": tf.io.FixedLenSequenceFeature([2], tf.float32, allow_missing=True),
    }
    if version == 2:
        spec["tags"] = tf.io.RaggedFeature(tf.int64)

    def build():
        serialized = v1.placeholder(tf.string, [None])
        parsed = (tf.io if version == 2 else v1.io).parse_example(serialized, spec)
        ids = index_table().lookup(parsed["color"].values)
        row = tf.gather(weights(7, 2), parsed["count"][:, 0])
        outputs = {
            "age": parsed["age"],
            "pixels": parsed["pixels"],
            "ids": ids,
            "row": row,
            "steps": parsed["steps"],
        }
        if version == 2:
            outputs["tags"] = parsed["tags"].row_lengths()
        return {"examples": serialized}, outputs

    run = run_graph(build)
    outputs = run.outputs["batch_3"]
    assert (outputs["ids"] >= 0).any() and len(np.unique(outputs["age"])) == 3
    assert not np.allclose(outputs["pixels"], 1)
    assert (run.outputs["unusual"]["pixels"] == 1).all(axis=(1, 2)).any(), (
        "a default is used where a feature is missing"
    )


def test_one_value_a_row_where_the_graph_makes_a_column():
    def build():
        serialized = v1.placeholder(tf.string, [None])
        color = tf.io.parse_example(serialized, {"color": tf.io.VarLenFeature(tf.string)})["color"]
        shape = tf.stack([color.dense_shape[0], 1])
        dense = v1.sparse_to_dense(color.indices, shape, color.values, default_value="")
        return {"examples": serialized}, {"ids": index_table().lookup(tf.squeeze(dense, axis=1))}

    assert run_graph(build).outputs["batch_3"]["ids"].shape == (3,)


def test_single_and_sequence_examples():
    def build():
        single = v1.placeholder(tf.string, [])
        sequence = v1.placeholder(tf.string, [])
        context, steps = tf.io.parse_single_sequence_example(
            sequence,
            context_features={"length": tf.io.FixedLenFeature([], tf.int64)},
            sequence_features={"frame": tf.io.FixedLenSequenceFeature([4], tf.float32)},
        )
        x = tf.io.parse_single_example(single, {"x": tf.io.FixedLenFeature([3], tf.float32)})["x"]
        y = tf.matmul(steps["frame"], weights(4, 2))
        return {"single": single, "sequence": sequence}, {"x": x, "y": y, "n": context["length"]}

    assert len(run_graph(build).outputs["batch_1"]["y"]) > 1


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "gif", "image"])
def test_images_of_each_format(kind):
    def build():
        data = v1.placeholder(tf.string, [])
        if kind == "image":
            pixels = tf.io.decode_image(data, channels=3)
        else:
            pixels = {"jpeg": tf.io.decode_jpeg, "png": tf.io.decode_png, "bmp": tf.io.decode_bmp,
                      "gif": tf.io.decode_gif}[kind](data)  # fmt: skip
        return {"data": data}, {"pixels": pixels}

    run = run_graph(build)
    magic = {"jpeg": b"\xff\xd8", "png": b"\x89PNG", "bmp": b"BM", "gif": b"GIF", "image": b"\xff\xd8"}[kind]
    assert run.cases["batch_1"].inputs["data"].item().startswith(magic)
    pixels = run.outputs["batch_1"]["pixels"]
    assert pixels.shape[-3:] == (32, 32, 3) and pixels.std() > 10


def test_batch_of_base64_images_through_map_fn():
    def build():
        data = v1.placeholder(tf.string, [None])

        def decode(element):
            pixels = tf.io.decode_jpeg(tf.io.decode_base64(element), channels=3)
            return tf.image.convert_image_dtype(pixels, tf.float32)

        images = tf.map_fn(decode, data, dtype=tf.float32)
        flat = tf.reshape(images, [-1, 20 * 20 * 3])
        return {"data": data}, {"y": tf.matmul(flat, weights(1200, 2))}

    for enabled in (True, False):
        (v1.enable_control_flow_v2 if enabled else v1.disable_control_flow_v2)()
        assert run_graph(build).outputs["batch_3"]["y"].shape == (3, 2)


def test_jpeg_looks_like_the_pixels():
    from migrate.inputs.synthesis import images

    ramp = np.linspace(0, 255, 40 * 24 * 3).reshape(40, 24, 3).astype(np.uint8)
    for pixels in (ramp, ramp[:, :, :1]):
        decoded = tf.io.decode_jpeg(images.encode_jpeg(pixels)).numpy() if tf.executing_eagerly() else _decode(pixels)
        assert decoded.shape == pixels.shape
        assert np.abs(decoded.astype(int) - pixels).mean() < 6


def _decode(pixels):
    from migrate.inputs.synthesis import images

    with tf.Graph().as_default(), v1.Session() as session:
        return session.run(tf.io.decode_jpeg(images.encode_jpeg(pixels)))


def test_sound():
    def build():
        data = v1.placeholder(tf.string, [])
        audio, rate = tf.audio.decode_wav(data, desired_channels=1, desired_samples=4000)
        spectrogram = tf.raw_ops.AudioSpectrogram(input=audio, window_size=480, stride=160)
        return {"data": data}, {"audio": audio, "rate": rate, "spectrogram": spectrogram}

    outputs = run_graph(build).outputs["batch_1"]
    assert outputs["audio"].std() > 0.01 and outputs["rate"] == 16000


def test_raw_bytes_tensors_and_compressed_lines():
    def build():
        raw = v1.placeholder(tf.string, [None])
        tensor = v1.placeholder(tf.string, [])
        line = v1.placeholder(tf.string, [None])
        packed = v1.placeholder(tf.string, [None])
        columns = tf.io.decode_csv(line, [[0.0], [""], tf.constant([], tf.int64)])
        return {"raw": raw, "tensor": tensor, "line": line, "packed": packed}, {
            "raw": tf.matmul(tf.io.decode_raw(raw, tf.float32), weights(5, 2)),
            "tensor": tf.matmul(tf.io.parse_tensor(tensor, tf.float32), weights(3, 2)),
            "ids": index_table().lookup(columns[1]),
            "row": tf.gather(weights(3, 2), columns[2]),
            "text": tf.strings.length(tf.io.decode_compressed(packed, "GZIP")),
        }

    assert (run_graph(build).outputs["batch_3"]["ids"] >= 0).any()


def test_json_examples():
    def build():
        text = v1.placeholder(tf.string, [None])
        serialized = tf.io.decode_json_example(text)
        parsed = tf.io.parse_example(serialized, {"color": tf.io.FixedLenFeature([2], tf.string)})
        return {"text": text}, {"ids": index_table().lookup(parsed["color"])}

    assert (run_graph(build).outputs["batch_3"]["ids"] >= 0).any()
    assert len(WORDS) == 4
