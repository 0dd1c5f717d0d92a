"""One side of a comparison, run in a process of its own; what it answered comes back as Results. No TensorFlow."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from migrate import isolation
from migrate.model import Format
from migrate.options import Limits
from migrate.verify.results import Results
from migrate.verify.runners.request import RunRequest

# What runs a side of each kind; a job takes a RunRequest.
SESSION, MIGRATED, SERVING, KERAS = "session", "migrated", "serving", "keras"
_RUNNERS = {
    SESSION: "migrate.verify.runners.baseline:run",
    MIGRATED: "migrate.verify.runners.candidate:run",
    SERVING: "migrate.verify.runners.serving:run",
    KERAS: "migrate.verify.runners.serving:run_keras_file",
}
# What runs an original of each format, as its own format and with none of the rebuilder's code.
ORIGINALS: Mapping[Format, str] = {
    Format.TF1_HUB_MODULE: SESSION,
    Format.TF1_SAVED_MODEL: SESSION,
    Format.ESTIMATOR_EXPORT: SESSION,
    Format.KERAS_H5: KERAS,
    Format.KERAS_V3: KERAS,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side that is run: its kind chooses the runner; `label` names it in errors."""

    kind: str
    request: RunRequest
    label: str


def run_side(side: Side | Results, limits: Limits) -> Results:
    """Runs one side in a process of its own.

    Raises:
      JobError: it crashed or hung.
    """
    if isinstance(side, Results):
        return side
    isolation.run_job(
        _RUNNERS[side.kind],
        side.request.to_json(),
        where=side.label,
        timeout=limits.timeout,
        memory_limit=limits.memory_limit,
        disk_limit=limits.disk_limit,
        folders=(os.path.dirname(side.request.results),),
    )
    return Results.load(side.request.results)
