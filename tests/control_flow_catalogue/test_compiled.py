"""What v1 control flow kept models from: XLA, TFLite, and training as a Keras layer."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras

from tests.catalogue.loaded import load_once, to_values

from .recorded import SLUGS, assert_same, load_recorded

# slug -> the op, or the property of the model, that XLA cannot compile.
_GROWS = "TensorListResize has no XLA kernel: XLA's lists keep their first size"
_SCATTER = "TensorListScatterIntoExistingList has no XLA kernel"
_STRINGS = "strings"
_STACK = "XLA wants an upper bound for the lists of TF1's own gradient loop"
NOT_XLA = {
    "attention_decoder": _GROWS,
    "attention_training": _GROWS,
    "baked_gradients": _STACK,
    "baked_nested_gradients": _STACK,
    "beam_search": _GROWS,
    "crf": "XLA compiles both branches, of which one squeezes a dimension of 1 only where it is taken",
    "dropout_in_loop": "random output; see test_numbers.py",
    "growing_loop": "tensors of a loop that change their shape",
    "loop_table_lookup": _STRINGS,
    "map_fn_decode_image": _STRINGS,
    "map_fn_decode_png": _STRINGS,
    "map_fn_strings": _STRINGS,
    "raw_rnn": _GROWS,
    "tensor_arrays": _SCATTER,
}
# slug -> what the TFLite converter has no op of its own for.
_SHAPE = "a list wants a static element shape; TF1 left the batch size open"
NOT_TFLITE = {
    "attention_decoder": _SHAPE,
    "attention_training": _SHAPE,
    "baked_gradients": _SHAPE,
    "baked_nested_gradients": _SHAPE,
    "beam_search": _SHAPE,
    "bidirectional": _SHAPE,
    "crf": _SHAPE,
    "dropout_in_loop": _SHAPE,
    "gru": _SHAPE,
    "gru_block_cell": _SHAPE,
    "layer_norm_lstm": _SHAPE,
    "loop_table_lookup": "HashTableV2 is no TFLite op",
    "lstm": _SHAPE,
    "lstm_block_cell": _SHAPE,
    "lstm_block_peephole": _SHAPE,
    "map_fn": _SHAPE,
    "map_fn_decode_image": "Substr is no TFLite op",
    "map_fn_decode_png": _SHAPE,
    "map_fn_nested": _SHAPE,
    "map_fn_strings": "StringSplit, StringStrip and others are no TFLite ops",
    "raw_rnn": _SHAPE,
    "sequence_lengths": _SHAPE,
    "stacked_projections": _SHAPE,
    "switch_case": "Case is no TFLite op",
    "tensor_array_in_cond": _SHAPE,
    "tensor_arrays": "TensorListSplit is no TFLite op",
    "time_major_state": _SHAPE,
}
# slug -> why there is nothing to train, or no layer to train it in.
NOT_TRAINABLE = {
    "cond_assign": "what it adds changes from call to call, so no loss goes down",
    "switch_case": "two inputs, one of them a scalar, which tf_keras cannot batch",
}
# Default run: one of each kind; the others are slow.
QUICK = {"lstm", "cond_in_while", "scan"}


def _chosen(without):
    return [
        pytest.param(slug, marks=() if slug in QUICK else pytest.mark.slow) for slug in SLUGS if slug not in without
    ]


def _function(loaded, call):
    """(function of the inputs by key, {key: TensorSpec}) with the shapes of the call."""
    specs = {
        key: tf.TensorSpec(np.shape(value), tf.as_dtype(loaded.find_piece(call)[0]["inputs"][key]["dtype"]), key)
        for key, value in call.inputs.items()
    }

    def run(**inputs):
        return loaded.run(type(call)(call.tags, call.signature, call.case, inputs, call.outputs))

    return run, specs


def run_compiled(truth, loaded):
    """One XLA program for each call; outputs are the recorded ones."""
    for call in truth.calls:
        run, specs = _function(loaded, call)
        compiled = tf.function(run, jit_compile=True, autograph=False)
        with loaded.restored():
            found = to_values(
                compiled(**{key: tf.constant(value, specs[key].dtype) for key, value in call.inputs.items()})
            )
        for key, expected in call.outputs.items():
            assert_same(expected, found[key], f"case {call.case}: {key}", rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("slug", _chosen(NOT_XLA))
def test_xla(slug, migrated):
    run_compiled(load_recorded(slug), load_once(str(migrated[slug])))


def run_lite(truth, loaded):
    """Converted to TFLite's own ops for the shapes of the first call; outputs are the recorded ones."""
    call = truth.calls[0]
    run, specs = _function(loaded, call)
    concrete = tf.function(run, autograph=False).get_concrete_function(**specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], loaded.object)
    converter.experimental_enable_resource_variables = True
    converter._experimental_lower_tensor_list_ops = True
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    runner = interpreter.get_signature_runner()
    found = runner(**{key: np.asarray(value) for key, value in call.inputs.items()})
    for key, expected in call.outputs.items():
        assert_same(expected, found[key], key, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("slug", _chosen(NOT_TFLITE))
def test_tflite(slug, migrated):
    run_lite(load_recorded(slug), load_once(str(migrated[slug])))


def _trains(truth, call):
    """Whether the call takes a branch with weights in it."""
    gradients = [truth.gradient(call, "default", name) for name in truth.trainable]
    return any(gradient is not None and np.any(gradient) for gradient in gradients)


def fit_layer(truth, loaded, path):
    """`hub.KerasLayer(trainable=True)` in a model whose targets are the recorded outputs, moved."""
    call = next((call for call in truth.calls if _trains(truth, call)), truth.calls[0])
    piece, _ = loaded.find_piece(call)
    given = {key: tf.constant(call.inputs[key]) for key in piece["positional"]}
    others = {name: call.inputs[key].item() for name, key in piece["keywords"].items() if key in call.inputs}
    layer = hub.KerasLayer(str(path), trainable=True, arguments=others or None)
    inputs = {key: tf_keras.Input(batch_shape=value.shape, dtype=value.dtype, name=key) for key, value in given.items()}
    outputs = layer(next(iter(inputs.values())) if len(inputs) == 1 else inputs)
    outputs = outputs["default"] if isinstance(outputs, dict) else outputs
    model = tf_keras.Model(inputs, outputs)
    model.compile(tf_keras.optimizers.Adam(0.02), "mse")
    # Dropout has no recorded output: any target will do.
    recorded = call.outputs.get("default", call.outputs.get("clean"))
    target = recorded + np.float32(0.3)
    batch = tf.data.Dataset.from_tensors((given, target)).repeat(160)
    losses = []
    record = tf_keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: losses.append(logs["loss"]))
    # Before any step; the first epoch's mean is no such thing, and dropout in a loop makes single losses noise.
    before = model.evaluate(batch, steps=40, verbose=0)
    model.fit(batch, epochs=4, steps_per_epoch=40, verbose=0, callbacks=[record])
    assert layer.trainable_weights
    assert np.isfinite(losses).all() and min(losses) < before, (before, losses)


@pytest.mark.parametrize("slug", _chosen(NOT_TRAINABLE))
def test_fit(slug, migrated):
    fit_layer(load_recorded(slug), load_once(str(migrated[slug])), migrated[slug])


@pytest.mark.parametrize("slug", [slug for slug, reason in NOT_XLA.items() if reason == _GROWS])
def test_xla_refuses_what_grows(slug, migrated):
    """It would leave out what is written behind the end of a list, and say nothing."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="TensorListResize"):
        run_compiled(load_recorded(slug), load_once(str(migrated[slug])))
