"""One side of a comparison, run in a process of its own; what it answered comes back as Results. No TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from migrate.inputs.calls import list_calls
from migrate.isolation import Aside, Job, JobError, run_job
from migrate.model import Format
from migrate.options import Limits
from migrate.verify.results import BESIDE, Results, find_under_way
from migrate.verify.runners.request import COPIES, OBJECT, RunRequest
from migrate.verify.ways import find_coverage
from migrate.write import provenance

# What runs a side of each kind.
SESSION, MIGRATED, SERVING, KERAS = "session", "migrated", "serving", "keras"
_LAYERS = ("tf_keras", "tensorflow_hub")  # half a second, for Keras
RUNNERS = {
    SESSION: Job(
        "migrate.verify.runners.baseline:run", RunRequest, type(None), needs=("migrate.verify.runners.baseline",)
    ),
    MIGRATED: Job(
        "migrate.verify.runners.candidate:run",
        RunRequest,
        type(None),
        needs=("migrate.verify.runners.candidate", *_LAYERS),
    ),
    SERVING: Job("migrate.verify.runners.serving:run", RunRequest, type(None), needs=_LAYERS),
    KERAS: Job("migrate.verify.runners.serving:run_keras_file", RunRequest, type(None), needs=_LAYERS),
}
# What runs an original of each format, as its own format and with none of the rebuilder's code.
ORIGINALS: Mapping[Format, str] = {
    Format.TF1_HUB_MODULE: SESSION,
    Format.TF1_SAVED_MODEL: SESSION,
    Format.ESTIMATOR_EXPORT: SESSION,
    Format.FROZEN_GRAPH: SESSION,
    Format.CHECKPOINT: SESSION,
    Format.KERAS_H5: KERAS,
    Format.KERAS_V3: KERAS,
    Format.KERAS_WEIGHTS: KERAS,
    Format.KERAS_SAVED_MODEL: KERAS,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Folder of one side, in which the other must not write: it holds what the side answers, and the copy that is run
    of a model from whose own folder relative paths would lead back to the original."""

    folder: str

    @property
    def model(self) -> str:
        return os.path.join(self.folder, "model")

    @property
    def answers(self) -> str:
        return os.path.join(self.folder, "answers")


def make_places(work: str) -> tuple[Place, Place]:
    """Those of the baseline and the candidate in a scratch folder; made where they are not there."""
    baseline, candidate = (Place(os.path.join(work, name)) for name in ("of_baseline", "of_candidate"))
    for place in (baseline, candidate):
        os.makedirs(place.folder, exist_ok=True)
    return baseline, candidate


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side that is run: its kind chooses the runner; `label` names it in errors; `guarded` are folders that it must
    not write to, those of the other side, which may run at the same time."""

    kind: str
    request: RunRequest
    label: str
    guarded: tuple[str, ...] = ()


def begin_side(side: Side | Results, limits: Limits) -> Aside[None] | None:
    """Of a migrated model what can be asked before anything is known of the other side; None where that is nothing.

    Which calls have other weights, and whose gradients are taken of shared random numbers, hangs on the other side.
    """
    if isinstance(side, Results) or not _has_parts(side) or side.request.reweigh_calls or side.request.gradient_calls:
        return None
    part = _take_part(side, OBJECT)
    return Aside(lambda _: _run(part, limits))


def run_side(
    side: Side | Results, limits: Limits, *, side_by_side: bool = False, begun: Aside[None] | None = None
) -> Results:
    """Runs one side in a process of its own; a migrated model in two at once, where `side_by_side` lets it.

    Args:
      side: what to run; Results are given back.
      limits: of each process.
      side_by_side: several processes may run at once.
      begun: what `begin_side` gave for the side, before it was known what it is asked in full.

    Raises:
      JobError: it crashed or hung; it says in which call.
    """
    if isinstance(side, Results):
        return side
    request, is_migrated = side.request, _has_parts(side)
    if is_migrated and side_by_side:
        copies = _take_part(side, COPIES)
        with Aside(lambda _: _run(copies, limits)) as aside:
            _run_object(_take_part(side, OBJECT), limits, begun)
            aside.get()
    else:
        _run(side, limits)
    found = Results.load(request.results)
    found.drop_calls(request.refused)
    if is_migrated:
        record = provenance.read_record(request.path)
        assert record is not None  # the runner would have said so
        found.coverage.extend(find_coverage(record, list_calls(request.calls, request.skip), found))
    return found


def _has_parts(side: Side) -> bool:
    return side.kind == MIGRATED and side.request.is_whole


def _take_part(side: Side, part: str) -> Side:
    request = side.request
    folder = os.path.join(request.results, BESIDE) if part == COPIES else request.results
    return dataclasses.replace(side, request=dataclasses.replace(request, part=part, results=folder))


def _run_object(side: Side, limits: Limits, begun: Aside[None] | None) -> None:
    if begun is not None:
        try:
            return begun.get()
        except JobError as error:
            if error.state != "died" or not side.request.refused:
                raise
            # Perhaps of what the other side refused, which is no fault: that is left out now.
    return _run(side, limits)


def _run(side: Side, limits: Limits) -> None:
    written = os.path.dirname(side.request.results)
    read_only = (side.request.path, side.request.calls, *side.guarded)
    try:
        run_job(
            RUNNERS[side.kind], side.request, limits=limits, folders=(written,), read_only=read_only, where=side.label
        )
    except JobError as error:
        call = find_under_way(side.request.results)
        if not call:
            raise
        message = f"{error.message}, while it answered {call}"
        raise JobError(message, state=error.state, log=error.log, where=error.where, hint=error.hint) from error
