"""TFLite and recurrent networks whose batch size TF1 left open: what converts, and what does not, as of a fresh LSTM.

TFLite's converter turns the list of a loop's outputs into a tensor, for which it wants the shape of an element as a
constant (tensorflow/compiler/mlir/lite/transforms/lower_static_tensor_list.cc, ConvertTensorListInitOp).
"""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.catalogue.loaded import load_once
from tests.catalogue.truth import assert_same

_REFUSED = "element_shape.* to be static|Lowering tensor list ops is failed"


@pytest.fixture(scope="module")
def network(catalogue):
    return load_once(str(catalogue.path("hub_lstm")))


def _converter(network):
    return tf.lite.TFLiteConverter.from_saved_model(network.path, signature_keys=["default"])


def _make(spec, batch, rng):
    shape = [batch if axis == 0 else 4 if size is None else size for axis, size in enumerate(spec.shape)]
    if spec.dtype.is_integer:
        return rng.integers(1, 5, shape).astype(spec.dtype.as_numpy_dtype)
    return rng.random(shape).astype(spec.dtype.as_numpy_dtype)


def test_one_row_at_a_time(network):
    """The converter's own way out: an open batch is one row; time steps stay open. TFLite's own ops only."""
    converter = _converter(network)
    converter._experimental_default_to_single_batch_in_tensor_list_ops = True
    runner = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner("default")
    signature = network.object.signatures["default"]
    specs = signature.structured_input_signature[1]
    for seed in (1, 2):
        given = {key: _make(spec, 1, np.random.default_rng(seed)) for key, spec in specs.items()}
        wanted = signature(**{key: tf.constant(value) for key, value in given.items()})
        for key, value in runner(**given).items():
            assert_same(wanted[key].numpy(), value, key, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_any_batch_is_refused_as_of_a_fresh_lstm(network, tmp_path):
    with pytest.raises(Exception, match=_REFUSED):
        _converter(network).convert()
    inputs = tf_keras.Input((4, 3))
    fresh = tf_keras.Model(inputs, tf_keras.layers.RNN(tf_keras.layers.LSTMCell(4), return_sequences=True)(inputs))
    tf.saved_model.save(fresh, str(tmp_path))
    with pytest.raises(Exception, match=_REFUSED):
        tf.lite.TFLiteConverter.from_saved_model(str(tmp_path)).convert()
