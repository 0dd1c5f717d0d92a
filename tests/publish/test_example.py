"""Inputs as lines of Python: what is spelled is what was given, or is of its shape and dtype."""

import numpy as np
import pytest
import tensorflow as tf

from migrate.arrays import RaggedValue, SparseValue, make_bytes_array
from migrate.publish.example import write_example

VALUES = {
    "float": np.float32([[1, 2.5], [np.nan, np.inf]]),
    "int": np.int64([3, 4]),
    "bool": np.array([True, False]),
    "string": make_bytes_array([b"nan", b"\xff'\""]),
    "empty": np.zeros([0, 3], np.float32),
    "scalar": np.float64(0.5),
}


def evaluate(key, value, dtype):
    piece = {"attribute": "", "positional": [key], "keywords": {}, "inputs": {key: {"dtype": dtype}}}
    code = write_example(piece, {key: value})
    namespace = {"model": lambda inputs: inputs, "tf": tf, "np": np}
    exec("\n".join(line for line in code.splitlines() if line.startswith("outputs")), namespace)
    return namespace["outputs"]


@pytest.mark.parametrize("key", VALUES)
def test_small_values_are_spelled_out(key):
    value = VALUES[key]
    dtype = "string" if value.dtype == object else value.dtype.name
    found = evaluate(key, value, dtype)
    assert found.dtype.name == dtype and found.shape == value.shape
    np.testing.assert_array_equal(found.numpy(), value)


@pytest.mark.parametrize("value", [np.ones([3, 50], np.float32), np.full([99], 7, np.int32), np.zeros([64], bool)])
def test_large_values_are_made(value):
    found = evaluate("x", value, value.dtype.name)
    assert found.dtype.name == value.dtype.name and found.shape == value.shape
    assert found.numpy().min() == value.min()


def test_sparse_and_ragged():
    sparse = SparseValue(indices=np.int64([[0, 1]]), values=np.float32([2]), dense_shape=np.int64([1, 3]))
    np.testing.assert_array_equal(tf.sparse.to_dense(evaluate("x", sparse, "float32")), [[0, 2, 0]])
    ragged = RaggedValue(flat_values=np.int32([1, 2, 3]), row_splits=(np.int64([0, 1, 3]),))
    assert evaluate("x", ragged, "int32").to_list() == [[1], [2, 3]]


def test_what_is_too_long_gives_no_example():
    piece = {"attribute": "", "positional": ["x"], "keywords": {}, "inputs": {"x": {"dtype": "string"}}}
    assert write_example(piece, {"x": make_bytes_array([b"x" * 5000])}) == ""
