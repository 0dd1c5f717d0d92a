"""Runs a migrated model every way its users do: plainly and with all outputs, by `signatures[...]`, by a v1 session
and as a Keras layer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from migrate.inputs import calls as call_files
from migrate.model import SEED_STATE
from migrate.verdict import CALLABLE, PLAIN, SIGNATURE, TRAINED, TRAINED_PLAIN
from migrate.verify import results as result_files
from migrate.verify.draws import Answer, draw_in_turns
from migrate.verify.runners import belongings, layer, served, sharing
from migrate.verify.runners.calling import call_piece, call_signature, to_tensor, to_value
from migrate.verify.runners.gradients import tape_gradients
from migrate.verify.runners.migrated_state import LoadedModel, find_state, release_memory
from migrate.verify.runners.process import prepare_process
from migrate.verify.runners.request import COPIES, OBJECT, RunRequest
from migrate.verify.signature_defs import describe_migrated
from migrate.verify.ways import find_piece, has_plain_call, is_way
from migrate.verify.weights import draw_all
from migrate.write import provenance

# A dropped unit may well be kept a second time: a few draws tell.
_REPEATS = 3


def run(wish: RunRequest) -> None:
    """Job."""
    prepare_process(wish.op_library)
    record = provenance.read_record(wish.path)
    if record is None:
        raise ValueError("the model has no migration record")
    planned = call_files.load_calls(wish.calls, wish.skip)
    found = result_files.Results(folder=wish.results, model=wish.path)
    if wish.part != COPIES:
        _run_object(record, planned, found, wish)
    if wish.part != OBJECT:
        _run_copies(record, planned, found, wish)
    found.save()


def _run_object(
    record: Mapping[str, Any], planned: list[call_files.Call], found: result_files.Results, wish: RunRequest
) -> None:
    """All that is asked of the model as `tf.saved_model.load` gives it."""
    found.interface = describe_migrated(wish.path, record)
    loaded = LoadedModel(wish.path)
    found.keeps_seeds = any(SEED_STATE in name for name in loaded.variables)
    if wish.draw_calls and not loaded.has_state:
        # Where no call moves anything, those that are drawn need no others before them.
        planned = [call for call in planned if call.id in wish.draw_calls]
    for tags in dict.fromkeys(call.tags for call in planned):
        wanted = [call for call in planned if call.tags == tags]
        for route in (CALLABLE, PLAIN, SIGNATURE):
            # From the start for each: what one call leaves in variables must not reach another route.
            loaded.reset()
            drawn = _run_route(loaded, record, wanted, route, found, wish)
            found.draws |= draw_in_turns(drawn, wish.draw_calls, wish.draw_seconds)
    loaded.reset()
    if wish.is_whole:
        layer.run_layer(loaded, record, planned, found)
        loaded.reset()
        belongings.read_migrated(wish.path, record, loaded.object, found)
    steady = [call for call in planned if call.id not in wish.generators]
    _run_gradients(loaded, record, steady, found, wish)
    loaded.reset()
    if wish.losses:
        found.losses = [loss().numpy() for loss in getattr(loaded.whole, "regularization_losses", ())]
        found.trainable = loaded.trainable
    if wish.variables:
        found.variables = loaded.read_variables()
    if wish.update_call:
        _run_updates(loaded, record, planned, wish, found)
    # Last of this model: the weights are not put back.
    _run_reweighed(loaded, record, [call for call in planned if call.id in wish.reweigh_calls], found, wish)
    if wish.part != OBJECT:
        loaded.close()  # A model takes several times its size; one at a time is enough.


def _run_copies(
    record: Mapping[str, Any], planned: list[call_files.Call], found: result_files.Results, wish: RunRequest
) -> None:
    """What needs a load of its own: a v1 session, and a copy that draws what the other side draws."""
    if wish.is_whole:
        served.run_session(wish.path, record, planned, found, has_state=any(find_state(wish.path)))
        release_memory()
    if wish.generators:
        _run_shared(record, [call for call in planned if call.id in wish.generators], found, wish)


def _run_route(
    loaded: LoadedModel,
    record: Mapping[str, Any],
    wanted: list[call_files.Call],
    route: str,
    found: result_files.Results,
    wish: RunRequest,
) -> dict[tuple[str, str], Answer]:
    """Returns what can be drawn again: (route, call id) -> what answers."""
    drawn: dict[tuple[str, str], Answer] = {}
    for call in wanted:
        piece, training = find_piece(record, call)
        if piece is None or not is_way(route, piece, call, training):
            continue
        if call.id in wish.refused and (training or not loaded.has_state):
            continue  # It costs as much as an answer; elsewhere what it moves before it fails must be moved.
        if training:
            # A training call runs UPDATE_OPS too, which the baseline of its outputs does not.
            loaded.reset()
        compute = _make_compute(loaded, route, piece, training)

        def answer(compute: Any = compute, call: call_files.Call = call) -> dict[str, Any]:
            return {key: to_value(value) for key, value in compute(call.inputs).items()}

        found.begin_call(route, call.id)
        try:
            for _ in range(_REPEATS if wish.repeat else 0):
                answer()
            found.record_outputs(route, call.id, answer())
            if call.id in wish.draw_calls:
                drawn[route, call.id] = answer
        except Exception as error:  # A refusal of these inputs, of whatever type, is a result.
            found.record_failure(route, call.id, error)
    return drawn


def _run_gradients(
    loaded: LoadedModel,
    record: Mapping[str, Any],
    wanted: list[call_files.Call],
    found: result_files.Results,
    wish: RunRequest,
) -> None:
    for call in wanted:
        piece, training = find_piece(record, call)
        if call.id not in wish.gradient_calls or piece is None:
            continue
        inputs = {key: to_tensor(value, piece["inputs"][key]) for key, value in call.inputs.items()}
        for route in (CALLABLE, PLAIN):
            if not is_way(route, piece, call, training):
                continue
            compute = _make_compute(loaded, route, piece, training)
            found.begin_call(f"gradients, {route}", call.id)
            try:
                found.gradients[route, call.id] = tape_gradients(compute, inputs, loaded.variables, loaded.reset)
            except Exception as error:  # as in _run_route
                found.notes.append(f"{call.id}: no gradients: {result_files.first_line(error)}")


def _run_shared(
    record: Mapping[str, Any], wanted: list[call_files.Call], found: result_files.Results, wish: RunRequest
) -> None:
    """Random calls once more, in a copy that draws what the baseline drew, where it holds the same generators."""
    described = sharing.describe_model(wish.path)
    found.fixed_seeds = [name for name, (_, is_fixed) in described.items() if is_fixed]
    own = {name: op for name, (op, _) in described.items()}
    found.generators = {call.id: own for call in wanted}
    able, streams = sharing.pair_calls(wanted, wish.generators, found.generators)
    if not able:
        return
    loaded = LoadedModel(sharing.copy_model(wish.path, os.path.join(wish.results, "shared"), streams))
    for call in able:
        piece, training = find_piece(record, call)
        for route in (CALLABLE, PLAIN):
            if piece is None or not is_way(route, piece, call, training):
                continue
            loaded.reset()
            # What raises here does so in the model itself, which says it; else its draws are compared, not these.
            with contextlib.suppress(Exception):
                outputs = _make_compute(loaded, route, piece, training)(call.inputs)
                found.record_shared(route, call.id, {key: to_value(value) for key, value in outputs.items()})
    _run_gradients(loaded, record, able, found, wish)
    if wish.update_call in {call.id for call in able}:
        shared = result_files.Results()
        _run_updates(loaded, record, able, wish, shared)
        found.shared_updates = shared.updates


def _run_reweighed(
    loaded: LoadedModel,
    record: Mapping[str, Any],
    wanted: list[call_files.Call],
    found: result_files.Results,
    wish: RunRequest,
) -> None:
    """Calls once more with other weights, those that the baseline had."""
    others = draw_all(loaded.read_variables()) if wanted else {}
    if not others or set(wish.reweigh) - set(others):
        return
    found.weights = list(wish.reweigh or others)
    for call in wanted:
        piece, training = find_piece(record, call)
        for route in (CALLABLE, PLAIN):
            if piece is None or not is_way(route, piece, call, training) or (route, call.id) not in found.outputs:
                continue
            loaded.reset()
            for name in found.weights:
                loaded.variables[name].assign(others[name])
            try:
                outputs = _make_compute(loaded, route, piece, training)(call.inputs)
                found.record_reweighed(route, call.id, {key: to_value(value) for key, value in outputs.items()})
            except Exception as error:  # as in _run_route: the baseline did answer
                found.notes.append(f"{call.id}: with other weights: {result_files.first_line(error)}")


def _make_compute(
    loaded: LoadedModel, route: str, piece: Mapping[str, Any], training: bool
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    is_traced = False

    def compute(inputs: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal is_traced
        if route == SIGNATURE:
            return call_signature(loaded.object, piece, inputs)
        # To trace once more finds the trace, and takes as long as a small model: random outputs are drawn thousands of
        # times.
        is_new, is_traced = not is_traced, True
        return call_piece(loaded.object, piece, inputs, training=training, plain=route == PLAIN, open_sizes=is_new)

    return compute


def _run_updates(
    loaded: LoadedModel,
    record: Mapping[str, Any],
    planned: list[call_files.Call],
    wish: RunRequest,
    found: result_files.Results,
) -> None:
    call = next(call for call in planned if call.id == wish.update_call)
    piece, _ = find_piece(record, call)
    if piece is None:
        return
    before, runs, outputs = loaded.read_variables(), [], {}
    for _ in range(1 + (_REPEATS if wish.repeat else 0)):
        loaded.reset()
        outputs = call_piece(loaded.object, piece, call.inputs, training=True)
        runs.append(loaded.read_variables())
    found.record_updates(before, runs)
    if list(call.tags) != piece["modes"][0]["tags"] or len(piece["modes"]) > 1:
        return
    # It reads before it writes: with its updates it gives what the original gives without them.
    found.record_outputs(TRAINED, call.id, {key: to_value(value) for key, value in outputs.items()})
    if has_plain_call(piece, training=True):
        loaded.reset()
        outputs = call_piece(loaded.object, piece, call.inputs, training=True, plain=True)
        found.record_outputs(TRAINED_PLAIN, call.id, {key: to_value(value) for key, value in outputs.items()})
