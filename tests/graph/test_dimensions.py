"""Symbolic shapes: whatever a rule says of a tensor is true of its values, for any sizes of what was left open."""

import numpy as np
import pytest
import tensorflow as tf

from migrate.graph import dimensions
from migrate.graph.index import TensorRef

v1 = tf.compat.v1


def _loop(x, y):
    """Two values that stay, one that grows, one that is another each round."""

    def body(i, keep, grow, swap, other):
        return i + 1, tf.tanh(tf.matmul(keep, tf.ones([3, 3]))), tf.concat([grow, keep], 0), other, swap

    shapes = [tf.TensorShape([]), tf.TensorShape([None, 3]), *[tf.TensorShape([None, None])] * 3]
    return tf.while_loop(lambda i, *_: i < 3, body, [0, x, x, x, y], shape_invariants=shapes)[1:]


def _branches(x, y):
    return [
        tf.cond(tf.reduce_sum(x) > 0, lambda: (x * 2, x, y), lambda: (tf.nn.relu(x), y, tf.zeros([1, 3])))[k]
        for k in range(3)
    ]


def _list(x, y):
    raw = tf.raw_ops
    rows = raw.TensorListFromTensor(tensor=tf.transpose(tf.stack([x, x, x]), [1, 0, 2]), element_shape=[-1, -1])
    item = raw.TensorListGetItem(input_handle=rows, index=0, element_shape=[-1, 3], element_dtype=tf.float32)
    stack = raw.TensorListStack(input_handle=rows, element_shape=[-1, -1], element_dtype=tf.float32)
    return item, stack


def _embedded(x, y):
    table = v1.get_variable("table", [5, 3], use_resource=True)
    return tf.gather(table, tf.cast(tf.abs(x[:, 0]), tf.int32) % 5), tf.gather(x, [0, 1, 1]), tf.gather(x, [0], axis=1)


def _sparse(x, y):
    places = tf.where(tf.not_equal(x, 0))
    flat = tf.sparse.reshape(tf.SparseTensor(places, tf.gather_nd(x, places), tf.shape(x, tf.int64)), [-1, 1])
    dense = v1.sparse_to_dense(places, tf.shape(x, tf.int64), tf.gather_nd(x, places))
    return places, flat.indices, flat.dense_shape, dense, v1.sparse_to_dense(places, [9, 3], tf.gather_nd(x, places))


# What is computed of x [?, 3] and y [?, ?]; tensors that TF1 models make inside a loop.
PROGRAMS = {
    "elementwise": lambda x, y: [x + 1, x * x, tf.tanh(x), tf.nn.bias_add(x, [1.0, 2.0, 3.0]), y * y[:1], x > 0],
    "broadcast": lambda x, y: [x + y[:1, :1], x[:1] * y[:, :1], x[0] - x, tf.maximum(x[:, :1], tf.ones([1, 4]))],
    "select": lambda x, y: [tf.where(x > 0, x, x * 2), v1.where(x[:, 0] > 0, x, x + 1)],
    "matmul": lambda x, y: [x @ tf.ones([3, 4]), tf.matmul(x, x, transpose_a=True), tf.matmul(x, x, transpose_b=True)],
    "batch_matmul": lambda x, y: [tf.matmul(x[None], tf.ones([1, 3, 2])), tf.matmul(x[None], x[None], adjoint_b=True)],
    "concat": lambda x, y: [tf.concat([x, x * 2], 1), tf.concat([x, x[:1]], 0), tf.concat([y, y], -1)],
    "split": lambda x, y: [*tf.split(tf.concat([x, x], 1), 2, axis=1), *tf.split(x, [1, 2], axis=1)],
    "unstack": lambda x, y: tf.unstack(x, axis=1),
    "pack": lambda x, y: [tf.stack([x, x * 2], 1), tf.stack([tf.shape(x)[0], 4])],
    "expanded": lambda x, y: [tf.expand_dims(y, 1), tf.expand_dims(x, -1), tf.squeeze(x[:, :1], [1]), x[:, None]],
    "slices": lambda x, y: [x[:2], x[:, 1:], x[0], x[::2], x[..., 0], x[:, None], y[1:, :1], x[-1:, 0]],
    "transposed": lambda x, y: [
        tf.transpose(y),
        tf.transpose(tf.expand_dims(x, 0), tf.concat([[1, 0], tf.range(2, 3)], 0)),
    ],
    "zeros": lambda x, y: [
        tf.zeros([tf.shape(x)[0], 4]),
        tf.zeros_like(y),
        tf.fill(tf.shape(y)[:1], 1),
        tf.random.uniform(tf.shape(x)),
    ],
    "reshaped": lambda x, y: [
        tf.reshape(x, [tf.shape(x)[0], 3]),
        tf.reshape(x, [-1]),
        tf.reshape(y, [1, -1]),
        tf.reshape(x, [-1, 1, 3]),
    ],
    "tiled": lambda x, y: [
        tf.tile(x, [1, 2]),
        tf.tile(x[:, :1], [1, 4]),
        tf.tile(x, [2, 1]),
        tf.tile(tf.expand_dims(x[0], 0), [tf.shape(y)[0], 1]),
    ],
    "reduced": lambda x, y: [
        tf.reduce_sum(y, 1),
        tf.reduce_mean(x, 0, keepdims=True),
        tf.reduce_max(y),
        tf.reduce_any(x > 0, [-1]),
    ],
    "shapes": lambda x, y: [tf.shape(y), tf.rank(x), tf.concat([tf.shape(y), [3]], 0), tf.range(2, 5)],
    "unknown op": lambda x, y: [tf.math.top_k(x, 2)[0] + 1, tf.linalg.diag(x) * 2, tf.cumsum(tf.linalg.diag(x), 1)],
    "loop": _loop,
    "branches": _branches,
    "list": _list,
    "embedded": _embedded,
    "sparse": _sparse,
    "one_hot": lambda x, y: [
        tf.one_hot(tf.cast(y, tf.int32), 5),
        tf.one_hot(tf.cast(x, tf.int32), 4, axis=1),
        tf.one_hot(tf.cast(x[:, 0], tf.int32), tf.shape(y)[1], axis=0),
    ],
    "products": lambda x, y: [
        tf.reduce_prod(tf.shape(x)[1:]),
        tf.reduce_prod(tf.shape(y)),
        tf.zeros([tf.reduce_prod(tf.shape(x)[1:]), 2]),
        tf.reduce_prod(y, 1),
    ],
}
# Sizes of what was left open: rows of x, rows and columns of y.
SIZES = ((2, 2, 3), (3, 5, 3), (4, 1, 3), (2, 3, 1))


def _build(make):
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        y = v1.placeholder(tf.float32, [None, None], name="y")
        results = [tf.identity(value, name=f"result_{k}") for k, value in enumerate(make(x, y))]
    graph_def = graph.as_graph_def()
    library = {function.signature.name: function for function in graph_def.library.function}
    names = {node.name for node in graph_def.node}
    inferred = dimensions.infer_shapes(graph_def, names)
    return graph, results, dimensions.Scope(graph_def.node, library, inferred=inferred)


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_said_is_true(name):
    graph, results, scope = _build(PROGRAMS[name])
    facts = [scope.find(TensorRef(result.op.name, 0)) for result in results]
    said = [dim for fact in facts for dim in (*(fact.dims or ()), *(fact.content or ()))]
    with graph.as_default(), v1.Session() as session:
        sizes = {dim: _measure(graph, dim) for dim in said if isinstance(dim, dimensions.Extent)}
        session.run(v1.global_variables_initializer())
        for rows, others, columns in SIZES if name not in ("branches", "loop") else SIZES[:3]:
            feeds = {"x:0": np.random.default_rng(1).normal(size=[rows, 3]), "y:0": np.ones([others, columns])}
            values, known = session.run([results, sizes], feeds)
            for value, fact in zip(values, facts, strict=True):
                _check(np.shape(value), fact.dims, known)
                if fact.content is not None:
                    _check(np.ravel(value), fact.content, known)


def _measure(graph, dim):
    return tf.shape(graph.get_tensor_by_name(f"{dim.tensor.node}:{dim.tensor.index}"))[dim.axis]


def _check(found, said, known):
    if said is not None:
        assert len(found) == len(said)
        for size, dim in zip(found, said, strict=True):
            assert dim is None or size == (known[dim] if isinstance(dim, dimensions.Extent) else dim)


def of_x(axis):
    return dimensions.Extent(TensorRef("x", 0), axis)


def of_y(axis):
    return dimensions.Extent(TensorRef("y", 0), axis)


@pytest.mark.parametrize(
    ("name", "dims"),
    [
        ("zeros", [(of_x(0), 4), (of_y(0), of_y(1)), (of_y(0),), (of_x(0), 3)]),
        ("matmul", [(of_x(0), 4), (3, 3), (of_x(0), of_x(0))]),
        ("transposed", [(of_y(1), of_y(0)), (of_x(0), 1, 3)]),
        ("select", [(of_x(0), 3), (of_x(0), 3)]),
        ("tiled", [(of_x(0), 6), (of_x(0), 4), None, (of_y(0), 3)]),
        ("loop", [(of_x(0), 3), None, None, None]),
        ("list", [(3, 3), None]),
    ],
)
def test_the_batch_is_followed(name, dims):
    """Rules say enough: the batch of a cell's output is that of the network's input. None: not looked at here."""
    _, results, scope = _build(PROGRAMS[name])
    for result, wanted in zip(results, dims, strict=True):
        found = scope.find(TensorRef(result.op.name, 0)).dims
        assert wanted is None or found == wanted


def test_what_a_loop_changes_is_not_told():
    _, results, scope = _build(_loop)
    grown, swapped = (scope.find(TensorRef(results[k].op.name, 0)).dims for k in (1, 2))
    for dims in (grown, swapped):
        assert all(dim not in (of_x(0), of_y(0)) for dim in dims)
