"""Two courses of training, step by step: does the candidate learn as the baseline does?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from migrate.options import Tolerance
from migrate.verdict import TRAJECTORY, Coverage, OutputDiff
from migrate.verify.courses import OPTIMIZERS, Course
from migrate.verify.judging.judgement import Criteria
from migrate.verify.judging.values import compare_values

_ROUTE = "training"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """What is to be added to a verification.

    Attributes:
      diffs: a value of a step each. A course is judged up to the first step that departs: what comes after follows.
      not_compared: where the baseline does not train, and why.
      problems: where only the candidate does not.
      coverage: steps compared, of those that were asked for.
    """

    diffs: tuple[OutputDiff, ...]
    not_compared: tuple[str, ...]
    problems: tuple[str, ...]
    coverage: tuple[Coverage, ...]


def compare_courses(
    baseline: Sequence[Course], candidate: Sequence[Course], criteria: Criteria, *, steps: int, skipped: Sequence[str]
) -> Trajectory:
    """Judges the candidate's courses against the baseline's.

    Args:
      baseline, candidate: courses of both sides, by label and optimizer.
      criteria: the tolerance of gradients holds for every value of a step.
      steps: what was asked for.
      skipped: courses that neither side was asked to run: "place: reason".
    """
    answers = {(course.label, course.optimizer): course for course in candidate}
    diffs: list[OutputDiff] = []
    lines = list(skipped)
    problems: list[str] = []
    reached = 0
    for old in baseline:
        place = f"{old.label}/{old.optimizer}"
        new = answers.get((old.label, old.optimizer))
        if old.reason:
            lines.append(f"trajectory: {place}: the baseline cannot train: {old.reason}")
        elif new is None or new.reason:
            reason = "it did not answer" if new is None else new.reason
            problems.append(f"{place}: the baseline trains, the candidate cannot: {reason}")
        else:
            found, whole = _compare_course(old, new, criteria.gradient_tolerance)
            diffs += found
            reached += whole
    planned = steps * (len(baseline) + len(OPTIMIZERS) * len(skipped))
    missed = tuple(dict.fromkeys((*lines, *problems)))
    covered = Coverage(name="training steps", level=TRAJECTORY, reached=reached, total=planned, missed=missed)
    return Trajectory(
        diffs=tuple(diffs), not_compared=_join(lines), problems=tuple(problems), coverage=(covered,) if planned else ()
    )


def _join(lines: Sequence[str]) -> tuple[str, ...]:
    """One line where the optimizers of a label say the same."""
    return tuple(dict.fromkeys(line.replace("/sgd: ", ": ").replace("/adam: ", ": ") for line in lines))


def _compare_course(old: Course, new: Course, tolerance: Tolerance) -> tuple[list[OutputDiff], int]:
    """The comparisons, and the number of steps that agree."""
    diffs: list[OutputDiff] = []
    for number, (expected, found) in enumerate(zip(old.steps, new.steps, strict=False), 1):
        where = f"{old.label}/{old.optimizer} step {number}"
        step = []
        for name, value in expected.items():
            if name in found:
                step.append(
                    compare_values(
                        value,
                        found[name],
                        where=where,
                        route=_ROUTE,
                        output=name,
                        tolerance=tolerance,
                        level=TRAJECTORY,
                    )
                )
            elif name.startswith(("gradient of ", "regularization_losses/")):
                # A variable without namesake is told at the training level; one that trains no longer is a difference.
                lost = OutputDiff(
                    where=where,
                    route=_ROUTE,
                    output=name,
                    equal=False,
                    message="the candidate lacks it",
                    level=TRAJECTORY,
                )
                step.append(lost)
        diffs += step
        if not all(diff.equal for diff in step):
            return diffs, number - 1
    return diffs, min(len(old.steps), len(new.steps))
