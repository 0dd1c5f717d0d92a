"""Enter, Exit, NextIteration and LoopCond become While."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from migrate.graph.control_flow import raise_control_flow

from .harness import (
    Raised,
    check,
    compare,
    control_flow_v1,
    count_ops,
    differentiate,
    list_control_flow,
    raise_legacy,
    run_legacy,
    v1,
)

X = np.array([0.5, -0.75, 0.25], np.float32)
SHAPES = pytest.mark.parametrize("add_shapes", [False, True], ids=["no shapes", "shapes"])


def _times(n: Any, step: Any, *start: Any, **options: Any) -> Any:
    return v1.while_loop(lambda i, *_: i < n, lambda i, *v: [i + 1, *step(i, *v)], [tf.constant(0), *start], **options)


@SHAPES
def test_while_loop(add_shapes: bool, tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        return _times(3, lambda i, v: [v * x], x)

    graph_def = check(build, X, directory=tmp_path, jit=True, add_shapes=add_shapes)
    assert count_ops(graph_def, "StatelessWhile") == 1


def test_no_iteration() -> None:
    check(lambda x, n: _times(n, lambda i, v: [v * x], x)[1], X, np.int32(0))


def test_variables_that_change_places() -> None:
    """An argument that is another variable's next value must not be taken for a loop invariant."""
    check(lambda x: _times(3, lambda i, a, b: [b, a * b], x, 2.0 * x)[1:], X)


def test_next_value_that_is_a_bare_variable() -> None:
    """As above, in a graph whose Identities an optimizer has removed."""
    legacy = run_legacy(lambda x: _times(3, lambda i, a, b: [b, a * b], x, 2.0 * x)[1:], X)
    by_name = {node.name: node for node in legacy.graph_def.node}
    for node in legacy.graph_def.node:
        if node.op == "NextIteration" and by_name[node.input[0]].op == "Identity":
            node.input[0] = by_name[node.input[0]].input[0]
    graph_def, findings = raise_legacy(legacy)
    assert not findings
    compare(legacy, *differentiate(Raised(legacy, graph_def).f, legacy, []))


def test_variable_that_never_changes() -> None:
    check(lambda x: _times(3, lambda i, a, b: [a, a * b], x, 2.0 * x)[1:], X)


@pytest.mark.parametrize("parallel", [1, 32])
def test_parallel_and_maximum_iterations(parallel: int) -> None:
    def build(x: Any) -> Any:
        result = _times(9, lambda i, v: [tf.sin(v) * x], x, parallel_iterations=parallel, maximum_iterations=4)
        return result[1] if isinstance(result, (list, tuple)) else result

    graph_def = check(build, X)
    (node,) = [node for node in graph_def.node if node.op == "StatelessWhile"]
    assert node.attr["parallel_iterations"].i == parallel


def test_trip_limit_reaches_the_op_so_that_xla_can_differentiate() -> None:
    legacy = run_legacy(lambda x: _times(4, lambda i, v: [tf.sin(v) * x], x), X, add_shapes=True)
    graph_def, _ = raise_legacy(legacy)
    module = Raised(legacy, graph_def)
    compiled = tf.function(lambda: differentiate(module.f, legacy, []), jit_compile=True)
    compare(legacy, *compiled())


@SHAPES
def test_shape_that_grows(add_shapes: bool) -> None:
    def build(x: Any) -> Any:
        invariants = [tf.TensorShape([]), tf.TensorShape([None])]
        return _times(3, lambda i, v: [tf.concat([v, x * 2.0], 0)], x, shape_invariants=invariants)[1]

    check(build, X, add_shapes=add_shapes)


@pytest.mark.slow
def test_nested_loops_and_conditionals(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        def outer(i: Any, v: Any) -> Any:
            inner = _times(i + 1, lambda j, w: [w * x + v], v)[1]
            return [
                v1.cond(
                    tf.reduce_sum(inner) > 0.0,
                    lambda: inner * 2.0,
                    lambda: _times(2, lambda j, w: [w - x], v)[1],
                )
            ]

        return v1.cond(x[0] > 0.0, lambda: _times(3, outer, x)[1], lambda: x)

    check(build, X, directory=tmp_path)
    check(build, -X)


def test_conditional_on_the_loop_counter() -> None:
    check(lambda x: _times(4, lambda i, v: [v1.cond(i > 1, lambda: v * x, lambda: tf.sin(v))], x)[1], X)


def test_data_dependent_test_with_a_conditional_in_it() -> None:
    def build(x: Any) -> Any:
        def go_on(i: Any, v: Any) -> Any:
            limit = v1.cond(v[0] > 0.0, lambda: tf.reduce_sum(v), lambda: v[1])
            return tf.logical_and(limit < 20.0, i < 5)

        return v1.while_loop(go_on, lambda i, v: (i + 1, v * 1.5 + x), [0, x])

    check(build, X)


def test_variables_and_assignment_in_the_body(tmp_path: Path) -> None:
    def read(x: Any) -> Any:
        w = v1.get_variable("w", initializer=X, use_resource=True)
        return _times(3, lambda i, v: [tf.tanh(v * w)], x)[1]

    def write(x: Any) -> Any:
        w = v1.get_variable("w", initializer=X, use_resource=True)

        def step(i: Any, v: Any) -> Any:
            with tf.control_dependencies([w.assign_add(v)]):
                return [v * 2.0]

        return _times(3, step, x)[1]

    check(read, X, directory=tmp_path)
    graph_def = check(write, X, stateful=True, gradients=False)
    assert count_ops(graph_def, "StatelessWhile") == 1


def test_embedding_lookup_in_the_body() -> None:
    def build(x: Any) -> Any:
        table = v1.get_variable("t", initializer=np.arange(12, dtype=np.float32).reshape(4, 3), use_resource=True)
        return _times(4, lambda i, v: [v + tf.gather(table, i) * x], x)[1]

    check(build, X)


def test_control_edges_across_the_border() -> None:
    def build(x: Any) -> Any:
        w = v1.get_variable("w", initializer=X, use_resource=True)
        with tf.control_dependencies([w.assign(2.0 * x)]):
            value = _times(2, lambda i, v: [v + w.read_value()], x)[1]
        with tf.control_dependencies([value]):
            return w.assign(x), value

    check(build, X, stateful=True, gradients=False)


def test_loops_that_share_a_frame_name() -> None:
    with control_flow_v1(), tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [3], name="x0")
        for k in range(2):
            tf.identity(_times(k + 2, lambda i, v: [v * x + 1.0], x, name=f"loop{k}")[1], name=f"y{k}")
    graph_def = graph.as_graph_def()
    for node in graph_def.node:
        if "frame_name" in node.attr:
            node.attr["frame_name"].s = b"one_name"
    result, findings = raise_control_flow(graph_def, keep=["x0", "y0", "y1"])
    assert not findings and not list_control_flow(result)
    assert count_ops(result, "StatelessWhile") == 2
    with tf.Graph().as_default(), v1.Session() as session:
        outputs = tf.import_graph_def(result, return_elements=["y0:0", "y1:0"], name="")
        got = session.run(outputs, {"x0:0": X})
    value = X
    for k in range(3):
        value = value * X + 1.0
        if k >= 1:
            np.testing.assert_allclose(got[k - 1], value, rtol=1e-5)


def test_gradients_baked_into_the_graph() -> None:
    """Stacks of the forward loop are popped by the backward loop; both become While ops."""

    def build(x: Any) -> Any:
        y = _times(3, lambda i, v: [tf.sin(v) * x], x)[1]
        return y, tf.gradients(y, x)[0]

    legacy = run_legacy(build, X, gradients=False)
    assert count_ops(legacy.graph_def, "StackPushV2")
    graph_def, findings = raise_legacy(legacy)
    assert not findings and not list_control_flow(graph_def)
    module = Raised(legacy, graph_def)
    for _ in range(2):
        compare(legacy, module.f(*legacy.feeds), None)


def test_fetch_of_an_exit_keeps_its_name() -> None:
    graph_def = check(
        lambda x: _times(2, lambda i, v: [v * x], x, name="loop")[1], X, keep=["loop/Exit_1", "loop/Exit"]
    )
    assert {"loop/Exit", "loop/Exit_1"} <= {node.name for node in graph_def.node}


def test_unused_variables_of_a_loop_disappear() -> None:
    graph_def = check(lambda x: _times(2, lambda i, v, w: [v * x, w + 1.0], x, x)[1], X)
    (node,) = [node for node in graph_def.node if node.op == "StatelessWhile"]
    assert len(node.attr["T"].list.type) == 5  # counter, limit, i, v, and x


def test_strange_frame_stays_with_a_finding() -> None:
    def build(x: Any) -> Any:
        entered = tf.raw_ops.Enter(data=x, frame_name="strange", is_constant=False)
        left = tf.raw_ops.Exit(data=tf.sin(entered), name="left")
        return left + _times(2, lambda i, v: [v * x], x)[1]

    legacy = run_legacy(build, X, gradients=False)
    graph_def, findings = raise_legacy(legacy)
    assert [finding.code for finding in findings] == ["control-flow-not-raised"]
    assert sorted(list_control_flow(graph_def)) == ["Enter", "left"]
    with tf.Graph().as_default(), v1.Session() as session:
        (y,) = tf.import_graph_def(graph_def, return_elements=["y0:0"], name="")
        np.testing.assert_allclose(session.run(y, {"x0:0": X}), legacy.outputs[0], rtol=1e-6)


def test_random_numbers_and_strings_in_the_body() -> None:
    def build(x: Any) -> Any:
        def step(i: Any, v: Any, s: Any) -> Any:
            kept = tf.nn.dropout(v, rate=0.0) + tf.random.uniform([3], 1.0, 1.0 + 1e-9)
            return [kept, tf.strings.join([s, tf.strings.as_string(i)])]

        return _times(3, step, x, tf.constant("s"))[1:]

    check(build, X)


def _step(w: Any, count: Any, value: Any, x: Any) -> Any:
    """Writes `count`, reads it again, and both weigh."""
    with tf.control_dependencies([count.assign_add(tf.reduce_mean(value))]):
        return tf.tanh(value * w) + x * count.read_value()


def _written(x: Any, w: Any, count: Any) -> Any:
    return _times(3, lambda i, v: [_step(w, count, v, x)], x)[1]


def _written_in_a_branch(x: Any, w: Any, count: Any) -> Any:
    return _times(
        3, lambda i, v: [v1.cond(v[0] > 0.0, lambda: _step(w, count, v, x), lambda: v * x + count.read_value())], x
    )[1]


def _written_in_a_loop_in_a_loop(x: Any, w: Any, count: Any) -> Any:
    return _times(2, lambda i, v: [_times(2 + i, lambda j, u: [_step(w, count, u, x)], v)[1]], x)[1]


def _written_in_a_loop_in_a_branch(x: Any, w: Any, count: Any) -> Any:
    return v1.cond(x[0] > -9.0, lambda: _written(x, w, count), lambda: x)


def _assigned_and_differentiated(x: Any, w: Any, count: Any) -> Any:
    """A read gives its gradient to the variable as it was, as in TF1; integer variables have none."""
    steps = v1.get_variable("steps", initializer=np.int32(1), use_resource=True)

    def body(i: Any, v: Any) -> Any:
        with tf.control_dependencies([v]):
            value = v * w.read_value()
        with tf.control_dependencies([value]), tf.control_dependencies([w.assign(v * 0.3), steps.assign_sub(2)]):
            return [value * x + w.read_value()]

    return _times(3, body, x)[1]


def _written_again_after_the_loop(x: Any, w: Any, count: Any) -> Any:
    with tf.control_dependencies([count.assign_add(2.0)]):
        before = count.read_value()
    with tf.control_dependencies([before]):
        value = _written(x * before, w, count)
    with tf.control_dependencies([value]):
        after = count.read_value()
    with tf.control_dependencies([after]), tf.control_dependencies([count.assign(after * 2.0)]):
        return value + count.read_value()


@pytest.mark.parametrize(
    "program",
    [
        _written,
        pytest.param(_written_in_a_branch, marks=pytest.mark.slow),
        pytest.param(_written_in_a_loop_in_a_loop, marks=pytest.mark.slow),
        pytest.param(_written_in_a_loop_in_a_branch, marks=pytest.mark.slow),
        _assigned_and_differentiated,
        pytest.param(_written_again_after_the_loop, marks=pytest.mark.slow),
    ],
    ids=lambda program: program.__name__[1:],
)
def test_variable_that_a_loop_writes(program: Any, tmp_path: Path) -> None:
    """Values, gradients and what the variables hold then, before and after saving, eagerly and within a tf.function."""

    def build(x: Any) -> Any:
        w = v1.get_variable("w", initializer=X * 0.5, use_resource=True)
        return program(x, w, v1.get_variable("count", initializer=np.float32(0.5), use_resource=True))

    legacy = run_legacy(build, X)
    graph_def, findings = raise_legacy(legacy)
    assert not findings and not list_control_flow(graph_def)
    assert not count_ops(graph_def, "While") and count_ops(graph_def, "StatelessWhile")
    made = Raised(legacy, graph_def)
    tf.saved_model.save(made, str(tmp_path))
    for module in (made, tf.saved_model.load(str(tmp_path))):
        for wrap in (lambda call: call, tf.function):
            for variable, (_, value) in zip(module.weights, legacy.variables, strict=True):
                variable.assign(value)
            compare(legacy, *wrap(lambda module=module: differentiate(module.f, legacy, module.weights))())
            for variable, want in zip(module.weights, legacy.after, strict=True):
                np.testing.assert_allclose(variable.numpy(), want, rtol=1e-4)


def test_write_that_nothing_waits_for_does_not_start_to_run() -> None:
    def build(x: Any) -> Any:
        w = v1.get_variable("w", initializer=X, use_resource=True)

        def body(i: Any, v: Any) -> Any:
            w.assign_add(v)
            return [v * 2.0 + w.read_value()]

        return _times(3, body, x)[1]

    check(build, X, stateful=True, gradients=False)


def test_variable_that_a_loop_scatters_into_keeps_its_handle_with_a_finding() -> None:
    def build(x: Any) -> Any:
        w = v1.get_variable("w", initializer=X, use_resource=True)

        def body(i: Any, v: Any) -> Any:
            update = tf.raw_ops.ResourceScatterAdd(resource=w.handle, indices=i, updates=v[0])
            with tf.control_dependencies([update]):
                return [v * 2.0 + w.read_value()]

        return _times(2, body, x)[1]

    legacy = run_legacy(build, X, gradients=False)
    graph_def, findings = raise_legacy(legacy)
    assert [finding.code for finding in findings] == ["variable-written-in-loop"]
    module = Raised(legacy, graph_def)
    compare(legacy, module.f(X), None)
    np.testing.assert_allclose(module.weights[0].numpy(), legacy.after[0], rtol=1e-5)
