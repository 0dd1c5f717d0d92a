"""`--also=keras`: the model of a Keras source once more, as a `.keras` file of Keras 3, held against the original.

Keras 3 reads the HDF5 files of Keras 2 (keras/src/legacy/saving/legacy_h5_format.py) and refuses arguments that its
layers no longer have, also where they say nothing: what tf_keras would set by itself is left out of the config before.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from migrate import isolation
from migrate.model import Finding, Severity, Source
from migrate.options import ReadOptions, Tolerance
from migrate.verdict import EMPTY_BATCH
from migrate.verify.judging.values import compare_values
from migrate.verify.results import first_line

ENDING = ".keras"
WRITTEN, NOT_WRITTEN = "keras-file-written", "keras-file-not-written"
# `_flatten_layers`, of tf_keras 2.15 to 2.21 and keras 3.0 to 3.12, is the one way to layers at any depth in both.
# What the base of all layers of Keras 3 takes without naming it (keras/src/layers/layer.py).
_SHAPES = frozenset(("batch_input_shape", "batch_shape", "input_shape"))
# Functions of tf_keras whose names stand for others in Keras 3, as models of its layers. Whatever can be called is an
# activation there (keras/src/activations: `get`, and `serialize`, which keeps objects): such a file loads without code
# beside it. hard_sigmoid: clip(0.2 x + 0.5, 0, 1); in Keras 3 clip(x / 6 + 0.5, 0, 1).
_COMPOSED: Mapping[str, Any] = {
    "hard_sigmoid": {
        "module": "keras",
        "class_name": "Sequential",
        "config": {
            "name": "hard_sigmoid",
            "layers": [
                {
                    "module": "keras.layers",
                    "class_name": "Rescaling",
                    "config": {"name": "slope", "scale": 0.2, "offset": 0.5},
                },
                {"module": "keras.layers", "class_name": "ReLU", "config": {"name": "bounds", "max_value": 1.0}},
            ],
        },
    }
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Keras3Request:
    """Attributes:
    source: the Keras source.
    read: what its reader is told.
    calls: folder of the calls that prove the migrated model, "" where there are none.
    path: file to write.
    scratch: folder for what is written on the way.
    tolerance: of the comparison.
    """

    source: Source
    read: ReadOptions
    calls: str
    path: str
    scratch: str
    tolerance: Tolerance


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Keras3Answer:
    """What was compared, or why nothing was written ("" where it was)."""

    compared: str
    refusal: str


def write_model(request: Keras3Request) -> Keras3Answer:
    """Job: writes the file, unless Keras 3 cannot express the model or computes something else."""
    from migrate.readers.keras import loading

    loaded = loading.load_keras(request.source.path, request.read)
    try:
        model = _rebuild(loaded.model, request.scratch)
    except Exception as error:  # Keras says in many ways that it has no such layer or argument
        return Keras3Answer(compared="", refusal=f"Keras 3 cannot express it: {first_line(error)}")
    compared, difference = _compare(loaded, model, request)
    if difference:
        return Keras3Answer(compared=compared, refusal=f"it would not be the same model: {difference}")
    partial = os.path.join(request.scratch, f"whole{ENDING}")
    model.save(partial)
    os.replace(partial, request.path)
    return Keras3Answer(compared=compared, refusal="")


JOB = isolation.Job("migrate.keras3:write_model", Keras3Request, Keras3Answer)


def describe(answer: Keras3Answer, where: str) -> Finding:
    """For the report."""
    if answer.refusal:
        return Finding(
            code=NOT_WRITTEN,
            severity=Severity.WARNING,
            where=where,
            message=f"no {ENDING} file was written: {answer.refusal}",
            hint="the SavedModel is complete without it",
        )
    return Finding(
        code=WRITTEN,
        severity=Severity.INFO,
        where=where,
        message=f"{os.path.basename(where)} is the model for Keras 3; compared with the original: {answer.compared}",
    )


def _rebuild(model: Any, scratch: str) -> Any:
    """The model of Keras 3; one that is of Keras 3 already as it is."""
    import h5py
    import keras

    if isinstance(model, keras.Model):
        return model
    path = os.path.join(scratch, "legacy.h5")
    model.save(path, include_optimizer=False)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        changed = {name for name in _find_activations(config) if _is_another(name)}
        if changed - set(_COMPOSED):
            raise ValueError(f"there {', '.join(sorted(changed - set(_COMPOSED)))} is another function")
        config = _compose_activations(_renumber_calls(_drop_defaults(config)), changed)
        file.attrs["model_config"] = json.dumps(config).encode("utf-8")
    return keras.models.load_model(path, compile=False)


def _find_activations(value: Any) -> set[str]:
    """Names of activations in a config, which made-up inputs may saturate."""
    if isinstance(value, list):
        return set().union(*map(_find_activations, value))
    if not isinstance(value, dict):
        return set()
    own = {item for key, item in value.items() if key.endswith("activation") and isinstance(item, str)}
    return own.union(*map(_find_activations, value.values()))


def _compose_activations(value: Any, names: Collection[str]) -> Any:
    """A config in which these activations are composed of layers of Keras 3."""
    if isinstance(value, list):
        return [_compose_activations(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _COMPOSED[item]
        if key.endswith("activation") and isinstance(item, str) and item in names
        else _compose_activations(item, names)
        for key, item in value.items()
    }


def _is_another(activation: str) -> bool:
    """Whether Keras 3 computes something else by that name."""
    import keras
    import tensorflow as tf
    import tf_keras

    grid = tf.linspace(-8.0, 8.0, 257)[None]
    try:
        old = tf_keras.activations.get(activation)
    except ValueError:  # a function of the user's own
        return False
    new = keras.activations.get(activation)
    return not np.allclose(np.asarray(old(grid)), np.asarray(new(grid)), rtol=1e-4, atol=1e-5)


def _renumber_calls(value: Any) -> Any:
    """A config in which models within a functional model are called from 0 on. In Keras 2 their own input is the first
    call, so that others begin with 1 (`_should_skip_first_node`); Keras 3 takes that back where a functional one gives
    an output, neither between layers nor for a Sequential (`functional_from_config`)."""
    if isinstance(value, list):
        return [_renumber_calls(item) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _renumber_calls(item) for key, item in value.items()}
    layers = changed.get("layers")
    if isinstance(layers, list) and "output_layers" in changed:
        inner = {layer["config"].get("name") for layer in layers if layer.get("class_name") == "Sequential"}
        models = inner | {layer["config"].get("name") for layer in layers if "output_layers" in layer["config"]}
        for layer in layers:
            layer["inbound_nodes"] = _count_from_zero(layer.get("inbound_nodes", []), models)
        for key in ("input_layers", "output_layers"):
            changed[key] = _count_from_zero(changed.get(key, []), inner)
    elif isinstance(layers, list) and layers and layers[0].get("class_name") == "InputLayer":
        for layer in layers[1:]:  # says again what the input does; within another model Keras 3 refuses it
            layer["config"].pop("batch_input_shape", None)
    return changed


def _count_from_zero(nodes: Any, names: set[Any]) -> Any:
    """[name, call, output, ...] of these layers with the call before; whatever holds such entries likewise."""
    if isinstance(nodes, dict):
        return {key: _count_from_zero(item, names) for key, item in nodes.items()}
    if not isinstance(nodes, list):
        return nodes
    if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
        call = nodes[1] - 1 if nodes[0] in names and nodes[1] > 0 else nodes[1]
        return [nodes[0], call, *(_count_from_zero(item, names) for item in nodes[2:])]
    return [_count_from_zero(item, names) for item in nodes]


def _drop_defaults(value: Any) -> Any:
    """A config without arguments that Keras 3 does not know, where tf_keras makes the same layer without them."""
    if isinstance(value, list):
        return [_drop_defaults(item) for item in value]
    if not isinstance(value, dict):
        return value
    cleaned = {key: _drop_defaults(item) for key, item in value.items()}
    if isinstance(cleaned.get("config"), dict) and isinstance(cleaned.get("class_name"), str):
        cleaned["config"] = _drop_arguments(cleaned["class_name"], value["config"], cleaned["config"])
    return cleaned


def _drop_arguments(name: str, original: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    import keras
    import tf_keras

    old, new = getattr(tf_keras.layers, name, None), getattr(keras.layers, name, None)
    if old is None or new is None:
        return config
    known = _list_parameters(new)
    unknown = [key for key in config if key not in known]
    kept = dict(config)
    for key in unknown:
        rest = {other: value for other, value in original.items() if other != key}
        try:
            same = old.from_config(rest).get_config() == old.from_config(dict(original)).get_config()
        except Exception:  # an argument that the layer needs
            same = False
        if same:
            del kept[key]
    return kept


def _list_parameters(layer: type) -> set[str]:
    """Names of the arguments that a layer takes, by itself or handing them on to what it derives from."""
    found: set[str] = set()
    for kind in layer.__mro__:
        if "__init__" not in vars(kind):
            continue
        parameters = inspect.signature(vars(kind)["__init__"]).parameters
        found.update(parameters)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return found
    return found | _SHAPES


def _compare(loaded: Any, model: Any, request: Keras3Request) -> tuple[str, str]:
    """What was compared, and the first difference."""
    from migrate.inputs import calls

    original, tolerance = loaded.model, request.tolerance

    def differ(first: Any, second: Any) -> bool:
        found = compare_values(
            np.asarray(first), np.asarray(second), where="", route="", output="", tolerance=tolerance
        )
        return not found.equal

    trained = list(zip(original.trainable_weights, model.trainable_weights, strict=False))
    if len(original.trainable_weights) != len(model.trainable_weights) or any(differ(a, b) for a, b in trained):
        return "", "its trainable weights differ"
    told, moved_alike = [f"{len(trained)} trainable weights"], True
    planned = calls.load_calls(request.calls) if request.calls else []
    # Of the whole model; a core's calls, and those of parts, are others.
    fitting = [call for call in planned if set(call.inputs) == set(loaded.input_names) and call.case != EMPTY_BATCH]
    if planned and not fitting:
        return "; ".join(told), "no call of the whole model was planned, so nothing shows that it is the same"
    for training in (False, True) if fitting else ():
        count = 0
        for call in fitting:
            values = [call.inputs[name] for name in loaded.input_names]
            if training and _draws(original, values):
                continue
            pairs = list(zip(*(_answer(side, values, training) for side in (original, model)), strict=True))
            if any(differ(a, b) for a, b in pairs):
                return "; ".join(told), f"outputs of {call.case} differ{' in training' if training else ''}"
            count += len(pairs)
            if training:
                left = zip(original.non_trainable_weights, model.non_trainable_weights, strict=False)
                moved_alike = moved_alike and not any(differ(a, b) for a, b in left)
        told += [f"{count} outputs{' in training mode' if training else ''}"] if count else []
    if differ(_sum_losses(original), _sum_losses(model)):
        return "; ".join(told), "its regularization losses differ"
    told.append("regularization losses")
    # Batch norm of Keras 3 averages the variance of the batch, tf_keras' fused one that of what it is a sample of.
    told += [] if moved_alike else ["but training moves the averages as Keras 3 does, not as the original"]
    if differ(sum(map(float, original.losses)), sum(map(float, model.losses))):
        told.append("but losses of frozen layers are left out, as Keras 3 does")
    return "; ".join(told), ""


def _draws(model: Any, values: Sequence[Any]) -> bool:
    """Whether training draws random numbers, which the two Keras draw in their own ways."""
    import tensorflow as tf

    from migrate.graph.randomness import RANDOM_OPS
    from migrate.readers.keras import models

    traced = tf.function(lambda: _call(model, values, True), autograph=False).get_concrete_function()
    return any(op in RANDOM_OPS for op, _ in models.count_ops(traced.graph))


def _answer(model: Any, values: Sequence[Any], training: bool) -> list[Any]:
    return [np.asarray(output) for output in _call(model, values, training)]


def _call(model: Any, values: Sequence[Any], training: bool) -> list[Any]:
    import tensorflow as tf

    from migrate.readers.keras import models

    return models.call_model(model, [tf.constant(value) for value in values], training=training)


def _sum_losses(model: Any) -> float:
    """Of all weights: those of a frozen layer count in tf_keras and not in Keras 3."""
    layers = list(model._flatten_layers())
    flags = [layer.trainable for layer in layers]
    for layer in layers:
        layer.trainable = True
    total = float(sum(float(loss) for loss in model.losses))
    for layer, flag in zip(layers, flags, strict=True):
        layer.trainable = flag  # parents come first
    return total
