"""TFLite's converter takes what it would take of a fresh TF2 model, and its interpreter gives the recorded outputs."""

import numpy as np
import pytest
import tensorflow as tf

from tests.catalogue.loaded import load_once
from tests.catalogue.truth import SLUGS as SLUGS_OF_THE_ZOO
from tests.catalogue.truth import load_truth

# Dense, convolution with batch norm, reference variables. A loop over a batch of unknown
# size converts to Flex ops only, as one of a fresh TF2 model does; the plain interpreter cannot run those.
SLUGS = ("hub_dense_l2", "hub_image_batch_norm", "tf18_hub_dense", "variables_uncollected")


@pytest.mark.parametrize("slug", SLUGS)
def test_tflite(slug, catalogue):
    truth = load_truth(slug)
    call = next(c for c in truth.calls if "train" not in c.tags and c.signature in ("default", "serving_default"))
    loaded = load_once(str(catalogue.path(slug)))
    piece, _ = loaded.find_piece(call)
    converter = tf.lite.TFLiteConverter.from_saved_model(loaded.path, signature_keys=[piece["signature_def"]])
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    runner = interpreter.get_signature_runner(piece["signature_def"])
    outputs = runner(**{piece["arguments"][key][0]: value for key, value in call.inputs.items()})
    assert sorted(outputs) == sorted(call.outputs)
    for key, expected in call.outputs.items():
        np.testing.assert_allclose(outputs[key], expected, rtol=1e-4, atol=1e-5, err_msg=f"{slug}/{key}")


def test_sparse_signature_defs_are_refused_by_tflite(catalogue):
    """The price of keeping `coo_sparse` in the SignatureDef, written down: the converter takes dense ones only."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(catalogue.path("hub_sparse")), signature_keys=["default"])
    with pytest.raises(Exception, match="Only dense tensor is supported"):
        converter.convert()


_DENSE_ONLY = "Only dense tensor is supported"  # coo_sparse and composite encodings, which are kept
_SAME_NAME = "redefinition of symbol named"  # a signature that is called like a variable
# Signatures that do not convert, with the converter's reason; the last test shows the second of a fresh model, too.
LEFT = {
    ("estimator_linear_classifier", "raw:predict"): _DENSE_ONLY,
    ("hub_ragged", "default"): _DENSE_ONLY,
    ("hub_several_signatures", "prior"): _SAME_NAME,
    ("hub_sparse", "default"): _DENSE_ONLY,
    ("hub_sparse", "hash"): _DENSE_ONLY,
    ("saved_model_sparse", "fixed"): "The name '' looks like an (invalid) Operation name",
    ("saved_model_sparse", "serving_default"): "The name '' looks like an (invalid) Operation name",
    ("saved_model_sparse", "split"): "The name '' looks like an (invalid) Operation name",
}


def convert_with_flex(path, key):
    """ "" or the converter's error; TFLite's own ops first, then with TensorFlow's."""
    reason = ""
    for more in ([], [tf.lite.OpsSet.SELECT_TF_OPS]):
        converter = tf.lite.TFLiteConverter.from_saved_model(path, signature_keys=[key])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, *more]
        try:
            assert converter.convert()
        except Exception as error:
            reason = str(error)
        else:
            return ""
    return reason


@pytest.mark.slow
@pytest.mark.parametrize("slug", SLUGS_OF_THE_ZOO)
def test_every_signature(slug, catalogue):
    path = str(catalogue.path(slug))
    for key in sorted({piece["signature_def"] for piece in load_once(path).record["pieces"]}):
        reason = convert_with_flex(path, key)
        assert bool(reason) == ((slug, key) in LEFT), (key, reason)
        assert LEFT.get((slug, key), "") in reason


@pytest.mark.slow
def test_fresh_model_with_a_variable_of_the_signatures_name(tmp_path):
    module = tf.Module()
    module.kept = tf.Variable([1.0, 2.0], name="prior")
    module.f = tf.function(lambda: {"y": module.kept * 2.0}, input_signature=[])
    tf.saved_model.save(module, str(tmp_path), signatures={"prior": module.f})
    assert _SAME_NAME in convert_with_flex(str(tmp_path), "prior")
