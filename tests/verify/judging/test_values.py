"""The judge of two values: what is equal passes, every kind of difference is found and named. numpy only."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from migrate.arrays import RaggedValue, SparseValue
from migrate.options import Tolerance
from migrate.verify.judging.values import compare_values

_DTYPES = ["bool", "int8", "int64", "uint8", "float16", "float32", "float64", "complex64"]
_shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
_arrays = st.sampled_from(_DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, _shapes))


def compare(baseline, candidate, tolerance=None, **options):
    return compare_values(
        baseline,
        candidate,
        where="serve/f/0",
        route="callable",
        output="y",
        tolerance=tolerance or Tolerance(),
        **options,
    )


def strings(*items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def sparse(values, indices=((0, 0), (1, 2)), shape=(2, 3)):
    return SparseValue(indices=np.int64(indices), values=np.asarray(values), dense_shape=np.int64(shape))


@given(_arrays)
def test_a_value_equals_itself(array):
    """NaN equals NaN, infinities equal themselves, empty arrays are equal."""
    found = compare(array, array.copy())
    assert found.equal and found.message == "" and (found.where, found.output) == ("serve/f/0", "y")
    assert not found.max_absolute


@given(_arrays.filter(lambda array: array.size and array.dtype != bool), st.data())
def test_one_other_element_is_found(array, data):
    """Whatever the dtype and wherever it stands."""
    position = data.draw(st.integers(0, array.size - 1))
    other = array.copy()
    value = other.flat[position]
    other.flat[position] = 1 if np.isnan(value) or not np.isfinite(value) or value == 0 else 0
    if abs(complex(array.flat[position])) < 1e-3 and array.dtype.kind in "fc":
        other.flat[position] = 1
    found = compare(array, other)
    assert not found.equal and found.message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("old", "new", "equal"),
    [
        (1.0, 1.000009, True),
        (1.0, 1.00002, False),
        (0.0, 9e-7, True),
        (0.0, 2e-6, False),
        (1e6, 1e6 + 5, True),
        (np.nan, np.nan, True),
        (np.nan, 0.0, False),
        (0.0, np.nan, False),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.inf, 1e30, False),
        (1e30, np.inf, False),
    ],
)
def test_floats(dtype, old, new, equal):
    assert compare(np.array([1.0, old], dtype), np.array([1.0, new], dtype)).equal is equal


def test_tolerance_is_the_callers():
    old, new = np.float32([1.0]), np.float32([1.01])
    assert not compare(old, new).equal
    assert compare(old, new, Tolerance(relative=0.1)).equal
    assert not compare(old, np.nextafter(old, np.float32(2)), Tolerance(relative=0, absolute=0)).equal


def test_half_precision_is_judged_by_its_own_steps():
    for dtype in (np.float16, ml_dtypes.bfloat16):
        one = np.asarray([1.0], dtype)
        step = np.asarray([1.0 + float(ml_dtypes.finfo(dtype).eps)], dtype)
        assert compare(one, step).equal
        assert not compare(one, np.asarray([1.25], dtype)).equal


def test_difference_is_measured():
    found = compare(np.float64([1.0, 10.0, 100.0]), np.float64([1.0, 10.5, 101.0]))
    assert found.max_absolute == pytest.approx(1.0) and found.max_relative == pytest.approx(0.05)
    assert "2 of 3" in found.message and "[1]" in found.message


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (np.zeros(2, np.float32), np.zeros(2, np.float64), "dtype"),
        (np.zeros(2, np.int32), np.zeros(2, np.int64), "dtype"),
        (np.zeros((2, 1)), np.zeros((1, 2)), "shape"),
        (np.zeros(()), np.zeros(1), "shape"),
        (np.zeros((0, 2)), np.zeros((0, 3)), "shape"),
        (strings(b"a"), np.zeros(1), "dtype"),
        (np.zeros(2), sparse([1.0, 2.0]), "sparse"),
        (sparse([1.0, 2.0]), RaggedValue(flat_values=np.zeros(2), row_splits=(np.int64([0, 2]),)), "ragged"),
    ],
)
def test_kind_dtype_and_shape_are_exact(old, new, word):
    found = compare(old, new)
    assert not found.equal and word in found.message


def test_integers_have_no_tolerance():
    assert not compare(np.int64([2**60]), np.int64([2**60 + 1]), Tolerance(relative=1.0, absolute=1e9)).equal


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=4))
def test_strings(items):
    assert compare(strings(*items), strings(*items)).equal
    found = compare(strings(*items), strings(*items[:-1], items[-1] + b"!"))
    assert not found.equal and f"1 of {len(items)}" in found.message


@pytest.mark.parametrize(
    "other",
    [
        sparse([1.0, 2.5]),
        sparse([1.0, 2.0], indices=((0, 0), (1, 1))),
        sparse([1.0, 2.0], shape=(2, 4)),
        sparse([1.0], indices=((0, 0),)),
    ],
    ids=["value", "index", "dense shape", "count"],
)
def test_sparse(other):
    assert compare(sparse([1.0, 2.0]), sparse([1.0, 2.0 + 1e-7])).equal
    assert not compare(sparse([1.0, 2.0]), other).equal


def test_ragged():
    def ragged(values, *splits):
        return RaggedValue(flat_values=np.float32(values), row_splits=tuple(np.int64(split) for split in splits))

    one = ragged([1, 2, 3], [0, 2], [0, 1, 3])
    assert compare(one, ragged([1, 2, 3], [0, 2], [0, 1, 3])).equal
    assert not compare(one, ragged([1, 2, 4], [0, 2], [0, 1, 3])).equal
    assert not compare(one, ragged([1, 2, 3], [0, 2], [0, 2, 3])).equal
    assert not compare(one, ragged([1, 2, 3], [0, 3])).equal
