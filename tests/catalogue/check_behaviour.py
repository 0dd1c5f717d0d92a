"""Properties of what a migrated model computes. Each takes (truth, loaded) and raises AssertionError.

`loaded` must be in its first state; `test_broken.py` shows that each of these can fail.
"""

import tensorflow as tf

from .loaded import load, spell_name, to_values
from .truth import UPDATE_SIGNATURES, assert_same

CALLABLE, SIGNATURE = "callable", "signature"


def check_outputs(truth, loaded, route=CALLABLE):
    """Every recorded output of every call comes out; returns how many outputs were compared."""
    compared = 0
    stateful = {}
    for call in truth.calls:
        if route == SIGNATURE and not loaded.has_signature(call):
            continue
        if truth.is_stateful(call.signature):
            # Case i was the i-th call in one session.
            target = stateful.setdefault((call.tags, call.signature), load(loaded.path))
            compared += _check_call(call, target, route)
        else:
            with loaded.restored():
                compared += _check_call(call, loaded, route)
    return compared


def _check_call(call, loaded, route):
    where = f"{route} {','.join(call.tags)}/{call.signature}/{call.case}"
    run = loaded.run if route == CALLABLE else loaded.run_signature
    found = to_values(run(call))
    assert set(call.outputs) <= set(found), f"{where}: lost {sorted(set(call.outputs) - set(found))}"
    for key, expected in call.outputs.items():
        assert_same(expected, found[key], f"{where}/{key}")
    return len(call.outputs)


def check_gradients(truth, loaded):
    """Gradients of each output's sum are TF1's, with respect to every trainable variable of its tag set.

    A variable that only another tag set trains is watched by hand: its gradient must be right all the same.
    Returns how many gradients were compared.
    """
    compared = 0
    trainable = truth.by_tags("trainable_variables")
    for call in truth.calls:
        if truth.is_stateful(call.signature):
            continue
        names = sorted(set(trainable[call.tags]) & set(loaded.variables))
        lost = set(trainable[call.tags]) - set(names)
        assert not lost, f"{call.tags}: variables are lost: {sorted(lost)}"
        variables = [loaded.variables[name] for name in names]
        if not variables:
            continue
        for output in call.outputs:
            if truth.has_gradient_error(call, output):
                continue
            with loaded.restored():
                gradients = _differentiate(loaded, call, output, variables)
            for name, gradient in zip(names, gradients, strict=True):
                key = (call.tags, str(call.case), call.signature, output, name)
                _check_gradient(truth.gradients.get(key), gradient, "gradient " + "|".join(map(str, key)))
                compared += key in truth.gradients
    return compared


def _differentiate(loaded, call, output, variables):
    """Gradients of an output's sum, None for each where it holds no floats.

    One tape for each output: a persistent one asks TensorFlow for second derivatives of every function, which
    ops such as SparseSegmentMean do not have (TF 2.21). Sizes are open: tracing a gradient is most of the time.
    """
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = loaded.run(call, open_sizes=True)[output]
        flat = value.values if isinstance(value, tf.SparseTensor) else getattr(value, "flat_values", value)
        total = tf.reduce_sum(flat) if flat.dtype.is_floating else None
    return [None] * len(variables) if total is None else tape.gradient(total, variables)


def _check_gradient(expected, actual, where):
    if expected is None:
        # TF1 found no path; a function call turns that into zeros.
        assert actual is None or not tf.convert_to_tensor(actual).numpy().any(), f"{where}: TF1 has none"
        return
    assert actual is not None, f"{where}: there is none"
    assert_same(expected, tf.convert_to_tensor(actual).numpy(), where, rtol=1e-4, atol=5e-6)


def check_losses(truth, loaded):
    """REGULARIZATION_LOSSES of the deciding variant: number, order, values and gradients."""
    tags = truth.deciding_tags
    losses = list(getattr(loaded.object, "regularization_losses", ()))
    count = truth.by_tags("regularization_losses")[tags]
    assert len(losses) == count, f"{count} regularization losses became {len(losses)}"
    for position, loss in enumerate(losses):
        where = f"loss {position}"
        with tf.GradientTape() as tape:
            value = loss()
        variables = loaded.object.trainable_variables
        gradients = tape.gradient(value, variables)
        assert_same(truth.losses[tags, str(position)], value.numpy(), where)
        for variable, gradient in zip(variables, gradients, strict=True):
            name = spell_name(variable)
            _check_gradient(truth.loss_gradients.get((tags, str(position), name)), gradient, f"{where}|{name}")
    return count


def check_updates(truth, loaded):
    """Non-trainable variables after one training call are what UPDATE_OPS left; returns how many there are."""
    compared = 0
    for tags in sorted({tags for tags, _ in truth.updates}):
        keys = truth.by_tags("signature_keys")[tags]
        signature = next(key for key in UPDATE_SIGNATURES if key in keys)
        call = next(c for c in truth.calls if (c.tags, c.signature, c.case) == (tags, signature, 0))
        with loaded.restored():
            loaded.run(call, updating=True)
            for (recorded, name), expected in truth.updates.items():
                if recorded == tags:
                    found = loaded.variables[name].read_value().numpy()
                    assert_same(expected, found, f"update {','.join(tags)}|{name}")
                    compared += 1
    return compared


def check_inference_keeps_state(truth, loaded):
    """No inference call of a stateless signature changes a variable."""
    for call in truth.calls:
        piece, training = loaded.find_piece(call)
        if training or truth.is_stateful(call.signature) or call.tags != tuple(piece["modes"][0]["tags"]):
            continue
        if "eval" in call.tags:  # a metric counts its calls, in TF1 as well
            continue
        with loaded.restored():
            loaded.run(call)
            for variable, before in zip(loaded.object.variables, loaded.initial, strict=True):
                same = tf.reduce_all(tf.equal(variable.read_value(), before))
                assert bool(same), f"{call.tags}/{call.signature} changes {spell_name(variable)}"
