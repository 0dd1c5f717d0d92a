"""Calls of library functions are replaced by their bodies, functional control flow with handles is raised anew."""

import random

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import function

from migrate.graph import index as graph_index
from migrate.graph import inlining, prepare, subgraph

v1 = tf.compat.v1


def cut_out(graph_def, fetches, feeds=()):
    index = graph_index.GraphIndex(graph_def)
    return subgraph.extract_subgraph(index, feeds=feeds, fetches=fetches)


def run_graph(graph_def, fetches, feeds=None):
    with v1.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(graph_def, name="")
        variables = [op.name for op in v1.get_default_graph().get_operations() if op.type == "AssignVariableOp"]
        session.run([name for name in variables if name.startswith("initialise")])
        return session.run(fetches, feeds or {})


def find_ops(graph_def):
    return {node.op for node in graph_def.node}


def inline(graph_def, fetches, *, lower=True):
    flat, lowered = inlining.inline_functions(cut_out(graph_def, fetches), lower=lower)
    return flat, lowered


def test_nested_calls():
    with v1.Graph().as_default() as graph:

        @function.Defun(tf.float32, tf.float32)
        def inner(x, y):
            return x * y, x + 1.0

        @function.Defun(tf.float32)
        def outer(x):
            product, more = inner(x, 3.0 + x)
            return more, product, x

        results = outer(tf.constant([1.0, 2.0]))
        for position, result in enumerate(results):
            tf.identity(result, name=f"y{position}")
    fetches = ["y0:0", "y1:0", "y2:0", f"{results[1].op.name}:1"]
    flat, lowered = inline(graph.as_graph_def(), fetches)
    assert not lowered
    assert not {"inner", "outer"} & {op.split("_")[0] for op in find_ops(flat.graph_def)}
    for name in fetches:
        np.testing.assert_array_equal(
            run_graph(flat.graph_def, flat.fetches[name]), run_graph(graph.as_graph_def(), name)
        )


def test_attributes_of_the_call():
    """A library function may be generic: "$T" in its body is the caller's T."""
    with v1.Graph().as_default() as graph:

        @function.Defun(tf.float32)
        def double(x):
            return x + x

        double(tf.constant([1.0, 2.5]))
    graph_def = graph.as_graph_def()
    generic = graph_def.library.function[0]
    for arg in (*generic.signature.input_arg, *generic.signature.output_arg):
        arg.type, arg.type_attr = 0, "T"
    generic.signature.attr.add(name="T", type="type")
    for node in generic.node_def:
        node.attr["T"].Clear()
        node.attr["T"].placeholder = "T"
    call = next(node for node in graph_def.node if node.op == generic.signature.name)
    call.attr["T"].type = tf.float32.as_datatype_enum
    flat, _ = inline(graph_def, [f"{call.name}:0"])
    flat.graph_def.ClearField("library")  # the Python importer takes no generic function
    np.testing.assert_array_equal(run_graph(flat.graph_def, flat.fetches[f"{call.name}:0"]), [2.0, 5.0])


def test_effects_are_not_lost():
    """A call runs all that its body does, whichever of its results is used, after what it waits for."""
    with v1.Graph().as_default() as graph:
        count = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name="count", name="count")
        tf.raw_ops.AssignVariableOp(resource=count, value=tf.constant(1.0), name="initialise")

        @function.Defun(tf.resource, tf.float32)
        def bump(handle, x):
            with tf.control_dependencies([tf.raw_ops.AssignAddVariableOp(resource=handle, value=tf.constant(10.0))]):
                after = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
            return x * 2.0, after

        twice = tf.raw_ops.AssignVariableOp(resource=count, value=tf.constant(5.0), name="set")
        with tf.control_dependencies([twice]):
            doubled, _ = bump(count, tf.constant(4.0))
        with tf.control_dependencies([doubled]):
            tf.raw_ops.ReadVariableOp(resource=count, dtype=tf.float32, name="last")
    graph_def = graph.as_graph_def()
    flat, _ = inline(graph_def, ["last:0", "^initialise"])
    assert run_graph(graph_def, "last:0") == run_graph(flat.graph_def, "last:0") == 15.0


def test_call_as_a_target():
    """A call that is run for its effect only, as init ops are."""
    with v1.Graph().as_default() as graph:
        count = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name="target", name="target")
        tf.raw_ops.AssignVariableOp(resource=count, value=tf.constant(1.0), name="initialise")

        @function.Defun(tf.resource)
        def bump(handle):
            tf.raw_ops.AssignAddVariableOp(resource=handle, value=tf.constant(10.0))

        call = bump(count)
        tf.raw_ops.ReadVariableOp(resource=count, dtype=tf.float32, name="last")
    flat, _ = inline(graph.as_graph_def(), [f"^{call.name}", "last:0", "^initialise"])
    target = flat.fetches[f"^{call.name}"].removeprefix("^")
    with v1.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(flat.graph_def, name="")
        session.run("initialise")
        session.run(target)
        assert session.run("last:0") == 11.0


def test_makers_of_resources_stay():
    """A call that makes a table stands for the table: TF1 graphs around TF2 feature layers have such."""
    with v1.Graph().as_default() as graph:

        @function.Defun()
        def create():
            return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64, shared_name="made")

        handle = create()
        tf.raw_ops.LookupTableSizeV2(table_handle=handle, name="size")
    flat, _ = inline(graph.as_graph_def(), ["size:0"])
    assert handle.op.type in find_ops(flat.graph_def)


def test_recursion_stays():
    with v1.Graph().as_default() as graph:

        @function.Defun(tf.float32, func_name="again")
        def again(x):
            return x + 1.0

        again(tf.constant(1.0))
    graph_def = graph.as_graph_def()
    body = graph_def.library.function[0].node_def.add(name="more", op="again", input=["x"])
    assert body.name == "more"
    flat, _ = inline(graph_def, ["again:0"])
    calls = [node for node in flat.graph_def.node if node.op == "again"]
    assert [node.name for node in calls] == ["again/more"]


def make_program(seed):
    """A random nest of functional loops and branches that read a variable, as a GraphDef of TF's own making."""
    draw = random.Random(seed)

    def build(value, kernel, depth):
        form = draw.choice(["if", "while", "math", "math"]) if depth else "math"
        scale = draw.choice([0.5, -1.5, 2.0])
        if form == "math":
            return tf.tanh(value * scale) + (kernel.read_value() if draw.random() < 0.7 else 1.0)
        if form == "if":
            limit = draw.choice([-1.0, 0.0, 3.0])
            return tf.cond(
                tf.reduce_sum(value) > limit,
                lambda: build(value, kernel, depth - 1),
                lambda: build(value + scale, kernel, depth - 1),
            )
        rounds = draw.choice([0, 1, 3])
        return tf.while_loop(
            lambda i, _: i < rounds,
            lambda i, x: (i + 1, build(x, kernel, depth - 1)),
            [tf.constant(0), build(value, kernel, depth - 1)],
        )[1]

    kernel = tf.Variable([0.3, -0.7], name="kernel")

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32)], autograph=False)
    def program(x):
        state = random.Random(seed)
        draw.setstate(state.getstate())
        return build(x, kernel, 3) * kernel

    concrete = program.get_concrete_function()
    graph_def = concrete.graph.as_graph_def()
    handle = next(node for node in graph_def.node if node.op == "Placeholder" and node.attr["dtype"].type == 20)
    handle.op = "VarHandleOp"
    handle.attr.clear()
    handle.attr["dtype"].type = 1
    handle.attr["shape"].shape.dim.add(size=2)
    handle.attr["shared_name"].s = b"kernel"
    value = graph_def.node.add(name="initial", op="Const")
    value.attr["dtype"].type = 1
    value.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([0.3, -0.7], tf.float32))
    write = graph_def.node.add(name="initialise", op="AssignVariableOp", input=[handle.name, "initial"])
    write.attr["dtype"].type = 1
    return graph_def, concrete.inputs[0].name, concrete.outputs[0].name


@pytest.mark.parametrize("seed", range(16))
def test_random_programs(seed):
    """Taken apart and raised again, a functional program gives the same values, and no loop takes a handle."""
    graph_def, x, y = make_program(seed)
    flat, lowered = inline(graph_def, [y, x, "^initialise"])
    feed = {x: [0.4, -0.2]}
    expected = run_graph(graph_def, y, feed)
    np.testing.assert_allclose(run_graph(flat.graph_def, flat.fetches[y], feed), expected, rtol=1e-6)
    prepared = prepare.prepare_graph(
        graph_index.GraphIndex(graph_def),
        feeds=[subgraph.Feed(tensor=x, dtype="float32", shape=(2,))],
        fetches=[y],
    )
    assert not prepared.findings
    raised = prepared.subgraph
    index = graph_index.GraphIndex(raised.graph_def)
    loops = [node for node in raised.graph_def.node if node.op in ("While", "StatelessWhile")]
    assert not any(index.dtype(text) == "resource" for node in loops for text in node.input)
    assert lowered == any(
        node.op in ("If", "While", "StatelessIf", "StatelessWhile")
        and "resource" in [graph_index.GraphIndex(graph_def).dtype(text) for text in node.input]
        for node in graph_def.node
    )
    with v1.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(raised.graph_def, name="")
        handles = [op for op in v1.get_default_graph().get_operations() if op.type == "VarHandleOp"]
        session.run([tf.raw_ops.AssignVariableOp(resource=op.outputs[0], value=[0.3, -0.7]) for op in handles])
        got = session.run(raised.fetches[y], {raised.feeds[x]: [0.4, -0.2]})
    np.testing.assert_allclose(got, expected, rtol=1e-6)
