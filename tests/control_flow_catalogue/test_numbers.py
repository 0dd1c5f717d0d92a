"""Outputs and gradients are TF1's, in the migrated model and after it was loaded and saved once more."""

import pytest
import tensorflow as tf

from tests.catalogue.check_behaviour import check_outputs, check_updates
from tests.catalogue.loaded import load_once, to_values

from .recorded import INPUT, SLUGS, assert_same, load_recorded

# Outputs that are themselves gradients: TF1 has none of it, and says None where its stacks are in the way.
GRADIENT_OUTPUTS = {
    "baked_gradients": {"dx", "saliency"},
    "baked_nested_gradients": {"d_nested", "d_choice", "d_perhaps", "d_mapped"},
}


def check_gradients(truth, loaded):
    """Gradients of each output's sum by every float input and every trainable variable; returns their number."""
    compared = 0
    for call in truth.calls:
        inputs = {key: tf.constant(value) for key, value in call.inputs.items()}
        watched = {INPUT + key: value for key, value in inputs.items() if value.dtype.is_floating}
        watched |= {name: loaded.variables[name] for name in truth.trainable}
        with loaded.restored():
            for output in call.outputs:
                if truth.has_gradient_error(call, output):
                    continue
                found = _differentiate(loaded, call, inputs, output, watched)
                for name, gradient in found.items():
                    expected = truth.gradient(call, output, name)
                    if expected is not None or output not in GRADIENT_OUTPUTS.get(truth.slug, ()):
                        compared += _check(expected, gradient, f"case {call.case}: {output} by {name}")
    return compared


def _differentiate(loaded, call, inputs, output, watched):
    with tf.GradientTape() as tape:
        tape.watch(list(watched.values()))
        fed = type(call)(call.tags, call.signature, call.case, inputs, call.outputs)
        value = loaded.run(fed, open_sizes=True)[output]
        if not value.dtype.is_floating:
            return {}
        total = tf.reduce_sum(value)
    return tape.gradient(total, watched)


def _check(expected, actual, where):
    if expected is None:  # TF1 found no path; a function call turns that into zeros
        assert actual is None or not tf.convert_to_tensor(actual).numpy().any(), f"{where}: TF1 has none"
        return 0
    assert actual is not None, f"{where}: there is none"
    assert_same(expected, tf.convert_to_tensor(actual).numpy(), where, rtol=1e-4, atol=1e-6)
    return 1


def test_outputs(truth, loaded):
    assert check_outputs(truth, loaded) == sum(len(call.outputs) for call in truth.calls) > 0


def test_gradients(truth, loaded):
    assert check_gradients(truth, loaded) == len(truth.gradients) > 0


_RESAVED = {"lstm", "cond_in_while", "map_fn_nested", "loop_table_lookup", "cond_assign", "raw_rnn"}


@pytest.mark.parametrize(
    "slug", [pytest.param(slug, marks=() if slug in _RESAVED else pytest.mark.slow) for slug in SLUGS]
)
def test_after_another_save(slug, saved_again):
    truth = load_recorded(slug)
    again = saved_again(slug)
    assert check_outputs(truth, again) > 0
    assert check_gradients(truth, again) == len(truth.gradients)


@pytest.mark.slow
def test_gradient_of_a_gradient_that_tf1_had_baked_in(migrated):
    """TF1 has no second gradient of a loop; the migrated model has, and eager TF2 tells what it is."""
    truth = load_recorded("baked_gradients")
    loaded = load_once(str(migrated["baked_gradients"]))
    kernel, bias = loaded.variables["kernel"], loaded.variables["bias"]

    def model(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = x
            for _ in range(3):
                y = tf.tanh(tf.matmul(y, kernel)) + bias
            squared = tf.square(tf.sin(x) * bias)
        return {"dx": tape.gradient(y, x), "saliency": tape.gradient(squared, x)}

    for call in truth.calls:
        x = tf.constant(call.inputs["default"])
        for output in ("dx", "saliency"):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                want = model(x)[output]
                got = loaded.run(type(call)(call.tags, call.signature, call.case, {"default": x}, call.outputs))[output]
            for source in (x, kernel, bias):
                expected = tape.gradient(want, source, unconnected_gradients="zero").numpy()
                actual = tape.gradient(got, source, unconnected_gradients="zero").numpy()
                assert_same(expected, actual, output, rtol=1e-4, atol=1e-6)


def test_updates_in_a_branch(migrated):
    """UPDATE_OPS that lie in a conditional run in training."""
    truth = load_recorded("cond_update_ops")
    assert check_updates(truth, load_once(str(migrated["cond_update_ops"]))) == len(truth.updates) > 0


def test_dropout_differs_from_call_to_call(migrated):
    """Nothing froze the random numbers: each call and each step has its own, zeros and kept values."""
    truth = load_recorded("dropout_in_loop")
    loaded = load_once(str(migrated["dropout_in_loop"]))
    draws = [to_values(loaded.run(truth.calls[0]))["default"] for _ in range(12)]
    zeros = [(draw == 0).mean() for draw in draws]
    assert len({draw.tobytes() for draw in draws}) > 1
    assert 0.3 < sum(zeros) / len(zeros) < 0.7
    steps = {tuple((draw[:, step] == 0).ravel()) for draw in draws for step in range(draw.shape[1])}
    assert len(steps) > len(draws)
