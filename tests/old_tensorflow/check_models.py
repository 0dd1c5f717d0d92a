"""Holds migrated models of the sample zoo against what TF1 recorded, in whatever TensorFlow 2 this runs in.

    python check_models.py MIGRATED_ROOT TESTDATA

MIGRATED_ROOT is what migrate-zoo wrote of TESTDATA/zoo. Prints JSON: {"tensorflow", "models": {slug: {check: text}}},
where a text is "" if the check passed and null if there was nothing to check. Needs TensorFlow, NumPy and nothing of
the toolkit: Python 3.8 and TF 2.4 are enough.
"""

import glob
import importlib.util
import json
import os
import sys

import numpy as np
import tensorflow as tf

CHECKS = ("load", "outputs", "gradients", "losses", "training_step")
RATE = 0.125


def load_codec(testdata):
    spec = importlib.util.spec_from_file_location("codec", os.path.join(testdata, "generate", "codec.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Model:
    """A migrated model beside its recorded truth."""

    def __init__(self, path, truth, codec):
        self.codec = codec
        with open(os.path.join(path, "assets.extra", "migration.json"), encoding="utf-8") as file:
            self.record = json.load(file)
        with open(os.path.join(truth, "origin.json"), encoding="utf-8") as file:
            self.origin = json.load(file)
        self.truth = {
            name: codec.load_npz(os.path.join(truth, name + ".npz"))
            for name in ("inputs", "outputs", "gradients", "losses")
        }
        self.path = path
        self.loaded = tf.saved_model.load(path)
        self.initial = {name: value.numpy() for name, value in self.variables().items()}

    def variables(self):
        return {variable.name.split(":")[0]: variable for variable in self.loaded.variables}

    def reset(self):
        for name, variable in self.variables().items():
            variable.assign(self.initial[name])

    def find_piece(self, tags, signature):
        wanted = sorted(tag for tag in tags.split(",") if tag)
        for piece in self.record["pieces"]:
            for mode in piece["modes"]:
                if piece["signature"] == signature and sorted(mode["tags"]) == wanted:
                    return piece, mode["training"]
        raise AssertionError(f"no piece stands for {tags}/{signature}")

    def call(self, tags, case, signature):
        """Output tensors by key."""
        piece, training = self.find_piece(tags, signature)
        given = {}
        for key, value in self.truth["inputs"].items():
            number, name, input_key = key.split("|", 2)
            if (number, name) == (case, signature):
                given[input_key] = self.to_tensor(value, piece["inputs"][input_key]["dtype"])
        keywords = {name: given[key] for name, key in piece["keywords"].items() if key in given}
        positional = {key: given[key] for key in piece["positional"] if key in given}
        if len(piece["positional"]) == 1:
            arguments = list(positional.values())
        else:
            arguments = [positional] if piece["positional"] else []
        if piece["has_training"]:
            keywords["training"] = training
        if piece["has_endpoints"]:
            keywords["return_endpoints"] = True
        target = getattr(self.loaded, piece["attribute"]) if piece["attribute"] else self.loaded
        outputs = target(*arguments, **keywords)
        return dict(outputs) if hasattr(outputs, "keys") else {"default": outputs}

    def to_tensor(self, value, dtype):
        if isinstance(value, self.codec.Sparse):
            return tf.SparseTensor(value.indices, tf.constant(value.values, dtype), value.dense_shape)
        if isinstance(value, self.codec.Ragged):
            return tf.RaggedTensor.from_nested_row_splits(
                tf.constant(value.flat_values, dtype), value.nested_row_splits
            )
        return tf.constant(value, dtype)

    def list_calls(self):
        """(tags, case, signature) -> recorded outputs that are not random; calls that change nothing but variables."""
        random = set(self.origin["random_outputs"])
        calls = {}
        for key, value in self.truth["outputs"].items():
            tags, case, signature, output = key.split("|", 3)
            if "|".join((tags, signature, output)) in random or signature in self.origin["stateful_signatures"]:
                continue
            calls.setdefault((tags, case, signature), {})[output] = value
        return calls


def assert_same(expected, actual, where, rtol=1e-5, atol=1e-6):
    """A recorded value (array, Sparse or Ragged) against a tensor."""
    if hasattr(expected, "dense_shape"):
        assert_same(expected.values, actual.values, where, rtol, atol)
        assert_same(expected.indices, actual.indices, where)
        assert_same(expected.dense_shape, actual.dense_shape, where)
        return
    if hasattr(expected, "flat_values"):
        assert_same(expected.flat_values, actual.flat_values, where, rtol, atol)
        for position, splits in enumerate(expected.nested_row_splits):
            assert_same(splits, actual.nested_row_splits[position], where)
        return
    found = np.asarray(actual.numpy() if hasattr(actual, "numpy") else actual)
    expected = np.asarray(expected)
    if found.dtype.name in ("bfloat16", "float16"):
        rtol, found, expected = 1.6e-2, found.astype(np.float32), expected.astype(np.float32)
    assert expected.shape == found.shape, f"{where}: shape {expected.shape} became {found.shape}"
    if expected.dtype.kind in "fc":
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=where)
    else:
        assert found.tolist() == expected.tolist(), where


def check_outputs(model):
    compared = 0
    for (tags, case, signature), outputs in sorted(model.list_calls().items()):
        found = model.call(tags, case, signature)
        model.reset()
        for key, expected in outputs.items():
            assert_same(expected, found[key], "/".join((tags, signature, case, key)))
            compared += 1
    return compared


def list_gradients(model):
    """(tags, case, signature, output) -> variable -> recorded gradient of the output's sum."""
    calls = model.list_calls()
    found = {}
    for key, value in model.truth["gradients"].items():
        tags, case, signature, output, variable = key.split("|", 4)
        if output in calls.get((tags, case, signature), ()) and variable in model.variables():
            found.setdefault((tags, case, signature, output), {})[variable] = value
    return found


def differentiate(model, place, names):
    tags, case, signature, output = place
    watched = [model.variables()[name] for name in names]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        value = model.call(tags, case, signature)[output]
        total = tf.reduce_sum(
            value.values if isinstance(value, tf.SparseTensor) else getattr(value, "flat_values", value)
        )
    gradients = tape.gradient(total, watched)
    return {name: gradients[position] for position, name in enumerate(names)}


def check_gradients(model):
    compared = 0
    for place, expected in sorted(list_gradients(model).items()):
        found = differentiate(model, place, sorted(expected))
        model.reset()
        for name, gradient in found.items():
            assert gradient is not None, "{}: no gradient for {}".format("/".join(place), name)
            dense = tf.convert_to_tensor(gradient)
            assert_same(expected[name], dense, "{}, {}".format("/".join(place), name), rtol=1e-4, atol=5e-6)
            compared += 1
    return compared


def check_losses(model):
    """The recorded losses are those of several variants; each loss of the model must be one of them, in order."""
    losses = [loss().numpy() for loss in getattr(model.loaded, "regularization_losses", ())]
    recorded = {}
    for key, value in model.truth["losses"].items():
        if key.count("|") == 1:
            tags, position = key.split("|")
            recorded.setdefault(tags, {})[int(position)] = value
    sets = [[values[position] for position in sorted(values)] for values in recorded.values()]
    if not losses:
        return 0
    fits = [found for found in sets if len(found) == len(losses) and np.allclose(found, losses, rtol=1e-5, atol=1e-6)]
    assert fits, f"losses {losses} are not those recorded: {sets}"
    return len(losses)


def check_training_step(model):
    """One step of SGD moves each variable by the rate times TF1's gradient."""
    for place, expected in sorted(list_gradients(model).items()):
        names = [name for name in sorted(expected) if model.variables()[name].trainable]
        if not names:
            continue
        gradients = differentiate(model, place, names)
        model.reset()
        pairs = [(gradients[name], model.variables()[name]) for name in names]
        tf.keras.optimizers.SGD(RATE).apply_gradients(pairs)
        for name in names:
            wanted = model.initial[name] - RATE * expected[name]
            assert_same(wanted, model.variables()[name], f"{name} after a step", rtol=1e-4, atol=5e-6)
        model.reset()
        return len(names)
    return 0


def check_model(path, truth, codec):
    """Check -> message: "" passed, None nothing to check."""
    result = dict.fromkeys(CHECKS)
    try:
        model = Model(path, truth, codec)
    except Exception as error:  # whatever this TensorFlow says is the result
        return dict(result, load=describe(error))
    result["load"] = ""
    for name in CHECKS[1:]:
        try:
            result[name] = "" if globals()["check_" + name](model) else None
        except Exception as error:  # whatever this TensorFlow says is the result
            result[name] = describe(error)
    return result


def describe(error):
    return ("{}: {}".format(type(error).__name__, " ".join(str(error).split())))[:300]


def main():
    root, testdata = sys.argv[1:]
    codec = load_codec(testdata)
    models = {}
    for slug in sorted(os.listdir(os.path.join(testdata, "zoo"))):
        found = glob.glob(os.path.join(root, slug, "model", "**", "saved_model.pb"), recursive=True)
        # What was recorded by tensor names is not recorded by signatures.
        if found and slug != "no_signature":
            path = os.path.dirname(sorted(found)[0])
            models[slug] = check_model(path, os.path.join(testdata, "zoo", slug), codec)
    print(json.dumps({"tensorflow": tf.__version__, "models": models}))


if __name__ == "__main__":
    main()
