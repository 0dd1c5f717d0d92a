"""Library functions as TF1 wrote them (effects, loops, tables, own gradients), counters with a limit, empty shapes."""

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import function

import program
import saved_models

PREDICT = saved_models.PREDICT
SERVE = (("serve",),)


def _floats(*shape):
    return (np.arange(int(np.prod(shape)), dtype=np.float32) * 0.27 - 0.9).reshape(shape)


def _default(inputs, outputs):
    return {"serving_default": saved_models.signature(inputs, outputs, PREDICT)}


def _write_defuns(path):
    """Defuns with a v1 loop, a v1 branch or a table in the body, called at the top, in a loop and in a branch."""
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    kernel = tf.get_variable("kernel", [2, 2], use_resource=True)
    table = tf.contrib.lookup.HashTable(tf.contrib.lookup.KeyValueTensorInitializer(
        tf.constant([1, 2, 3], tf.int64), tf.constant([0.5, -1.5, 2.5])), 9.0)

    @function.Defun(tf.float32, tf.int32)
    def powers(value, count):
        return tf.while_loop(lambda i, _: i < count, lambda i, v: (i + 1, tf.tanh(v * 1.5)), [0, value],
                             shape_invariants=[tf.TensorShape([]), value.get_shape()])[1]

    @function.Defun(tf.float32)
    def bent(value):
        return tf.cond(tf.reduce_sum(value) > 0.0, lambda: value * 2.0, lambda: powers(value, 2) - 1.0)

    @function.Defun(tf.resource, tf.float32)
    def affine(handle, value):
        weight = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
        return tf.matmul(value, weight), value + 1.0

    @function.Defun(tf.resource, tf.float32)
    def looked_up(handle, value):
        keys = tf.cast(tf.round(value), tf.int64)
        return tf.raw_ops.LookupTableFindV2(table_handle=handle, keys=keys, default_value=9.0)

    def shaped(value):
        value.set_shape([None, 2])
        return value

    product, _ = affine(kernel.handle, x)
    looped = tf.while_loop(lambda i, _: i < 2, lambda i, v: (i + 1, shaped(affine(kernel.handle, v)[0]) * 0.7), [0, x])[1]
    chosen = tf.cond(tf.reduce_max(x) > 1.0, lambda: powers(x, 3), lambda: affine(kernel.handle, x)[1])
    saved_models.write(path, _default({"x": x}, {
        "product": shaped(product), "powers": shaped(powers(x, 3)), "bent": shaped(bent(x)), "looped": looped,
        "chosen": shaped(chosen), "found": shaped(looked_up(table.resource_handle, x))}),
        legacy_init_op=tf.tables_initializer())


def _write_own_gradients(path):
    """Defuns with gradients of their own: several results, an integer argument, not linear in the gradient."""
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    kernel = tf.get_variable("kernel", [2, 2], use_resource=False)

    @function.Defun(tf.float32, tf.int32, tf.float32, tf.float32)
    def backward(value, power, d_scaled, d_squared):
        return tf.sign(d_scaled) * 0.25 + tf.clip_by_value(d_squared, -0.5, 0.5) * value, tf.zeros_like(power)

    @function.Defun(tf.float32, tf.int32, grad_func=backward)
    def forward(value, power):
        return value * tf.cast(power, tf.float32), tf.square(value)

    @function.Defun(tf.float32)
    def around(value):
        scaled, squared = forward(value, 3)
        return scaled + squared * 2.0

    scaled, squared = forward(tf.matmul(x, kernel), 2)
    nested = around(x * 0.5)
    for tensor in (scaled, squared, nested):
        tensor.set_shape([None, 2])
    saved_models.write(path, _default({"x": x}, {"scaled": scaled, "squared": squared, "nested": nested}))


def _write_effects(path):
    """A Defun that writes a variable, of which only the other result is used; counters with a limit."""
    amount = tf.placeholder(tf.float32, [], name="amount")
    total = tf.get_variable("total", initializer=tf.constant(10.0), use_resource=True, trainable=False)
    tickets = tf.get_variable("tickets", initializer=tf.constant(0), use_resource=False, trainable=False)
    passes = tf.get_variable("passes", initializer=tf.constant(5, tf.int64), use_resource=True, trainable=False)

    @function.Defun(tf.resource, tf.float32)
    def add(handle, value):
        with tf.control_dependencies([tf.raw_ops.AssignAddVariableOp(resource=handle, value=value)]):
            after = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
        return value * 2.0, after

    doubled, _ = add(total.handle, amount)
    with tf.control_dependencies([doubled]):
        seen = total.read_value()
    saved_models.write(path, _default({"amount": amount}, {
        "doubled": doubled, "total": seen,
        "ticket": tf.count_up_to(tickets, 3),
        "pass": tf.raw_ops.ResourceCountUpTo(resource=passes.handle, limit=1000, T=tf.int64)}))


def _write_empty(path):
    """Dimensions of size 0 in inputs, variables and outputs; unknown rank; scalars."""
    x = tf.placeholder(tf.float32, [None, 0], name="x")
    any_rank = tf.placeholder(tf.float32, name="any_rank")
    scalar = tf.placeholder(tf.float32, [], name="scalar")
    empty = tf.get_variable("empty", [0, 3], use_resource=False)
    none = tf.get_variable("none", [0], use_resource=True)
    saved_models.write(path, _default({"x": x, "any_rank": any_rank, "scalar": scalar}, {
        "product": tf.matmul(x, empty) + scalar, "none": none + scalar, "same": any_rank * 2.0,
        "rank": tf.rank(any_rank), "wide": tf.concat([x, x], 1)}))


_X = [{"x": _floats(2, 2)}, {"x": _floats(3, 2) + 1}]

RECIPES = [
    program.Recipe("functions_defun", "tf1_saved_model", saved_models.graph(_write_defuns),
                   ["Defun with a v1 loop", "Defun with a v1 branch", "Defun in a loop", "Defun in a branch",
                    "variable and table handles as arguments of a Defun"], {"serving_default": _X}, SERVE),
    program.Recipe("functions_own_gradients", "tf1_saved_model", saved_models.graph(_write_own_gradients),
                   ["gradient function", "gradient function of several results", "nested Defun"],
                   {"serving_default": _X}, SERVE),
    program.Recipe("functions_effects", "tf1_saved_model",
                   saved_models.graph(_write_effects, kept=("total", "tickets", "passes")),
                   ["Defun that writes a variable", "CountUpTo", "ResourceCountUpTo", "stateful signature"],
                   {"serving_default": [{"amount": np.float32(a)} for a in (1.5, -4.0, 0.25)]}, SERVE,
                   stateful_signatures=["serving_default"]),
    program.Recipe("shapes_empty", "tf1_saved_model", saved_models.graph(_write_empty),
                   ["zero-size input", "zero-size variable", "zero-size output", "unknown rank", "scalar"],
                   {"serving_default": [
                       {"x": _floats(2, 0), "any_rank": np.float32(1.5), "scalar": np.float32(2.0)},
                       {"x": _floats(0, 0), "any_rank": _floats(2, 1, 2), "scalar": np.float32(-1.0)}]}, SERVE),
]

if __name__ == "__main__":
    program.run_program(RECIPES)
