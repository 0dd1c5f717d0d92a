"""`--level=trajectory`: both sides are trained for a few steps, each in a process of its own, and compared by step."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from migrate import isolation
from migrate.comparison.plan import TrainingPlan
from migrate.isolation import Job
from migrate.options import Limits
from migrate.verdict import Verdict, Verification
from migrate.verify import courses
from migrate.verify.courses import OPTIMIZERS, Course
from migrate.verify.judging.courses import Trajectory, compare_courses
from migrate.verify.judging.judgement import Criteria
from migrate.verify.runners.request import FitRequest
from migrate.verify.runners.side import KERAS, MIGRATED, SERVING, SESSION, Side

FITTERS = {
    SESSION: Job("migrate.verify.runners.fitting_session:run", FitRequest, type(None)),
    MIGRATED: Job("migrate.verify.runners.fitting_tape:run_migrated", FitRequest, type(None)),
    SERVING: Job("migrate.verify.runners.fitting_tape:run_saved_model", FitRequest, type(None)),
    KERAS: Job("migrate.verify.runners.fitting_tape:run_keras_file", FitRequest, type(None)),
}


def compare_trajectories(
    baseline: Side, candidate: Side, plan: TrainingPlan, criteria: Criteria, limits: Limits, *, steps: int
) -> Trajectory:
    """Trains both sides.

    Args:
      baseline, candidate: as they were run for the other levels; the candidate makes its objective of the outputs that
        the baseline could differentiate.
      plan: on what they are trained.
      criteria: what counts as equal.
      limits: of each side's process.
      steps: of each optimizer.

    Raises:
      JobError: the baseline crashed or hung.
    """
    expected = _run(baseline, plan.batches, {}, limits, steps)
    able = {course.label: course.outputs for course in expected if not course.reason}
    drawn = {course.label: course.generators for course in expected if not course.reason}
    batches = {label: calls for label, calls in plan.batches.items() if label in able}
    trained = sorted({name for course in expected for name in _list_trained(course)})
    try:
        found = _run(candidate, batches, able, limits, steps, trained, drawn) if batches else []
    except isolation.JobError as error:
        found = [Course(label=label, optimizer=name, reason=str(error)) for label in batches for name in OPTIMIZERS]
    return compare_courses(expected, found, criteria, steps=steps, skipped=plan.skipped)


def _list_trained(course: Course) -> list[str]:
    prefix = "gradient of "
    return [name.removeprefix(prefix) for step in course.steps[:1] for name in step if name.startswith(prefix)]


def _run(
    side: Side,
    batches: Mapping[str, Sequence[str]],
    outputs: Mapping[str, Sequence[str]],
    limits: Limits,
    steps: int,
    trained: Sequence[str] = (),
    generators: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Course]:
    if not batches:
        return []
    wish = side.request
    folder = f"{wish.results}_courses"
    request = FitRequest(
        path=wish.path,
        calls=wish.calls,
        batches={label: tuple(ids) for label, ids in batches.items()},
        results=folder,
        steps=steps,
        op_library=wish.op_library,
        outputs={label: tuple(keys) for label, keys in outputs.items()},
        trained=tuple(trained),
        generators=generators or {},
        names=wish.names,
        read=wish.read,
    )
    isolation.run_job(FITTERS[side.kind], request, limits=limits, folders=(os.path.dirname(folder),), where=side.label)
    return courses.load_courses(folder)


def add_trajectory(verification: Verification, found: Trajectory, *, strict: bool) -> Verification:
    """The verification with what training showed. A model that nothing could be trained of keeps the verdict of the
    levels before it: that the level compared nothing is said by its own verdict."""
    bad = found.problems or any(not diff.equal for diff in found.diffs) or (strict and found.not_compared)
    verdict = Verdict.FAIL if bad else verification.verdict
    if verdict is Verdict.NOTHING_COMPARED and found.diffs:
        verdict = Verdict.PASS
    return dataclasses.replace(
        verification,
        verdict=verdict,
        diffs=(*verification.diffs, *found.diffs),
        not_compared=(*verification.not_compared, *found.not_compared),
        problems=(*verification.problems, *found.problems),
        coverage=(*verification.coverage, *found.coverage),
    )
