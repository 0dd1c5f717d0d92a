"""Loops and conditionals in one another, with TensorArrays, growing shapes and baked gradients.

    python control_flow_nested.py --write [--only=SLUG]
"""

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub

from control_flow_recording import make_recipe, run_program
from control_flow_recurrent import floats

ROWS = tf.TensorShape([None, 3])
SCALAR = tf.TensorShape([])


def rows():
    return tf.placeholder(tf.float32, [None, 3], name="x")


def kernel_and_bias():
    return tf.get_variable("kernel", [3, 3]), tf.get_variable("bias", [3])


def nested_while_fn():
    """Three deep, each bound by the counter of the one around it."""
    x, (kernel, bias) = rows(), kernel_and_bias()

    def inner(i, y):
        return tf.while_loop(lambda j, _: j < i, lambda j, z: (j + 1, innermost(j, z)), [0, y],
                             shape_invariants=[SCALAR, ROWS])[1]

    def innermost(j, y):
        return tf.while_loop(lambda k, _: k <= j, lambda k, z: (k + 1, tf.tanh(tf.matmul(z, kernel)) + bias), [0, y],
                             shape_invariants=[SCALAR, ROWS])[1]

    count, y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, inner(i, y) * 0.9), [0, x],
                             shape_invariants=[SCALAR, ROWS])
    hub.add_signature(inputs=x, outputs={"default": y, "count": count})


def cond_in_while_fn():
    """The branch depends on what the loop computed.

    The weights are read before: TF1 cannot differentiate a resource read in a cond in a loop."""
    x, (kernel, bias) = rows(), [tf.identity(weight) for weight in kernel_and_bias()]

    def body(i, y):
        y = tf.cond(tf.reduce_sum(y) > 0.5, lambda: y * 0.5 - bias, lambda: tf.matmul(y, kernel) + x)
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: tf.sin(y), lambda: y)

    _, y = tf.while_loop(lambda i, _: i < 4, body, [0, x], shape_invariants=[SCALAR, ROWS])
    hub.add_signature(inputs=x, outputs=y)


def while_in_cond_fn():
    """Either branch loops; the number of iterations of one depends on the data."""
    x, (kernel, bias) = rows(), kernel_and_bias()

    def grow():
        return tf.while_loop(lambda y, _: tf.reduce_sum(y) < 20.0, lambda y, n: (y * 1.5 + tf.square(bias), n + 1),
                             [x, 0], shape_invariants=[ROWS, SCALAR])

    def shrink():
        return tf.while_loop(lambda y, n: n < 2, lambda y, n: (tf.matmul(y, kernel), n + 1), [x, 0],
                             shape_invariants=[ROWS, SCALAR])

    y, count = tf.cond(tf.reduce_sum(x) > 0.0, grow, shrink)
    hub.add_signature(inputs=x, outputs={"default": y, "count": count})


def case_fn():
    """tf.case: conds in conds, with asserts that only one predicate holds."""
    x, (kernel, bias) = rows(), kernel_and_bias()
    total = tf.reduce_sum(x)
    y = tf.case([(total > 5.0, lambda: tf.matmul(x, kernel)), (total < -5.0, lambda: x - bias)],
                default=lambda: x * bias, exclusive=True)
    first = tf.case([(total > 0.0, lambda: tf.reduce_max(x)), (total > -1.0, lambda: tf.reduce_sum(bias * x))],
                    default=lambda: tf.reduce_min(x))
    hub.add_signature(inputs=x, outputs={"default": y, "first": first})


def switch_case_fn():
    """tf.switch_case: a Case op with functions even where v1 control flow is the default."""
    x, (kernel, bias) = rows(), kernel_and_bias()
    branch = tf.placeholder(tf.int32, [], name="branch")
    kernel, bias = tf.identity(kernel), tf.identity(bias)
    y = tf.switch_case(branch, [lambda: tf.matmul(x, kernel), lambda: x + bias, lambda: tf.tanh(x)])
    y.set_shape([None, 3])
    hub.add_signature(inputs={"x": x, "branch": branch}, outputs=y)


def cond_of_cond_fn():
    """Nested conds, a predicate that is a constant of the graph, a branch that passes a tensor through."""
    x, (kernel, bias) = rows(), kernel_and_bias()
    total = tf.reduce_sum(x)
    y = tf.cond(total > 0.0, lambda: tf.cond(total > 3.0, lambda: tf.matmul(x, kernel), lambda: x), lambda: x * bias)
    always = tf.cond(tf.constant(True), lambda: y * 2.0, lambda: y + bias)
    hub.add_signature(inputs=x, outputs={"default": always, "y": y})


def growing_fn():
    """Shape invariants: a row is added in each step, a column count doubles."""
    x, (kernel, bias) = rows(), kernel_and_bias()

    def body(i, y, wide):
        return i + 1, tf.concat([y, tf.tanh(tf.matmul(y[-1:], kernel))], 0), tf.concat([wide, wide * bias[i]], 1)

    _, y, wide = tf.while_loop(lambda i, *_: i < 3, body, [0, x, x],
                               shape_invariants=[SCALAR, ROWS, tf.TensorShape([None, None])])
    hub.add_signature(inputs=x, outputs={"default": y, "wide": wide})


def limits_fn():
    """maximum_iterations as a tensor and as a number, parallel_iterations, no back_prop, swap_memory."""
    x, (kernel, bias) = rows(), kernel_and_bias()
    limit = tf.placeholder_with_default(3, [], name="limit")
    step = lambda y: tf.tanh(tf.matmul(y, kernel)) + bias
    _, y = tf.while_loop(lambda _, y: tf.reduce_sum(y) < 50.0, lambda i, y: [i, step(y)], [tf.constant(0), x],
                         shape_invariants=[SCALAR, ROWS], maximum_iterations=limit, parallel_iterations=1)
    z = tf.while_loop(lambda i, z: i < 100, lambda i, z: [i + 1, step(z)], [0, x], shape_invariants=[SCALAR, ROWS],
                      maximum_iterations=2, swap_memory=True)[1]
    frozen = tf.while_loop(lambda i, z: i < 2, lambda i, z: (i + 1, step(z)), [0, x],
                           shape_invariants=[SCALAR, ROWS], back_prop=False)[1]
    hub.add_signature(inputs={"x": x, "limit": limit},
                      outputs={"default": y, "z": z, "frozen": tf.stop_gradient(frozen)})


def same_names_fn():
    """Loops whose frame names begin with one another: while, while_1, while/while, scope/while."""
    x, (kernel, bias) = rows(), kernel_and_bias()
    loop = lambda start, step: tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, step(y)), [0, start],
                                             shape_invariants=[SCALAR, ROWS], name="while")[1]
    a = loop(x, lambda y: tf.matmul(y, kernel))
    b = loop(a, lambda y: loop(y * 0.7, lambda z: z + bias))
    with tf.name_scope("while"):
        c = loop(a, lambda y: y * bias)
    with tf.name_scope("while_1/while"):
        d = loop(b, lambda y: y - c)
    hub.add_signature(inputs=x, outputs={"default": d, "c": c})


def arrays_fn():
    """TensorArrays of dynamic size, written out of order, gathered, scattered, split and concatenated."""
    x, (kernel, _) = rows(), kernel_and_bias()
    dynamic = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=[3], clear_after_read=False)

    def body(i, row, array):
        row = tf.tanh(tf.squeeze(tf.matmul(row[None], kernel), 0))
        return i + 1, row, array.write(3 - i, row).write(4 + i, row * 2.0)

    _, _, filled = tf.while_loop(lambda i, *_: i < 4, body, [0, x[0], dynamic])
    pieces = tf.TensorArray(tf.float32, 2, infer_shape=False).split(x, [1, tf.shape(x)[0] - 1])
    scattered = tf.TensorArray(tf.float32, 3, element_shape=[3]).scatter([2, 0, 1], kernel)
    hub.add_signature(inputs=x, outputs={
        "default": tf.identity(filled.stack()), "some": filled.gather([5, 0]), "joined": pieces.concat(),
        "scattered": scattered.stack(), "size": filled.size()})


def array_in_cond_fn():
    """A TensorArray written in one branch, another made, filled and read within a branch."""
    x, (kernel, bias) = rows(), kernel_and_bias()
    array = tf.TensorArray(tf.float32, 2, element_shape=[3], clear_after_read=False).write(0, x[0])
    flow = tf.cond(tf.reduce_sum(x) > 0.0, lambda: array.write(1, x[0] * bias).flow,
                   lambda: array.write(1, bias).flow)
    written = tf.TensorArray(tf.float32, handle=array.handle, flow=flow)

    def inside():
        own = tf.TensorArray(tf.float32, tf.shape(x)[0]).unstack(tf.matmul(x, kernel))
        return own.read(0) + bias

    y = tf.cond(tf.reduce_sum(x) > 0.0, inside, lambda: bias * 2.0)
    hub.add_signature(inputs=x, outputs={"default": y + written.read(1), "all": tf.reshape(written.stack(), [2, 3])})


def baked_fn():
    """tf.gradients in the module: a loop's backward loop with its stacks is part of the forward graph."""
    x, (kernel, bias) = rows(), kernel_and_bias()
    _, y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.tanh(tf.matmul(y, kernel)) + bias), [0, x],
                         shape_invariants=[SCALAR, ROWS])
    mapped = tf.map_fn(lambda row: tf.sin(row) * bias, x)
    hub.add_signature(inputs=x, outputs={"default": y, "dx": tf.gradients(y, x)[0],
                                         "saliency": tf.gradients(tf.square(mapped), x)[0]})


def baked_nested_fn():
    """tf.gradients of loops in loops, of a cond in a loop, of a loop in a cond, and of arrays in loops in loops."""
    x, (kernel, bias) = rows(), [tf.identity(weight) for weight in kernel_and_bias()]

    def repeat(body, value):
        return tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, body(i, y)), [0, value],
                             shape_invariants=[SCALAR, ROWS])[1]

    nested = repeat(lambda i, y: repeat(lambda j, z: tf.tanh(tf.matmul(z, kernel)) + bias, y), x)
    choice = repeat(lambda i, y: tf.cond(tf.reduce_sum(y) > 0.0, lambda: tf.sin(y) * bias, lambda: y * y * 0.5), x)
    perhaps = tf.cond(tf.reduce_sum(x) > 0.0, lambda: repeat(lambda i, y: tf.sin(y) * y, x), lambda: x * bias)
    mapped = tf.map_fn(lambda row: tf.map_fn(lambda v: tf.sin(v) * v, row), x * bias)
    found = {"nested": nested, "choice": choice, "perhaps": perhaps, "mapped": mapped}
    outputs = {"d_" + key: tf.gradients(y, x)[0] for key, y in found.items()}
    hub.add_signature(inputs=x, outputs=dict(outputs, default=tf.add_n(list(found.values()))))


_X = [{"default": floats(2, 3)}, {"default": floats(3, 3) + 1.2}, {"default": floats(2, 3) - 1.5}]

RECIPES = [
    make_recipe("nested_while", nested_while_fn, ["while in while in while"], _X[:2]),
    make_recipe("cond_in_while", cond_in_while_fn, ["cond in while"], _X),
    make_recipe("while_in_cond", while_in_cond_fn, ["while in cond", "data-dependent trip count"], _X),
    make_recipe("case", case_fn, ["tf.case", "Assert in a branch"], _X),
    make_recipe("switch_case", switch_case_fn, ["tf.switch_case", "Case op"],
                [{"x": floats(2, 3), "branch": np.int32(i)} for i in (0, 1, 2, -1)]),
    make_recipe("cond_in_cond", cond_of_cond_fn, ["cond in cond", "constant predicate", "pass-through"], _X),
    make_recipe("growing_loop", growing_fn, ["shape invariants"], _X[:2]),
    make_recipe("loop_limits", limits_fn, ["maximum_iterations", "parallel_iterations", "swap_memory", "back_prop"],
                [{"x": floats(2, 3), "limit": np.int32(3)}, {"x": floats(3, 3) + 1, "limit": np.int32(5)},
                 {"x": floats(1, 3), "limit": np.int32(0)}]),
    make_recipe("loops_of_like_names", same_names_fn, ["frame names that begin with one another"], _X[:2]),
    make_recipe("tensor_arrays", arrays_fn, ["TensorArray", "dynamic size", "gather", "scatter", "split", "concat"],
                _X[1:2]),
    make_recipe("tensor_array_in_cond", array_in_cond_fn, ["TensorArray in cond"], _X[:2]),
    make_recipe("baked_gradients", baked_fn, ["tf.gradients in the module", "stacks", "backward loop"], _X[:2]),
    make_recipe("baked_nested_gradients", baked_nested_fn,
                ["tf.gradients in the module", "nested backward loops", "stacks in a cond", "TensorArrayGradV3"], _X[1:]),
]

if __name__ == "__main__":
    run_program(RECIPES)
