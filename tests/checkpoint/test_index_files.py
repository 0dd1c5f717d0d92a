"""Indexes: byte for byte what TensorFlow writes, read as TensorFlow reads them, damaged ones refused by name."""

import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate import errors
from migrate.checkpoint import entries, index, ordered_code, table
from tests.checkpoint.conftest import restore, save

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
_SNAPPY = 1


def _find_indexes():
    return sorted(path for root in (ROOT / "testdata", CORPUS) for path in root.rglob("*.index"))


def _is_compressed(data):
    """Whether the first data block is: LevelDB keeps a small index block plain."""
    footer = memoryview(data)[-48:]
    place, _ = table._parse_place(footer, table._parse_place(footer, 0)[1])
    _, handle = next(table._read_block(data, place))
    (offset, size), _ = table._parse_place(memoryview(handle), 0)
    return data[offset + size] == _SNAPPY


def test_every_index_at_hand_is_written_again_byte_for_byte():
    compressed, paths = [], _find_indexes()
    for path in paths:
        data = path.read_bytes()
        found = index.read_index(str(path).removesuffix(".index"))
        if _is_compressed(data):
            # Nothing of TensorFlow's writes these: what it makes of them is held against what it reads.
            compressed.append(path)
            reader = tf.train.load_checkpoint(found.prefix)
            shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
            assert shapes == {name: entry.shape for name, entry in found.tensors()}, path
            continue
        assert index.encode_index(found.header, found.entries) == data, path
        index.check_shards(found)
    assert len(paths) - len(compressed) > 60 and len(compressed) < len(paths) / 10


@pytest.mark.parametrize("name", ["every_kind", "many_keys", "several_shards"])
def test_what_tensorflow_writes_is_written_again_byte_for_byte(name, request):
    prefix = request.getfixturevalue(name).prefix
    found = index.read_index(prefix)
    assert index.encode_index(found.header, found.entries) == pathlib.Path(f"{prefix}.index").read_bytes()


@pytest.mark.parametrize("name", ["every_kind", "several_shards"])
def test_entries_are_those_of_tensorflows_reader(name, request):
    prefix = request.getfixturevalue(name).prefix
    reader = tf.train.load_checkpoint(prefix)
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    found = dict(index.read_index(prefix).tensors())
    assert {key: entry.dtype for key, entry in found.items()} == {key: dtype.name for key, dtype in dtypes.items()}
    assert {key: entry.shape for key, entry in found.items()} == {key: tuple(shape) for key, shape in shapes.items()}


def test_dtypes_are_tensorflows():
    from tensorflow.core.framework import types_pb2

    known = {number for number in types_pb2.DataType.values() if 0 < number < 100}
    assert set(entries.DTYPE_NAMES) == known
    for number, name in entries.DTYPE_NAMES.items():
        dtype = tf.as_dtype(number)
        assert dtype.name == name
        if name not in ("string", "resource", "variant"):
            assert entries.numpy_dtype(name).itemsize == dtype.size, name


_BYTES = st.binary(min_size=1, max_size=12).filter(lambda key: key[0] != 0)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_BYTES, st.binary(max_size=300), max_size=60))
def test_tables_round_trip(pairs):
    ordered = sorted(pairs.items())
    assert table.read_table(table.write_table(ordered)) == ordered


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(_NAMES, st.integers(0, 5), min_size=1, max_size=40))
def test_any_names_round_trip_through_tensorflow(tmp_path_factory, sizes):
    """TF writes, this writes the same bytes; what this has written TF reads."""
    folder = tmp_path_factory.mktemp("names")
    values = {name: np.arange(size, dtype=np.int32) for name, size in sizes.items()}
    prefix = save(folder / "a", values)
    found = index.read_index(prefix)
    data = pathlib.Path(f"{prefix}.index").read_bytes()
    assert index.encode_index(found.header, found.entries) == data
    os.rename(index.shard_path(prefix, 0, 1), index.shard_path(str(folder / "b"), 0, 1))
    index.write_index(str(folder / "b"), found.header, found.entries)
    for name, value in values.items():
        np.testing.assert_array_equal(restore(folder / "b", name, tf.int32), value)
    shutil.rmtree(folder)


@settings(max_examples=60, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_signed_numbers_sort_like_their_codes(first, second):
    codes = [ordered_code._encode_signed(number) for number in (first, second)]
    assert (codes[0] < codes[1]) == (first < second)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 10**9), st.data())
def test_slice_keys_are_tensorflows(tmp_path_factory, rows, data):
    """Keys of parts with extents of every magnitude."""
    folder = tmp_path_factory.mktemp("slices")
    start = data.draw(st.integers(0, rows - 1))
    name = data.draw(st.sampled_from(["emb", "scope/ü", "a\xff", "b" * 100]))
    prefix = save(folder / "a", {}, [(name, f"{rows} 2 {start},1:-", np.zeros((1, 2), np.float32))])
    found = index.read_index(prefix)  # refuses an index that lacks the key of a part
    part = found.find_part(name, ((start, 1), (0, None)))
    assert part is not None and part.size == 8
    assert found.find_part(name, ((start, 1), (0, 2))) == part
    shutil.rmtree(folder)


# Damage ------------------------------------------------------------------------------------------------------


def _damaged(written, tmp_path, change):
    """A copy of a checkpoint whose index was changed."""
    source, prefix = pathlib.Path(written.prefix), tmp_path / "copy"
    found = index.read_index(written.prefix)
    for shard in range(found.header.shards):
        shutil.copy(found.shard_path(shard), index.shard_path(str(prefix), shard, found.header.shards))
    pathlib.Path(f"{prefix}.index").write_bytes(change(pathlib.Path(f"{source}.index").read_bytes()))
    return str(prefix)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 200])
def test_a_truncated_index_is_one_clear_error(every_kind, tmp_path, size):
    prefix = _damaged(every_kind, tmp_path, lambda data: data[:size])
    with pytest.raises(errors.CorruptModelError, match=r"index is damaged.*copy"):
        index.read_index(prefix)


def test_any_changed_byte_is_noticed_or_harmless(every_kind, tmp_path):
    """A byte of a block fails its checksum; one of the footer's padding means nothing."""
    good = index.read_index(every_kind.prefix)
    size = os.path.getsize(f"{every_kind.prefix}.index")
    for at in range(0, size, 7):
        prefix = _damaged(
            every_kind, tmp_path, lambda data, at=at: data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        )
        try:
            assert index.read_index(prefix).entries == good.entries, at
        except errors.CorruptModelError as error:
            assert "index is damaged" in str(error)


def test_a_missing_index_is_one_clear_error(tmp_path):
    with pytest.raises(errors.CorruptModelError, match="No such file"):
        index.read_index(str(tmp_path / "none"))


def _rewritten(written, tmp_path, header=None, **changed):
    """A copy whose index says something else."""
    prefix = _damaged(written, tmp_path, bytes)
    found = index.read_index(prefix)
    index.write_index(prefix, header or found.header, dict(found.entries) | changed.get("entries", {}))
    return prefix


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (entries.Entry(dtype="float32", shape=(2, 2), size=15), "takes 16 bytes, it has 15"),
        (entries.Entry(dtype="float32", shape=(1,), shard=7, size=4), "shard 7 of 1"),
        (entries.Entry(dtype="float32", shape=(4,), slices=(((0, 2),),)), "its part"),
    ],
)
def test_contradictions_are_named(every_kind, tmp_path, entry, message):
    with pytest.raises(errors.CorruptModelError, match=message):
        index.read_index(_rewritten(every_kind, tmp_path, entries={b"wrong": entry}))


def test_a_later_format_is_named(every_kind, tmp_path):
    later = entries.Header(shards=1, producer=9, min_consumer=2)
    with pytest.raises(errors.CorruptModelError, match="format 9"):
        index.read_index(_rewritten(every_kind, tmp_path, later))


def test_shards_are_held_against_the_index(several_shards, tmp_path):
    prefix = _damaged(several_shards, tmp_path, bytes)
    found = index.read_index(prefix)
    index.check_shards(found)
    with open(found.shard_path(1), "r+b") as file:
        file.truncate(5)
    with pytest.raises(errors.CorruptModelError, match=r"truncated: copy\.data-00001-of-00003"):
        index.check_shards(found)
    os.remove(found.shard_path(1))
    with pytest.raises(errors.CorruptModelError, match=r"missing: copy\.data-00001-of-00003"):
        index.check_shards(found)


def test_a_header_that_claims_billions_of_shards(tmp_path):
    """Found by fuzzing: each of them was looked for."""
    prefix = str(tmp_path / "variables")
    index.write_index(prefix, entries.Header(shards=2**31 - 1), {})
    with pytest.raises(errors.CorruptModelError, match="perhaps more of 2,147,483,647"):
        index.check_shards(index.read_index(prefix))
