"""The .npz codec: what goes in comes out, bit for bit, and damage is named."""

import contextlib
import io
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from migrate import arrays, errors
from migrate.arrays import RaggedValue, SparseValue

_NUMBERS = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "int64", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip
_shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
_numbers = st.sampled_from(_NUMBERS).flatmap(lambda dtype: hnp.arrays(dtype, _shapes))
_strings = _shapes.flatmap(
    lambda shape: st.lists(st.binary(max_size=5), min_size=_size(shape), max_size=_size(shape)).map(
        lambda items: _object_array(items, shape)
    )
)
_bits = hnp.arrays("uint16", _shapes).map(lambda array: array.view(ml_dtypes.bfloat16))
_dense = st.one_of(_numbers, _strings, _bits)
_vector = st.one_of(_dense.map(lambda array: array.reshape(-1)))


def _size(shape):
    return int(np.prod(shape, dtype=int))


def _object_array(items, shape):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


@st.composite
def _sparse(draw):
    values = draw(_vector)
    rank = draw(st.integers(1, 3))
    indices = draw(hnp.arrays("int64", (values.size, rank)))
    return SparseValue(indices=indices, values=values, dense_shape=draw(hnp.arrays("int64", rank)))


@st.composite
def _ragged(draw):
    flat = draw(_vector)
    splits, rows = [], flat.size
    for _ in range(draw(st.integers(1, 3))):
        inner = sorted(draw(st.lists(st.integers(0, rows), max_size=3)))
        splits.insert(0, np.array([0, *inner, rows], dtype=draw(st.sampled_from(["int32", "int64"]))))
        rows = splits[0].size - 1
    return RaggedValue(flat_values=flat, row_splits=tuple(splits))


def _assert_identical(got, expected):
    assert type(got) is type(expected)
    if isinstance(expected, SparseValue):
        for name in ("indices", "values", "dense_shape"):
            _assert_identical(getattr(got, name), getattr(expected, name))
    elif isinstance(expected, RaggedValue):
        _assert_identical(got.flat_values, expected.flat_values)
        assert len(got.row_splits) == len(expected.row_splits)
        for a, b in zip(got.row_splits, expected.row_splits, strict=True):
            _assert_identical(a, b)
    else:
        assert got.dtype == expected.dtype and got.shape == expected.shape
        if expected.dtype == object:
            assert got.tolist() == expected.tolist()
        else:
            assert got.tobytes() == expected.tobytes()


_keys = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["file", "a/b:0", "a#bytes", "a%23bytes", "x.npy", "", "in-put:0", "../up", "/abs", "é"]
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_keys, st.one_of(_dense, _sparse(), _ragged()), max_size=4))
def test_round_trip(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("npz") / "values.npz"
    arrays.save_arrays(path, values)
    loaded = arrays.load_arrays(path)
    assert list(loaded) == list(values)
    for key, value in values.items():
        _assert_identical(loaded[key], value)


def test_equal_values_give_equal_files_without_pickles(tmp_path):
    values = {"text": np.array([b"a", b"\x00b", "ü".encode()], dtype=object), "n": np.float32(2)}
    arrays.save_arrays(tmp_path / "a.npz", values)
    arrays.save_arrays(tmp_path / "b.npz", values)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as plain:
        assert plain["n"] == 2 and plain["text#lengths"].tolist() == [1, 2, 2]
        assert plain["text#bytes"].tobytes() == b"a\x00b\xc3\xbc"


def test_reads_plain_savez_and_encodes_str(tmp_path):
    np.savez(tmp_path / "plain.npz", x=np.arange(3))
    assert arrays.load_arrays(tmp_path / "plain.npz")["x"].tolist() == [0, 1, 2]
    arrays.save_arrays(tmp_path / "text.npz", {"t": ["å", "b"]})
    assert arrays.load_arrays(tmp_path / "text.npz")["t"].tolist() == ["å".encode(), b"b"]


@pytest.mark.parametrize(
    "parts",
    [
        {"key#bytes": np.zeros(3, np.uint8), "key#lengths": np.array([1, 1])},
        {"key#bytes": np.zeros(0, np.uint8), "key#lengths": np.array([1, -1])},
        {"key#bytes": np.zeros(2, np.int32), "key#lengths": np.array([2])},
        {"key#bytes": np.zeros(3, np.uint8)},
        {"key#bfloat16": np.zeros(3, np.uint8)},
        {"key#mystery": np.zeros(3)},
        {"key": np.zeros(3), "key#bytes": np.zeros(3, np.uint8)},
        {"key#indices": np.zeros((1, 2), np.int64), "key#values": np.zeros(1)},
        {
            "key#indices": np.zeros((2, 2), np.int64),
            "key#values": np.zeros(1),
            "key#dense_shape": np.ones(2, int),
        },
        {"key#indices": np.zeros((1, 2), np.int64), "key#dense_shape": np.ones(2, int)},
        {"key#flat_values": np.zeros(3), "key#row_splits_1": np.array([0, 3])},
        {"key#flat_values": np.zeros(3), "key#row_splits_0": np.array([0, 2])},
        {"key#flat_values": np.zeros(3), "key#row_splits_0": np.array([0, 4, 3])},
        {"key#row_splits_0": np.array([0])},
        {"key": np.array([b"x", 1], dtype=object)},
    ],
)
def test_malformed_entries_are_refused_by_key(tmp_path, parts):
    np.savez(tmp_path / "bad.npz", good=np.zeros(1), **parts)
    with pytest.raises(errors.CorruptModelError, match=r"\['key'\]"):
        arrays.load_arrays(tmp_path / "bad.npz")


def test_damaged_files_are_refused(tmp_path):
    with pytest.raises(errors.SourceNotFoundError, match=r"none\.npz"):
        arrays.load_arrays(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(errors.CorruptModelError, match=r"text\.npz"):
        arrays.load_arrays(tmp_path / "text.npz")
    arrays.save_arrays(tmp_path / "good.npz", {"key": np.random.default_rng(0).normal(size=1000)})
    data = bytearray((tmp_path / "good.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(data)
    with pytest.raises(errors.CorruptModelError, match=r"\['key'\]"):
        arrays.load_arrays(tmp_path / "flipped.npz")


def test_duplicate_entries_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        for _ in range(2):
            with pytest.warns() if _ else contextlib.nullcontext():
                archive.writestr("key.npy", _npy(np.zeros(1)))
    with pytest.raises(errors.CorruptModelError, match=r"\['key'\].*twice"):
        arrays.load_arrays(tmp_path / "twice.npz")


def _npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([("a", 1)], dtype=[("f", "U1"), ("g", int)]),
        np.datetime64("2020-01-01"),
    ],
)
def test_values_that_no_tensor_holds_are_refused_by_key(tmp_path, value):
    with pytest.raises(errors.UsageError, match="'odd'"):
        arrays.save_arrays(tmp_path / "odd.npz", {"odd": value})
    assert list(tmp_path.iterdir()) == []
