"""Keras models, run by Keras itself from their files (see readers/keras/loading): files of Keras 1 and 2 by tf_keras,
those of Keras 3 by keras.

A Keras model has one signature, `serving_default`, spelled as Keras spells it in a SavedModel: inputs by the names of
the input layers, outputs by the names of the layers that give them (`input_names`, `output_names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from migrate.model import Encoding, Signature, SignatureTensor
from migrate.options import ReadOptions
from migrate.readers.keras import loading, models
from migrate.verify.runners.calling import to_tensor
from migrate.verify.runners.servable import DEFAULT_SIGNATURE, TRAINING_TAGS, Servable
from migrate.verify.signature_defs import describe_signature

_SERVING_TAGS = ("serve",)
_PREDICT = "tensorflow/serving/predict"


class LoadedKerasFile(Servable):
    """A Keras model from its file.

    Raises:
      CorruptModelError: Keras cannot load it.
      BlockedError: it holds code that is not to be run, or weights without a model.
      UnknownFormatError: its inputs are not stated.
    """

    def __init__(self, path: str, options: ReadOptions | None = None) -> None:
        found = loading.load_keras(path, options or ReadOptions())
        self.model = found.model
        # Before the model is called: a call adds losses of its inputs.
        self._losses = models.trace_losses(self.model)
        self.input_names, self.output_names = list(found.input_names), list(found.output_names)
        self.specs = models.make_specs(self.model, self.input_names)
        self.variables, self.trainable = found.variables, found.trainable
        # Traced, as `model.predict` and `model.fit` run it.
        self._inference, self._training = self._trace(training=False), self._trace(training=True)
        for function in (self._inference, self._training):
            self.variables |= models.find_captured_variables(function, self.variables)
        changes = models.count_ops(self._inference.graph) != models.count_ops(self._training.graph)
        self.training_signature = DEFAULT_SIGNATURE if changes else ""

    def convert(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        unknown = [key for key in inputs if key not in self.specs]
        if unknown:
            raise ValueError(f"the model has no input {', '.join(map(repr, unknown))} (it has {', '.join(self.specs)})")
        return {key: to_tensor(value, {"dtype": self.specs[key].dtype}) for key, value in inputs.items()}

    def compute(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._apply(self._inference, inputs)

    def compute_training(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._apply(self._training, inputs)

    def compute_losses(self) -> list[Any]:
        return [] if self._losses is None else list(self._losses())

    def describe(self) -> list[dict[str, Any]]:
        """Its signature, and the training mode where there is one, as the interface level compares them."""
        signature = Signature(
            key=DEFAULT_SIGNATURE,
            method=_PREDICT,
            inputs={name: _describe_spec(spec) for name, spec in self.specs.items()},
            outputs={name: _describe_spec(spec) for name, spec in self._inference.structured_outputs.items()},
        )
        found = [describe_signature(_SERVING_TAGS, signature)]
        if self.training_signature:
            found.append(describe_signature(TRAINING_TAGS, signature) | {"inputs": None, "outputs": None})
        return found

    def export(self, folder: str) -> None:
        """Writes the inference signature as a SavedModel: its graph is what inputs are made up for."""
        module = tf.Module()
        module.state = list(self.variables.values())
        tf.saved_model.save(module, folder, signatures={DEFAULT_SIGNATURE: self._inference})

    def _apply(self, function: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        absent = [name for name in self.input_names if name not in inputs]
        if absent:
            raise ValueError(f"the call gives no input {', '.join(map(repr, absent))}")
        return dict(function(**inputs))

    def _trace(self, *, training: bool) -> Any:
        def call(**inputs: Any) -> dict[str, Any]:
            values = [inputs[name] for name in self.input_names]
            found = models.call_model(self.model, values, training=training)
            return dict(zip(self.output_names, found, strict=True))

        return tf.function(call, autograph=False).get_concrete_function(**self.specs)


def _describe_spec(spec: Any) -> SignatureTensor:
    kinds = ((tf.SparseTensorSpec, Encoding.SPARSE), (tf.RaggedTensorSpec, Encoding.RAGGED))
    encoding = next((found for kind, found in kinds if isinstance(spec, kind)), Encoding.DENSE)
    shape = spec.shape.as_list() if spec.shape.rank is not None else None
    return SignatureTensor(
        name="", dtype=spec.dtype.name, shape=None if shape is None else tuple(shape), encoding=encoding
    )
