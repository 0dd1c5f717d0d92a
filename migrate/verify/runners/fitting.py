"""Trains one side for a few steps and records what each step did: `--level=trajectory`.

Nobody knows what a model was trained for, so the objective is made up from its outputs, the same on both sides: each
float output is drawn towards fixed targets, cosines of the elements' positions, by the mean of sqrt(1 + d^2) - 1, which
is smooth and has a bounded slope; and the model's own regularization losses are added. The state of a step is what the
step's forward pass left (moving averages), with the optimizer's step on what trains.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from migrate.inputs.calls import Call
from migrate.verify import courses
from migrate.verify.courses import Course
from migrate.verify.results import first_line

OBJECTIVE = "objective"
# A dropped unit may well be kept a second time: a few passes tell.
_REPEATS = 3


class UntrainableError(Exception):
    """A side cannot train, and why."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gradients:
    """One forward and backward pass: scalars, and a dense gradient for each variable that trains."""

    objective: np.ndarray
    losses: list[np.ndarray]
    gradients: dict[str, np.ndarray]


class Trainee(abc.ABC):
    """One signature of a loaded model."""

    outputs: tuple[str, ...]
    generators: Mapping[str, str]

    @abc.abstractmethod
    def read(self) -> dict[str, np.ndarray]:
        """Every variable by name."""

    @abc.abstractmethod
    def write(self, values: Mapping[str, np.ndarray]) -> None:
        """Sets variables."""

    @abc.abstractmethod
    def differentiate(self, call: Call) -> Gradients:
        """A pass in training mode, which leaves in the state what such a pass leaves.

        Raises:
          UntrainableError: the model has no gradients, and why.
        """


def make_objective(values: Sequence[tf.Tensor]) -> tf.Tensor:
    """The objective of float outputs of any shape: scalar float64."""
    parts = []
    for value in values:
        flat = tf.cast(tf.reshape(value, [-1]), tf.float64)
        target = tf.cos(tf.cast(tf.range(tf.size(flat)), tf.float64))
        size = tf.cast(tf.maximum(tf.size(flat), 1), tf.float64)
        parts.append(tf.reduce_sum(tf.sqrt(1.0 + tf.square(flat - target)) - 1.0) / size)
    return tf.add_n(parts)


def fit_label(trainee: Trainee, label: str, batches: Sequence[Call], steps: int) -> list[Course]:
    """A course of each optimizer, all from the state in which the trainee is."""
    try:
        start = trainee.read()
        _check_steady(trainee, batches[0], start)
        found = []
        for name in courses.OPTIMIZERS:
            trainee.write(start)
            found.append(_fit(trainee, label, batches, steps, name))
        trainee.write(start)
        return found
    except Exception as error:  # Of whatever type: that it does not train is the answer.
        return [refuse(label, name, describe_refusal(error)) for name in courses.OPTIMIZERS]


def describe_refusal(error: Exception) -> str:
    return str(error) if isinstance(error, UntrainableError) else first_line(error)


def _check_steady(trainee: Trainee, batch: Call, start: Mapping[str, np.ndarray]) -> None:
    """Of a model whose graph is not known only its answers tell that it draws at random."""
    seen = set()
    for _ in range(_REPEATS):
        trainee.write(start)
        seen.add(trainee.differentiate(batch).objective.tobytes())
    if len(seen) > 1:
        raise UntrainableError("its outputs are drawn at random")


def refuse(label: str, optimizer: str, reason: str) -> Course:
    return Course(label=label, optimizer=optimizer, reason=reason)


def _fit(trainee: Trainee, label: str, batches: Sequence[Call], steps: int, name: str) -> Course:
    optimizer = courses.OPTIMIZERS[name]()
    course = Course(label=label, optimizer=name)
    for number in range(steps):
        found = trainee.differentiate(batches[number % len(batches)])
        if not np.isfinite(found.objective):
            raise UntrainableError(f"the objective is {found.objective} in step {number + 1}")
        after = trainee.read()
        moved = {
            variable: optimizer.apply(variable, after[variable].astype(np.float64), gradient, number + 1).astype(
                after[variable].dtype
            )
            for variable, gradient in courses.clip_gradients(found.gradients).items()
        }
        trainee.write(moved)
        record = {OBJECTIVE: found.objective}
        record |= {f"regularization_losses/{position}": loss for position, loss in enumerate(found.losses)}
        record |= {f"gradient of {variable}": courses.sketch(g) for variable, g in found.gradients.items()}
        record |= {variable: courses.sketch(value) for variable, value in (after | moved).items()}
        course.steps.append(record)
    course.outputs, course.generators = trainee.outputs, dict(trainee.generators)
    if not any(np.any(value) for step in course.steps for key, value in step.items() if key.startswith("gradient of ")):
        raise UntrainableError("every gradient is zero on these inputs")
    return course
