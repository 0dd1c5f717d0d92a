"""Reference variables become resource variables, and every value is read when TF1 would have read it.

Each program runs twice: as a TF1 graph, and converted; both must give the same, call after call.
"""

import numpy as np
import pytest
import tensorflow as tf
from legacy_graphs import build, cut, ops_of, reference_variable, run_converted, run_legacy, v1

from migrate import errors
from migrate.graph.control_flow import raise_control_flow
from migrate.graph.resource_variables import convert_reference_variables
from migrate.graph.write_order import order_writes

raw = tf.raw_ops


def assert_same(program, values, fetches, feeds=(), fed=None, times=3):
    index = build(program)
    before = index.graph_def.SerializeToString(deterministic=True)
    converted = convert_reference_variables(cut(index, fetches, feeds))
    assert not {"Variable", "VariableV2", "Assign", "AssignAdd"} & set(ops_of(converted.graph_def))
    expected = run_legacy(index, values, fed or {}, fetches, times)
    found = run_converted(converted, values, fed or {}, fetches, times)
    for call, (old, new) in enumerate(zip(expected, found, strict=True)):
        for name, a, b in zip(fetches, old, new, strict=True):
            if a is not None:
                np.testing.assert_array_equal(b, a, err_msg=f"call {call}: {name}")
    assert index.graph_def.SerializeToString(deterministic=True) == before, "the source changed"
    return converted


def test_read_only():
    """Where nothing writes, one read serves all uses."""

    def program():
        w = reference_variable("w", [2])
        raw.Mul(x=w, y=w, name="square")
        raw.Neg(x=w, name="negative")

    converted = assert_same(program, {"w": np.float32([2, 3])}, ["square:0", "negative:0"])
    assert ops_of(converted.graph_def).count("ReadVariableOp") == 1


def test_variable_fetched_itself():
    def program():
        reference_variable("w", [2])

    assert_same(program, {"w": np.float32([2, 3])}, ["w:0"])


def test_counter():
    def program():
        raw.AssignAdd(ref=reference_variable("n", [], tf.int64), value=tf.constant(1, tf.int64), name="next")

    assert_same(program, {"n": np.int64(5)}, ["next:0"])


def test_read_after_write():
    """A consumer behind a control edge on the write sees what was written."""

    def program():
        n = reference_variable("n", [])
        written = raw.Assign(ref=n, value=tf.constant(7.0), name="write")
        with tf.control_dependencies([written]):
            raw.Mul(x=n, y=tf.constant(2.0), name="late")

    assert_same(program, {"n": np.float32(1)}, ["late:0"])


def test_write_after_read():
    """A read that the write waits for sees the old value, on every call."""

    def program():
        n = reference_variable("n", [])
        early = raw.Mul(x=n, y=tf.constant(2.0), name="early")
        with tf.control_dependencies([early]):
            raw.AssignAdd(ref=n, value=tf.constant(1.0), name="write")

    assert_same(program, {"n": np.float32(1)}, ["early:0", "^write"])


def test_result_of_a_write_is_the_variable():
    """AssignAdd returns the reference: what stands behind it is ordered behind it."""

    def program():
        n = reference_variable("n", [2])
        added = raw.AssignAdd(ref=n, value=tf.constant([1.0, 10.0]), name="added")
        twice = raw.AssignAdd(ref=added, value=tf.constant([1.0, 1.0]), name="twice")
        raw.Mul(x=twice, y=twice, name="square")

    assert_same(program, {"n": np.float32([0, 0])}, ["square:0"])


def test_identity_shares_memory():
    """TF1's Identity does not copy: a read before an in-place add shows the sum at the end of the run."""

    def program():
        n = reference_variable("n", [])
        read = raw.Identity(input=n, name="read")
        with tf.control_dependencies([read]):
            raw.AssignAdd(ref=n, value=tf.constant(1.0), name="write")

    assert_same(program, {"n": np.float32(1)}, ["read:0", "^write"])


def test_scatter_and_gather():
    def program():
        table = reference_variable("table", [4, 2])
        ids = v1.placeholder(tf.int32, [None], name="ids")
        updated = raw.ScatterAdd(ref=table, indices=ids, updates=tf.ones([2, 2]), name="updated")
        raw.GatherV2(params=updated, indices=ids, axis=0, name="rows")

    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert_same(program, {"table": table}, ["rows:0"], [("ids:0", "int32", (None,))], {"ids:0": [1, 3]})


def test_optimizer_step():
    def program():
        w, slot = reference_variable("w", [2]), reference_variable("slot", [2])
        raw.ApplyMomentum(
            var=w, accum=slot, lr=tf.constant(0.5), grad=tf.constant([1.0, 2.0]), momentum=tf.constant(0.9), name="step"
        )

    assert_same(program, {"w": np.float32([1, 1]), "slot": np.float32([0, 1])}, ["step:0"])


def test_reference_control_flow():
    """RefSwitch and RefIdentity forward the reference, not a value."""

    def program():
        n = reference_variable("n", [])
        taken = raw.RefSwitch(data=n, pred=tf.constant(True), name="switch")
        same = raw.RefIdentity(input=taken.output_true, name="same")
        raw.AssignAdd(ref=same, value=tf.constant(2.0), name="added")

    assert_same(program, {"n": np.float32(1)}, ["added:0"])


def test_two_variables_do_not_mix():
    def program():
        a, b = reference_variable("a", []), reference_variable("b", [])
        moved = raw.Assign(ref=a, value=b, name="moved")
        with tf.control_dependencies([moved]):
            raw.AssignAdd(ref=b, value=tf.constant(1.0), name="grown")

    assert_same(program, {"a": np.float32(1), "b": np.float32(10)}, ["moved:0", "^grown"])


def test_resource_name_is_kept():
    def program():
        raw.VariableV2(shape=[], dtype=tf.float32, shared_name="ours", name="n")
        raw.VariableV2(shape=[], dtype=tf.float32, name="m")

    converted = convert_reference_variables(cut(build(program), ["n:0", "m:0"]))
    names = {node.name: node.attr["shared_name"].s for node in converted.graph_def.node if node.op == "VarHandleOp"}
    assert names == {"n": b"ours", "m": b"m"}


def test_graph_without_references_is_left_alone():
    def program():
        tf.constant(1.0, name="c")

    subgraph = cut(build(program), ["c:0"])
    assert convert_reference_variables(subgraph) is subgraph


def test_op_without_counterpart_is_blocked():
    """An op that writes through a reference and has no form for resources is named, before anything runs."""

    def program():
        n = reference_variable("n", [2])
        raw.ScatterNdMin(ref=n, indices=[[0]], updates=[1.0], name="fine")

    subgraph = cut(build(program), ["fine:0"])
    assert convert_reference_variables(subgraph)
    node = next(node for node in subgraph.graph_def.node if node.name == "fine")
    # A queue's handle is a reference too, and its ops have other names for resources.
    node.op = "QueueSize"
    del node.input[1:]
    node.ClearField("attr")
    with pytest.raises(errors.BlockedError, match="QueueSize"):
        convert_reference_variables(subgraph)


def test_order_writes_puts_reads_first():
    """A write that no edge orders runs after the reads of the same variable, and only after those."""

    def program():
        handle = raw.VarHandleOp(dtype=tf.float32, shape=[], shared_name="n", name="n")
        other = raw.VarHandleOp(dtype=tf.float32, shape=[], shared_name="m", name="m")
        raw.ReadVariableOp(resource=handle, dtype=tf.float32, name="read")
        raw.ReadVariableOp(resource=other, dtype=tf.float32, name="other_read")
        raw.AssignAddVariableOp(resource=handle, value=tf.constant(1.0), name="write")

    graph, raced = order_writes(build(program).graph_def)
    inputs = {node.name: list(node.input) for node in graph.node}
    assert "^read" in inputs["write"] and "^other_read" not in inputs["write"]
    assert raced == {"read"}, "nothing ordered the read: it was a race in TF1"


def test_order_writes_makes_no_circle():
    """A read that waits for the write stays behind it."""

    def program():
        handle = raw.VarHandleOp(dtype=tf.float32, shape=[], shared_name="n", name="n")
        write = raw.AssignAddVariableOp(resource=handle, value=tf.constant(1.0), name="write")
        with tf.control_dependencies([write]):
            raw.ReadVariableOp(resource=handle, dtype=tf.float32, name="late")

    graph, raced = order_writes(build(program).graph_def)
    inputs = {node.name: list(node.input) for node in graph.node}
    assert "^late" not in inputs["write"] and "^write" in inputs["late"]
    assert raced == frozenset()


def test_write_in_a_branch_waits_for_the_reads_outside() -> None:
    """The conditional as a whole waits, raised or not: what is in it cannot (its nodes may be dead)."""

    def program() -> None:
        predicate = v1.placeholder(tf.bool, [], name="predicate")
        handle = raw.VarHandleOp(dtype=tf.float32, shape=[], shared_name="n", name="n")
        raw.ReadVariableOp(resource=handle, dtype=tf.float32, name="read")
        untaken, taken = raw.Switch(data=handle, pred=predicate, name="switch")
        one = raw.Switch(data=tf.constant(1.0), pred=predicate, name="one")
        with tf.control_dependencies([raw.AssignAddVariableOp(resource=taken, value=one[1], name="write")]):
            then = tf.identity(one[1], name="then")
        other = raw.ReadVariableOp(resource=untaken, dtype=tf.float32, name="inner_read")
        raw.Merge(inputs=[other, then], name="merge")

    graph, raced = order_writes(build(program).graph_def)
    inputs = {node.name: list(node.input) for node in graph.node}
    assert "^read" in inputs["switch"] and raced == {"read"}
    raised, findings = raise_control_flow(graph, keep=("merge:0", "read:0"))
    assert not findings
    conditional = next(node for node in raised.node if node.op == "If")
    assert "^read" in conditional.input
