"""Values come back as they went, by memory map, each content once."""

import os

import ml_dtypes
import numpy as np
import pytest

from migrate import errors, spool
from migrate.arrays import RaggedValue, SparseValue


def _round_trip(tmp_path, *values):
    path = str(tmp_path / "folder" / "values.bin")
    writer = spool.Spool(path)
    kept = [writer.keep(value) for value in values]
    assert [writer.keep(value) for value in kept] == kept
    writer.close()
    reader = spool.Reader(path)
    return path, kept, [reader.read(value.record) for value in kept]


@pytest.mark.parametrize(
    "value",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.float64(1.5),
        np.zeros((0, 3), np.int64),
        np.array([1 + 2j], np.complex64),
        np.array([True, False]),
        np.array([1, 2, 3], ml_dtypes.bfloat16),
        np.array([1, 2, 3], ml_dtypes.int4),
        np.array([[b"a", b""], [b"\0\xff", b"long" * 99]], object),
        np.array(b"scalar", object),
        np.array([], object),
        np.arange(12, dtype=np.int32).reshape(3, 4).T,
    ],
)
def test_dense_values_come_back(tmp_path, value):
    _, _, (found,) = _round_trip(tmp_path, value)
    assert found.dtype == value.dtype and found.shape == value.shape
    np.testing.assert_array_equal(found, value)


def test_composite_values_come_back(tmp_path):
    sparse = SparseValue(indices=np.array([[0, 1]]), values=np.array([b"x"], object), dense_shape=np.array([1, 2]))
    ragged = RaggedValue(flat_values=np.arange(3.0), row_splits=(np.array([0, 1]), np.array([0, 3])))
    _, _, found = _round_trip(tmp_path, sparse, ragged)
    np.testing.assert_array_equal(found[0].values, sparse.values)
    np.testing.assert_array_equal(found[0].indices, sparse.indices)
    np.testing.assert_array_equal(found[1].flat_values, ragged.flat_values)
    assert [splits.tolist() for splits in found[1].row_splits] == [[0, 1], [0, 3]]


def test_equal_contents_are_written_once_and_are_one_object(tmp_path):
    value = np.random.default_rng(0).normal(size=(1000,))
    path, kept, found = _round_trip(tmp_path, value, value.copy(), value + 1)
    assert os.path.getsize(path) < 2 * value.nbytes + 200
    assert kept[0].record == kept[1].record != kept[2].record
    assert found[0] is found[1]


def test_bytes_of_another_dtype_are_another_value(tmp_path):
    value = np.zeros(4, np.float32)
    _, _, found = _round_trip(tmp_path, value, value.view(np.int32))
    assert [array.dtype for array in found] == [np.float32, np.int32]


def test_a_truncated_file_is_told(tmp_path):
    path, kept, _ = _round_trip(tmp_path, np.arange(100))
    os.truncate(path, 10)
    with pytest.raises(errors.CorruptModelError, match="truncated"):
        spool.Reader(path).read(kept[0].record)
