"""The signatures of a Keras model: the model itself, or a core of it, and parts of it by the names of layers.

A part is a functional model of Keras' own, over layers of the whole: whoever runs the original runs the same.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from migrate import errors
from migrate.graph import index as graph_index
from migrate.options import ReadOptions
from migrate.readers.keras import models, stored_weights, topology
from migrate.readers.keras.loading import LoadedKeras

SIGNATURE = "serving_default"
_PIECE, _CORE = "--piece", "--core"
_GRAMMAR = "write --piece=INPUT_LAYER:OUTPUT_LAYER, or NAME=INPUT_LAYER:OUTPUT_LAYER (a,b for several layers)"
_SHOWN = 40


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """What a signature of a Keras model computes.

    Attributes:
      specs: of the inputs, by key, in the order that `compute` takes.
      output_names: keys of the outputs, in the order that `compute` gives.
      compute: (values, training) -> outputs.
    """

    specs: Mapping[str, Any]
    output_names: tuple[str, ...]
    compute: Callable[[Sequence[Any], bool], list[Any]]


def find_parts(loaded: LoadedKeras, options: ReadOptions) -> dict[str, Part]:
    """Every signature but those for explainers by its key, the one that the root applies first.

    Raises:
      UsageError: an option names no layer, or layers of which the one does not lead to the other.
    """
    parts: dict[str, Part] = {}
    core = _find_core(loaded, options.core) if options.core else None
    if core is None:
        parts[SIGNATURE] = of_model(loaded.model, loaded.input_names, loaded.output_names)
    else:
        names = name_tensors(core.inputs), name_tensors(core.outputs)
        parts[SIGNATURE] = of_model(core, *names)
        parts |= _find_heads(loaded, core)
    for text in options.pieces:
        key, part = _find_piece(loaded, text)
        if key in parts:
            raise errors.UsageError(f"two parts would be {key!r}", where=_PIECE, hint="name one: NAME=INPUT:OUTPUT")
        parts[key] = part
    return parts


def of_model(model: Any, input_names: Sequence[str], output_names: Sequence[str]) -> Part:
    """A model as it is called."""

    def compute(values: Sequence[Any], training: bool) -> list[Any]:
        return models.call_model(model, values, training=training)

    return Part(specs=models.make_specs(model, input_names), output_names=tuple(output_names), compute=compute)


def of_tensors(loaded: LoadedKeras, inputs: Sequence[Any], outputs: Sequence[Any], name: str) -> Part:
    """What leads from some symbolic tensors of the model to others."""
    model = make_model(loaded, inputs, outputs, name)
    return of_model(model, name_tensors(inputs), name_tensors(outputs))


def make_model(loaded: LoadedKeras, inputs: Sequence[Any], outputs: Sequence[Any], name: str) -> Any:
    """A functional model over layers of the whole, of the same Keras."""
    import tf_keras

    if isinstance(loaded.model, tf_keras.Model):
        return tf_keras.Model(list(inputs), list(outputs), name=name)
    import keras

    return keras.Model(list(inputs), list(outputs), name=name)


def name_tensors(tensors: Iterable[Any]) -> tuple[str, ...]:
    """Keys: the name of the layer that gives the tensor, each once."""
    taken: dict[str, None] = {}
    for tensor in tensors:
        taken[graph_index.make_unique(topology.name_tensor(tensor), taken)] = None
    return tuple(taken)


# --- pieces ----------------------------------------------------------------------------------------------


def _find_piece(loaded: LoadedKeras, text: str) -> tuple[str, Part]:
    name, equals, path = text.rpartition("=")
    sides = [[layer.strip() for layer in side.split(",")] for side in path.split(":")]
    if "->" in text or len(sides) != 2 or not all(name for side in sides for name in side) or (equals and not name):
        raise errors.UsageError(f"{text!r} names no two layers of a Keras model", where=_PIECE, hint=_GRAMMAR)
    model = _find_model(loaded.model, [layer for side in sides for layer in side], text)
    inputs, outputs = _connect(model, sides[0], sides[1], text)
    sources = topology.find_sources(outputs, inputs)
    known = {id(tensor) for tensor in inputs}
    more = [topology.name_tensor(tensor) for tensor in sources if id(tensor) not in known]
    if more:
        raise errors.UsageError(
            f"{text!r}: {', '.join(sides[1])} also needs {', '.join(dict.fromkeys(more))}",
            where=_PIECE,
            hint=f"name these too: --piece={','.join([*sides[0], *dict.fromkeys(more)])}:{','.join(sides[1])}",
        )
    key = name.strip() or sides[1][-1]
    return key, of_tensors(loaded, sources, outputs, key)


def _find_model(model: Any, wanted: Sequence[str], text: str) -> Any:
    """The model, or the outermost one in it, that has all these layers."""
    every = list(topology.iterate_models(model))
    for found in every:
        if set(wanted) <= {layer.name for layer in found.layers}:
            return found
    names = [layer.name for found in every for layer in found.layers]
    lost = [name for name in wanted if name not in names]
    what = f"has no layer {', '.join(map(repr, lost))}" if lost else "has these layers in different submodels"
    raise errors.UsageError(f"{text!r}: the model {what}", where=_PIECE, hint=_suggest(names, lost))


def _suggest(names: Sequence[str], lost: Sequence[str]) -> str:
    """The layers, those of like names first."""
    close = [match for name in lost for match in difflib.get_close_matches(name, names, n=3)]
    listed = list(dict.fromkeys((*close, *names)))
    return f"its layers: {stored_weights.spell_names(listed, most=_SHOWN)}"


def _connect(model: Any, first: Sequence[str], last: Sequence[str], text: str) -> tuple[list[Any], list[Any]]:
    """What goes into the first layers and comes out of the last. Of a layer that is applied several times that call
    counts from which the one layer leads to the other, the first of several such."""
    applications = topology.list_applications(model.outputs)
    outputs: list[Any] = []
    for name in last:
        called = [a for a in applications if a.layer.name == name]
        if not called:
            raise errors.UsageError(f"{text!r}: no output of the model needs {name!r}", where=_PIECE)
        outputs += next((a for a in called if _leads(first, a)), called[0]).outputs
    behind = topology.list_applications(outputs)
    inputs: dict[int, Any] = {}
    for name in first:
        called = [a for a in behind if a.layer.name == name]
        if not called:
            raise errors.UsageError(
                f"{text!r}: {name!r} does not lead to {', '.join(last)}",
                where=_PIECE,
                hint="the layer whose input the piece takes comes first: INPUT_LAYER:OUTPUT_LAYER",
            )
        inputs |= {id(tensor): tensor for tensor in called[0].inputs or called[0].outputs}
    return list(inputs.values()), outputs


def _leads(first: Sequence[str], application: topology.Application) -> bool:
    behind = {a.layer.name for a in topology.list_applications(application.outputs)}
    return set(first) <= behind


# --- core ------------------------------------------------------------------------------------------------


def _find_core(loaded: LoadedKeras, name: str) -> Any:
    """The submodel that becomes the root."""
    nested = [model for model in topology.iterate_models(loaded.model) if model is not loaded.model]
    found = next((model for model in nested if model.name == name), None)
    if found is not None:
        return found
    names = [layer.name for layer in loaded.model.layers]
    what = "is a layer, not a model" if name in names else "is no layer of the model"
    known = ", ".join(model.name for model in nested)
    hint = f"its submodels: {known}" if known else f"it has no submodel; {_suggest(names, [name])}"
    raise errors.UsageError(f"{name!r} {what}", where=_CORE, hint=hint)


def _find_heads(loaded: LoadedKeras, core: Any) -> dict[str, Part]:
    """For each output of the whole, under its name: what leads there from the core's outputs (and from inputs that do
    not go through the core). An output that the core itself gives needs no head."""
    calls = [a for a in topology.list_applications(loaded.model.outputs) if a.layer is core]
    given = [tensor for call in calls for tensor in call.outputs]
    heads: dict[str, Part] = {}
    for name, tensor in zip(loaded.output_names, loaded.model.outputs, strict=True):
        if any(tensor is other for other in given):
            continue
        sources = topology.find_sources([tensor], given)
        key = graph_index.make_unique(name if name != SIGNATURE else "head", heads)
        heads[key] = of_model(make_model(loaded, sources, [tensor], key), _name_core(core, given, sources), (name,))
    return heads


def _name_core(core: Any, given: Sequence[Any], sources: Sequence[Any]) -> tuple[str, ...]:
    """A head's inputs bear the names that the core gives them."""
    names = name_tensors(core.outputs)
    by_id = {id(tensor): names[position % len(names)] for position, tensor in enumerate(given)}
    taken: dict[str, None] = {}
    for tensor in sources:
        wanted = by_id.get(id(tensor)) or topology.name_tensor(tensor)
        taken[graph_index.make_unique(wanted, taken)] = None
    return tuple(taken)
