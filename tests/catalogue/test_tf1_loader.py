"""What still runs TF1 code can load a migrated model: the v1 loader, tag `serve`, every signature."""

import numpy as np
import pytest
import tensorflow as tf

from migrate.arrays import RaggedValue, SparseValue
from tests import sharing

from .truth import SLUGS, assert_same

v1 = tf.compat.v1


def _parts(info, value):
    """Tensor name -> what is fed to it."""
    if isinstance(value, SparseValue):
        coo = info.coo_sparse
        return {
            coo.indices_tensor_name: value.indices,
            coo.values_tensor_name: value.values,
            coo.dense_shape_tensor_name: value.dense_shape,
        }
    if isinstance(value, RaggedValue):
        names = [component.name for component in info.composite_tensor.components]
        return dict(zip(names, (value.flat_values, *value.row_splits), strict=True))
    return {info.name: value}


def _fetch(info):
    if info.WhichOneof("encoding") == "coo_sparse":
        coo = info.coo_sparse
        return [coo.indices_tensor_name, coo.values_tensor_name, coo.dense_shape_tensor_name]
    if info.WhichOneof("encoding") == "composite_tensor":
        return [component.name for component in info.composite_tensor.components]
    return info.name


def _value(info, found):
    encoding = info.WhichOneof("encoding")
    if encoding == "coo_sparse":
        return SparseValue(indices=found[0], values=found[1], dense_shape=found[2])
    if encoding == "composite_tensor":
        return RaggedValue(flat_values=found[0], row_splits=tuple(found[1:]))
    # Session.run gives a scalar string as bytes.
    return np.asarray(found, dtype=object) if isinstance(found, bytes) else np.asarray(found)


def _run(session, definition, call):
    feed = {definition.inputs[key].name: tf.make_ndarray(value) for key, value in definition.defaults.items()}
    for key, value in call.inputs.items():
        feed |= _parts(definition.inputs[key], value)
    return session.run({key: _fetch(info) for key, info in definition.outputs.items()}, feed)


@pytest.mark.parametrize("truth", sharing.mark_slow(SLUGS, but=2), indirect=True)
def test_session_serves_every_signature(truth, folder, loaded):
    """The recorded outputs come out of a Session, fed and fetched by the names in the SignatureDefs."""
    answered = set()
    for piece in loaded.record["pieces"]:
        tags = tuple(piece["modes"][0]["tags"])
        calls = [call for call in truth.calls if (call.tags, call.signature) == (tags, piece["signature"])]
        if piece["modes"][0]["training"] or "eval" in tags:
            calls = calls[:1]  # the second would see what the first's UPDATE_OPS, or metrics, left
        # A session of its own: what other signatures leave in variables does not reach this one.
        with v1.Session(graph=tf.Graph()) as session:
            meta_graph = v1.saved_model.load(session, ["serve"], str(folder))
            definition = meta_graph.signature_def[piece["signature_def"]]
            for call in calls:
                found = _run(session, definition, call)
                for key, expected in call.outputs.items():
                    value = _value(definition.outputs[key], found[key])
                    assert_same(expected, value, f"{piece['signature_def']}/{call.case}/{key}")
                answered.add(piece["signature_def"])
    assert answered == set(loaded.object.signatures)
