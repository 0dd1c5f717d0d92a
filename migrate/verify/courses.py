"""What training does to a model, step by step: what a side saves of it and what is judged. numpy only.

The optimizer is the same few lines on both sides, in float64, so that only the model makes a difference: TensorFlow's
own of version 1 and 2 treat sparse gradients and epsilon in other ways, which is no news of a model. Gradients are
clipped by their global norm, as fine-tuning does, lest a model that was not made for these targets run away.
"""

from __future__ import annotations

import abc
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from migrate import arrays

_VALUES, _LISTING = "courses.npz", "courses.json"
# An array of more elements is kept as so many of them, evenly spaced, and three numbers that any element moves.
_SKETCHED = 4096
_CLIP = 1.0


class Optimizer(abc.ABC):
    """Update rules with their own state by variable name. All values are float64."""

    @abc.abstractmethod
    def apply(self, name: str, value: np.ndarray, gradient: np.ndarray, step: int) -> np.ndarray:
        """The variable after step number `step`, which counts from 1."""


class Momentum(Optimizer):
    """Stochastic gradient descent with momentum: v <- 0.9 v + g; w <- w - rate v."""

    def __init__(self, rate: float = 0.05, decay: float = 0.9) -> None:
        self._rate, self._decay = rate, decay
        self._velocity: dict[str, np.ndarray] = {}

    def apply(self, name: str, value: np.ndarray, gradient: np.ndarray, step: int) -> np.ndarray:
        del step
        velocity = self._decay * self._velocity.get(name, np.zeros_like(value)) + gradient
        self._velocity[name] = velocity
        return np.asarray(value - self._rate * velocity)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015). Its epsilon is large: a gradient that is nothing but rounding must not become a step
    of full length, whose direction would then be chance."""

    def __init__(self, rate: float = 0.01, first: float = 0.9, second: float = 0.999, epsilon: float = 1e-4) -> None:
        self._rate, self._first, self._second, self._epsilon = rate, first, second, epsilon
        self._means: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def apply(self, name: str, value: np.ndarray, gradient: np.ndarray, step: int) -> np.ndarray:
        zeros = np.zeros_like(value)
        mean, square = self._means.get(name, (zeros, zeros))
        mean = self._first * mean + (1 - self._first) * gradient
        square = self._second * square + (1 - self._second) * np.square(gradient)
        self._means[name] = mean, square
        mean, square = mean / (1 - self._first**step), square / (1 - self._second**step)
        return np.asarray(value - self._rate * mean / (np.sqrt(square) + self._epsilon))


OPTIMIZERS: Mapping[str, type[Momentum] | type[Adam]] = {"sgd": Momentum, "adam": Adam}


def clip_gradients(gradients: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradients in float64, scaled together so that their global norm is at most 1."""
    wide = {name: np.asarray(value).astype(np.float64) for name, value in gradients.items()}
    norm = float(np.sqrt(sum(float(np.square(value).sum()) for value in wide.values())))
    return wide if norm <= _CLIP or not np.isfinite(norm) else {name: v * (_CLIP / norm) for name, v in wide.items()}


def sketch(value: np.ndarray) -> np.ndarray:
    """The value, or of a large one [4096 + 3] float64: elements evenly spaced, mean, root mean square and the mean of
    all elements weighted by cosines of their position."""
    if value.size <= _SKETCHED or not (arrays.is_float(value.dtype) or value.dtype.kind in "iub"):
        return value
    flat = value.ravel().astype(np.float64)
    chosen = flat[np.linspace(0, flat.size - 1, _SKETCHED).astype(np.int64)]
    weighted = float(flat @ np.cos(np.arange(flat.size, dtype=np.float64))) / np.sqrt(flat.size)
    return np.concatenate([chosen, [flat.mean(), np.sqrt(np.square(flat).mean()), weighted]])


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class Course:
    """What one optimizer did to one signature of one side.

    Attributes:
      label: "tags/signature".
      optimizer: key of OPTIMIZERS.
      outputs: keys of the outputs that the objective is made of.
      generators: what draws random numbers in it, name -> op: stand-ins drew them, the same in each step.
      steps: of each step, in order: "objective", "regularization_losses/N", "gradient of VARIABLE" before it, and
        "VARIABLE" after it, for every variable; large ones as `sketch` keeps them.
      reason: why it does not train, "" where it does.
    """

    label: str
    optimizer: str
    outputs: tuple[str, ...] = ()
    steps: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)
    generators: dict[str, str] = dataclasses.field(default_factory=dict)
    reason: str = ""


def save_courses(folder: str, courses: Sequence[Course]) -> None:
    """Writes courses.json and courses.npz."""
    os.makedirs(folder, exist_ok=True)
    values: dict[str, Any] = {}
    listing = []
    for position, course in enumerate(courses):
        for number, step in enumerate(course.steps):
            values |= {f"{position}|{number}|{name}": value for name, value in step.items()}
        names = [list(step) for step in course.steps]
        listing.append(
            {
                "label": course.label,
                "optimizer": course.optimizer,
                "outputs": list(course.outputs),
                "generators": course.generators,
                "steps": names,
                "reason": course.reason,
            }
        )
    arrays.save_arrays(os.path.join(folder, _VALUES), values)
    with open(os.path.join(folder, _LISTING), "w", encoding="utf-8") as file:
        json.dump(listing, file)


def load_courses(folder: str) -> list[Course]:
    """What `save_courses` wrote."""
    values = arrays.load_arrays(os.path.join(folder, _VALUES))
    with open(os.path.join(folder, _LISTING), encoding="utf-8") as file:
        listing = json.load(file)
    return [
        Course(
            label=entry["label"],
            optimizer=entry["optimizer"],
            outputs=tuple(entry["outputs"]),
            steps=[
                {name: np.asarray(values[f"{position}|{number}|{name}"]) for name in names}
                for number, names in enumerate(entry["steps"])
            ],
            generators=entry["generators"],
            reason=entry["reason"],
        )
        for position, entry in enumerate(listing)
    ]
