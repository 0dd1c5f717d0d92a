"""Where the values begin to differ: the first op, in the order of computation, whose output departs."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from migrate import arrays, errors, isolation
from migrate.comparison.sides import BASELINE_CALLS, CANDIDATE_CALLS, Subject
from migrate.options import CompareOptions
from migrate.verdict import INFERENCE, OutputDiff, Verification
from migrate.verify.judging.values import compare_values
from migrate.verify.runners import request

_VALUES, _LISTING = "intermediates.npz", "intermediates.json"
_MOST = 24
# Their results are those of a body.
_BODIES = ("Exit", "RefExit", "While", "StatelessWhile", "If", "StatelessIf", "Merge")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intermediates:
    """Values inside one side.

    Attributes:
      nodes: (name, op), inputs first.
      values: by node name.
      needed: output key -> the nodes it needs; empty where that is not known.
    """

    nodes: tuple[tuple[str, str], ...]
    values: dict[str, Any]
    needed: dict[str, list[str]]


def bisect_outputs(
    verification: Verification,
    subjects: tuple[Subject, Subject],
    names: tuple[request.Names, request.Names],
    options: CompareOptions,
    work: str,
) -> tuple[dict[str, Any], ...]:
    """One finding for each output that differs, of the first call in which it does: {"where", "output", "node",
    "op", "message", "compared", "max_absolute"}; "node" is "" where nothing could be found, and the message says why.
    `names`: of both sides, as the plan has them.
    """
    found = []
    runs: dict[str, tuple[Intermediates, Intermediates] | str] = {}
    for diff in _choose_diffs(verification):
        if diff.where not in runs:
            runs[diff.where] = _run_both(diff.where, subjects, names, options, work, len(runs))
        run = runs[diff.where]
        if isinstance(run, str):
            found.append(_describe(diff, "", "", run, 0, None))
        else:
            found.append(find_departure(diff, *run, options))
    return tuple(found)


def _choose_diffs(verification: Verification) -> list[OutputDiff]:
    chosen: dict[tuple[str, str], OutputDiff] = {}
    for diff in verification.diffs:
        if not diff.equal and diff.level == INFERENCE and not diff.random:
            chosen.setdefault((diff.where.rpartition("/")[0], diff.output), diff)
    return list(chosen.values())[:_MOST]


def _run_both(
    call: str,
    subjects: tuple[Subject, Subject],
    names: tuple[request.Names, request.Names],
    options: CompareOptions,
    work: str,
    number: int,
) -> tuple[Intermediates, Intermediates] | str:
    sides = []
    folders = ((BASELINE_CALLS, "baseline"), (CANDIDATE_CALLS, "candidate"))
    for subject, own, (calls, name) in zip(subjects, names, folders, strict=True):
        if subject.recording is not None:
            return f"{call}: the {name} is a recording, which has no ops to look into"
        folder = os.path.join(work, f"{name}_inside_{number}")
        looked_into = request.Subject(
            path=subject.graph_path,
            kind=subject.kind,
            calls=os.path.join(work, calls),
            call=call,
            op_library=options.op_library,
            names=own,
            read=subject.read,
        )
        wish = request.InsideRequest(subject=looked_into, results=folder)
        try:
            isolation.run_job(request.INSIDE, wish, limits=options.limits, where=f"{name} {subject.path}")
        except (isolation.JobError, errors.MigrateError) as error:
            return f"{call}: the inside of the {name} cannot be seen: {str(error).splitlines()[0][:300]}"
        sides.append(_load(folder))
    return sides[0], sides[1]


def _load(folder: str) -> Intermediates:
    with open(os.path.join(folder, _LISTING), encoding="utf-8") as file:
        listing = json.load(file)
    return Intermediates(
        nodes=tuple((node["node"], node["op"]) for node in listing["nodes"]),
        values=arrays.load_arrays(os.path.join(folder, _VALUES)),
        needed=listing["needed"],
    )


def find_departure(
    diff: OutputDiff, baseline: Intermediates, candidate: Intermediates, options: CompareOptions
) -> dict[str, Any]:
    """The first node, of those that both sides have by name, whose value is not equal."""
    place = f"{diff.where}/{diff.output}"
    wanted = set(baseline.needed.get(diff.output, ())) or None
    compared = 0
    last = ""
    for name, op in baseline.nodes:
        if name not in candidate.values or (wanted is not None and name not in wanted):
            continue
        compared += 1
        found = compare_values(
            baseline.values[name],
            candidate.values[name],
            where=diff.where,
            route="",
            output=name,
            tolerance=options.tolerance,
        )
        if not found.equal:
            body = ", in its body, which cannot be looked into on both sides" if op in _BODIES else ""
            message = (
                f"{place} departs at {op} {name!r}{body}: {found.message} ({compared - 1} tensors before it agree)"
            )
            return _describe(diff, name, op, message, compared, found.max_absolute)
        last = f"{op} {name!r}"
    if not compared:
        message = f"{place}: no tensor inside the two models has the same name"
        return _describe(diff, "", "", message, 0, None)
    message = f"{place}: the {compared} tensors that correspond by name agree, the last is {last}; it departs after"
    return _describe(diff, "", "", message, compared, None)


def _describe(
    diff: OutputDiff, node: str, op: str, message: str, compared: int, largest: float | None
) -> dict[str, Any]:
    return {
        "where": diff.where,
        "output": diff.output,
        "node": node,
        "op": op,
        "message": message,
        "compared": compared,
        "max_absolute": largest,
    }
