"""TFLite and recurrent networks whose batch size TF1 left open: they convert, and take any batch.

TFLite's converter allocates the list of a loop's outputs before the loop, for which it must know the shape of an
element: migrated models compute it (graph/list_shapes.py), a fresh LSTM does not.
"""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.catalogue.loaded import load_once
from tests.catalogue.truth import assert_same

_REFUSED = "element_shape.* to be static|Lowering tensor list ops is failed"
# Key by model: a sequence of outputs is asked for.
NETWORKS = {"hub_lstm": "default", "keras_simple_save": "serving_default"}


def _converter(path, key, more=()):
    converter = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=[key])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, *more]
    return converter


def _make(spec, batch, rng):
    shape = [batch if axis == 0 else 4 if size is None else size for axis, size in enumerate(spec.shape)]
    if spec.dtype.is_integer:
        return rng.integers(1, 5, shape).astype(spec.dtype.as_numpy_dtype)
    return rng.random(shape).astype(spec.dtype.as_numpy_dtype)


@pytest.mark.parametrize("slug", ["hub_lstm", pytest.param("keras_simple_save", marks=pytest.mark.slow)])
def test_any_batch(slug, catalogue):
    network, key = load_once(str(catalogue.path(slug))), NETWORKS[slug]
    runner = tf.lite.Interpreter(model_content=_converter(network.path, key).convert()).get_signature_runner(key)
    signature = network.object.signatures[key]
    specs = signature.structured_input_signature[1]
    for batch in (1, 3, 5):
        given = {name: _make(spec, batch, np.random.default_rng(batch)) for name, spec in specs.items()}
        wanted = signature(**{name: tf.constant(value) for name, value in given.items()})
        found = runner(**given)
        assert set(found) == set(wanted)
        for name, value in found.items():
            assert_same(wanted[name].numpy(), value, name, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_directions_over_text(catalogue):
    """Strings need TensorFlow's own ops, which Python's interpreter of TFLite does not have: it converts."""
    flex = (tf.lite.OpsSet.SELECT_TF_OPS,)
    assert _converter(str(catalogue.path("hub_bidirectional")), "default", flex).convert()


@pytest.mark.slow
def test_a_fresh_lstm_is_refused(tmp_path):
    """What migrated models are better than: were it no longer so, the pass would have nothing to do."""
    inputs = tf_keras.Input((4, 3))
    fresh = tf_keras.Model(inputs, tf_keras.layers.RNN(tf_keras.layers.LSTMCell(4), return_sequences=True)(inputs))
    tf.saved_model.save(fresh, str(tmp_path))
    with pytest.raises(Exception, match=_REFUSED):
        tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert()
