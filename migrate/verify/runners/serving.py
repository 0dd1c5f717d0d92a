"""Runs any TF2 SavedModel, and any Keras file: signatures, and the training mode where there is one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from migrate.inputs import calls as call_files
from migrate.model import SEED_STATE
from migrate.verdict import PLAIN
from migrate.verify import results as result_files
from migrate.verify.draws import Answer, draw_in_turns
from migrate.verify.runners import sharing
from migrate.verify.runners.calling import to_value
from migrate.verify.runners.gradients import tape_gradients
from migrate.verify.runners.keras_file import LoadedKerasFile
from migrate.verify.runners.process import prepare_process
from migrate.verify.runners.request import DescribeRequest, Description, Names, RunRequest
from migrate.verify.runners.servable import TRAINING_TAGS, LoadedSavedModel, Servable
from migrate.verify.signature_defs import describe_signature, read_variants

_SIGNATURE, _CALLABLE = "signature", "callable"
# Dropout on few units gives the same answer more often than not.
_REPEATS = 12


def run(wish: RunRequest) -> None:
    """Job: a TF2 SavedModel."""
    variants = read_variants(wish.path)
    interface = [describe_signature(v.tags, signature) for v in variants for signature in v.signatures.values()]
    _run(wish, LoadedSavedModel, result_files.Results(interface=interface, model=wish.path))


def run_keras_file(wish: RunRequest) -> None:
    """Job: a Keras file."""
    found = result_files.Results()

    def load(path: str) -> LoadedKerasFile:
        loaded = LoadedKerasFile(path, wish.read)
        found.interface = loaded.describe()
        found.pieces = loaded.describe_parts()
        return loaded

    _run(wish, load, found)


def describe(request: DescribeRequest) -> Description:
    """Job.

    Raises:
      CorruptModelError, UnknownFormatError: Keras cannot load the file.
    """
    prepare_process(request.op_library)
    if request.is_keras_file:
        model = LoadedKerasFile(request.path, request.read)
        model.export(request.exported)
        return Description(training=model.training_signature)
    try:
        return Description(training=LoadedSavedModel(request.path).training_signature)
    except Exception:  # Loading runs the model's own code; what does not load is told by the run.
        return Description(training="")


def _run(wish: RunRequest, load: Callable[[str], Servable], found: result_files.Results) -> None:
    prepare_process(wish.op_library)
    found.folder = wish.results
    planned = call_files.load_calls(wish.calls, wish.skip)
    try:
        loaded: Servable = load(wish.path)
    except Exception as error:  # Loading runs the model's own code, which raises what it likes.
        for call in planned:
            found.refusals[_route(call), call.id] = f"the model does not load: {result_files.first_line(error)}"
        found.save()
        return
    initial = _read_initial(loaded, planned)
    found.generators = _find_generators(loaded, planned, wish)
    found.keeps_seeds = any(SEED_STATE in name for name in loaded.variables)
    drawn: dict[tuple[str, str], Answer] = {}
    for call in planned:
        _restore(loaded, initial)
        answer = _run_call(loaded, call, initial, found, wish)
        if answer is not None and call.id in wish.draw_calls:
            drawn[_route(call), call.id] = answer
    found.draws |= draw_in_turns(drawn, wish.draw_calls, wish.draw_seconds)
    _restore(loaded, initial)
    if wish.losses:
        found.losses = [loss.numpy() for loss in loaded.compute_losses()]
        found.trainable = loaded.trainable
    if wish.variables:
        found.variables = {name: to_value(variable.read_value()) for name, variable in loaded.variables.items()}
    if wish.update_call:
        _run_update(loaded, next(call for call in planned if call.id == wish.update_call), initial, found, wish)
    if found.generators:
        _run_shared([call for call in planned if call.id in found.generators], found, wish)
    found.save()


def _read_initial(loaded: Servable, planned: Sequence[call_files.Call]) -> dict[str, Any]:
    trains = any(_route(call) == _CALLABLE for call in planned)
    return {name: v.read_value() for name, v in loaded.variables.items() if hasattr(v, "assign")} if trains else {}


def _find_generators(
    loaded: Servable, planned: Sequence[call_files.Call], wish: RunRequest
) -> dict[str, dict[str, str]]:
    """Call id -> name -> op of what draws for it, where the other side is to draw the same: for a baseline that shares,
    and for a candidate of one that did. A Keras file's random ops are eager Python until it is traced, and cannot be
    replaced in a file."""
    if not isinstance(loaded, LoadedSavedModel):
        return {}
    found: dict[str, dict[str, str]] = {}
    for call in planned:
        if wish.share or call.id in wish.generators:
            training = _route(call) == _CALLABLE
            drawn = loaded.find_generators(wish.names.signature or call.signature, training=training)
            found |= {call.id: drawn} if drawn else {}
    return found


def _run_shared(random: Sequence[call_files.Call], found: result_files.Results, wish: RunRequest) -> None:
    """Random calls once more, in a copy that draws what the other side draws, where both hold the same generators."""
    described = sharing.describe_model(wish.path)
    found.fixed_seeds = [name for name, (_, is_fixed) in described.items() if is_fixed]
    others = found.generators if wish.share else wish.generators
    able, streams = sharing.pair_calls(random, others, found.generators)
    if not able:
        return
    loaded = LoadedSavedModel(sharing.copy_model(wish.path, os.path.join(wish.results, "shared"), streams))
    initial = _read_initial(loaded, able)
    again = result_files.Results()
    for call in able:
        _restore(loaded, initial)
        _run_call(loaded, call, initial, again, dataclasses.replace(wish, share=False, generators={}))
    for (route, call_id), outputs in again.outputs.items():
        if (route, call_id) in found.outputs:
            found.record_shared(route, call_id, outputs)
    found.gradients |= again.gradients
    if wish.update_call in {call.id for call in able}:
        call = next(call for call in able if call.id == wish.update_call)
        _run_update(loaded, call, initial, again, wish)
        found.shared_updates = again.updates


def _route(call: call_files.Call) -> str:
    return _CALLABLE if call.tags == TRAINING_TAGS else _SIGNATURE


def _restore(loaded: Servable, initial: Mapping[str, Any]) -> None:
    """A training call moves averages: the next call starts where the model does."""
    for name, value in initial.items():
        loaded.variables[name].assign(value)


def _run_call(
    loaded: Servable,
    call: call_files.Call,
    initial: Mapping[str, Any],
    found: result_files.Results,
    wish: RunRequest,
) -> Answer | None:
    """Returns what answers the call, to draw again; None of a refusal."""
    route, names = _route(call), wish.names

    def compute(inputs: Mapping[str, Any]) -> dict[str, Any]:
        own = {names.inputs.get(key, key): value for key, value in inputs.items()}
        if route == _CALLABLE:
            outputs = loaded.compute_training(names.signature or call.signature, own)
        else:
            outputs = loaded.compute(names.signature or call.signature, own)
        return {names.outputs.get(key, key): value for key, value in outputs.items()}

    found.begin_call(route, call.id)
    try:
        inputs = _convert(loaded, call, names)

        def answer() -> dict[str, Any]:
            return {key: to_value(value) for key, value in compute(inputs).items()}

        for _ in range(_REPEATS if wish.repeat else 0):
            answer()
        outputs = answer()
        # What can be had of a training call is what the model returns when it is called.
        found.record_outputs(route if route == _SIGNATURE or loaded.gives_all else PLAIN, call.id, outputs)
        if route == _SIGNATURE and (names.signature or call.signature) == loaded.plain_signature:
            _run_plain(loaded, call, inputs, found, names)
        # Of a call that draws, those of the copy that draws what the other side does.
        if call.id in wish.gradient_calls and call.id not in found.generators:
            found.gradients[route, call.id] = tape_gradients(
                compute, inputs, loaded.variables, lambda: _restore(loaded, initial)
            )
    except Exception as error:  # A refusal of these inputs, of whatever type, is a result.
        found.record_failure(route, call.id, error)
        return None
    return answer


def _run_plain(
    loaded: Servable, call: call_files.Call, inputs: Mapping[str, Any], found: result_files.Results, names: Names
) -> None:
    """The model as it is called, `model(x)`. Not every model that has a call can be called so: that is no fault."""
    own = {names.inputs.get(key, key): value for key, value in inputs.items()}
    with contextlib.suppress(Exception):
        outputs = {names.outputs.get(key, key): to_value(value) for key, value in loaded.compute_plain(own).items()}
        if outputs:
            found.record_outputs(PLAIN, call.id, outputs)


def _convert(loaded: Servable, call: call_files.Call, names: Names) -> dict[str, Any]:
    """The call's inputs as tensors, by the call's keys."""
    own = {names.inputs.get(key, key): value for key, value in call.inputs.items()}
    converted = loaded.convert(names.signature or call.signature, own)
    return {key: converted[names.inputs.get(key, key)] for key in call.inputs}


def _run_update(
    loaded: Servable,
    call: call_files.Call,
    initial: Mapping[str, Any],
    found: result_files.Results,
    wish: RunRequest,
) -> None:
    if not loaded.training_signature or call.tags != TRAINING_TAGS:
        return

    def read() -> dict[str, Any]:
        return {name: to_value(variable.read_value()) for name, variable in loaded.variables.items()}

    try:
        inputs = _convert(loaded, call, wish.names)
        own = {wish.names.inputs.get(key, key): value for key, value in inputs.items()}
        before, runs = read(), []
        for _ in range(1 + (_REPEATS if wish.repeat else 0)):
            _restore(loaded, initial)
            loaded.compute_training(wish.names.signature or call.signature, own)
            runs.append(read())
        found.record_updates(before, runs)
    except Exception as error:  # As in _run_call: told as a note, the outputs are compared all the same.
        found.notes.append(f"updates: {result_files.first_line(error)}")
