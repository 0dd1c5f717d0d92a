"""Small graphs in the manner of whole models that people keep."""

import numpy as np
import pytest
import tensorflow as tf

from .harness import run_graph, v1
from .test_values import index_table, weights


def test_transformer_encoder():
    def build():
        ids = v1.placeholder(tf.int32, [None, None])
        mask = v1.placeholder(tf.int32, [None, None])
        segments = v1.placeholder(tf.int32, [None, None])
        batch, length = tf.unstack(tf.shape(ids))
        x = tf.gather(weights(30, 8), ids)
        hot = tf.one_hot(tf.reshape(segments, [-1]), 2)
        x += tf.reshape(tf.matmul(hot, weights(2, 8)), tf.stack([batch, length, 8]))
        with tf.control_dependencies([v1.assert_less_equal(length, 3)]):
            positions = tf.slice(weights(3, 8), [0, 0], tf.stack([length, -1]))
        x += positions[None]
        flat = tf.reshape(x, [-1, 8])

        def split_heads(kernel):
            heads = tf.reshape(tf.matmul(flat, kernel), tf.stack([batch, length, 2, 4]))
            return tf.transpose(heads, [0, 2, 1, 3])

        q, k = split_heads(weights(8, 8)), split_heads(weights(8, 8))
        scores = tf.matmul(q, k, transpose_b=True)
        scores += (1.0 - tf.cast(mask[:, None, None, :], tf.float32)) * -1e4
        return {"ids": ids, "mask": mask, "segments": segments}, {"y": tf.nn.softmax(scores)}

    inputs = run_graph(build).cases["batch_3"].inputs
    assert inputs["ids"].shape == inputs["mask"].shape == inputs["segments"].shape
    assert inputs["ids"].shape[1] <= 3 and inputs["segments"].max() < 2


def test_detector_of_any_size():
    def build():
        image = v1.placeholder(tf.uint8, [1, None, None, 3])
        floats = tf.map_fn(lambda x: tf.image.resize(x, [24, 24]), tf.cast(image, tf.float32), dtype=tf.float32)
        features = tf.nn.conv2d(floats / 255.0, weights(3, 3, 3, 4), 4, "SAME")
        boxes = tf.reshape(features, [-1, 4])
        keep = tf.image.non_max_suppression(boxes, boxes[:, 0], 5)
        return {"image": image}, {"boxes": tf.gather(boxes, keep)}

    image = run_graph(build).cases["batch_3"].inputs["image"]
    assert image.shape[0] == 1 and min(image.shape[1:3]) >= 8 and image.max() > 1


def test_text_convolution_wider_than_the_default_length():
    def build():
        ids = v1.placeholder(tf.int64, [None, None])
        x = tf.gather(weights(20, 6), ids)[..., None]
        y = tf.nn.conv2d(x, weights(7, 6, 1, 3), 1, "VALID")
        return {"ids": ids}, {"y": tf.reduce_max(y, axis=[1, 2])}

    assert run_graph(build).cases["batch_3"].inputs["ids"].shape[1] >= 7


def test_generator_of_images():
    def build():
        z = v1.placeholder(tf.float32, None)
        x = tf.reshape(tf.nn.relu(tf.matmul(z, weights(5, 7 * 7 * 4)) + 1.0), [-1, 7, 7, 4])
        shape = tf.stack([tf.shape(x)[0], 14, 14, 1])
        return {"z": z}, {"image": tf.nn.conv2d_transpose(x, weights(3, 3, 1, 4), shape, 2, "SAME")}

    assert run_graph(build).outputs["batch_3"]["image"].shape == (3, 14, 14, 1)


def test_last_relevant_step():
    def build():
        x = v1.placeholder(tf.float32, [None, None, 4])
        lengths = v1.placeholder(tf.int32, [None])
        rows = tf.stack([tf.range(tf.shape(x)[0]), lengths - 1], axis=1)
        return {"x": x, "lengths": lengths}, {"last": tf.gather_nd(x, rows)}

    inputs = run_graph(build).cases["batch_3"].inputs
    assert inputs["lengths"].min() >= 1 and inputs["lengths"].max() <= inputs["x"].shape[1]


def test_reversed_sequences():
    def build():
        x = v1.placeholder(tf.float32, [None, None, 2])
        lengths = v1.placeholder(tf.int64, [None])
        return {"x": x, "lengths": lengths}, {"y": tf.reverse_sequence(x, lengths, 1)}

    run_graph(build, batch_sizes=(1, 8))


def test_loss_of_unknown_shapes():
    def build():
        logits = v1.placeholder(tf.float32, None)
        labels = v1.placeholder(tf.int64, None)
        loss = v1.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=tf.matmul(logits, weights(3, 4)))
        return {"logits": logits, "labels": labels}, {"loss": loss}

    outputs = run_graph(build, batch_sizes=(1, 20))
    assert np.isfinite(outputs.outputs["batch_20"]["loss"]).all()


def test_batch_normalisation_of_unknown_shape():
    def build():
        x = v1.placeholder(tf.float32, None)
        y, *_ = v1.nn.fused_batch_norm(x, tf.ones([6]), tf.zeros([6]), tf.zeros([6]), tf.ones([6]), is_training=False)
        return {"x": x}, {"y": y}

    assert run_graph(build).cases["batch_3"].inputs["x"].shape[3] == 6


@pytest.mark.parametrize("v2", [True, False])
def test_encoded_image_in_an_example(v2):
    def build():
        serialized = v1.placeholder(tf.string, None)
        parsed = v1.io.parse_example(serialized, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})

        def decode(data):
            image = tf.image.resize(tf.io.decode_jpeg(data, channels=3), [8, 8])
            image.set_shape([8, 8, 3])
            return image

        images = tf.map_fn(decode, parsed["image/encoded"], dtype=tf.float32)
        return {"examples": serialized}, {"y": tf.nn.conv2d(images, weights(3, 3, 3, 2), 2, "SAME")}

    (v1.enable_control_flow_v2 if v2 else v1.disable_control_flow_v2)()
    assert run_graph(build).outputs["batch_3"]["y"].shape == (3, 4, 4, 2)


def test_cropped_image_needs_room():
    def build():
        data = v1.placeholder(tf.string, [])
        image = tf.image.crop_to_bounding_box(tf.io.decode_png(data, channels=1), 10, 10, 60, 40)
        return {"data": data}, {"y": image}

    assert run_graph(build).outputs["batch_1"]["y"].shape == (60, 40, 1)


def test_two_towers():
    def build():
        user, item = v1.placeholder(tf.float32, None), v1.placeholder(tf.float32, None)
        a, b = tf.matmul(user, weights(4, 3)), tf.matmul(item, weights(5, 3))
        return {"user": user, "item": item}, {"score": tf.reduce_sum(a * b, 1)}

    inputs = run_graph(build).cases["batch_3"].inputs
    assert inputs["user"].shape == (3, 4) and inputs["item"].shape == (3, 5)


def test_loop_as_often_as_an_input_says():
    def build():
        x = v1.placeholder(tf.float32, [None, 2])
        count = v1.placeholder(tf.int32, [])
        _, y = tf.while_loop(lambda i, _: i < count, lambda i, y: (i + 1, tf.matmul(y, weights(2, 2))), (0, x))
        return {"x": x, "count": count}, {"y": y}

    assert 1 <= run_graph(build).cases["batch_1"].inputs["count"] < 10


def test_characters_and_lines():
    def build():
        text = v1.placeholder(tf.string, [None])
        line = v1.placeholder(tf.string, [None])
        codes = tf.strings.unicode_decode(text, "UTF-8").to_tensor()
        fields = tf.io.decode_csv(line, [[""], [0.0], [0]], field_delim="|")
        ids = index_table(default=0).lookup(tf.strings.regex_replace(tf.strings.strip(fields[0]), "_", " "))
        return {"text": text, "line": line}, {
            "codes": codes,
            "ids": tf.gather(weights(4, 2), ids),
            "n": fields[2],
        }

    run_graph(build)


def test_pooling_to_a_dense_layer_with_unequal_sides():
    def build():
        x = v1.placeholder(tf.float32, [None, None, None, 1])
        y = tf.nn.avg_pool2d(x, 2, 2, "VALID")
        return {"x": x}, {"y": tf.matmul(tf.reshape(y, [-1, 5 * 9]), weights(45, 1))}

    run = run_graph(build)
    assert run.outputs["batch_3"]["y"].shape == (3, 1)


def test_sparse_labels_and_hashed_features():
    def build():
        examples = v1.placeholder(tf.string, [None])
        parsed = tf.io.parse_example(
            examples,
            {
                "words": tf.io.VarLenFeature(tf.string),
                "weights": tf.io.VarLenFeature(tf.float32),
                "indices": tf.io.SparseFeature(["row"], "value", tf.float32, [6]),
            },
        )
        hashed = tf.strings.to_hash_bucket_fast(parsed["words"].values, 10)
        ids = tf.SparseTensor(parsed["words"].indices, hashed, parsed["words"].dense_shape)
        pooled = v1.nn.safe_embedding_lookup_sparse([weights(10, 3)], ids, parsed["weights"], combiner="mean")
        wide = tf.sparse.sparse_dense_matmul(parsed["indices"], weights(6, 3))
        return {"examples": examples}, {"y": pooled + wide}

    assert run_graph(build).outputs["batch_3"]["y"].shape == (3, 3)


def test_class_scores_and_names():
    def build():
        x = v1.placeholder(tf.float32, [None, None])
        scores = tf.nn.softmax(tf.matmul(x, weights(4, 3)))
        values, places = tf.nn.top_k(scores, 2)
        names = tf.gather(tf.constant(["a", "b", "c"]), places)
        return {"x": x}, {"scores": values, "names": names}

    run_graph(build)
