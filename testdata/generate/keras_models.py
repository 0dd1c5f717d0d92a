"""Keras files written by genuine old Keras, and what it computes from them.

    CPython 3.6:  pip install keras==1.2.2 tensorflow==1.8.0 'protobuf<3.20' h5py==2.10.0
    CPython 3.7:  pip install keras==2.3.1 tensorflow==1.15.5 protobuf==3.20.3 h5py==2.10.0   (2.0.8, 2.1.6, 2.2.4 too)
    or TensorFlow 1.15.5 or 1.8.0 alone, for the tf.keras that it brings

    python keras_models.py                              # dry run: prints what would be written
    python keras_models.py --write                      # standalone Keras
    python keras_models.py --write --library=tf.keras   # TensorFlow's own
    python keras_models.py --write --library=tf.keras --saved_model  # TF 1.15: tf.contrib.saved_model.save_keras_model
    python keras_models.py --write --only=conv --dest=DIR

Writes testdata/keras/<library>_<version>_<model>/: model.h5 (<model>_saved/: the folder model), and truth.npz with keys like those of the zoo (README.md):
    input|<case>|<name>, output|<case>|<name>, gradient|<case>|<output>|<variable>, loss|<index>,
    loss|<index>|<variable>, update|<variable>: variables after one training call on case 0
"""

import argparse
import importlib
import json
import os
import platform
import shutil
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


class Library(object):
    """One Keras: its modules, and how it spells what changed between versions."""

    def __init__(self, name):
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        if name == "keras":
            self.root = importlib.import_module("keras")
        else:
            self.root = importlib.import_module("tensorflow").keras
        self.name = name.replace(".", "")
        private = importlib.import_module("tensorflow.python.keras") if name != "keras" else self.root
        self.version = getattr(self.root, "__version__", None) or private.__version__
        self.first = self.version.startswith("1.")
        self.layers, self.models = self.root.layers, self.root.models
        self.backend = self.root.backend

    def dense(self, units, l2=0.0, **options):
        penalty = self.regularizer(l2)
        if self.first:
            return self.layers.Dense(units, W_regularizer=penalty, **options)
        return self.layers.Dense(units, kernel_regularizer=penalty, **options)

    def regularizer(self, l2):
        return self.root.regularizers.l2(l2) if l2 else None

    def conv(self, filters, size, order="last", **options):
        if self.first:
            options["border_mode"] = options.pop("padding", "valid")
            options["dim_ordering"] = {"last": "tf", "first": "th"}[order]
            options["W_regularizer"] = self.regularizer(options.pop("l2", 0.0))
            return self.layers.Convolution2D(filters, size[0], size[1], **options)
        options["kernel_regularizer"] = self.regularizer(options.pop("l2", 0.0))
        return self.layers.Conv2D(filters, size, data_format="channels_" + order, **options)

    def conv_1d(self, filters, size, **options):
        if self.first:
            options["border_mode"] = options.pop("padding", "valid")
            return self.layers.Convolution1D(filters, size, **options)
        return self.layers.Conv1D(filters, size, **options)

    def pool(self, order="last"):
        if self.first:
            return self.layers.MaxPooling2D((2, 2), dim_ordering={"last": "tf", "first": "th"}[order])
        return self.layers.MaxPooling2D((2, 2), data_format="channels_" + order)

    def model(self, inputs, outputs):
        return self.models.Model(inputs, outputs)

    def join(self, tensors, mode):
        if self.first:
            return self.layers.merge(tensors, mode=mode)
        kinds = {"sum": "Add", "mul": "Multiply", "concat": "Concatenate", "max": "Maximum", "ave": "Average"}
        return getattr(self.layers, kinds[mode])()(tensors)


def _dense(keras):
    """L2, a frozen layer, moving averages, two inputs, two outputs."""
    x, z = keras.layers.Input((4,), name="x"), keras.layers.Input((3,), name="z")
    frozen = keras.dense(3, name="frozen")
    frozen.trainable = False
    both = keras.join([keras.dense(3, l2=0.1, name="hidden")(x), frozen(z)], "sum")
    normal = keras.layers.BatchNormalization(momentum=0.7, name="normal")(both)
    y = keras.dense(2, l2=0.3, name="y", activation="tanh")(normal)
    return keras.model([x, z], [y, normal]), _random({"x": [3, 4], "z": [3, 3]})


def _conv(keras):
    """A Sequential of convolution, normalization, pooling."""
    model = keras.models.Sequential()
    model.add(keras.conv(3, (3, 2), l2=0.05, padding="same", activation="relu", input_shape=(6, 5, 2)))
    model.add(keras.layers.BatchNormalization(momentum=0.6))
    model.add(keras.pool())
    model.add(keras.layers.Flatten())
    model.add(keras.dense(2))
    return model, _random({None: [2, 6, 5, 2]})


def _conv_first(keras):
    """Channels first, as Theano has them."""
    model = keras.models.Sequential()
    model.add(keras.conv(3, (3, 2), "first", activation="relu", input_shape=(2, 6, 5)))
    model.add(keras.layers.BatchNormalization(axis=1, momentum=0.6))
    model.add(keras.pool("first"))
    model.add(keras.layers.Flatten())
    model.add(keras.dense(2))
    return model, _random({None: [2, 2, 6, 5]})


def _text(keras):
    """Embedding with a mask, LSTM, GRU, Bidirectional."""
    layers = keras.layers
    model = keras.models.Sequential()
    model.add(layers.Embedding(9, 4, mask_zero=True, input_length=5))
    model.add(layers.LSTM(3, return_sequences=True))
    model.add(layers.Bidirectional(layers.LSTM(2, return_sequences=True)))
    model.add(layers.GRU(3))
    model.add(keras.dense(2, activation="softmax"))
    return model, [{None: np.array([[1, 2, 3, 0, 0], [8, 7, 6, 5, 4]])}, {None: np.array([[4, 0, 0, 0, 0]])}]


def _nested(keras):
    """Models within models, TimeDistributed, a convolution in time."""
    inner = keras.models.Sequential(name="inner")
    inner.add(keras.conv_1d(3, 2, input_shape=(4, 3)))
    inner.add(keras.layers.BatchNormalization(momentum=0.8))
    inner.add(keras.layers.TimeDistributed(keras.dense(2)))
    x = keras.layers.Input((4, 3), name="x")
    y = keras.layers.LSTM(2, name="last")(inner(x))
    return keras.model(x, keras.dense(2, name="y")(y)), _random({"x": [2, 4, 3]})


def _old_layers(keras):
    """Keras 1: branches merged, Highway, MaxoutDense, activations with weights."""
    layers = keras.layers
    left, right = keras.models.Sequential(), keras.models.Sequential()
    left.add(keras.dense(3, input_shape=(4,), l2=0.1))
    right.add(layers.Embedding(5, 3, input_length=4))
    right.add(layers.GRU(3))
    model = keras.models.Sequential()
    model.add(layers.Merge([left, right], mode="concat"))
    model.add(layers.Highway(activation="tanh", W_regularizer="l2"))
    model.add(layers.MaxoutDense(4, nb_feature=3))
    model.add(keras.root.layers.advanced_activations.ParametricSoftplus())
    model.add(layers.BatchNormalization(mode=1))
    model.add(keras.dense(2))
    values = _random({0: [2, 4]})
    return model, [{0: case[0], 1: np.array([[1, 2, 3, 4], [0, 1, 0, 2]])} for case in values]


MODELS = {"dense": _dense, "conv": _conv, "conv_first": _conv_first, "text": _text, "nested": _nested}
FIRST_ONLY = {"old_layers": _old_layers}


def _random(shapes):
    """Two cases of inputs, by name or position."""
    random = np.random.RandomState(7)
    return [{key: random.uniform(-1, 1, shape).astype("float32") for key, shape in sorted(
        shapes.items(), key=str)} for _ in range(2)]


def ramp(name, shape, position):
    """No two weights, rows or transposed matrices alike."""
    steps = np.arange(int(np.prod(shape)))
    values = 0.5 * np.sin((steps + 1) * (0.7 + 0.13 * position) + 0.3 * position)
    positive = "variance" in name or "std" in name
    return (np.abs(values) + 0.5 if positive else values).astype("float32").reshape(shape)


def list_weights(model):
    """In the order of the layers, as files have them."""
    return [weight for layer in getattr(model, "flattened_layers", model.layers) for weight in layer.weights]


def record(keras, model, cases, stored):
    """The truth of a model that was loaded from its file; `stored` are the names there, loading may give others."""
    backend, found = keras.backend, {}
    names = list(model.input_names)
    trained = list(model.trainable_weights)
    known = {id(weight): name.split(":")[0] for weight, name in zip(list_weights(model), stored)}
    spell = lambda weight: known[id(weight)]
    phase = [backend.learning_phase()]
    losses = [loss for loss in model.losses]
    for number, case in enumerate(cases):
        values = [case[name] if name in case else case.get(position, case.get(None))
                  for position, name in enumerate(names)]
        for name, value in zip(names, values):
            found["input|%d|%s" % (number, name)] = value
        feeds = values + [0]
        outputs = backend.function(list(model.inputs) + phase, list(model.outputs))(feeds)
        for name, value in zip(model.output_names, outputs):
            found["output|%d|%s" % (number, name)] = value
        for name, output in zip(model.output_names, model.outputs):
            gradients = backend.gradients(backend.sum(output), trained)
            pairs = [(spell(w), g) for w, g in zip(trained, gradients) if g is not None]
            dense = [(w, _as_dense(g)) for w, g in pairs]
            for (weight, _), value in zip(dense, backend.function(
                    list(model.inputs) + phase, [g for _, g in dense])(feeds)):
                found["gradient|%d|%s|%s" % (number, name, weight)] = value
    for number, loss in enumerate(losses):
        found["loss|%d" % number] = np.asarray(backend.function(phase, [loss])([0])[0])
        pairs = [(w, g) for w, g in zip(trained, backend.gradients(loss, trained)) if g is not None]
        for weight, gradient in pairs:
            value = backend.function(phase, [_as_dense(gradient)])([0])[0]
            found["loss|%d|%s" % (number, spell(weight))] = value
    updates = model.updates
    if keras.name == "tfkeras":  # Those of inner models for their own inputs, which nothing feeds, are among them.
        updates = model.get_updates_for(None) + model.get_updates_for(model.inputs)
    if updates:
        values = [found["input|0|%s" % name] for name in names]
        backend.function(list(model.inputs) + phase, list(model.outputs), updates=updates)(values + [1])
        for weight in model.non_trainable_weights:
            found["update|" + spell(weight)] = backend.get_value(weight)
    return found, [spell(w) for w in trained], [spell(w) for w in model.weights]


def _as_dense(gradient):
    import tensorflow as tf
    return tf.convert_to_tensor(gradient)


def fill(model):
    """Fixed weights, for each another."""
    position = 0
    for layer in getattr(model, "flattened_layers", model.layers):
        values = []
        for weight, value in zip(layer.weights, layer.get_weights()):
            # A model within a model lists its weights in another order than it takes them.
            drawn = ramp(weight.name, value.shape, position)
            values.append(np.abs(drawn) + 0.1 if hasattr(layer, "layers") else drawn)
            position += 1
        layer.set_weights(values)


def write(keras, name, build, dest, saved_model=False):
    backend = keras.backend
    backend.clear_session()
    model, cases = build(keras)
    fill(model)
    if not saved_model:
        model.compile("sgd", "mse")
    slug = "%s_%s_%s" % (keras.name, keras.version.replace(".", "").replace("-tf", ""), name)
    slug += "_saved" if saved_model else ""
    folder = os.path.join(dest, slug)
    work = tempfile.mkdtemp()
    path = os.path.join(work, "model" if saved_model else "model.h5")
    if saved_model:
        from tensorflow.contrib import saved_model as contrib
        contrib.save_keras_model(model, path)
    else:
        model.save(path)
    stored = [weight.name for weight in list_weights(model)]
    backend.clear_session()
    loaded = contrib.load_keras_model(path) if saved_model else keras.models.load_model(path)
    found, trained, weights = record(keras, loaded, cases, stored)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    shutil.move(path, os.path.join(folder, os.path.basename(path)))
    shutil.rmtree(work)
    write_truth(folder, slug, keras, found, generator="keras_models.py", trainable_variables=trained,
                variables=weights, covers=build.__doc__)


def write_truth(folder, slug, keras, found, **more):
    """truth.npz, and origin.json with what wrote it."""
    np.savez_compressed(os.path.join(folder, "truth.npz"), **{key: found[key] for key in sorted(found)})
    import tensorflow
    origin = dict(more, slug=slug, library=keras.name, keras=keras.version, tensorflow=tensorflow.__version__,
                  python=platform.python_version())
    with open(os.path.join(folder, "origin.json"), "w") as stream:
        json.dump(origin, stream, indent=1, sort_keys=True)
        stream.write("\n")
    print("wrote %s: %d arrays" % (slug, len(found)))


def main():
    parser = argparse.ArgumentParser(description="Keras files of old Keras, and what it computes.")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--library", default="keras", choices=["keras", "tf.keras"])
    parser.add_argument("--saved_model", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--dest", default=os.path.join(HERE, "..", "keras"))
    arguments = parser.parse_args()
    chosen = {k: v for k, v in list(MODELS.items()) + list(FIRST_ONLY.items()) if arguments.only in ("", k)}
    if not arguments.write:
        for name, build in sorted(chosen.items()):
            print("would write %s: %s" % (name, build.__doc__))
        return
    keras = Library(arguments.library)
    for name, build in sorted(chosen.items()):
        # TensorFlow's own Keras cannot run channels first on a CPU.
        runs = name != "conv_first" if keras.name == "tfkeras" else True
        if runs and (name in MODELS or keras.first):
            write(keras, name, build, os.path.abspath(arguments.dest), arguments.saved_model)


if __name__ == "__main__":
    main()
