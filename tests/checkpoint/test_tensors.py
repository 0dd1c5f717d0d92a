"""Values and checksums: those of TensorFlow; every damaged byte is found."""

import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate import errors
from migrate.checkpoint import index, tensors
from tests.checkpoint.conftest import restore, save


@pytest.mark.parametrize("name", ["every_kind", "several_shards"])
def test_values_are_those_that_were_saved(name, request):
    written = request.getfixturevalue(name)
    shards = tensors.Shards(index.read_index(written.prefix))
    for key, value in written.values.items():
        found = shards.read(key)
        assert found.dtype == value.dtype and found.shape == value.shape, key
        np.testing.assert_array_equal(found, value, err_msg=key)


@pytest.mark.parametrize("name", ["every_kind", "several_shards", "many_keys"])
def test_whole_checkpoints_have_their_checksums(name, request):
    tensors.check_weights(index.read_index(request.getfixturevalue(name).prefix))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=30))
def test_strings_are_read_and_checked(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("strings")
    value = np.empty(len(texts), object)
    value[:] = texts
    found = index.read_index(save(folder / "a", {"s": value}))
    shards = tensors.Shards(found)
    assert shards.read("s").tolist() == texts
    tensors.check_weights(found)
    shutil.rmtree(folder)


def test_each_damaged_byte_is_found(every_kind, tmp_path):
    prefix = str(tmp_path / "copy")
    shutil.copy(f"{every_kind.prefix}.index", f"{prefix}.index")
    path = index.shard_path(prefix, 0, 1)
    data = pathlib.Path(index.shard_path(every_kind.prefix, 0, 1)).read_bytes()
    found = index.read_index(prefix)
    for at in range(0, len(data), 11):
        pathlib.Path(path).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(errors.CorruptModelError, match="does not have the checksum that its index says"):
            tensors.check_weights(found)


def test_a_short_or_missing_shard_is_one_clear_error(every_kind, tmp_path):
    prefix = str(tmp_path / "copy")
    shutil.copy(f"{every_kind.prefix}.index", f"{prefix}.index")
    found = index.read_index(prefix)
    with pytest.raises(errors.CorruptModelError, match="cannot be read: No such file"):
        tensors.Shards(found).read("scalar")
    pathlib.Path(index.shard_path(prefix, 0, 1)).write_bytes(b"\0" * 3)
    with pytest.raises(errors.CorruptModelError, match="truncated: 3 bytes"):
        tensors.check_weights(found)
    with pytest.raises(errors.CorruptModelError, match="no tensor 'other'"):
        tensors.Shards(found).read("other")


def test_what_tensorflow_restores_is_what_is_read(several_shards):
    """Also of a part that was saved otherwise than it is asked for."""
    shards = tensors.Shards(index.read_index(several_shards.prefix))
    part = restore(several_shards.prefix, "emb", tf.float32, "10 4 2,6:-")
    np.testing.assert_array_equal(shards.read("emb")[2:8], part)
    assert os.path.exists(f"{several_shards.prefix}.index")
