"""Names of a Keras model's variables: those of its file, where it has any."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migrate.graph import index as graph_index
from migrate.readers.keras.hdf5 import StoredLayer


def unwrap(variable: Any) -> Any:
    """The tf.Variable: Keras 3 wraps it."""
    return variable.value if hasattr(variable, "path") and hasattr(variable, "value") else variable


def spell(variable: Any) -> str:
    """What Keras calls a variable, without TF's ":0"."""
    return re.sub(r":\d+$", "", getattr(variable, "path", None) or variable.name)


def find_layer_weights(layer: Any) -> list[Any]:
    """A layer's weights in the order of HDF5 files: trainable ones first."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def name_stored(model: Any, layers: Iterable[StoredLayer]) -> dict[int, str]:
    """id of a variable -> its name in the file, for layers whose weights correspond one to one."""
    stored = [layer for layer in layers if layer.weights]
    present = [layer for layer in model.layers if layer.weights]
    found: dict[int, str] = {}
    if len(stored) != len(present):
        return found
    bare = Counter(_strip(weight.name) for layer in stored for weight in layer.weights)
    for layer, entry in zip(present, stored, strict=True):
        weights = find_layer_weights(layer)
        if len(weights) == len(entry.weights):
            for weight, name in zip(weights, (w.name for w in entry.weights), strict=True):
                spelled = _strip(name)
                # Some files name weights within their layer only ("kernel"): the layer's name comes before.
                found.setdefault(id(unwrap(weight)), spelled if bare[spelled] == 1 else f"{entry.name}/{spelled}")
    return found


def _strip(name: str) -> str:
    return re.sub(r":\d+$", "", name)


def name_variables(model: Any, stored: Mapping[int, str]) -> dict[int, str]:
    """id of each variable -> its name, each name once."""
    variables: Sequence[Any] = model.variables
    names: dict[int, str] = {}
    taken: set[str] = set()
    for variable in variables:
        key = id(unwrap(variable))
        if key not in names:
            names[key] = graph_index.make_unique(stored.get(key) or spell(variable), taken)
            taken.add(names[key])
    return names
