"""Where the values begin to differ: the first op, in the order of computation, whose output departs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from migrate import arrays, errors, isolation
from migrate.comparison.sides import BASELINE_CALLS, CANDIDATE_CALLS, Subject
from migrate.inputs.calls import load_calls
from migrate.options import CompareOptions
from migrate.verdict import GRADIENTS, INFERENCE, OutputDiff, Verification
from migrate.verify.judging.judgement import UPDATE, Criteria
from migrate.verify.judging.values import compare_values
from migrate.verify.runners import request
from migrate.verify.runners.side import SERVING

_VALUES, _LISTING = "intermediates.npz", "intermediates.json"
_MOST = 24
_MOST_BESIDE = 4
_ABSENT = "(none)"
# A loop fills them, so what they give is a loop's as well.
_ARRAYS = ("TensorArray", "TensorList")
# Their results are those of a body.
_BODIES = ("Exit", "RefExit", "While", "StatelessWhile", "If", "StatelessIf", "Merge")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intermediates:
    """Values inside one side.

    Attributes:
      nodes: (name, op), inputs first.
      values: by node name.
      needed: output key -> the nodes it needs; empty where that is not known.
      inputs: the nodes that a node takes, where that is told (of gradients).
      about: op, attributes and constant inputs by node name (`graph.describing`).
    """

    nodes: tuple[tuple[str, str], ...]
    values: dict[str, Any]
    needed: dict[str, list[str]]
    inputs: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    about: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)


def bisect_outputs(
    verification: Verification,
    subjects: tuple[Subject, Subject],
    names: tuple[request.Names, request.Names],
    options: CompareOptions,
    work: str,
    update_call: str = "",
) -> tuple[dict[str, Any], ...]:
    """One finding for each output that differs, of the first call in which it does: {"where", "output", "node",
    "op", "message", "compared", "max_absolute", "differences": [[attribute or input, baseline, candidate]]}; "node" is
    "" where nothing could be found, and the message says why.

    Models are looked into as they are; calls in training mode, and loops of TF1, as functions (`runners.functional`).
    `names`: of both sides, as the plan has them; `update_call`: id of the call after which variables were read.
    """
    found = []
    runs: dict[tuple[str, bool], tuple[Intermediates, Intermediates] | str] = {}

    def look(diff: OutputDiff, as_functions: bool) -> dict[str, Any]:
        call = update_call if diff.where == UPDATE else diff.where
        place = call, as_functions
        if place not in runs:
            training = as_functions and call == update_call
            runs[place] = _run_both(
                call, subjects, names, options, work, f"{len(runs)}", as_functions=as_functions, training=training
            )
        run = runs[place]
        return _describe(diff, "", "", run, 0, None) if isinstance(run, str) else find_departure(diff, *run, options)

    for diff in choose_gradients(verification):
        place = find_output(diff), f"{len(runs)}_gradients"
        keys = sorted({d.output for d in verification.diffs if d.where == diff.where and d.level == INFERENCE})
        key = f"{request.OUTPUT}{keys.index(place[0])}" if place[0] in keys else ""
        run = _run_both(diff.where, subjects, names, options, work, place[1], as_functions=True, gradient=key)
        found.append(
            _describe(diff, "", "", run, 0, None) if isinstance(run, str) else find_way_back(diff, *run, options)
        )
    for diff in _choose_diffs(verification, update_call):
        item = look(diff, diff.where == UPDATE)
        # A loop of TF1, or a call that no SignatureDef makes: its inside shows when both are functions.
        if diff.where != UPDATE and (_is_body(item["op"]) or not item["node"]):
            again = look(diff, True)
            item = again if again["node"] and not _is_body(again["op"]) else item
        found.append(item)
    return tuple(found)


def _is_body(op: str) -> bool:
    """Whether an op gives what a loop or branch has computed."""
    return op in _BODIES or op.startswith(_ARRAYS)


def _choose_diffs(verification: Verification, update_call: str) -> list[OutputDiff]:
    chosen: dict[tuple[str, str], OutputDiff] = {}
    for diff in verification.diffs:
        if diff.equal or diff.random:
            continue
        if diff.level == INFERENCE or (diff.where == UPDATE and update_call):
            chosen.setdefault((diff.where.rpartition("/")[0], diff.output), diff)
    return list(chosen.values())[:_MOST]


def choose_gradients(verification: Verification) -> list[OutputDiff]:
    """Of each output whose values agree and whose gradients do not, the first that departs. Where outputs are random,
    their gradients were compared with shared random numbers, which the inside does not draw."""
    differ = {
        (d.where.rpartition("/")[0], d.output) for d in verification.diffs if d.level == INFERENCE and not d.equal
    }
    random = {d.where for d in verification.diffs if d.random}
    chosen: dict[tuple[str, str], OutputDiff] = {}
    for diff in verification.diffs:
        place = diff.where.rpartition("/")[0], find_output(diff)
        if diff.level == GRADIENTS and not diff.equal and place not in differ and diff.where not in random:
            chosen.setdefault(place, diff)
    return list(chosen.values())[:_MOST]


def find_output(diff: OutputDiff) -> str:
    """The output of a gradient "d output / d source"."""
    return diff.output.removeprefix("d ").partition(" / d ")[0]


def _run_both(
    call: str,
    subjects: tuple[Subject, Subject],
    names: tuple[request.Names, request.Names],
    options: CompareOptions,
    work: str,
    number: str,
    *,
    as_functions: bool,
    training: bool = False,
    gradient: str = "",
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
        try:
            if as_functions:
                looked_into = _convert(looked_into, f"{folder}_functions", training, options, f"{name} {subject.path}")
            wish = request.InsideRequest(subject=looked_into, results=folder, gradient=gradient)
            job = request.INSIDE_GRADIENTS if gradient else request.INSIDE
            isolation.run_job(job, wish, limits=options.limits, where=f"{name} {subject.path}")
        except (isolation.JobError, errors.MigrateError) as error:
            return f"{call}: the inside of the {name} cannot be seen: {str(error).splitlines()[0][:300]}"
        sides.append(_load(folder))
    return sides[0], sides[1]


def _convert(
    subject: request.Subject, folder: str, training: bool, options: CompareOptions, where: str
) -> request.Subject:
    """The call as a model of its own, whose inputs have other names."""
    wish = request.FunctionsRequest(subject=subject, folder=folder, training=training)
    isolation.run_job(request.FUNCTIONS, wish, limits=options.limits, folders=(os.path.dirname(folder),), where=where)
    call = next(call for call in load_calls(subject.calls) if call.id == subject.call)
    names = request.Names(
        signature=request.CALL, inputs={key: f"{request.INPUT}{position}" for position, key in enumerate(call.inputs)}
    )
    return dataclasses.replace(subject, path=folder, kind=SERVING, names=names)


def _load(folder: str) -> Intermediates:
    with open(os.path.join(folder, _LISTING), encoding="utf-8") as file:
        listing = json.load(file)
    return Intermediates(
        nodes=tuple((node["node"], node["op"]) for node in listing["nodes"]),
        values=arrays.load_arrays(os.path.join(folder, _VALUES)),
        needed=listing["needed"],
        inputs={node["node"]: node.get("inputs", []) for node in listing["nodes"]},
        about=listing["about"],
    )


def find_departure(
    diff: OutputDiff, baseline: Intermediates, candidate: Intermediates, options: CompareOptions
) -> dict[str, Any]:
    """The first node, of those that both sides have by name, whose value is not equal."""
    place = f"{diff.where}/{diff.output}"
    if diff.where == UPDATE and (written := _find_other_write(baseline, candidate)):
        differences = list_differences(baseline.about[written], candidate.about[written])
        op = baseline.about[written]["op"]
        message = f"{place} departs at {op} {written!r}, which writes it{_spell_beside(differences)}"
        return _describe(diff, written, op, message, 0, None, differences)
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
            reason = _explain_branch(baseline.values[name], candidate.values[name]) or found.message
            differences = list_differences(baseline.about.get(name, {}), candidate.about.get(name, {}))
            beside = _spell_beside(differences)
            message = (
                f"{place} departs at {op} {name!r}{body}: {reason} ({compared - 1} tensors before it agree){beside}"
            )
            return _describe(diff, name, op, message, compared, found.max_absolute, differences)
        last = f"{op} {name!r}"
    if not compared:
        message = f"{place}: no tensor inside the two models has the same name"
        return _describe(diff, "", "", message, 0, None)
    message = f"{place}: the {compared} tensors that correspond by name agree, the last is {last}; it departs after"
    return _describe(diff, "", "", message, compared, None)


def find_way_back(
    diff: OutputDiff, baseline: Intermediates, candidate: Intermediates, options: CompareOptions
) -> dict[str, Any]:
    """The op through which the gradient departs on its way from the output back: what it gives has the same gradient on
    both sides, what it takes has not."""
    compared = 0
    ops = dict(baseline.nodes)
    for name, _ in baseline.nodes:  # from the output on
        if name not in baseline.values or name not in candidate.values:
            continue
        compared += 1
        tolerance = Criteria().gradient_tolerance
        old, new = baseline.values[name], candidate.values[name]
        departed = compare_values(old, new, where=diff.where, route="", output=name, tolerance=tolerance)
        if departed.equal:
            continue
        users = [user for user, taken in baseline.inputs.items() if name in taken and user in candidate.about]
        changed = [user for user in users if list_differences(baseline.about.get(user, {}), candidate.about[user])]
        culprit = next(iter((*changed, *users)), name)
        differences = list_differences(baseline.about.get(culprit, {}), candidate.about.get(culprit, {}))
        op = ops.get(culprit, "")
        beside = _spell_beside(differences) + (_find_inside(culprit, baseline, candidate) if _is_body(op) else "")
        message = (
            f"{diff.where}/{diff.output}: the gradient departs at {op} {culprit!r}, on its way back to {name!r}: "
            f"{departed.message} ({compared - 1} gradients on the way agree){beside}"
        )
        return _describe(diff, culprit, op, message, compared, departed.max_absolute, differences)
    if not compared:
        message = f"{diff.where}/{diff.output}: no tensor inside the two models has the same name"
        return _describe(diff, "", "", message, 0, None)
    message = f"{diff.where}/{diff.output}: the {compared} gradients that correspond by name agree; it departs within"
    return _describe(diff, "", "", f"{message} a loop or branch, or where a variable is read", compared, None)


def _find_other_write(baseline: Intermediates, candidate: Intermediates) -> str:
    """An op that writes a variable and does so otherwise on the other side, "" where all write alike."""
    shared = [name for name in baseline.about if name in candidate.about and name not in dict(baseline.nodes)]
    changed = (name for name in shared if baseline.about[name]["op"] != candidate.about[name]["op"])
    return next(changed, "")


def _find_inside(loop: str, baseline: Intermediates, candidate: Intermediates) -> str:
    """What is said otherwise of the nodes within a loop or branch, as far as their names tell."""
    scope = loop.rpartition("/")[0]
    within = [n for n in dict.fromkeys((*baseline.about, *candidate.about)) if n.startswith(f"{scope}/") and n != loop]
    found = []
    for name in within:
        old, new = baseline.about.get(name), candidate.about.get(name)
        if old is None or new is None:
            side, there = ("baseline", old) if new is None else ("candidate", new)
            found.append(f"only the {side} has {(there or {}).get('op', '')} {name!r}")
        elif old["op"] != new["op"]:
            found.append(f"{old['op']} {name!r} became {new['op']}")
    return f"; inside it {', '.join(found[:_MOST_BESIDE])}" if found else ""


def _spell_beside(differences: list[list[str]]) -> str:
    return "".join(f"; {what} {old} -> {new}" for what, old, new in differences[:_MOST_BESIDE])


def list_differences(baseline: Mapping[str, str], candidate: Mapping[str, str]) -> list[list[str]]:
    """[what, baseline, candidate] of each entry in which two descriptions of a node differ."""
    both = dict.fromkeys((*baseline, *candidate)) if baseline and candidate else {}
    rows = [[name, baseline.get(name, _ABSENT), candidate.get(name, _ABSENT)] for name in both]
    return [row for row in rows if row[1] != row[2]]


def _explain_branch(baseline: Any, candidate: Any) -> str:
    """A branch that is not taken gives a zero without shape for each of its nodes (`graph.exposure`)."""
    idle = [_is_idle(value) for value in (baseline, candidate)]
    if idle[0] == idle[1] or np.ndim(baseline) == np.ndim(candidate):
        return ""
    return f"the candidate took the other branch: only the {'candidate' if idle[0] else 'baseline'} runs it"


def _is_idle(value: Any) -> bool:
    return np.ndim(value) == 0 and not np.asarray(value).item()


def _describe(
    diff: OutputDiff,
    node: str,
    op: str,
    message: str,
    compared: int,
    largest: float | None,
    differences: list[list[str]] | None = None,
) -> dict[str, Any]:
    return {
        "where": diff.where,
        "output": diff.output,
        "node": node,
        "op": op,
        "message": message,
        "compared": compared,
        "max_absolute": largest,
        "differences": differences or [],
    }
