"""Unknown dimensions and ranks come from what the inputs flow into."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from .harness import run_graph, v1


def weights(*shape):
    return v1.get_variable(f"w{len(v1.global_variables())}", shape, initializer=v1.glorot_uniform_initializer())


def test_unknown_rank_and_columns_from_kernel():
    def build():
        x = v1.placeholder(tf.float32, None)
        return {"x": x}, {"y": tf.matmul(tf.identity(x) * 2.0, weights(7, 4))}

    run = run_graph(build)
    assert run.cases["batch_1"].inputs["x"].shape == (1, 7)
    assert run.cases["batch_3"].inputs["x"].shape == (3, 7)


def test_resource_variable_kernel_and_expand_dims():
    def build():
        x = v1.placeholder(tf.float32, None)
        kernel = v1.get_variable("k", [3, 3, 2, 5], use_resource=True)
        return {"x": x}, {"y": tf.nn.conv2d(tf.expand_dims(x, -1) + tf.zeros([1, 1, 1, 2]), kernel, 1, "SAME")}

    run = run_graph(build)
    assert run.cases["batch_3"].inputs["x"].ndim == 3


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_image_size_from_the_dense_layer_behind_convolutions(padding):
    def build():
        image = v1.placeholder(tf.float32, [None, None, None, 3])
        x = tf.nn.relu(tf.nn.conv2d(image, weights(5, 5, 3, 8), 2, padding))
        x = tf.nn.max_pool2d(x, 2, 2, padding)
        x = tf.reshape(x, [-1, 6 * 6 * 8])
        return {"image": image}, {"y": tf.matmul(x, weights(6 * 6 * 8, 2))}

    run = run_graph(build)
    shape = run.cases["batch_3"].inputs["image"].shape
    assert shape[0] == 3 and run.outputs["batch_3"]["y"].shape == (3, 2)
    values = run.cases["batch_1"].inputs["image"]
    assert values.min() >= 0 and values.max() <= 1


def test_cube_through_three_convolutions():
    def build():
        x = v1.placeholder(tf.float32, [None, None, None, None, 1])
        y = tf.nn.conv3d(x, weights(3, 3, 3, 1, 2), [1] * 5, "VALID")
        return {"x": x}, {"y": tf.reshape(y, [-1, 10, 10, 10, 2])}

    assert run_graph(build).cases["batch_3"].inputs["x"].shape == (3, 12, 12, 12, 1)


def test_flat_pixels_reshaped_to_an_image():
    def build():
        x = v1.placeholder(tf.float32, [None, None])
        image = tf.reshape(x, [-1, 28, 28, 1])
        return {"x": x}, {"y": tf.nn.conv2d(image, weights(3, 3, 1, 2), 1, "SAME")}

    assert run_graph(build).cases["batch_3"].inputs["x"].shape == (3, 784)


def test_tensordot_over_time_steps():
    def build():
        x = v1.placeholder(tf.float32, [None, None, None])
        return {"x": x}, {"y": tf.tensordot(x, weights(6, 2), 1)}

    assert run_graph(build).cases["batch_3"].inputs["x"].shape[2] == 6


def test_equal_dimensions_of_joined_inputs():
    def build():
        a = v1.placeholder(tf.float32, [None, None])
        b = v1.placeholder(tf.float32, [None, None])
        c = v1.placeholder(tf.float32, [None, 2])
        joined = tf.concat([a * b, c], 1)
        return {"a": a, "b": b, "c": c}, {"y": tf.matmul(joined, weights(9, 2))}

    run = run_graph(build)
    assert run.cases["batch_3"].inputs["a"].shape == run.cases["batch_3"].inputs["b"].shape == (3, 7)


def test_dynamic_rnn_lengths_and_state():
    def build():
        x = v1.placeholder(tf.float32, [None, None, None])
        lengths = v1.placeholder(tf.int32, [None])
        kernel, bias = weights(5 + 4, 4), weights(4)

        def step(state, inputs):
            return tf.tanh(tf.matmul(tf.concat([inputs, state], 1), kernel) + bias)

        time_major = tf.transpose(x, [1, 0, 2])
        states = tf.scan(step, time_major, initializer=tf.zeros([tf.shape(x)[0], 4]))
        mask = tf.sequence_mask(lengths, dtype=tf.float32)
        return {"x": x, "lengths": lengths}, {"y": tf.transpose(states, [1, 0, 2]) * mask[:, :, None]}

    for enabled in (True, False):
        (v1.enable_control_flow_v2 if enabled else v1.disable_control_flow_v2)()
        run = run_graph(build)
        inputs = run.cases["batch_3"].inputs
        assert inputs["x"].shape[2] == 5
        assert inputs["lengths"].max() == inputs["x"].shape[1]


def test_shape_and_size_inputs():
    def build():
        x = v1.placeholder(tf.float32, [None, 12])
        shape = v1.placeholder(tf.int32, [3])
        k = v1.placeholder(tf.int32, [])
        grid = tf.reshape(x, shape)
        return {"x": x, "shape": shape, "k": k}, {"grid": grid, "top": tf.nn.top_k(x, k).values}

    run = run_graph(build)
    for case in run.cases.values():
        assert case.inputs["shape"].prod() == case.inputs["x"].size
        assert 1 <= case.inputs["k"] <= 12


def test_batch_size_as_an_input():
    def build():
        x = v1.placeholder(tf.float32, [None, 4])
        batch = v1.placeholder(tf.int32, [])
        return {"x": x, "batch": batch}, {"y": tf.reshape(x, tf.stack([batch, 2, 2]))}

    run = run_graph(build)
    assert run.cases["batch_3"].inputs["batch"] == 3 and run.cases["batch_1"].inputs["batch"] == 1


def test_asserted_shapes():
    def build():
        a = v1.placeholder(tf.float32, [None, None])
        b = v1.placeholder(tf.float32, [None, None])
        with tf.control_dependencies([v1.assert_equal(tf.shape(a)[1], tf.shape(b)[0] * 2)]):
            y = tf.reduce_sum(a) + tf.reduce_sum(b)
        return {"a": a, "b": b}, {"y": y}

    run_graph(build)


def test_known_shapes_are_kept_and_an_empty_batch_is_made_on_request():
    def build():
        x = v1.placeholder(tf.float32, [2, 5])
        z = v1.placeholder(tf.float32, [None, 5])
        return {"x": x, "z": z}, {"y": tf.reduce_sum(x) + z}

    run = run_graph(build, batch_sizes=(0, 4))
    assert run.cases["batch_4"].inputs["x"].shape == (2, 5)
    assert run.cases["batch_0"].inputs["z"].shape == (0, 5) and run.cases["batch_4"].inputs["z"].shape == (
        4,
        5,
    )


def test_einsum_split_and_unstack():
    def build():
        q = v1.placeholder(tf.float32, [None, None, None])
        parts = tf.split(q, 3, axis=2)
        first, *_ = tf.unstack(parts[0], 4, axis=1)
        kernel = weights(5, 2)
        return {"q": q}, {"y": tf.einsum("bi,ij->bj", first, kernel)}

    assert run_graph(build).cases["batch_3"].inputs["q"].shape == (3, 4, 15)


def test_intermediate_tensor_as_an_input():
    def build():
        x = v1.placeholder(tf.string, [None])
        hidden = tf.identity(tf.io.decode_raw(x, tf.float32), name="hidden")
        return {"hidden": hidden}, {"y": tf.matmul(hidden, weights(3, 2))}

    assert run_graph(build).cases["batch_3"].inputs["hidden"].shape == (3, 3)


def test_same_arguments_same_cases_other_seed_other_values():
    def build():
        x = v1.placeholder(tf.float32, [None, 4])
        return {"x": x}, {"y": x + 1}

    one, same, other = (run_graph(build, seed=seed).cases["batch_3"].inputs["x"] for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert len(np.unique(one)) == one.size


def test_import_loads_no_tensorflow():
    code = "import sys, migrate.inputs.synthesis, migrate.arrays; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
