"""A model that is called as an object: what its signatures, its training mode and its variables are, whoever loads it.

Two things are one: any TF2 SavedModel, as `tf.saved_model.load` gives it, and a Keras file (`keras_file`).
"""

from __future__ import annotations

import abc
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.graph import stand_ins
from migrate.readers.keras.models import count_ops
from migrate.verify.runners.calling import spell_variable, to_tensor

# Stands for calls with training=True: no SignatureDef has a training mode.
TRAINING_TAGS = ("train",)
DEFAULT_SIGNATURE = "serving_default"
# The signature that a TF1 Hub module applies, and the output that it returns.
_HUB_SIGNATURE = "default"


class Servable(abc.ABC):
    """A loaded model.

    Attributes:
      variables: by name, without TF's ":0".
      trainable: names of what trains; None where the model does not say.
      training_signature: key of the signature that `compute_training` computes in training mode; "" where the model has
        no such mode, or `training` changes no op of it.
    """

    variables: Mapping[str, Any]
    trainable: list[str] | None
    training_signature: str
    plain_signature: str = ""

    @property
    def gives_all(self) -> bool:
        """Whether a call of the model gives all outputs of that signature; known after the first call."""
        return True

    @abc.abstractmethod
    def convert(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Saved values as the tensors that the signature takes."""

    @abc.abstractmethod
    def compute(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of a signature by key."""

    @abc.abstractmethod
    def compute_training(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of a signature with training=True: dropout is on, moving averages move. A SavedModel has one such
        signature, `training_signature`."""

    def compute_plain(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of `plain_signature` by calling the model itself."""
        raise NotImplementedError

    @abc.abstractmethod
    def compute_losses(self) -> list[Any]:
        """Regularization losses, scalar tensors, in the model's order: a tape that is on sees how they come about."""


class LoadedSavedModel(Servable):
    """A TF2 SavedModel. One that is a callable with a `training` argument (what Keras saves, and the reusable
    SavedModels of TensorFlow Hub) has a training mode."""

    def __init__(self, path: str) -> None:
        self._loaded = tf.saved_model.load(path)
        self.variables = {spell_variable(v.name): v for v in getattr(self._loaded, "variables", ())}
        trained = getattr(self._loaded, "trainable_variables", None)
        self.trainable = None if trained is None else [spell_variable(v.name) for v in trained]
        keys = list(self._loaded.signatures)
        # What `__call__` applies: a hub module that was saved again still names it `default`.
        named = [key for key in (DEFAULT_SIGNATURE, _HUB_SIGNATURE) if key in keys]
        main = named[0] if named else keys[0] if len(keys) == 1 else ""
        # Argument structure of `__call__`, and the input key of each of its leaves.
        self._structure: Any = None
        self._leaves: list[str] = []
        self._outputs: list[str] = []
        self._extra: dict[str, Any] = {}
        self._main = main
        self.training_signature = main if main and self._find_training(main) else ""
        self.plain_signature = main if self._structure is not None else ""

    @property
    def object(self) -> Any:
        """What `tf.saved_model.load` gave."""
        return self._loaded

    def convert(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        specs = self._specs(signature)
        return {key: to_tensor(value, {"dtype": specs[_spell(key, specs)].dtype}) for key, value in inputs.items()}

    def compute(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        specs = self._specs(signature)
        return dict(self._loaded.signatures[signature](**{_spell(key, specs): v for key, v in inputs.items()}))

    def compute_training(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if not self._outputs:
            self._outputs = self._name_outputs(inputs)
        found = tf.nest.flatten(self._apply(inputs, training=True), expand_composites=False)
        return {key: value for key, value in zip(self._outputs, found, strict=True) if key}

    def compute_plain(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """As `model(x)`; only outputs whose keys are known."""
        if not self._outputs:
            self._outputs = self._name_outputs(inputs)
        found = tf.nest.flatten(self._apply(inputs, training=None), expand_composites=False)
        return {key: value for key, value in zip(self._outputs, found, strict=True) if key}

    @property
    def gives_all(self) -> bool:
        keys = self._loaded.signatures[self._main].structured_outputs
        return set(keys) <= set(self._outputs)

    def compute_losses(self) -> list[Any]:
        return [loss() for loss in getattr(self._loaded, "regularization_losses", ())]

    def find_generators(self, signature: str, *, training: bool) -> dict[str, str]:
        """Name -> op of what draws for a signature, or for the model in training mode."""
        function = self._loaded.signatures[signature]
        if training:
            function = self._loaded.__call__.get_concrete_function(self._structure, training=True, **self._extra)
        return {node.name: node.op for node in stand_ins.iterate_generators(function.graph.as_graph_def())}

    def _specs(self, signature: str) -> dict[str, Any]:
        return dict(self._loaded.signatures[signature].structured_input_signature[1])

    def _find_training(self, signature: str) -> bool:
        """Whether the model, as a callable, takes this signature's inputs and a `training` that changes something."""
        if not callable(self._loaded):
            return False
        function = self._loaded.__call__
        parameters = inspect.signature(function).parameters
        self._extra = {"return_endpoints": True} if "return_endpoints" in parameters else {}
        keys = list(self._specs(signature))
        # Of a restored function only its traces tell what structure it takes (TF 2.21 has no public name for them).
        for trace in getattr(function, "concrete_functions", ()):
            arguments = trace.structured_input_signature[0]
            leaves = _name_leaves(arguments[0], keys) if arguments else None
            if leaves is not None:
                self._structure, self._leaves = arguments[0], leaves
                if "training" not in parameters:
                    return False
                graphs = [
                    function.get_concrete_function(arguments[0], training=flag, **self._extra).graph
                    for flag in (False, True)
                ]
                return count_ops(graphs[0]) != count_ops(graphs[1])
        return False

    def _apply(self, inputs: Mapping[str, Any], *, training: bool | None) -> Any:
        argument = tf.nest.pack_sequence_as(self._structure, [inputs[key] for key in self._leaves])
        mode = {} if training is None else {"training": training}
        return self._loaded(argument, **mode, **self._extra)

    def _name_outputs(self, inputs: Mapping[str, Any]) -> list[str]:
        """Key of each output of the callable, "" where none is known: its own, where it returns a dict; the only one;
        or that of the signature's output which it equals in an inference call."""
        found = self._apply(inputs, training=False if self.training_signature else None)
        expected = self.compute(self._main, inputs)
        leaves = tf.nest.flatten(found)
        if isinstance(found, Mapping) and set(found) <= set(expected):
            return sorted(found)
        if len(leaves) == 1 == len(expected):
            return list(expected)
        if len(leaves) == 1 and _HUB_SIGNATURE in expected:
            return [_HUB_SIGNATURE]
        names = []
        for leaf in leaves:
            equal = [key for key, value in expected.items() if _is_equal(leaf, value)]
            names.append(equal[0] if len(equal) == 1 else "")
        return names


def _is_equal(old: Any, new: Any) -> bool:
    if old.dtype != new.dtype or old.shape != new.shape:
        return False
    if old.dtype.is_floating:
        return bool(np.allclose(old.numpy(), new.numpy(), rtol=1e-5, atol=1e-6, equal_nan=True))
    return bool(np.array_equal(old.numpy(), new.numpy()))


def _name_leaves(structure: Any, keys: Sequence[str]) -> list[str] | None:
    """Input key of each leaf: the only one, the dict's, or what Keras calls its TensorSpecs."""
    leaves = tf.nest.flatten(structure)
    if not all(isinstance(leaf, tf.TensorSpec) for leaf in leaves):
        return None
    if len(leaves) == 1 == len(keys):
        return list(keys)
    names = sorted(structure) if isinstance(structure, Mapping) else [leaf.name for leaf in leaves]
    return names if sorted(names) == sorted(keys) else None


def _spell(key: str, specs: Mapping[str, Any]) -> str:
    """The argument that carries an input: TF spells keys that are no identifiers with underscores."""
    if key in specs:
        return key
    spelled = re.sub(r"[^a-zA-Z0-9_]", "_", key)
    if spelled not in specs:
        raise ValueError(f"the signature has no argument for the input {key!r} (it has {', '.join(specs)})")
    return spelled
