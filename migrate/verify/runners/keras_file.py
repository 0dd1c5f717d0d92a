"""Keras models, run by Keras itself from their files (see readers/keras/loading): files of Keras 1 and 2 by tf_keras,
those of Keras 3 by keras.

A Keras model has one signature, `serving_default`, and those of its parts where such are asked for
(readers/keras/parts). They are spelled as Keras spells them in a SavedModel: inputs by the names of the input layers,
outputs by the names of the layers that give them (`input_names`, `output_names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from migrate import tensorflow_private
from migrate.model import Encoding, Signature, SignatureTensor
from migrate.options import ReadOptions
from migrate.readers.keras import loading, models, parts, signatures
from migrate.verify.runners.calling import to_tensor
from migrate.verify.runners.servable import TRAINING_TAGS, Servable
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
        options = options or ReadOptions()
        found = loading.load_keras(path, options)
        self.model = found.model
        # Before the model is called: a call adds losses of its inputs.
        self._losses = models.trace_losses(self.model)
        self._each_loss = models.split_losses(self._losses)
        own = signatures.find_signatures(found, options)
        keys = signatures.list_keys(own, options)
        self.parts = {new: own[old] for new, old in keys.items()}
        self._main = next(iter(self.parts))
        self.variables, self.trainable = found.variables, found.trainable
        # Traced, as `model.predict` and `model.fit` run it.
        self._inference = {key: _trace(part, training=False) for key, part in self.parts.items()}
        self._training = {key: _trace(part, training=True) for key, part in self.parts.items()}
        for function in (*self._inference.values(), *self._training.values()):
            self.variables |= models.find_captured_variables(function, self.variables)
        changes = any(
            models.count_ops(self._inference[key].graph) != models.count_ops(self._training[key].graph)
            for key in self.parts
        )
        self.training_signature = self._main if changes else ""

    def convert(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        specs = self._find(self.parts, signature).specs
        unknown = [key for key in inputs if key not in specs]
        if unknown:
            raise ValueError(f"the model has no input {', '.join(map(repr, unknown))} (it has {', '.join(specs)})")
        return {key: to_tensor(value, {"dtype": specs[key].dtype}) for key, value in inputs.items()}

    def compute(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._apply(self._inference, signature, inputs)

    def compute_training(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._apply(self._training, signature, inputs)

    def compute_losses(self) -> list[Any]:
        return [] if self._losses is None else list(self._losses())

    def describe(self) -> list[dict[str, Any]]:
        """Its signatures, and their training mode where there is one, as the interface level compares them."""
        found = []
        for key, part in self.parts.items():
            signature = Signature(
                key=key,
                method=_PREDICT,
                inputs={name: _describe_spec(spec) for name, spec in part.specs.items()},
                outputs={name: _describe_spec(s) for name, s in self._inference[key].structured_outputs.items()},
            )
            found.append(describe_signature(_SERVING_TAGS, signature))
            if self.training_signature:
                found.append(describe_signature(TRAINING_TAGS, signature) | {"inputs": None, "outputs": None})
        return found

    def describe_parts(self) -> list[dict[str, Any]]:
        """What each signature uses in each mode, and each loss; nothing of a model without parts."""
        if len(self.parts) < 2:
            return []
        names = {id(variable): name for name, variable in self.variables.items()}

        by_handle = {id(variable.handle): name for name, variable in self.variables.items()}
        losses = [sorted(by_handle[id(handle)] for handle in handles) for _, handles in self._each_loss]

        def list_used(function: Any) -> list[str]:
            return sorted({names[id(variable)] for variable in function.variables})

        modes = [(_SERVING_TAGS, self._inference)] + (
            [(TRAINING_TAGS, self._training)] if self.training_signature else []
        )
        return [
            {
                "tags": list(tags),
                "signature": key,
                "variables": list_used(function),
                "updated": [],
                "losses": losses,
                "loss_names": [f"loss {position}" for position in range(len(self._each_loss))],
            }
            for tags, functions in modes
            for key, function in functions.items()
        ]

    def export(self, folder: str) -> None:
        """Writes the inference signatures as a SavedModel: their graphs are what inputs are made up for."""
        module = tf.Module()
        module.state = list(self.variables.values())
        with tensorflow_private.autograph_off():
            tf.saved_model.save(module, folder, signatures=self._inference)

    def _find(self, every: Mapping[str, Any], signature: str) -> Any:
        """The one signature of a plain Keras file answers to any key."""
        return every[signature] if signature in every or len(every) > 1 else every[self._main]

    def _apply(self, functions: Mapping[str, Any], signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        absent = [name for name in self._find(self.parts, signature).specs if name not in inputs]
        if absent:
            raise ValueError(f"the call gives no input {', '.join(map(repr, absent))}")
        return dict(self._find(functions, signature)(**inputs))


def _trace(part: parts.Part, *, training: bool) -> Any:
    def call(**inputs: Any) -> dict[str, Any]:
        found = part.compute([inputs[name] for name in part.specs], training)
        return dict(zip(part.output_names, found, strict=True))

    return tf.function(call, autograph=False).get_concrete_function(**part.specs)


def _describe_spec(spec: Any) -> SignatureTensor:
    kinds = ((tf.SparseTensorSpec, Encoding.SPARSE), (tf.RaggedTensorSpec, Encoding.RAGGED))
    encoding = next((found for kind, found in kinds if isinstance(spec, kind)), Encoding.DENSE)
    shape = spec.shape.as_list() if spec.shape.rank is not None else None
    return SignatureTensor(
        name="", dtype=spec.dtype.name, shape=None if shape is None else tuple(shape), encoding=encoding
    )
