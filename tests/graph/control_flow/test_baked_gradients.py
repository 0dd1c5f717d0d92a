"""Gradients that tf.gradients wrote into a training graph: gradient arrays and stacks become lists.

TF1 has no gradients of these gradients; the raised graph has, and eager TF2 tells what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from .harness import Raised, compare, count_ops, list_control_flow, raise_legacy, run_legacy, v1

X = np.random.RandomState(0).randn(4, 3).astype(np.float32)
RESOURCES = ("TensorArrayV3", "TensorArrayGradV3", "TensorArrayReadV3", "StackV2", "StackPushV2", "StackPopV2")


def _repeat(n: Any, body: Callable[..., Any], *first: Any) -> Any:
    return v1.while_loop(lambda i, *_: i < n, lambda i, *v: (i + 1, *body(i, *v)), [0, *first])[1:]


def plain_loop(x: Any) -> Any:
    return _repeat(3, lambda i, v: [tf.sin(v * x)], x)


def loop_in_loop(x: Any) -> Any:
    return _repeat(3, lambda i, v: _repeat(2 + i, lambda j, w: [tf.sin(w) * x], v), x)


def cond_in_loop(x: Any) -> Any:
    return _repeat(4, lambda i, v: [v1.cond(v[0, 0] > 0.3, lambda: tf.sin(v) * x, lambda: v * v * x + 0.5)], x)


def loop_in_cond(x: Any) -> Any:
    return v1.cond(x[0, 0] > 0.0, lambda: _repeat(3, lambda i, v: [tf.sin(v * x)], x)[0], lambda: x * x)


def map_fn(x: Any) -> Any:
    return tf.map_fn(lambda row: tf.sin(row) * row, x)


def map_fn_in_map_fn(x: Any) -> Any:
    return tf.map_fn(lambda row: tf.map_fn(lambda v: tf.sin(v) * v, row), x)


def scan(x: Any) -> Any:
    return tf.scan(lambda a, b: tf.tanh(a * b + b), x)


def array_read_back(x: Any) -> Any:
    array = v1.TensorArray(tf.float32, 5, element_shape=[3], clear_after_read=False).write(0, x[0])
    return _repeat(4, lambda i, a: [a.write(i + 1, tf.sin(a.read(i)) * x[1])], array)[0].stack()


def array_of_unknown_shape(x: Any) -> Any:
    array = v1.TensorArray(tf.float32, 5, clear_after_read=False, infer_shape=False).write(0, x[0])

    def read(a: Any, i: Any) -> Any:
        value = a.read(i)
        value.set_shape([3])
        return value

    return read(_repeat(4, lambda i, a: [a.write(i + 1, tf.sin(read(a, i)) * x[1])], array)[0], 4)


def element_gathered_twice(x: Any) -> Any:
    return v1.TensorArray(tf.float32, 4, clear_after_read=False).unstack(x * x).gather([1, 3, 1, 1]) * x


def array_concatenated(x: Any) -> Any:
    array = v1.TensorArray(tf.float32, 3)
    return _repeat(3, lambda i, a: [a.write(i, tf.tile(x[i : i + 1] ** 2, [2, 1]))], array)[0].concat()


def array_split(x: Any) -> Any:
    return v1.TensorArray(tf.float32, 3, infer_shape=False).split(x * x, [1, 0, 3]).read(2)


def array_that_grows(x: Any) -> Any:
    array = v1.TensorArray(tf.float32, 0, dynamic_size=True, clear_after_read=False)
    (array,) = _repeat(5, lambda i, a: [a.write(i, x[0] * x[0] * tf.cast(i + 1, tf.float32))], array)
    return array.stack(), array.read(2)


def array_nobody_reads(x: Any) -> Any:
    inputs, outputs = v1.TensorArray(tf.float32, 4).unstack(x), v1.TensorArray(tf.float32, 3, element_shape=[3])
    return _repeat(3, lambda i, s, a: [tf.tanh(s + inputs.read(i)), a.write(i, s)], x[3], outputs)[0]


def array_in_cond(x: Any) -> Any:
    array = v1.TensorArray(tf.float32, 2, element_shape=[3]).write(0, x[0])
    return v1.cond(x[0, 0] > 0.0, lambda: array.write(1, x[1] ** 2), lambda: array.write(1, x[2] ** 3)).stack()


PROGRAMS = [
    plain_loop,
    loop_in_loop,
    cond_in_loop,
    loop_in_cond,
    map_fn,
    map_fn_in_map_fn,
    scan,
    array_read_back,
    array_of_unknown_shape,
    element_gathered_twice,
    array_concatenated,
    array_split,
    array_that_grows,
    array_nobody_reads,
    array_in_cond,
]
ASKS_FOR_SIGN = (cond_in_loop, loop_in_cond, array_in_cond)


def _differentiate_twice(program: Callable[..., Any], x: Any) -> Any:
    """Gradient of the sum of the program's results and of their gradient."""
    x = tf.constant(x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            total = tf.add_n([tf.reduce_sum(y) for y in tf.nest.flatten(program(x))])
        total += tf.reduce_sum(inner.gradient(total, x))
    return outer.gradient(total, x).numpy()


def _check(program: Callable[..., Any], x: Any, directory: Path | None = None) -> None:
    def build(x: Any) -> Any:
        results = tf.nest.flatten(program(x))
        return [*results, tf.gradients(results, x)[0]]

    legacy = run_legacy(build, x, gradients=False)
    graph_def, findings = raise_legacy(legacy)
    assert count_ops(legacy.graph_def, *RESOURCES) and not count_ops(graph_def, *RESOURCES)
    assert not findings and not list_control_flow(graph_def)
    module: Any = Raised(legacy, graph_def)
    if directory is not None:
        tf.saved_model.save(module, str(directory))
        module = tf.saved_model.load(str(directory))
    compare(legacy, module.f(x), None)
    with tf.GradientTape() as tape:
        value = tf.constant(x)
        tape.watch(value)
        total = tf.add_n([tf.reduce_sum(y) for y in module.f(value)])
    np.testing.assert_allclose(tape.gradient(total, value), _differentiate_twice(program, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_gradient_of_the_gradient(program: Callable[..., Any]) -> None:
    _check(program, X)


@pytest.mark.parametrize("program", ASKS_FOR_SIGN, ids=lambda program: program.__name__)
def test_the_other_branch(program: Callable[..., Any]) -> None:
    _check(program, -X)


def test_saved_and_loaded(tmp_path: Path) -> None:
    _check(map_fn, X, tmp_path)


def test_a_stack_with_two_pops_stays_with_a_finding() -> None:
    def build(x: Any) -> Any:
        y = plain_loop(x)
        return tf.gradients(y, x)[0]

    legacy = run_legacy(build, X, gradients=False)
    pop = next(node for node in legacy.graph_def.node if node.op == "StackPopV2")
    legacy.graph_def.node.add(name="second_pop", op="StackPopV2").MergeFrom(pop)
    legacy.graph_def.node[-1].name = "second_pop"
    graph_def, findings = raise_legacy(legacy)
    assert [finding.code for finding in findings] == ["stack-not-converted"]
    assert count_ops(graph_def, "StackV2") == 1 and not list_control_flow(graph_def)
