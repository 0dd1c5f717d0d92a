"""`.keras` files written by genuine Keras 2 and Keras 3, and what they compute from them.

    CPython 3.11: pip install tensorflow-cpu==2.15.1       (its tf.keras is Keras 2.15, the last Keras 2)
    CPython 3.11: pip install keras==3.15.1 tensorflow-cpu==2.21.0

    python keras_archives.py                # dry run: prints what would be written
    python keras_archives.py --write        # whichever Keras `import keras` gives
    python keras_archives.py --write --only=conv --dest=DIR

Writes testdata/keras/<library>_<version>_<model>/: model.keras and truth.npz, whose keys keras_models.py describes. All
is computed eagerly, by the model as it was loaded from its file.
"""

import argparse
import os
import shutil
import tempfile

import keras
import keras_models
import numpy as np
import tensorflow as tf

LAYERS = keras.layers


class Archives:
    """What keras_models.write_truth asks of a library."""

    name = "keras"
    version = keras.__version__


def _dense():
    """L2, a frozen layer, moving averages, two inputs, two outputs."""
    x, z = keras.Input((4,), name="x"), keras.Input((3,), name="z")
    frozen = LAYERS.Dense(3, name="frozen")
    frozen.trainable = False
    hidden = LAYERS.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1), name="hidden")
    both = LAYERS.Add(name="both")([hidden(x), frozen(z)])
    normal = LAYERS.BatchNormalization(momentum=0.7, name="normal")(both)
    y = LAYERS.Dense(2, kernel_regularizer=keras.regularizers.L2(0.3), activation="tanh", name="y")(normal)
    return keras.Model([x, z], [y, normal]), keras_models._random({"x": [3, 4], "z": [3, 3]})


def _conv():
    """A Sequential of convolution, normalization, pooling; layers bear the names that Keras gives."""
    penalty = keras.regularizers.L2(0.05)
    model = keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            LAYERS.Conv2D(3, (3, 2), padding="same", activation="relu", kernel_regularizer=penalty),
            LAYERS.BatchNormalization(momentum=0.6),
            LAYERS.MaxPooling2D((2, 2)),
            LAYERS.Flatten(),
            LAYERS.Dense(2),
        ]
    )
    return model, keras_models._random({None: [2, 6, 5, 2]})


def _text():
    """Embedding with a mask, LSTM, GRU, Bidirectional."""
    ids = keras.Input((5,), dtype="int32", name="ids")
    words = LAYERS.Embedding(9, 4, mask_zero=True, name="words")(ids)
    read = LAYERS.LSTM(3, return_sequences=True, name="read")(words)
    read = LAYERS.Bidirectional(LAYERS.LSTM(2, return_sequences=True), name="both_ways")(read)
    y = LAYERS.Dense(2, activation="softmax", name="y")(LAYERS.GRU(3, name="last")(read))
    cases = [np.array([[1, 2, 3, 0, 0], [8, 7, 6, 5, 4]]), np.array([[4, 0, 0, 0, 0]])]
    return keras.Model(ids, y), [{"ids": case.astype("int32")} for case in cases]


def _nested():
    """Models within models, TimeDistributed, a convolution in time."""
    inner = keras.Sequential(
        [
            keras.Input((4, 3)),
            LAYERS.Conv1D(3, 2, name="along"),
            LAYERS.BatchNormalization(momentum=0.8, name="normal"),
            LAYERS.TimeDistributed(LAYERS.Dense(2, name="each"), name="times"),
        ],
        name="inner",
    )
    x = keras.Input((4, 3), name="x")
    y = LAYERS.Dense(2, name="y")(LAYERS.LSTM(2, name="last")(inner(x)))
    return keras.Model(x, y), keras_models._random({"x": [2, 4, 3]})


MODELS = {"dense": _dense, "conv": _conv, "text": _text, "nested": _nested}


def spell(variable):
    return getattr(variable, "path", variable.name).split(":")[0]


def list_variables(model):
    """Without the states of Keras 3's random generators, whose names count what else was made in the process."""
    return [variable for variable in model.variables if "seed_generator" not in spell(variable)]


def fill(model):
    for position, variable in enumerate(list_variables(model)):
        variable.assign(keras_models.ramp(spell(variable), tuple(variable.shape), position))


def name_sides(model):
    """A Sequential of Keras 3 names neither; its output is that of its last layer."""
    inputs = getattr(model, "input_names", None) or [tensor.name for tensor in model.inputs]
    outputs = getattr(model, "output_names", None) or [model.layers[-1].name]
    return list(inputs), list(outputs)


def record(model, cases):
    found = {}
    input_names, output_names = name_sides(model)
    trained = list(model.trainable_variables)

    def call(case, training):
        values = [tf.constant(case[name] if name in case else case[None]) for name in input_names]
        return tf.nest.flatten(model(values if len(values) > 1 else values[0], training=training))

    def differentiate(prefix, compute):
        with tf.GradientTape() as tape:
            value = compute()
        handles = [getattr(variable, "value", variable) for variable in trained]
        handles = [variable if callable(handle) else handle for variable, handle in zip(trained, handles)]
        for variable, gradient in zip(trained, tape.gradient(value, handles)):
            if gradient is not None:
                found["%s|%s" % (prefix, spell(variable))] = tf.convert_to_tensor(gradient).numpy()

    for number, case in enumerate(cases):
        for name in input_names:
            found["input|%d|%s" % (number, name)] = case[name] if name in case else case[None]
        for position, (name, value) in enumerate(zip(output_names, call(case, False))):
            found["output|%d|%s" % (number, name)] = value.numpy()
            differentiate("gradient|%d|%s" % (number, name), lambda at=position: tf.reduce_sum(call(case, False)[at]))
    for number, loss in enumerate(model.losses):
        found["loss|%d" % number] = np.asarray(loss)
        differentiate("loss|%d" % number, lambda at=number: tf.convert_to_tensor(model.losses[at]))
    call(cases[0], True)
    still = [variable for variable in model.non_trainable_variables if "moving" in spell(variable)]
    for variable in still:
        found["update|" + spell(variable)] = np.asarray(variable)
    return found, [spell(v) for v in trained], [spell(v) for v in list_variables(model)]


def write(name, build, dest):
    keras.backend.clear_session()
    model, cases = build()
    fill(model)
    model.compile("adam", "mse")
    slug = "archive_%s_%s" % (keras.__version__.replace(".", ""), name)
    work = tempfile.mkdtemp()
    path = os.path.join(work, "model.keras")
    model.save(path)
    keras.backend.clear_session()
    found, trained, weights = record(keras.models.load_model(path), cases)
    folder = os.path.join(dest, slug)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    shutil.move(path, os.path.join(folder, "model.keras"))
    shutil.rmtree(work)
    keras_models.write_truth(
        folder,
        slug,
        Archives,
        found,
        generator="keras_archives.py",
        trainable_variables=trained,
        variables=weights,
        covers=build.__doc__,
    )


def main():
    parser = argparse.ArgumentParser(description=".keras files of genuine Keras, and what it computes.")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="", choices=["", *MODELS])
    parser.add_argument("--dest", default=os.path.join(keras_models.HERE, "..", "keras"))
    arguments = parser.parse_args()
    for name, build in sorted(MODELS.items()):
        if arguments.only not in ("", name):
            continue
        if arguments.write:
            write(name, build, os.path.abspath(arguments.dest))
        else:
            print("would write %s: %s" % (name, build.__doc__))


if __name__ == "__main__":
    main()
