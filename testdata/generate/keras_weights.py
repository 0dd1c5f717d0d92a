"""Weights that old Keras saved without their model, and what it computes with them. Environments: see keras_models.py.

    python keras_weights.py                             # dry run: prints what would be written
    python keras_weights.py --write                     # standalone Keras: HDF5
    python keras_weights.py --write --library=tf.keras  # TensorFlow's own: TF format too, where it has that

Writes testdata/keras/<library>_<version>_weights_<how>/: what was saved in model/, the architecture in model.json,
truth.npz as keras_models.py describes it, and origin.json, whose `source` and `options` say how it is migrated.
"""

import argparse
import os
import shutil
import tempfile

import keras_models


def save_hdf5(keras, model, folder):
    """`save_weights` of a file with layers by name."""
    model.save_weights(os.path.join(folder, "model_weights.h5"))
    return "model_weights.h5"


def save_tensorflow(keras, model, folder):
    """`save_weights` in TF format, under a prefix."""
    model.save_weights(os.path.join(folder, "weights"), save_format="tf")
    return "weights.index"


def save_callback(keras, model, folder):
    """ModelCheckpoint, weights only, after each of two epochs; the newest counts."""
    path = os.path.join(folder, "cp-{epoch:04d}.ckpt")
    callback = keras.root.callbacks.ModelCheckpoint(path, save_weights_only=True)
    callback.set_model(model)
    values = model.get_weights()
    model.set_weights([value + 1 for value in values])
    callback.on_epoch_end(0, {})
    model.set_weights(values)
    callback.on_epoch_end(1, {})
    return ""


HOW = {"h5": save_hdf5, "tf": save_tensorflow, "callback": save_callback}


def write(keras, how, dest):
    backend, save = keras.backend, HOW[how]
    backend.clear_session()
    model, cases = keras_models.MODELS["dense"](keras)
    keras_models.fill(model)
    model.compile("adam", "mse")
    slug = "%s_%s_weights_%s" % (keras.name, keras.version.replace(".", "").replace("-tf", ""), how)
    folder, work = os.path.join(dest, slug), tempfile.mkdtemp()
    source = save(keras, model, work)
    config, values = model.to_json(), model.get_weights()
    backend.clear_session()
    again = keras.models.model_from_json(config)
    again.set_weights(values)
    stored = [weight.name for weight in keras_models.list_weights(again)]
    found, trained, weights = keras_models.record(keras, again, cases, stored)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(work, os.path.join(folder, "model"))
    with open(os.path.join(folder, "model.json"), "w") as stream:
        stream.write(config + "\n")
    keras_models.write_truth(
        folder, slug, keras, found, generator="keras_weights.py", trainable_variables=trained, variables=weights,
        covers=save.__doc__, source=os.path.join("model", source).rstrip("/"), options={"architecture": "model.json"})


def main():
    parser = argparse.ArgumentParser(description="Weights of old Keras, and what it computes with them.")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--library", default="keras", choices=["keras", "tf.keras"])
    parser.add_argument("--dest", default=os.path.join(keras_models.HERE, "..", "keras"))
    arguments = parser.parse_args()
    if not arguments.write:
        for how, save in sorted(HOW.items()):
            print("would write %s: %s" % (how, save.__doc__))
        return
    keras = keras_models.Library(arguments.library)
    # tf.keras saves in TF format since TensorFlow 1.9.
    known = sorted(HOW) if keras.name == "tfkeras" and keras.version >= "2.1.6" else ["h5"]
    for how in known:
        write(keras, how, os.path.abspath(arguments.dest))


if __name__ == "__main__":
    main()
