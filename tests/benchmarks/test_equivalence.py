"""Reasons for which a mutant computes the same are told from those for which it does not."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import equivalence, mutants
from tests.faults import planting


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """One function whose nodes matter or do not, for reasons of each kind."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")], autograph=False)
    def call(x):
        tf.tanh(x, name="dead")
        sized = tf.shape(tf.tanh(x, name="sized"))
        off = tf.constant(1.0, name="one") - tf.constant(1.0, name="other_one")
        silenced = tf.multiply(tf.tanh(x, name="silenced"), off)
        chosen = tf.where(tf.constant(False, name="never"), tf.tanh(x, name="untaken"), tf.tanh(x, name="taken"))
        # Two ends, so that no single change makes a loop without one.
        looped = tf.while_loop(
            lambda i, _: i < 3, lambda i, y: (i + 1, tf.tanh(y, name="turned")), (0, x), maximum_iterations=5
        )[1]
        branch = tf.cond(tf.reduce_sum(x) > 0, lambda: tf.tanh(x, name="branched"), lambda: x)
        kept = tf.add(tf.abs(x, name="kept"), tf.constant(0.0, name="nothing"), name="added")
        first = tf.cast(sized[0], tf.float32)
        known = tf.constant(False, name="known")
        other = tf.cond(known, lambda: tf.tanh(x, name="unbranched"), lambda: tf.sin(x, name="otherwise"))
        return kept + first + silenced + chosen + looped + branch + other

    return save(call, tmp_path_factory.mktemp("model") / "saved")


def save(call, folder):
    module = tf.Module()
    module.call = call
    tf.saved_model.save(module, str(folder), signatures=call)
    return str(folder)


def place_of(folder, name):
    return next(
        (f.signature.name, node.name)
        for f in planting.read_meta(folder).graph_def.library.function
        for node in f.node_def
        if node.name.rpartition("/")[2] == name
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dead", "dead"),
        ("sized", "shape"),
        ("silenced", "zero"),
        ("untaken", "untaken"),
        ("taken", ""),
        ("turned", ""),
        ("branched", ""),
        ("unbranched", "untaken"),
        ("otherwise", ""),
        ("kept", ""),
        ("one", ""),
    ],
)
def test_what_reaches_no_result(model, name, reason):
    assert equivalence.find_unused(model, *place_of(model, name)).partition(":")[0] == reason


def test_what_gives_the_same_value(model):
    function, node = place_of(model, "added")
    mutant = mutants.Mutant(kind="op", what="AddV2 -> Sub", function=function, node=node)
    assert equivalence.find_reason(model, mutant) == "same value: a zero is added or taken away"
    other = mutants.Mutant(kind="wiring", what="inputs of AddV2", function=function, node=node)
    assert equivalence.find_reason(model, other) == ""


def test_a_sum_of_one_number_is_its_mean(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")], autograph=False)
    def call(x):
        places = tf.where(tf.not_equal(x, 0))
        several = tf.reduce_sum(places, axis=1, name="several")
        return tf.reduce_sum(places[:, :1], axis=1, name="alone") + several

    folder = save(call, tmp_path / "saved")
    reasons = [
        equivalence.find_reason(folder, mutants.Mutant(kind="op", what="Sum -> Mean", function=function, node=node))
        for function, node in (place_of(folder, "alone"), place_of(folder, "several"))
    ]
    assert reasons == ["same value: along an axis of length 1", ""]


def test_constants_that_masks_leave_out_and_flags_that_half_as_many_bits_hold(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")], autograph=False)
    def call(x):
        begin, end = tf.constant(0, name="begin"), tf.constant(1, name="end")
        bounds = {"begin": tf.stack([begin]), "end": tf.stack([end]), "strides": [1]}
        first = tf.raw_ops.StridedSlice(input=x, **bounds, begin_mask=1)
        positive = tf.cast(x > 0, tf.float32)
        flags = tf.add(tf.zeros_like(x), positive, name="flags")
        return first + tf.add(x, positive, name="mixed") * flags

    folder = save(call, tmp_path / "saved")
    found = {}
    for name, kind in (("begin", "constant"), ("end", "constant"), ("flags", "dtype"), ("mixed", "dtype")):
        function, node = place_of(folder, name)
        mutant = mutants.Mutant(kind=kind, what="", function=function, node=node)
        found[name] = equivalence.find_reason(folder, mutant)
    assert found == {
        "begin": "same value: a slice that its masks decide",
        "end": "",
        "flags": "same value: small whole numbers, which half as many bits hold",
        "mixed": "",
    }


@pytest.mark.parametrize("kind", ["op", "constant", "dtype"])
def test_a_mutant_loads_and_is_another_model(model, tmp_path, kind):
    inputs = tf.constant(np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4))
    expected = tf.saved_model.load(model).call(inputs).numpy()
    for number, place in enumerate(place for place in mutants.find_places(model) if place.kind == kind):
        folder = str(tmp_path / str(number))
        shutil.copytree(model, folder)
        try:
            mutant = mutants.change_place(folder, place)
        except planting.NothingPlanted:
            continue
        if equivalence.find_reason(model, mutant):
            continue
        if not np.array_equal(expected, tf.saved_model.load(folder).call(inputs).numpy()):
            return
    raise AssertionError("no mutant of this kind shows")
