"""Checkpoints that TensorFlow has written, with everything that an index can say."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from tests import sharing


@dataclasses.dataclass(frozen=True)
class Written:
    """A checkpoint and what was put into it: name -> array (bytes objects for strings)."""

    prefix: str
    values: dict


def save(prefix, values, slices=()):
    """Writes one shard by the op that TF1's and TF2's savers use; `slices`: (name, spec, value)."""
    made = {id(value): _to_tensor(value) for value in values.values()}  # one tensor for an array that comes often
    names, specs, tensors = list(values), [""] * len(values), [made[id(value)] for value in values.values()]
    for name, spec, value in slices:
        names.append(name)
        specs.append(spec)
        tensors.append(_to_tensor(value))
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=specs, tensors=tensors)
    return str(prefix)


def _to_tensor(value):
    # Constants of 4-bit integers are made by a cast (TF 2.21).
    if value.dtype.name in ("int4", "uint4"):
        return tf.cast(tf.constant(value.astype(np.int8)), value.dtype.name)
    return tf.constant(value)


def restore(prefix, name, dtype, spec=""):
    return tf.raw_ops.RestoreV2(prefix=str(prefix), tensor_names=[name], shape_and_slices=[spec], dtypes=[dtype])[0]


def make_values(rng):
    """One tensor of each kind."""
    values = {
        f"kinds/{name}": rng.integers(0, 100, (3, 5)).astype(name)
        for name in ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
                     "uint64", "bool", "complex64", "complex128")
    }  # fmt: skip
    for name in ("bfloat16", "float8_e5m2", "float8_e4m3fn"):
        values[f"kinds/{name}"] = rng.normal(size=(7,)).astype(getattr(ml_dtypes, name))
    for name in ("int4", "uint4"):
        values[f"kinds/{name}"] = rng.integers(0, 7, (9,)).astype(getattr(ml_dtypes, name))
    values["kinds/string"] = np.array([b"", b"a", b"\0\xff", b"x" * 300, "ü".encode(), b"end"], object).reshape(2, 3)
    values["empty/float32"] = np.zeros((0, 4), np.float32)
    values["empty/string"] = np.zeros((0,), object)
    values["scalar"] = np.float32(1.5)
    values["scalar/string"] = np.array(b"one", object)
    return values


@pytest.fixture(scope="session")
def every_kind(tmp_path_factory):
    values = make_values(np.random.default_rng(0))
    return Written(save(tmp_path_factory.mktemp("kinds") / "model.ckpt", values), values)


@pytest.fixture(scope="session")
def many_keys(tmp_path_factory, request):
    """5,000 keys, so that the index has several blocks; 50,000 with --run-slow."""
    count = 50_000 if sharing.runs_slow(request.config) else 5_000
    kinds = [np.arange(size, dtype=np.float32) for size in range(4)]
    values = {f"scope_{i % 37}/layer_{i}/{'kernel' * (i % 3 + 1)}": kinds[i % 4] for i in range(count)}
    return Written(save(tmp_path_factory.mktemp("many") / "model.ckpt", values), values)


@pytest.fixture(scope="session")
def several_shards(tmp_path_factory):
    """Three shards merged as TF1's sharded Saver merges them, with partitioned tensors across them."""
    folder = tmp_path_factory.mktemp("shards")
    rng = np.random.default_rng(2)
    whole = {"emb": rng.normal(size=(10, 4)).astype(np.float32), "wide": rng.integers(0, 9, (3, 300)).astype(np.int64)}
    parts = []
    for shard, (start, stop) in enumerate(((0, 4), (4, 7), (7, 10))):
        spec = f"10 4 {start},{stop - start}:-"
        slices = [("emb", spec, whole["emb"][start:stop])]
        columns = (100 * shard, 100 * (shard + 1))
        slices.append(("wide", f"3 300 0,3:{columns[0]},100", whole["wide"][:, slice(*columns)]))
        values = {f"own_{shard}": rng.normal(size=(2, 2)).astype(np.float32)}
        whole |= values
        parts.append(save(folder / f"part_{shard}", values, slices))
    prefix = str(folder / "model.ckpt")
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=prefix)
    return Written(prefix, whole)
