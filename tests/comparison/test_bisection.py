"""`--bisect` over planted faults: the op that was changed is the op that is named."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import migrate
from tests import sharing

from ..conftest import ROOT
from ..faults import planting
from .test_models import MODEL, rewrite

v1, raw = tf.compat.v1, tf.raw_ops
RNG = np.random.default_rng(11)
KERNEL = RNG.normal(size=(4, 4)).astype(np.float32)
FILTER = RNG.normal(size=(3, 3, 1, 2)).astype(np.float32)
ROWS = RNG.normal(size=(8, 3)).astype(np.float32)
VECTORS = tf.TensorSpec([None, 4], tf.float32)
IMAGES = tf.TensorSpec([None, 8, 8, 1], tf.float32)
IDS = tf.TensorSpec([None, 5], tf.int32)


def nudge(array, place, amount=1e-2):
    changed = array.copy()
    changed[place] += amount
    return changed


def layer(x, name, kernel=KERNEL, activation=tf.tanh):
    return activation(tf.matmul(x, kernel, name=f"{name}/MatMul"), name=f"{name}/Act")


def weight(x, bad):
    hidden = layer(x, "first")
    kernel = tf.constant(nudge(KERNEL, (2, 1)) if bad else KERNEL, name="second/kernel")
    return layer(tf.matmul(hidden, kernel, name="second/MatMul"), "third")


def swapped_op(x, bad):
    return layer(layer(layer(x, "a"), "b", activation=tf.sigmoid if bad else tf.tanh), "c")


def constant(x, bad):
    hidden = layer(x, "a")
    return layer(tf.multiply(hidden, tf.constant(0.5 if bad else 0.25, name="scale"), name="scaled"), "b")


def transposed(x, bad):
    hidden = tf.matmul(layer(x, "a"), KERNEL, transpose_b=bad, name="product")
    return tf.nn.relu(hidden, name="after")


def axis(x, bad):
    return tf.reduce_sum(layer(x, "a") * 2, name="sum", axis=tf.constant(0 if bad else 1, name="axis"))


def convolution(x, bad):
    kernel = tf.constant(nudge(FILTER, (1, 1, 0, 1)) if bad else FILTER, name="conv/filter")
    hidden = tf.nn.conv2d(x, kernel, 1, "SAME", name="conv/Conv2D")
    return tf.reduce_mean(tf.nn.relu(hidden, name="relu"), [1, 2], name="pool")


def pooling(x, bad):
    hidden = tf.nn.conv2d(x, FILTER, 1, "SAME", name="conv")
    pool = tf.nn.avg_pool2d if bad else tf.nn.max_pool2d
    return tf.reduce_mean(pool(hidden, 2, 2, "VALID", name="pool"), [1, 2], name="mean")


def embedding(x, bad):
    rows = tf.constant(ROWS[::-1].copy() if bad else ROWS, name="rows")
    return tf.reduce_mean(tf.gather(rows, x % 8, name="looked_up"), 1, name="mean")


def comparison(x, bad):
    compare = tf.less if bad else tf.greater
    return tf.where(compare(layer(x, "a"), 0.1, name="mask"), x, -x, name="chosen")


def taken_branch(x, bad):
    def then():
        hidden = tf.abs(x, name="inner/abs")
        return tf.multiply(tf.add(hidden, 2.0 if bad else 1.0, name="inner/add"), 3.0, name="inner/mul")

    return tf.negative(tf.cond(tf.rank(x) > 1, then, lambda: x), name="after")


def loop_body(x, bad):
    def body(i, value):
        hidden = tf.tanh(value, name="inner/tanh")
        step = tf.add if bad else tf.multiply
        return i + 1, tf.negative(step(hidden, 0.5, name="inner/step"), name="inner/negative")

    return tf.while_loop(lambda i, _: i < 4, body, (0, x))[1]


def later_iteration(x, bad):
    def body(i, value):
        factor = (tf.add if bad else tf.multiply)(i, i, name="inner/factor")  # 0 and 0, then 2 and 1
        return i + 1, tf.add(value / 2, tf.cast(factor, tf.float32) / 9, name="inner/sum")

    return tf.while_loop(lambda i, _: i < 5, body, (0, x))[1]


def called_function(x, bad):
    @tf.function(autograph=False)
    def inner(value):
        return tf.sqrt(tf.add(tf.abs(value), 2.0 if bad else 1.0, name="called/add"), name="called/sqrt")

    return tf.negative(inner(layer(x, "a")), name="after")


def loop_in_branch(x, bad):
    def then():
        def body(i, value):
            return i + 1, tf.math.subtract(value, 3.0 if bad else 1.0, name="deep/subtract")

        return tf.while_loop(lambda i, _: i < 2, body, (0, x))[1]

    return tf.cond(tf.rank(x) > 1, then, lambda: x)


# What is planted, what it takes, and the nodes of which one must be named: the changed one, or its changed argument.
FAULTS = {
    weight: (VECTORS, ("second/kernel", "second/MatMul")),
    swapped_op: (VECTORS, ("b/Act",)),
    constant: (VECTORS, ("scale", "scaled")),
    transposed: (VECTORS, ("product",)),
    axis: (VECTORS, ("axis", "sum")),
    convolution: (IMAGES, ("conv/filter", "conv/Conv2D")),
    pooling: (IMAGES, ("pool",)),
    embedding: (IDS, ("rows", "looked_up")),
    comparison: (VECTORS, ("mask",)),
    taken_branch: (VECTORS, ("inner/add/y", "inner/add")),
    loop_body: (VECTORS, ("inner/step (iteration 1)",)),
    later_iteration: (VECTORS, ("inner/factor (iteration 2)",)),
    called_function: (VECTORS, ("called/add/y", "called/add")),
    loop_in_branch: (VECTORS, ("deep/subtract/y (iteration 1)", "deep/subtract (iteration 1)")),
}


def wrap(fault, bad):
    return lambda x: {"y": fault(x, bad)}


def save(folder, bad):
    module = tf.Module()
    signatures = {}
    for fault, (spec, _) in FAULTS.items():
        traced = tf.function(wrap(fault, bad), input_signature=[spec], autograph=False)
        signatures[fault.__name__] = traced.get_concrete_function()
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bisection")
    options = migrate.CompareOptions(bisect=True, batch_sizes=(2,))
    verification = migrate.compare_models(save(folder / "old", False), save(folder / "new", True), options)
    return {item["where"].split("/")[1]: item for item in verification.bisection}


def is_named(item, names):
    """Nodes of branches and loops carry the scope of theirs."""
    return any(item["node"] == name or item["node"].endswith(f"/{name}") for name in names)


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault(found, fault):
    item = found[fault.__name__]
    assert is_named(item, FAULTS[fault][1]), item["message"]


def test_at_least_nine_of_ten(found):
    named = sum(is_named(found[fault.__name__], names) for fault, (_, names) in FAULTS.items())
    assert len(FAULTS) >= 10 and named >= 0.9 * len(FAULTS), f"{named} of {len(FAULTS)}"


@pytest.mark.slow
def test_changed_weight_of_a_migrated_module(tmp_path):
    """A TF1 graph against functions, which read their variables by other ops."""
    migrated, broken = tmp_path / "whole", tmp_path / "broken"
    migrate.migrate_model(MODEL / "model", migrated, migrate.MigrateOptions(verify="none"))
    shutil.copytree(migrated, broken)
    rewrite(broken, lambda key, value: value * np.float32(1.01) if value.ndim == 4 else value)
    verification = migrate.compare_models(
        MODEL / "model", broken, migrate.CompareOptions(bisect=True, batch_sizes=(1,))
    )
    assert verification.bisection
    for item in verification.bisection:
        assert item["node"] == "block0/conv/Conv2D/ReadVariableOp", item["message"]


def save_legacy(folder, build, **changes):
    """A TF1 SavedModel with loops and branches as TF1 made them."""
    with tf.Graph().as_default(), v1.Session() as session:
        enabled = v1.control_flow_v2_enabled()
        v1.disable_control_flow_v2()
        x, y = build(**changes)
        if enabled:
            v1.enable_control_flow_v2()
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    return folder


SLOW_INSIDE = ("later iteration", "loop")


@pytest.mark.parametrize("inside", ["branch", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW_INSIDE)])
def test_control_flow_of_tf1(tmp_path, inside):
    """A branch of TF1 is looked into, and a loop of it: the op, and in which iteration."""

    def build(bad):
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        if inside == "branch":
            y = tf.cond(tf.rank(x) > 1, lambda: tf.add(tf.abs(x), 2.0 if bad else 1.0, name="planted"), lambda: x)
        elif inside == "loop":

            def body(i, value):
                return i + 1, tf.tanh(tf.multiply(value, 2.0 if bad else 1.5, name="planted"))

            y = tf.while_loop(lambda i, _: i < 3, body, (0, x))[1]
        else:

            def step(i, value):
                factor = (tf.add if bad else tf.multiply)(i, i, name="planted")  # 0 and 0, then 2 and 1
                return i + 1, value / 2 + tf.cast(factor, tf.float32)

            y = tf.while_loop(lambda i, _: i < 3, step, (0, x))[1]
        return x, tf.negative(y, name="after")

    old, new = (save_legacy(tmp_path / name, build, bad=bad) for name, bad in (("old", False), ("new", True)))
    (item,) = migrate.compare_models(old, new, migrate.CompareOptions(bisect=True, batch_sizes=(1,))).bisection
    suffix = {"branch": "", "loop": " (iteration 1)", "later iteration": " (iteration 2)"}[inside]
    assert item["node"].endswith((f"planted{suffix}", f"planted/y{suffix}")), item["message"]


def test_attributes_and_constants_stand_side_by_side(tmp_path):
    def build(epsilon, offset):
        x = v1.placeholder(tf.float32, [None, 4, 4, 2], name="x")
        ones = tf.constant([1.0, 2.0], name="ones")
        normal = raw.FusedBatchNormV3(
            x=x, scale=ones, offset=ones, mean=ones, variance=ones, epsilon=epsilon, is_training=False, name="normal"
        )
        return x, tf.add(normal[0], offset, name="shifted")

    old = save_legacy(tmp_path / "old", build, epsilon=1e-3, offset=1.0)
    options = migrate.CompareOptions(bisect=True, batch_sizes=(2,))
    new = save_legacy(tmp_path / "epsilon", build, epsilon=1e-5, offset=1.0)
    (item,) = migrate.compare_models(old, new, options).bisection
    assert item["node"] == "normal" and item["differences"] == [["epsilon", "0.001", "1e-05"]]
    assert "epsilon 0.001 -> 1e-05" in item["message"]
    new = save_legacy(tmp_path / "offset", build, epsilon=1e-3, offset=1.5)
    (item,) = migrate.compare_models(old, new, options).bisection
    assert item["node"] == "shifted/y" and ["value", "[1.0]", "[1.5]"] in item["differences"], item


def test_the_other_branch_is_called_so(tmp_path):
    def build(swapped):
        def branches(x):
            return (lambda: tf.abs(x, name="then/planted")), (lambda: tf.square(x, name="else/planted"))

        @tf.function(input_signature=[VECTORS], autograph=False)
        def call(x):
            then, otherwise = branches(x)
            # The predicate stays; what it chooses between changes places.
            taken = tf.cond(tf.rank(x) > 1, *((otherwise, then) if swapped else (then, otherwise)))
            return {"y": tf.negative(taken, name="after")}

        return call

    for name, swapped in (("old", False), ("new", True)):
        module = tf.Module()
        module.call = build(swapped)
        tf.saved_model.save(module, str(tmp_path / name), signatures={"f": module.call})
    options = migrate.CompareOptions(bisect=True, batch_sizes=(2,))
    (item,) = migrate.compare_models(tmp_path / "old", tmp_path / "new", options).bisection
    assert item["node"].endswith("planted") and "took the other branch" in item["message"], item["message"]


def save_learner(folder, *, training=2.0, decay=0.9):
    """`training=True` scales and keeps a moving mean; a fault shows in training mode only."""

    class Learner(tf.Module):
        def __init__(self):
            super().__init__()
            self.mean = tf.Variable(tf.zeros([4]), trainable=False, name="mean")

        @tf.function(autograph=False)
        def __call__(self, x, training=False):
            hidden = tf.tanh(x, name="hidden")
            if not training:
                return {"y": hidden - self.mean}
            average = tf.reduce_mean(hidden, 0, name="average")
            step = tf.multiply(average - self.mean, 1 - learner_decay, name="step")
            self.mean.assign_add(step)
            return {"y": tf.multiply(hidden, learner_scale, name="scaled")}

    learner_scale, learner_decay = training, decay
    learner = Learner()
    for flag in (False, True):
        learner.__call__.get_concrete_function(VECTORS, training=flag)
    serve = tf.function(lambda x: learner(x), input_signature=[VECTORS], autograph=False)
    exported = tf.train.Checkpoint()
    exported.__call__, exported.variables = learner.__call__, [learner.mean]
    tf.saved_model.save(exported, str(folder), signatures={"serving_default": serve})
    return folder


FAULTS_OF_TRAINING = {"scaled": ({"training": 3.0}, "/y"), "step": ({"decay": 0.8}, "update/")}


@pytest.mark.parametrize("node", sharing.mark_slow(FAULTS_OF_TRAINING, but=2))
def test_fault_in_training_mode(tmp_path, node):
    """The op of a training output, and of an update."""
    changes, place = FAULTS_OF_TRAINING[node]
    old, new = save_learner(tmp_path / "old"), save_learner(tmp_path / "new", **changes)
    options = migrate.CompareOptions(level="training", bisect=True, batch_sizes=(2,))
    found = migrate.compare_models(old, new, options).bisection
    (item,) = [item for item in found if place in f"{item['where']}/{item['output']}"]
    assert item["node"].endswith((node, f"{node}/y", f"{node}/Mul")), item["message"]


@pytest.mark.slow
def test_where_a_gradient_departs(tmp_path):
    """The values agree, what is learned does not: the op on the way back beyond which nothing is handed on."""
    source = ROOT / "testdata" / "zoo" / "hub_dense_l2" / "model"
    migrate.migrate_model(source, tmp_path / "whole", migrate.MigrateOptions(verify="none"))
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    planted = planting.stop_gradient(tmp_path / "broken", "Tanh")
    options = migrate.CompareOptions(level="gradients", bisect=True, batch_sizes=(2,))
    found = {item["output"]: item for item in migrate.compare_models(source, tmp_path / "broken", options).bisection}
    departed = [item for name, item in found.items() if name.startswith("d default")]
    assert departed and all(f"on its way back to {planted!r}" in item["message"] for item in departed), found
