"""What inputs reach in the original, measured and improved on, before both sides are run. Loads no TensorFlow."""

from __future__ import annotations

import dataclasses
import os

from migrate import isolation
from migrate.options import Limits
from migrate.verdict import INPUTS, Coverage, Verification
from migrate.verify.runners.request import EXPLORE, Explored, ExploreRequest


def explore_calls(request: ExploreRequest, limits: Limits, where: str) -> Explored:
    """Adds calls to the planned ones; a graph that cannot be looked into leaves them as they are, and that is told.

    Args:
      request: what is looked into.
      limits: of the process.
      where: names it in errors.
    """
    os.makedirs(request.scratch, exist_ok=True)
    folders = tuple(dict.fromkeys((request.scratch, request.calls, *filter(None, [request.answering]))))
    try:
        return isolation.run_job(
            EXPLORE, request, limits=limits, folders=folders, read_only=(request.path,), where=where
        ).value
    except isolation.JobError as error:
        return explain_unmeasured(f"the graph could not be looked into: {str(error).splitlines()[0]}")


def explain_unmeasured(reason: str) -> Explored:
    """Nothing was measured, for one reason."""
    return Explored(coverage=(Coverage(name="branches", level=INPUTS, reached=0, total=0, unmeasured=(reason,)),))


def add_coverage(verification: Verification, found: Explored) -> Verification:
    """The verification with what its inputs reached."""
    searched = f"a search of {found.attempts} calls for what the made up inputs do not reach"
    notes = [f"coverage: {searched} added {len(found.added)} to what is compared"] if found.attempts else []
    return dataclasses.replace(
        verification,
        coverage=(*verification.coverage, *found.coverage),
        notes=(*verification.notes, *notes),
        inputs=(*verification.inputs, *(preview.to_record() for preview in found.inputs)),
    )
