"""Baseline and candidate, each in a process of its own; what they answered comes back as Results."""

from __future__ import annotations

import dataclasses
import os
import shutil
from typing import Any

from migrate import isolation
from migrate.options import Limits, MigrateOptions
from migrate.verify import tolerances
from migrate.verify.interface import compare_interfaces
from migrate.verify.judgement import Criteria, calls_of, compare_results, find_random
from migrate.verify.request import RunRequest
from migrate.verify.results import Results
from migrate.verify.verdict import EMPTY_BATCH, Verification

# What runs a side of each kind; a job takes a RunRequest.
SESSION, MIGRATED, SERVING, KERAS = "session", "migrated", "serving", "keras"
_RUNNERS = {
    SESSION: "migrate.verify.baseline:run",
    MIGRATED: "migrate.verify.candidate:run",
    SERVING: "migrate.verify.serving:run",
    KERAS: "migrate.verify.serving:run_keras_file",
}

# (call id, output key) of outputs.
Places = frozenset[tuple[str, str]]


def verify_migration(
    source: str,
    written: str,
    work: str,
    extras: dict[str, Any],
    options: MigrateOptions,
) -> Verification:
    """Runs both sides on the calls saved in `work`/calls.

    Args:
      source: the original.
      written: the migrated model; a copy of it is run, from a folder from which no relative path leads back.
      work: scratch folder.
      extras: what `planning.plan_extras` planned.
      options: limits, tolerance, custom ops.

    Raises:
      JobError: a side crashed or hung.
    """
    copy = os.path.join(work, "candidate")
    shutil.copytree(written, copy)
    updates = extras["updates"]
    common = RunRequest(
        path=source,
        calls=os.path.join(work, "calls"),
        results=os.path.join(work, "baseline"),
        op_library=options.op_library,
        losses=extras["losses"] is not None,
        loss_tags=tuple(extras["losses"] or ()),
        update_call=updates["call"] if updates else "",
    )
    pair = Pair(
        baseline=Side(kind=SESSION, request=common, label=f"baseline {source}"),
        candidate=Side(
            kind=MIGRATED,
            request=dataclasses.replace(common, path=copy, results=os.path.join(work, "answers"), losses=True),
            label=f"candidate of {source}",
        ),
        random=tuple((place, key) for place, key in extras["random"]),
        racy=tuple((place, key) for place, key in extras["racy"]),
    )
    beside = tolerances.find_file(source)
    criteria = Criteria(
        tolerance=options.tolerance,
        tolerances=tolerances.load_tolerances(beside) if beside else {},
        strict=options.verify == "strict",
    )
    verification, _, _ = compare_pair(pair, criteria, options.limits)
    shutil.rmtree(copy, ignore_errors=True)
    listed = tuple(
        {"output": pattern, **dataclasses.asdict(tolerance), "source": beside}
        for pattern, tolerance in criteria.tolerances.items()
    )
    return dataclasses.replace(verification, inputs=tuple(extras["inputs"]), tolerances=listed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side that is run: its kind chooses the runner; `label` names it in errors."""

    kind: str
    request: RunRequest
    label: str


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
    pair: Pair, criteria: Criteria, limits: Limits, *, level: str = "training"
) -> tuple[Verification, Results, Results]:
    """Runs what is not known yet and judges it.

    Only a difference makes it worth asking whether the baseline agrees with itself. Each call is then made again and
    again, since a seeded generator starts every session alike; what differs is drawn many times on both sides.

    Raises:
      JobError: a side crashed or hung.
    """
    try:
        baseline = run_side(pair.baseline, limits)
    except isolation.JobError as error:
        if error.state != "died":
            raise
        # Some kernels of old die of a batch without rows: that is nothing that a candidate must do, too.
        pair = dataclasses.replace(pair, baseline=_skip_empty(pair.baseline), candidate=_skip_empty(pair.candidate))
        baseline = run_side(pair.baseline, limits)
    candidate = run_side(pair.candidate, limits)
    signatures = pair.interface or (baseline.interface, candidate.interface)
    # Agreeing lines of an interface say nothing in the record of a whole zoo.
    interface = [diff for diff in compare_interfaces(*signatures) if not diff.equal]

    def judge(random: Places, unsteady: Places) -> Verification:
        return compare_results(
            baseline, candidate, criteria, random=random, unsteady=unsteady, interface=interface, level=level
        )

    verification = judge(frozenset(), frozenset())
    if all(diff.equal for diff in verification.diffs) or not (pair.random or pair.racy):
        return verification, baseline, candidate
    random, baseline.unsteady = _find_random(pair.baseline, baseline, pair.random, criteria, limits)
    if random and isinstance(pair.baseline, Side) and isinstance(pair.candidate, Side):
        calls = tuple(sorted({call for call, _ in random}))
        for side, results in ((pair.baseline, baseline), (pair.candidate, candidate)):
            drawn = _change(side, draw_calls=calls, results=f"{side.request.results}_draws")
            results.draws = run_side(drawn, limits).draws
    loose = random | frozenset(calls_of(baseline, pair.racy))
    verification = judge(loose, frozenset())
    suspects = frozenset(calls_of(candidate, pair.random)) - loose
    if any((diff.where, diff.output) in suspects for diff in verification.diffs if not diff.equal):
        # Only the message gains by it: a steady output that became random differs anyway.
        unsteady, _ = _find_random(pair.candidate, candidate, pair.random, criteria, limits)
        verification = judge(loose, unsteady - random)
    return verification, baseline, candidate


def _find_random(
    side: Side | Results, first: Results, suspects: tuple[tuple[str, str], ...], criteria: Criteria, limits: Limits
) -> tuple[Places, list[str]]:
    """Suspected outputs in which a side differs from itself, and variables that training leaves otherwise each time;
    a recording's cannot be told."""
    if not suspects or not isinstance(side, Side):
        return frozenset(), []
    folder = f"{side.request.results}_again"
    again = run_side(_change(side, repeat=True, update_call=side.request.update_call, results=folder), limits)
    return find_random(first, again, suspects, criteria.tolerance), again.unsteady


def _skip_empty(side: Side | Results) -> Side | Results:
    if isinstance(side, Results):
        return side
    return dataclasses.replace(side, request=dataclasses.replace(side.request, skip=(EMPTY_BATCH,)))


def _change(side: Side, **changes: Any) -> Side:
    plain: dict[str, Any] = {"losses": False, "variables": False, "update_call": "", "gradient_calls": ()}
    return dataclasses.replace(side, request=dataclasses.replace(side.request, **(plain | changes)))


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
    )
    return Results.load(side.request.results)
