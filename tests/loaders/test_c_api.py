"""Migrated models load through the C API, as Java, Go and Rust load them: TF_LoadSessionFromSavedModel with the tag
`serve`; every SignatureDef that a recorded call fits gives what TF1 recorded."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from migrate.arrays import RaggedValue, SparseValue
from tests.catalogue.loaded import load_once
from tests.catalogue.truth import SLUGS, assert_same, load_truth

PROGRAM = pathlib.Path(__file__).with_name("c_api.py")
_SECONDS = 120.0  # for all calls of one model, which take below 10
# Dense and image, strings with a table in an asset file, tf.Examples, a loop, reference variables.
QUICK = ("estimator_dnn_classifier", "hub_image_batch_norm", "hub_lstm", "hub_text_mean", "tf18_hub_dense")
SLOW = [slug for slug in SLUGS if slug not in QUICK]
CHOSEN = [*QUICK, *(pytest.param(slug, marks=pytest.mark.slow) for slug in SLOW)]


def read_signatures(path):
    """SignatureDefs of the only MetaGraph, whose tags are ["serve"]."""
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((pathlib.Path(path) / "saved_model.pb").read_bytes())
    (meta_graph,) = saved_model.meta_graphs
    assert list(meta_graph.meta_info_def.tags) == ["serve"]
    return meta_graph.signature_def


def list_tensors(info):
    """Names of the tensors that carry a value, in the order of `split`."""
    if info.WhichOneof("encoding") == "coo_sparse":
        sparse = info.coo_sparse
        return [sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
    if info.WhichOneof("encoding") == "composite_tensor":
        return [component.name for component in info.composite_tensor.components]
    return [info.name]


def split(value):
    if isinstance(value, SparseValue):
        return [value.values, value.indices, value.dense_shape]
    if isinstance(value, RaggedValue):
        return [value.flat_values, *value.row_splits]
    return [value]


def list_requests(truth, path, folder):
    """(request, {output key: (expected value, tensor names)}) for each recorded call that a SignatureDef takes."""
    signatures, loaded = read_signatures(path), load_once(str(path))
    for number, call in enumerate(truth.calls):
        if not loaded.has_signature(call):
            continue
        definition = signatures[loaded.find_piece(call)[0]["signature_def"]]
        feeds = {}
        for key, value in call.inputs.items():
            dtype = tf.as_dtype(definition.inputs[key].dtype or tf.string)
            for position, (name, part) in enumerate(
                zip(list_tensors(definition.inputs[key]), split(value), strict=True)
            ):
                array = np.asarray(part)
                if position == 0 and array.dtype.kind not in "OS":
                    array = array.astype(dtype.as_numpy_dtype)
                feeds[name] = f"{truth.slug}-{number}-{len(feeds)}-in.npy"
                np.save(folder / feeds[name], array, allow_pickle=True)
        wanted = {key: (value, list_tensors(definition.outputs[key])) for key, value in call.outputs.items()}
        fetches = [name for _, names in wanted.values() for name in names]
        request = {"name": f"{truth.slug}-{number}", "path": str(path), "tags": ["serve"], "session": str(number)}
        if truth.is_stateful(call.signature):  # TF1 recorded one call after another
            request["session"] = call.signature
        yield request | {"feeds": feeds, "fetches": fetches}, wanted


@pytest.fixture(scope="module")
def library():
    found = pathlib.Path(tf.sysconfig.get_lib()) / "libtensorflow_cc.so.2"
    if not found.exists():
        pytest.skip("this TensorFlow brings no libtensorflow_cc")
    return found


@pytest.mark.parametrize("slug", CHOSEN)
def test_loads_and_computes_the_same(slug, catalogue, library, tmp_path):
    truth = load_truth(slug)
    requests = list(list_requests(truth, catalogue.path(slug), tmp_path))
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(library), str(tmp_path)],
        input="".join(json.dumps(request) + "\n" for request, _ in requests),
        capture_output=True,
        text=True,
        check=True,
        timeout=_SECONDS,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer, (_, wanted) in zip(answers, requests, strict=True):
        assert "error" not in answer, f"{answer['name']}: {answer['error']}"
        for key, (expected, names) in wanted.items():
            parts = [np.load(tmp_path / answer["outputs"][name], allow_pickle=True) for name in names]
            assert_same(expected, _join(expected, parts), f"{answer['name']}: {key}")
    assert requests, "nothing was compared"


def _join(expected, parts):
    if isinstance(expected, SparseValue):
        return SparseValue(values=parts[0], indices=parts[1], dense_shape=parts[2])
    if isinstance(expected, RaggedValue):
        return RaggedValue(flat_values=parts[0], row_splits=tuple(parts[1:]))
    return parts[0]
