"""What people built from loops: recurrent networks, map_fn, scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests import sharing

from .harness import Raised, check, compare, count_ops, raise_legacy, run_legacy, v1

X = np.random.RandomState(0).randn(2, 5, 3).astype(np.float32)
LENGTHS = np.array([5, 2], np.int32)
cells = v1.nn.rnn_cell


def _in_scope(build: Any) -> Any:
    """Initial values that differ: constants would hide mixed-up weights."""

    def scoped(*inputs: Any) -> Any:
        initializer = v1.random_uniform_initializer(-0.5, 0.5, seed=3)
        with v1.variable_scope("net", initializer=initializer, use_resource=True):
            return build(*inputs)

    return scoped


CELLS = {
    "lstm": lambda: cells.LSTMCell(4),
    "lstm_peepholes_projection": lambda: cells.LSTMCell(4, use_peepholes=True, num_proj=3),
    "basic_lstm": lambda: cells.BasicLSTMCell(4),
    "gru": lambda: cells.GRUCell(4),
    "stacked": lambda: cells.MultiRNNCell([cells.LSTMCell(4), cells.GRUCell(3)]),
    "residual_dropout": lambda: cells.DropoutWrapper(cells.ResidualWrapper(cells.GRUCell(3)), input_keep_prob=1.0),
}


@pytest.mark.parametrize("name", sharing.mark_slow(CELLS, but=6))
def test_dynamic_rnn(name: str, tmp_path: Path) -> None:
    def build(x: Any, lengths: Any) -> Any:
        outputs, state = v1.nn.dynamic_rnn(CELLS[name](), x, sequence_length=lengths, dtype=tf.float32)
        return [outputs, *tf.nest.flatten(state)]

    directory = tmp_path if name in ("lstm", "gru") else None
    graph_def = check(_in_scope(build), X, LENGTHS, directory=directory, shapes=[[None, None, 3], [None]])
    assert count_ops(graph_def, "TensorListStack", "TensorListFromTensor")


def test_jit_compiled_lstm() -> None:
    def build(x: Any) -> Any:
        return v1.nn.dynamic_rnn(cells.LSTMCell(4), x, dtype=tf.float32)[0]

    check(_in_scope(build), X, jit=True, add_shapes=True)


@pytest.mark.slow  # by default, the catalogue has one
def test_bidirectional() -> None:
    def build(x: Any, lengths: Any) -> Any:
        both = v1.nn.bidirectional_dynamic_rnn(
            cells.LSTMCell(4), cells.GRUCell(4), x, sequence_length=lengths, dtype=tf.float32
        )
        return both[0]

    check(_in_scope(build), X, LENGTHS)


@pytest.mark.slow  # as above
def test_raw_rnn(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        cell = cells.GRUCell(4)
        inputs = v1.TensorArray(tf.float32, 5).unstack(tf.transpose(x, [1, 0, 2]))

        def step(time: Any, output: Any, state: Any, loop_state: Any) -> Any:
            state = cell.zero_state(2, tf.float32) if output is None else state
            done = time >= 5
            fed = v1.cond(done, lambda: tf.zeros([2, 3]), lambda: inputs.read(time))
            return tf.fill([2], done), fed, state, output, None

        outputs, state, _ = v1.nn.raw_rnn(cell, step)
        return outputs.stack(), state

    check(_in_scope(build), X, directory=tmp_path)


@pytest.mark.slow  # as above
def test_map_scan_and_fold(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        nested = tf.map_fn(lambda row: tf.map_fn(lambda v: v * tf.sin(v), row), x)
        return nested, tf.scan(lambda a, v: tf.tanh(a * v), x), tf.foldr(lambda a, v: tf.tanh(a + v), x)

    check(build, X, directory=tmp_path, shapes=[[None, 5, 3]])


def test_map_over_strings_and_images(tmp_path: Path) -> None:
    images = [tf.io.encode_png(np.full((2, 2, 3), value, np.uint8)).numpy() for value in (1, 200)]

    def build(words: Any, encoded: Any) -> Any:
        lengths = tf.map_fn(lambda w: tf.strings.length(tf.strings.join([w, "x"])), words, dtype=tf.int32)
        joined = tf.map_fn(lambda w: tf.strings.join([w, w]), words)
        pixels = tf.map_fn(lambda b: tf.cast(tf.io.decode_png(b, 3), tf.float32) / 255.0, encoded, dtype=tf.float32)
        return lengths, joined, pixels

    feeds = np.array([b"a", b"bcd"], object), np.array(images, object)
    check(build, *feeds, shapes=[[None], [None]], gradients=False, directory=tmp_path)


def test_dropout_in_a_loop_drops_as_often() -> None:
    def build(x: Any) -> Any:
        return v1.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, tf.nn.dropout(v, rate=0.5)), [0, x])[1]

    legacy = run_legacy(build, np.ones([100, 100], np.float32), gradients=False)
    graph_def, findings = raise_legacy(legacy)
    assert not findings
    (got,) = Raised(legacy, graph_def).f(legacy.feeds[0])
    assert abs(np.mean(got != 0) - 0.125) < 0.02
    assert set(np.unique(got)) == {0.0, 8.0}


def test_attention_decoder_with_embedding_feedback() -> None:
    def build(x: Any) -> Any:
        table = v1.get_variable("table", [7, 3])
        query = v1.get_variable("query", [4, 3])
        out = v1.get_variable("out", [7, 7])
        cell = cells.GRUCell(4)

        def body(time: Any, state: Any, token: Any, logits: Any) -> Any:
            scores = tf.einsum("bd,btd->bt", tf.matmul(state, query), x)
            context = tf.einsum("bt,btd->bd", tf.nn.softmax(scores), x)
            _, state = cell(tf.concat([context, tf.nn.embedding_lookup(table, token)], 1), state)
            step = tf.matmul(tf.concat([state, context], 1), out)
            return time + 1, state, tf.argmax(step, 1, output_type=tf.int32), logits.write(time, step)

        start = [tf.constant(0), tf.zeros([2, 4]), tf.zeros([2], tf.int32), v1.TensorArray(tf.float32, 4)]
        return v1.while_loop(lambda time, *_: time < 4, body, start)[3].stack()

    check(_in_scope(build), X)


def test_tflite_converts_an_lstm(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        return v1.nn.dynamic_rnn(cells.LSTMCell(4), x, dtype=tf.float32)[0]

    legacy = run_legacy(_in_scope(build), X, add_shapes=True)
    graph_def, _ = raise_legacy(legacy)
    module = Raised(legacy, graph_def)
    tf.saved_model.save(module, str(tmp_path))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path))
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    compare(legacy, [tf.constant(got)], None, rtol=1e-3)
