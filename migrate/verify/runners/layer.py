"""A migrated model as `hub.KerasLayer(model, trainable=True)`: a call in each mode, what it trains and adds."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from migrate.inputs import calls as call_files
from migrate.verdict import EMPTY_BATCH, INFERENCE, LAYER, Coverage
from migrate.verify import results as result_files
from migrate.verify.runners.calling import bind_inputs, call_piece, name_outputs, spell_variable, to_value
from migrate.verify.runners.migrated_state import LoadedModel
from migrate.verify.ways import find_piece


def run_layer(
    loaded: LoadedModel, record: Mapping[str, Any], planned: list[call_files.Call], found: result_files.Results
) -> None:
    """Calls the root as a layer with the first inputs of each mode. A model that Keras cannot take (its root has no
    call, or no input) is none the worse: the coverage says so."""
    calls = _choose_calls(record, planned, found)
    if not calls:
        return
    import tensorflow_hub as hub  # takes half a second, for Keras

    missed = []
    answered = False
    for call, piece, training in calls:
        try:
            positional, keywords = bind_inputs(piece, call.inputs)
            if not positional:
                missed.append("a Keras layer must be given an input")
                continue
            loaded.reset()
            _replay(loaded, record, planned, call, training)
            layer = hub.KerasLayer(loaded.object, trainable=True, arguments=keywords or None)
            outputs = layer(positional[0], training=training)
            values = {key: to_value(value) for key, value in name_outputs(piece, outputs).items()}
            found.record_outputs(LAYER, call.id, values)
            answered = True
            _check_parts(loaded, layer, found)
        except Exception as error:  # Keras refuses by any type of exception.
            missed.append(f"{call.id}: {result_files.first_line(error)}")
    found.coverage.append(
        Coverage(
            name=LAYER,
            level=INFERENCE,
            reached=int(answered),
            total=1,
            is_flag=True,
            missed=tuple(dict.fromkeys(missed)),
        )
    )


def _choose_calls(
    record: Mapping[str, Any], planned: list[call_files.Call], found: result_files.Results
) -> list[tuple[call_files.Call, Mapping[str, Any], bool]]:
    """The first call of the root in each mode that has rows and was answered by the root itself."""
    chosen: dict[bool, tuple[call_files.Call, Mapping[str, Any], bool]] = {}
    answered = {call for _, call in found.outputs}
    for call in planned:
        piece, training = find_piece(record, call)
        if piece is not None and not piece["attribute"] and call.case != EMPTY_BATCH and call.id in answered:
            chosen.setdefault(training, (call, piece, training))
    return list(chosen.values())


def _replay(
    loaded: LoadedModel,
    record: Mapping[str, Any],
    planned: list[call_files.Call],
    call: call_files.Call,
    training: bool,
) -> None:
    """Where calls move state, those that came before this one are made again; a training call starts from the start."""
    if training or not loaded.has_state:
        return
    for earlier in planned[: planned.index(call)]:
        piece, _ = find_piece(record, earlier)
        if piece is not None and earlier.tags == call.tags:
            with contextlib.suppress(Exception):  # a call that failed then fails again
                call_piece(loaded.object, piece, earlier.inputs, training=False)


def _check_parts(loaded: LoadedModel, layer: Any, found: result_files.Results) -> None:
    """What the layer trains and adds must be what the model says of itself."""
    trains = sorted(spell_variable(weight.name) for weight in layer.trainable_weights)
    own = [spell_variable(v.name) for v in getattr(loaded.object, "trainable_variables", ())]
    if trains != sorted(own):
        found.notes.append(f"{LAYER}: trains {', '.join(trains) or 'nothing'}, not the model's trainable variables")
    losses = len(getattr(loaded.object, "regularization_losses", ()))
    if len(layer.losses) != losses:
        found.notes.append(f"{LAYER}: adds {len(layer.losses)} losses, the model has {losses}")
