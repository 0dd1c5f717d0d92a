"""A migrated model is a Keras layer: `hub.load`, `hub.KerasLayer(trainable=True)`, as its users take it."""

import pytest
import tensorflow as tf
import tensorflow_hub as hub

from migrate.verify.runners import calling
from migrate.write import provenance

from .loaded import spell_name, to_values
from .truth import assert_same, load_truth


def _layer_call(truth, record):
    """The first recorded inference call of the root that gives all positional inputs, and the piece; or None."""
    for piece in record["pieces"]:
        if piece["attribute"] == "" and piece["positional"]:
            tags = tuple(piece["modes"][0]["tags"])
            for call in truth.calls:
                if (call.tags, call.signature) == (tags, piece["signature"]) and not piece["modes"][0]["training"]:
                    return call, piece
    return None, None


def _inputs(call, piece):
    given = {key: calling.to_tensor(call.inputs[key], piece["inputs"][key]) for key in piece["positional"]}
    return next(iter(given.values())) if len(given) == 1 else given


@pytest.fixture
def layer_call(truth, folder):
    record = provenance.read_record(str(folder))
    call, piece = _layer_call(truth, record)
    if call is None:
        assert record["callable"] is None, "the root has a call, but no recorded call fits it"
        pytest.skip("no signature of the model is its default: the root is no layer")
    if truth.is_stateful(call.signature):
        pytest.skip("the call counts: it is no forward pass")
    return call, piece


def test_keras_layer(truth, folder, layer_call):
    """The layer trains exactly TF1's trainable variables, adds TF1's losses, and gives the recorded output."""
    call, piece = layer_call
    arguments = {
        name: call.inputs[key].item() if call.inputs[key].ndim == 0 else tf.constant(call.inputs[key])
        for name, key in piece["keywords"].items()
        if key in call.inputs
    }
    layer = hub.KerasLayer(hub.load(str(folder)), trainable=True, arguments=arguments or None)
    outputs = layer(_inputs(call, piece))
    found = to_values(outputs if isinstance(outputs, dict) else {"default": outputs})
    for key, value in found.items():
        if key in call.outputs:
            assert_same(call.outputs[key], value, key)
    expected = truth.by_tags("trainable_variables")[truth.deciding_tags]
    assert sorted(map(spell_name, layer.trainable_weights)) == sorted(expected)
    whole = {name for names in truth.origin["variables"].values() for name in names}
    assert whole - set(expected) <= set(map(spell_name, layer.non_trainable_weights))
    losses = [value for (tags, _), value in sorted(truth.losses.items()) if tags == truth.deciding_tags]
    assert len(layer.losses) == len(losses)
    for ours, recorded in zip(layer.losses, losses, strict=True):
        assert_same(recorded, ours.numpy(), "loss")


@pytest.mark.parametrize("slug", ["hub_dense_l2", "hub_image_batch_norm", "variants_shared_variables"])
def test_frozen_layer(slug, catalogue):
    """Without trainable=True the layer trains nothing, and its losses weigh nothing."""
    truth, folder = load_truth(slug), catalogue.path(slug)
    call, piece = _layer_call(truth, provenance.read_record(str(folder)))
    layer = hub.KerasLayer(hub.load(str(folder)))
    layer(_inputs(call, piece))
    assert layer.trainable_weights == []
    assert all(float(loss) == 0 for loss in layer.losses)


def test_most_models_are_layers(catalogue):
    """The skips above are few: the root of nearly every model has a call."""
    records = [
        provenance.read_record(str(catalogue.path(slug)))
        for slug, outcome in catalogue.outcomes.items()
        if outcome.status.value == "migrated"
    ]
    assert sum(record["callable"] is not None for record in records) >= 0.9 * len(records)
