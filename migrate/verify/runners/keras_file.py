"""Keras files, run by Keras itself: HDF5 and .keras of Keras 2 by tf_keras, those of Keras 3 by keras.

A Keras file has one signature, `serving_default`, spelled as Keras spells it in a SavedModel: inputs by the names of
the input layers, outputs by the names of the layers that give them (`input_names`, `output_names`).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from typing import Any

import h5py
import tensorflow as tf

from migrate import errors
from migrate.verify.runners.calling import spell_variable
from migrate.verify.runners.servable import DEFAULT_SIGNATURE, Servable, count_ops

_HDF5_MAGIC = b"\x89HDF"


def find_keras_version(path: str) -> str:
    """What the file says wrote it: attribute `keras_version` of HDF5 (keras/saving/legacy/hdf5_format.py), the entry
    `metadata.json` of a .keras archive (keras/saving/saving_lib.py). "" where it says nothing.

    Raises:
      CorruptModelError: it cannot be read, or holds weights only.
    """
    try:
        with open(path, "rb") as file:
            is_hdf5 = file.read(4) == _HDF5_MAGIC
        if is_hdf5:
            with h5py.File(path, "r") as group:
                if "model_config" not in group.attrs:
                    raise errors.CorruptModelError(
                        "the file holds weights without a model", where=path, hint="save the whole model: model.save"
                    )
                version = group.attrs.get("keras_version", "")
            return version.decode() if isinstance(version, bytes) else str(version)
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise errors.CorruptModelError(f"no Keras file, or it is damaged: {error}", where=path) from error


def _load(path: str) -> Any:
    version = find_keras_version(path)
    try:
        if version.startswith("3"):
            import keras

            return keras.saving.load_model(path, compile=False)
        import tf_keras

        return tf_keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever its layers raise
        hint = "layers of the user's own, and Lambda layers of another Python, cannot be loaded without their code"
        if version.startswith(("0", "1")):
            hint = f"written by Keras {version}: load it with Keras 2.0 to 2.3 and save it again"
        text = str(error).strip().splitlines()[:1] or [""]
        raise errors.CorruptModelError(
            f"Keras cannot load it: {type(error).__name__}: {text[0][:300]}", where=path, hint=hint
        ) from error


class LoadedKerasFile(Servable):
    """A Keras model from its file.

    Raises:
      CorruptModelError: Keras cannot load it.
      UnknownFormatError: its inputs are not stated, or no dense tensors.
    """

    def __init__(self, path: str) -> None:
        self.model = _load(path)
        if not self.model.inputs:
            raise errors.UnknownFormatError(
                "the model does not state its inputs", where=path, hint="call it once before it is saved"
            )
        self.input_names = list(getattr(self.model, "input_names", None) or [i.name for i in self.model.inputs])
        # A Sequential of Keras 3 does not name its output: it is that of the last layer.
        self.output_names = list(getattr(self.model, "output_names", None) or [self.model.layers[-1].name])
        self.specs = {
            name: _make_spec(tensor, name, path)
            for name, tensor in zip(self.input_names, self.model.inputs, strict=True)
        }
        # Keras 3 wraps variables and names them by path; TensorFlow's tape wants what is inside.
        named = [(getattr(v, "path", None) or spell_variable(v.name), v) for v in self.model.variables]
        self.variables = {name: getattr(v, "value", v) if hasattr(v, "path") else v for name, v in named}
        trained = {id(v) for v in self.model.trainable_variables}
        self.trainable = [name for name, v in named if id(v) in trained]
        # Traced, as `model.predict` and `model.fit` run it.
        self._inference, self._training = self._trace(training=False), self._trace(training=True)
        changes = count_ops(self._inference.graph) != count_ops(self._training.graph)
        self.training_signature = DEFAULT_SIGNATURE if changes else ""

    def convert(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        unknown = [key for key in inputs if key not in self.specs]
        if unknown:
            raise ValueError(f"the model has no input {', '.join(map(repr, unknown))} (it has {', '.join(self.specs)})")
        return {key: tf.constant(value, self.specs[key].dtype) for key, value in inputs.items()}

    def compute(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._inference(**self._check(inputs)))

    def compute_training(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._training(**self._check(inputs)))

    def compute_losses(self) -> list[Any]:
        return [tf.convert_to_tensor(loss).numpy() for loss in self.model.losses]

    def export(self, folder: str) -> None:
        """Writes the inference signature as a SavedModel: its graph is what inputs are made up for."""
        module = tf.Module()
        module.state = list(self.variables.values())
        tf.saved_model.save(module, folder, signatures={DEFAULT_SIGNATURE: self._inference})

    def _check(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        absent = [name for name in self.input_names if name not in inputs]
        if absent:
            raise ValueError(f"the call gives no input {', '.join(map(repr, absent))}")
        return dict(inputs)

    def _apply(self, inputs: Mapping[str, Any], *, training: bool) -> dict[str, Any]:
        values = [inputs[name] for name in self.input_names]
        argument = values[0] if len(values) == 1 else dict(zip(self.input_names, values, strict=True))
        found = tf.nest.flatten(self.model(argument, training=training))
        return dict(zip(self.output_names, found, strict=True))

    def _trace(self, *, training: bool) -> Any:
        def call(**inputs: Any) -> dict[str, Any]:
            return self._apply(inputs, training=training)

        return tf.function(call, autograph=False).get_concrete_function(**self.specs)


def _make_spec(tensor: Any, name: str, path: str) -> tf.TensorSpec:
    if getattr(tensor, "sparse", False) or not isinstance(
        getattr(tensor, "type_spec", tf.TensorSpec([])), tf.TensorSpec
    ):
        raise errors.UnknownFormatError(
            f"the input {name!r} is sparse or ragged", where=path, hint="compare the SavedModel of it"
        )
    return tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
