"""hub.Module over what migrate reads beyond modules: TF1 SavedModels, and archives."""

import pathlib
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from compat import hub

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"


def _pack(slug, path):
    with tarfile.open(path, "w:gz") as tar:
        tar.add(ZOO / slug / "model", arcname=".")
    return str(path)


def _apply(handle, tags, signature, inputs):
    with tf.Graph().as_default():
        module = hub.Module(handle, tags=tags)
        outputs = module({key: tf.constant(value) for key, value in inputs.items()}, signature=signature, as_dict=True)
        with tf.compat.v1.Session() as session:
            session.run([tf.compat.v1.global_variables_initializer(), tf.compat.v1.tables_initializer()])
            return session.run(outputs)


def _run_original(path, signature, inputs):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        definition = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def[signature]
        fed = {definition.inputs[key].name: value for key, value in inputs.items()}
        return session.run({key: info.name for key, info in definition.outputs.items()}, fed)


def _draw_inputs(infos):
    shapes = {key: [dim or 2 for dim in info.get_shape().as_list()] for key, info in infos.items()}
    return {key: np.full(shape, 0.5, infos[key].dtype.as_numpy_dtype) for key, shape in shapes.items()}


@pytest.mark.parametrize("packed", [False, True])
def test_saved_model(tmp_path, packed):
    original = str(ZOO / "saved_model_pbtxt" / "model")
    handle = _pack("saved_model_pbtxt", tmp_path / "m.tar.gz") if packed else original
    spec = hub.load_module_spec(handle)
    assert list(spec.get_tags()) == [frozenset({"serve"})]
    signature = next(iter(spec.get_signature_names({"serve"})))
    inputs = _draw_inputs(spec.get_input_info_dict(signature, {"serve"}))
    expected, found = _run_original(original, signature, inputs), _apply(handle, {"serve"}, signature, inputs)
    assert found.keys() == expected.keys() and found
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)


def test_module_in_an_archive(tmp_path):
    handle = _pack("hub_dense_l2", tmp_path / "m.tgz")
    inside, plain = (hub.load_module_spec(path) for path in (handle, str(ZOO / "hub_dense_l2" / "model")))
    assert list(inside.get_tags()) == list(plain.get_tags())


def test_archive_of_something_else(tmp_path):
    (tmp_path / "bad.tgz").write_bytes(b"no archive")
    with pytest.raises(OSError, match=r"bad\.tgz"):
        hub.load_module_spec(str(tmp_path / "bad.tgz"))
