"""One round of a benchmark: loads a model of any kind and times one call again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from migrate.inputs import calls as call_files
from migrate.options import ReadOptions
from migrate.readers import read_model
from migrate.verify.runners.baseline import LoadedVariant
from migrate.verify.runners.calling import call_piece, call_signature, to_tensor
from migrate.verify.runners.keras_file import LoadedKerasFile
from migrate.verify.runners.process import prepare_process
from migrate.verify.runners.request import Subject, Timing, TimingRequest
from migrate.verify.runners.servable import TRAINING_TAGS
from migrate.verify.runners.side import KERAS, MIGRATED, SESSION
from migrate.verify.ways import find_piece, has_signature
from migrate.write import provenance


def run(request: TimingRequest) -> Timing:
    """Job. Feeding and fetching count, loading and tracing do not."""
    subject = request.subject
    prepare_process(subject.op_library)
    call = next(call for call in call_files.load_calls(subject.calls) if call.id == subject.call)
    if subject.kind == KERAS:
        answer = _prepare_keras_file(subject, call)
    elif subject.kind == SESSION:
        answer = _prepare_session(subject.path, subject.read.of_original, call)
    else:
        answer = _prepare_function(subject.path, subject.kind, call)
    for _ in range(request.warmups):
        answer()
    seconds = []
    for _ in range(request.repeats):
        started = time.perf_counter()
        answer()
        seconds.append(time.perf_counter() - started)
    return Timing(seconds=tuple(seconds))


def _prepare_session(path: str, read: ReadOptions, call: call_files.Call) -> Callable[[], Any]:
    tf.compat.v1.disable_eager_execution()
    model = read_model(path, read.of_original)
    variant = next(variant for variant in model.variants if variant.tags == call.tags)
    signature = variant.signatures[call.signature]
    loaded = LoadedVariant(model, variant)
    feeds = loaded.make_feeds(signature.inputs, call.inputs)
    fetches = [list(tensor.tensor_names) for tensor in signature.outputs.values()]
    return lambda: loaded.session.run(fetches, feeds)


def _prepare_function(path: str, kind: str, call: call_files.Call) -> Callable[[], Any]:
    loaded = tf.saved_model.load(path)
    if kind == MIGRATED:
        record = provenance.read_record(path)
        assert record is not None
        piece, training = find_piece(record, call)
        assert piece is not None
        if has_signature(piece, call):
            return lambda: _wait(call_signature(loaded, piece, call.inputs))
        return lambda: _wait(call_piece(loaded, piece, call.inputs, training=training))
    function = loaded.signatures[call.signature]
    specs = function.structured_input_signature[1]
    return lambda: _wait(
        function(**{key: to_tensor(value, {"dtype": specs[key].dtype}) for key, value in call.inputs.items()})
    )


def _prepare_keras_file(subject: Subject, call: call_files.Call) -> Callable[[], Any]:
    names = subject.names
    loaded, key = LoadedKerasFile(subject.path, subject.read), names.signature or call.signature
    inputs = loaded.convert(key, {names.inputs.get(key, key): value for key, value in call.inputs.items()})
    if call.tags == TRAINING_TAGS:
        return lambda: _wait(loaded.compute_training(key, inputs))
    return lambda: _wait(loaded.compute(key, inputs))


def _wait(outputs: dict[str, Any]) -> list[Any]:
    """The values, as a session gives them."""
    return [tensor.numpy() for value in outputs.values() for tensor in tf.nest.flatten(value, expand_composites=True)]
