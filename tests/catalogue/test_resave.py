"""load -> one optimizer step -> save -> load: fine-tuning keeps everything, assets and tables included."""

import shutil

import pytest
import tensorflow as tf

from tests import sharing

from .loaded import load, spell_name, to_values
from .truth import SLUGS, assert_same

_RATE = 0.01


def _train(loaded, call):
    """One step of gradient descent on the sum of the outputs, where the call can be differentiated."""
    variables = list(loaded.object.trainable_variables)
    if not variables:
        return
    try:
        with tf.GradientTape() as tape:
            total = tf.add_n(
                [
                    tf.cast(tf.reduce_sum(value), tf.float32)
                    for value in loaded.run(call).values()
                    if isinstance(value, tf.Tensor) and value.dtype.is_floating
                ]
            )
        gradients = tape.gradient(total, variables)
    except (LookupError, ValueError, AssertionError):  # test_gradients.py knows which and why
        gradients = [None] * len(variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        step = tf.ones_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
        variable.assign_sub(tf.cast(_RATE, variable.dtype) * step)


def _run_all(truth, loaded):
    """Outputs of every recorded call, each from the same state, random ones left out."""
    state = [variable.read_value() for variable in loaded.object.variables]
    found = {}
    for call in truth.calls:
        if truth.is_stateful(call.signature) and call.case:
            continue
        outputs = to_values(loaded.run(call))
        found |= {(call.tags, call.signature, call.case, key): outputs[key] for key in call.outputs}
        for variable, value in zip(loaded.object.variables, state, strict=True):
            variable.assign(value)
    return found


@pytest.mark.parametrize("truth", sharing.mark_slow(SLUGS, but=5), indirect=True)
def test_fine_tuned_model_is_saved_whole(truth, folder, tmp_path):
    """The second save needs nothing of the first: that one is deleted before the third object is loaded."""
    first, second, moved = tmp_path / "first", tmp_path / "second", tmp_path / "moved"
    shutil.copytree(folder, first)
    tuned = load(first)
    _train(tuned, truth.calls[0])
    values = {spell_name(variable): variable.read_value().numpy() for variable in tuned.object.variables}
    tf.saved_model.save(tuned.object, str(second), signatures=tuned.object.signatures)
    shutil.copytree(first / "assets.extra", second / "assets.extra")
    before = _run_all(truth, tuned)
    shutil.rmtree(first)
    second.rename(moved)

    again = load(moved)
    assert sorted(map(spell_name, again.object.trainable_variables)) == sorted(
        map(spell_name, tuned.object.trainable_variables)
    )
    assert set(again.variables) == set(values)
    for name, value in values.items():
        assert_same(value, again.variables[name].read_value().numpy(), name, rtol=0, atol=0)
    losses = [getattr(model.object, "regularization_losses", ()) for model in (tuned, again)]
    assert [float(loss()) for loss in losses[0]] == [float(loss()) for loss in losses[1]]
    assert sorted(again.object.signatures) == sorted(tuned.object.signatures)
    after = _run_all(truth, again)
    assert set(after) == set(before) != set()
    for key, value in before.items():
        assert_same(value, after[key], str(key), rtol=1e-6)
