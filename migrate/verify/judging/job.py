"""The judgement as a job: large answers are judged in a process of their own, out of memory maps, so that whoever asked
holds verdicts and samples, never tensors."""

from __future__ import annotations

import dataclasses

from migrate.isolation.job import Job
from migrate.options import Tolerance
from migrate.verdict import TRAINING, Coverage, OutputDiff, Verification
from migrate.verify.judging.judgement import Criteria, compare_results, find_random
from migrate.verify.judging.trials import Drawn
from migrate.verify.results import Results

Place = tuple[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One side's: the folder of its results, and what is known beside them.

    Attributes:
      folder: that `Results.save` wrote.
      unsteady, coverage: as of Results, as they were found since.
    """

    folder: str
    unsteady: tuple[str, ...] = ()
    coverage: tuple[Coverage, ...] = ()

    def load(self) -> Results:
        found = Results.load(self.folder)
        found.unsteady = list(self.unsteady)
        found.coverage = list(self.coverage)
        return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRequest:
    """The arguments of `compare_results`."""

    baseline: Answers
    candidate: Answers
    criteria: Criteria
    random: tuple[Place, ...] = ()
    unsteady: tuple[Place, ...] = ()
    interface: tuple[OutputDiff, ...] = ()
    level: str = TRAINING
    ordered: Answers | None = None
    drawn: Drawn | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RandomRequest:
    """The arguments of `find_random`."""

    first: Answers
    second: Answers
    suspects: tuple[Place, ...]
    tolerance: Tolerance


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """(call id, output key) of outputs."""

    places: tuple[Place, ...]


def judge(request: JudgeRequest) -> Verification:
    """Job."""
    return compare_results(
        request.baseline.load(),
        request.candidate.load(),
        request.criteria,
        random=frozenset(request.random),
        unsteady=frozenset(request.unsteady),
        interface=request.interface,
        level=request.level,
        ordered=request.ordered.load() if request.ordered is not None else None,
        drawn=request.drawn,
    )


def search_random(request: RandomRequest) -> Places:
    """Job."""
    found = find_random(request.first.load(), request.second.load(), request.suspects, request.tolerance)
    return Places(places=tuple(sorted(found)))


JUDGE = Job("migrate.verify.judging.job:judge", JudgeRequest, Verification)
SEARCH_RANDOM = Job("migrate.verify.judging.job:search_random", RandomRequest, Places)
