"""Trains a TF2 model under a GradientTape: a migrated one, any other SavedModel, a Keras file."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.graph import stand_ins
from migrate.inputs import calls as call_files
from migrate.inputs.calls import Call
from migrate.verify.courses import OPTIMIZERS, Course, save_courses
from migrate.verify.runners import sharing
from migrate.verify.runners.calling import call_piece, to_tensor, to_value
from migrate.verify.runners.fitting import (
    Gradients,
    Trainee,
    UntrainableError,
    describe_refusal,
    fit_label,
    make_objective,
    refuse,
)
from migrate.verify.runners.keras_file import LoadedKerasFile
from migrate.verify.runners.process import prepare_process
from migrate.verify.runners.request import FitRequest
from migrate.verify.runners.servable import TRAINING_TAGS, LoadedSavedModel, Servable
from migrate.verify.ways import find_piece
from migrate.write import provenance

Compute = Callable[[Call], Mapping[str, Any]]


class TapeTrainee(Trainee):
    """Anything that computes outputs by key, with its variables by name.

    Args:
      compute: a call in training mode.
      variables: by name; all of them.
      trained: names of those that train.
      losses: regularization losses, functions without arguments.
      outputs: keys of the outputs that make the objective, None for all that hold floats.
    """

    def __init__(
        self,
        compute: Compute,
        variables: Mapping[str, Any],
        trained: Sequence[str],
        losses: Callable[[], Sequence[Any]],
        outputs: Sequence[str] | None,
    ) -> None:
        self._compute, self._variables, self._losses, self._wanted = compute, dict(variables), losses, outputs
        self._trained = {name: variables[name] for name in trained if variables[name].dtype.is_floating}
        self.outputs = tuple(outputs or ())
        self.generators: Mapping[str, str] = {}
        if not self._trained:
            raise UntrainableError("it has no trainable variables")

    def read(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(to_value(v.read_value())) for name, v in self._variables.items()}

    def write(self, values: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            if hasattr(self._variables[name], "assign"):
                self._variables[name].assign(value)

    def differentiate(self, call: Call) -> Gradients:
        with tf.GradientTape() as tape:
            tape.watch(list(self._trained.values()))
            outputs = self._compute(call)
            losses = [tf.reduce_sum(loss) for loss in self._losses()]
            penalties = [tf.cast(loss, tf.float64) for loss in losses if loss.dtype.is_floating]
            objective = tf.add_n([make_objective(self._choose(outputs)), *penalties])
        gradients = tape.gradient(objective, list(self._trained.values()))
        if all(gradient is None for gradient in gradients):
            raise UntrainableError("no output depends on a trainable variable")
        dense = {
            name: tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
            for (name, variable), gradient in zip(self._trained.items(), gradients, strict=True)
        }
        return Gradients(
            objective=objective.numpy(),
            losses=[loss.numpy() for loss in losses],
            gradients={name: np.asarray(gradient.numpy()) for name, gradient in dense.items()},
        )

    def _choose(self, outputs: Mapping[str, Any]) -> list[Any]:
        flat = {key: getattr(v, "flat_values", getattr(v, "values", v)) for key, v in outputs.items()}
        floats = {key: value for key, value in flat.items() if value.dtype.is_floating}
        absent = [key for key in self._wanted or () if key not in floats]
        if absent:
            raise UntrainableError(f"it gives no float output {', '.join(map(repr, absent))}")
        if not floats:
            raise UntrainableError("no output holds floating-point numbers")
        self.outputs = tuple(floats if self._wanted is None else self._wanted)
        return [floats[key] for key in self.outputs]


def run_migrated(wish: FitRequest) -> None:
    """Job: answers a FitRequest with a migrated model."""
    prepare_process(wish.op_library)
    record = provenance.read_record(wish.path)
    if record is None:
        raise ValueError("the model has no migration record")

    def make(label: str, call: Call) -> Trainee:
        path, generators = _share(wish, label)
        loaded = tf.saved_model.load(path)
        piece, _ = find_piece(record, call)
        if piece is None:
            raise UntrainableError("it has no such piece")
        whole = provenance.find_whole(loaded)
        variables = dict(zip(record["variables"], getattr(whole, "variables", ()), strict=True))
        trained = {id(variable) for variable in getattr(whole, "trainable_variables", ())}

        def compute(call: Call, piece: Any = piece, loaded: Any = loaded) -> dict[str, Any]:
            inputs = {key: to_tensor(value, piece["inputs"][key]) for key, value in call.inputs.items()}
            return call_piece(loaded, piece, inputs, training=True)

        trainee = TapeTrainee(
            compute,
            variables,
            [name for name, variable in variables.items() if id(variable) in trained],
            lambda: [loss() for loss in getattr(whole, "regularization_losses", ())],
            wish.outputs.get(label),
        )
        trainee.generators = generators
        return trainee

    _run(wish, make)


def run_saved_model(wish: FitRequest) -> None:
    """Job: answers a FitRequest with any TF2 SavedModel."""
    _run_servable(wish, LoadedSavedModel)


def run_keras_file(wish: FitRequest) -> None:
    """Job: answers a FitRequest with a Keras file."""
    _run_servable(wish, LoadedKerasFile)


def _run_servable(wish: FitRequest, load: type[LoadedSavedModel | LoadedKerasFile]) -> None:
    prepare_process(wish.op_library)

    def make(label: str, _: Call) -> Trainee:
        path, generators = _share(wish, label) if load is LoadedSavedModel else (wish.path, {})
        loaded: Servable = load(path)
        trained = wish.trained if loaded.trainable is None else loaded.trainable
        trainee = TapeTrainee(
            lambda call: _compute(loaded, call, wish),
            loaded.variables,
            [name for name in trained if name in loaded.variables],
            loaded.compute_losses,
            wish.outputs.get(label),
        )
        trainee.generators = generators
        return trainee

    _run(wish, make)


def _share(wish: FitRequest, label: str) -> tuple[str, dict[str, str]]:
    """The model to load, a copy whose random ops draw what the other side's do, and what draws in it; the model itself
    where it draws nothing.

    Raises:
      UntrainableError: it does not hold the generators of the other side.
    """
    own = {name: op for name, (op, _) in sharing.describe_model(wish.path).items()}
    other = wish.generators.get(label)
    if not own or other == {}:
        if other:
            raise UntrainableError(f"it draws nothing at random, the baseline does: {', '.join(other)}")
        return wish.path, {}
    streams = stand_ins.pair_generators(own if other is None else other, own)
    if streams is None:
        raise UntrainableError("its random numbers cannot be those of the baseline: the generators do not correspond")
    folder = os.path.join(wish.results, f"drawing_{zlib.crc32(label.encode()):08x}")
    return sharing.copy_model(wish.path, folder, streams), own


def _compute(loaded: Servable, call: Call, wish: FitRequest) -> dict[str, Any]:
    signature = wish.names.signature or call.signature
    own = {wish.names.inputs.get(key, key): value for key, value in call.inputs.items()}
    tensors = loaded.convert(signature, own)
    found = (
        loaded.compute_training(signature, tensors)
        if call.tags == TRAINING_TAGS
        else loaded.compute(signature, tensors)
    )
    return {wish.names.outputs.get(key, key): value for key, value in found.items()}


def _run(wish: FitRequest, make: Callable[[str, Call], Trainee]) -> None:
    calls = {call.id: call for call in call_files.load_calls(wish.calls)}
    found: list[Course] = []
    for label, ids in wish.batches.items():
        batches = [calls[name] for name in ids]
        try:
            found += fit_label(make(label, batches[0]), label, batches, wish.steps)
        except Exception as error:  # Loading runs the model's own code.
            found += [refuse(label, name, describe_refusal(error)) for name in OPTIMIZERS]
    save_courses(wish.results, found)
