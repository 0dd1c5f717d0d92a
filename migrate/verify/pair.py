"""Baseline and candidate: both are run, what they answered is judged, and run again where randomness is suspected."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from migrate import isolation
from migrate.inputs.cases import VENTURES
from migrate.options import Limits
from migrate.verdict import EMPTY_BATCH, INTERFACE, Coverage, Verification
from migrate.verify.drawing import draw_pair
from migrate.verify.judging.interface import compare_interfaces
from migrate.verify.judging.job import JUDGE, SEARCH_RANDOM, Answers, JudgeRequest, RandomRequest
from migrate.verify.judging.judgement import UPDATE, Criteria, calls_of, compare_results, find_random, find_shared
from migrate.verify.judging.trials import FIRST, Drawn
from migrate.verify.results import Results
from migrate.verify.runners.side import MIGRATED, SERVING, Side, begin_side, run_side

_LARGE = 2**25

# (call id, output key) of outputs.
Places = frozenset[tuple[str, str]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two sides and what is known of their outputs.

    Attributes:
      baseline, candidate: a Side, or Results that are known already.
      random: (tags/signature, output key) of outputs that a random number generator reaches.
      racy: of outputs that TF1 computed before or after a write, as it happened.
      interface: signatures of both that are compared; None for all that the runners find.
    """

    baseline: Side | Results
    candidate: Side | Results
    random: tuple[tuple[str, str], ...] = ()
    racy: tuple[tuple[str, str], ...] = ()
    interface: tuple[list[dict[str, Any]], list[dict[str, Any]]] | None = None


def compare_pair(
    pair: Pair,
    criteria: Criteria,
    limits: Limits,
    *,
    level: str = "training",
    begun: Callable[[], Results] | None = None,
    side_by_side: bool = False,
) -> tuple[Verification, Results, Results]:
    """Runs what is not known yet and judges it; `begun` gives what the baseline answers, which runs already, and
    `side_by_side` lets the candidate begin before that is known, and have two processes at once.

    Random calls are made with the same random numbers on both sides where both hold the same generators, and then
    compared exactly. What cannot be shared is asked of the baseline again and again, since a seeded generator starts
    every session alike; what differs is drawn many times on both sides. An output that TF1 left to a race is compared
    by value, with the read first too, unless the baseline is seen to differ from itself.

    Raises:
      JobError: a side crashed or hung.
    """
    pair, baseline, candidate = _run_pair(prepare_baseline(pair), limits, begun, side_by_side=side_by_side)
    signatures = pair.interface or (baseline.interface, candidate.interface)
    # Agreeing lines of an interface say nothing in the record of a whole zoo.
    parts = compare_interfaces(*signatures)
    interface = [diff for diff in parts if not diff.equal]
    met = Coverage(name="interface", level=INTERFACE, reached=len(parts) - len(interface), total=len(parts))
    shared = find_shared(baseline, candidate)
    known = frozenset(place for place in calls_of(baseline, pair.random) if place[0] in shared)

    told: Drawn | None = None

    def judge(
        random: Places = frozenset(), unsteady: Places = frozenset(), ordered: Results | None = None
    ) -> Verification:
        if _is_large(baseline, candidate):
            request = JudgeRequest(
                baseline=_answers(baseline),
                candidate=_answers(candidate),
                criteria=criteria,
                random=tuple(sorted(known | random)),
                unsteady=tuple(sorted(unsteady)),
                interface=tuple(interface),
                level=level,
                ordered=_answers(ordered) if ordered is not None else None,
                drawn=told,
            )
            found = isolation.run_job(JUDGE, request, limits=limits, where="judgement").value
        else:
            found = compare_results(
                baseline,
                candidate,
                criteria,
                random=known | random,
                unsteady=unsteady,
                interface=interface,
                level=level,
                ordered=ordered,
                drawn=told,
            )
        return dataclasses.replace(found, coverage=(met, *found.coverage))

    verification = judge()
    ordered = None
    if _differ(verification, frozenset(calls_of(baseline, pair.racy))) and isinstance(pair.baseline, Side):
        folder = f"{pair.baseline.request.results}_ordered"
        ordered = run_side(_change(pair.baseline, reads_first=True, results=folder), limits)
        verification = judge(ordered=ordered)
    suspects = frozenset(calls_of(baseline, (*pair.random, *pair.racy))) - known
    is_unsteady = not shared and any(diff.where == UPDATE for diff in verification.diffs if not diff.equal)
    if not _differ(verification, suspects) and not (pair.random and is_unsteady):
        return verification, baseline, candidate
    random, again = _find_random(pair.baseline, baseline, (*pair.random, *pair.racy), criteria, limits)
    baseline.unsteady = again.unsteady
    drawn = random & frozenset(calls_of(baseline, pair.random))
    if drawn and isinstance(pair.baseline, Side) and isinstance(pair.candidate, Side):
        # As it ran again: a side with a fixed seed must do the same until it draws.
        sides = _change(pair.baseline, repeat=True), _change(pair.candidate)
        told = draw_pair(sides, drawn, again, criteria, limits)
    verification = judge(random, ordered=ordered)
    suspects = frozenset(calls_of(candidate, pair.random)) - random - known
    if _differ(verification, suspects):
        # Only the message gains by it: a steady output that became random differs anyway.
        unsteady, _ = _find_random(pair.candidate, candidate, pair.random, criteria, limits)
        verification = judge(random, unsteady - random, ordered)
    return verification, baseline, candidate


def _run_pair(
    pair: Pair, limits: Limits, begun: Callable[[], Results] | None, *, side_by_side: bool
) -> tuple[Pair, Results, Results]:
    """Both sides as they ran, and their answers; arguments as of `compare_pair`."""
    with contextlib.ExitStack() as beside:
        early = begin_side(pair.candidate, limits) if side_by_side else None
        if early is not None:
            beside.enter_context(early)
        try:
            baseline = begun() if begun is not None else run_side(pair.baseline, limits)
        except isolation.JobError as error:
            if error.state != "died":
                raise
            # Some kernels of old die of a batch without rows, or of odd numbers: a candidate need not do that.
            beside.close()
            early = None
            pair = dataclasses.replace(pair, baseline=_skip_empty(pair.baseline), candidate=_skip_empty(pair.candidate))
            baseline = run_side(pair.baseline, limits)
        if isinstance(pair.candidate, Side):
            pair = dataclasses.replace(pair, candidate=_tell(pair.candidate, baseline))
        return pair, baseline, run_side(pair.candidate, limits, side_by_side=side_by_side, begun=early)


def _tell(candidate: Side, baseline: Results) -> Side:
    """The candidate with what it is asked on account of the baseline's answers."""
    answered = {call for _, call in baseline.outputs}
    refused = {call for _, call in baseline.refusals if call.rpartition("/")[2] in (EMPTY_BATCH, *VENTURES)} - answered
    told: dict[str, Any] = {"refused": tuple(sorted(refused))}
    if candidate.request.reweigh_calls:
        calls = tuple(sorted({call for _, call in baseline.reweighed}))
        told |= {"reweigh_calls": calls, "reweigh": tuple(baseline.weights)}
    if baseline.shared:
        told["generators"] = baseline.generators
    return _ask(candidate, **told)


def prepare_baseline(pair: Pair) -> Pair:
    """With all that a baseline is asked; what a candidate is asked hangs on the baseline's answers."""
    if pair.random and isinstance(pair.candidate, Side) and isinstance(pair.baseline, Side):
        return dataclasses.replace(pair, baseline=_ask(pair.baseline, share=pair.candidate.kind in (MIGRATED, SERVING)))
    return pair


def _differ(verification: Verification, places: Places) -> bool:
    return any((diff.where, diff.output) in places for diff in verification.diffs if not diff.equal)


def _ask(side: Side, **changes: Any) -> Side:
    return dataclasses.replace(side, request=dataclasses.replace(side.request, **changes))


def _find_random(
    side: Side | Results, first: Results, suspects: tuple[tuple[str, str], ...], criteria: Criteria, limits: Limits
) -> tuple[Places, Results]:
    """Suspected outputs in which a side differs from itself, and what it answered the second time, first draws of the
    suspected calls with it; a recording's cannot be told."""
    if not suspects or not isinstance(side, Side):
        return frozenset(), Results()
    folder = f"{side.request.results}_again"
    calls = sorted({call for call, _ in calls_of(first, suspects)})
    asked = {"update_call": side.request.update_call, "draw_calls": dict.fromkeys(calls, FIRST)}
    again = run_side(_change(side, repeat=True, results=folder, **asked), limits)
    if _is_large(first, again):
        request = RandomRequest(
            first=_answers(first), second=_answers(again), suspects=suspects, tolerance=criteria.tolerance
        )
        found = isolation.run_job(SEARCH_RANDOM, request, limits=limits, where="judgement").value
        return frozenset(found.places), again
    return find_random(first, again, suspects, criteria.tolerance), again


def _is_large(first: Results, second: Results) -> bool:
    """Whether to judge elsewhere; a process of its own takes as long as judging some megabytes."""
    return bool(first.loaded_from and second.loaded_from) and first.size + second.size > _LARGE


def _answers(results: Results) -> Answers:
    return Answers(folder=results.loaded_from, unsteady=tuple(results.unsteady), coverage=tuple(results.coverage))


def _skip_empty(side: Side | Results) -> Side | Results:
    if isinstance(side, Results):
        return side
    return dataclasses.replace(side, request=dataclasses.replace(side.request, skip=(EMPTY_BATCH, *VENTURES)))


def _change(side: Side, **changes: Any) -> Side:
    plain: dict[str, Any] = {
        "losses": False,
        "variables": False,
        "update_call": "",
        "gradient_calls": (),
        "reweigh_calls": (),
        "share": False,
        "generators": {},
    }
    return _ask(side, **(plain | changes))
