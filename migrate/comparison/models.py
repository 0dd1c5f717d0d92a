"""compare_models: plan the calls, run both sides, judge. Whatever touches a model runs in a process of its own."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

from migrate import errors, isolation
from migrate.comparison import benchmark, bisection, recording, reproduce, trajectory
from migrate.comparison.plan import PLAN, Plan, PlanRequest, SideRequest
from migrate.comparison.sides import (
    BASELINE_CALLS,
    CANDIDATE_CALLS,
    RECORDED,
    Subject,
    explore_subject,
    find_subject,
    tell_readers,
)
from migrate.inputs import recorded
from migrate.inputs.calls import Call, load_calls
from migrate.options import CompareOptions
from migrate.sources import spell_location
from migrate.verdict import GRADIENTS, INFERENCE, INTERFACE, TRAINING, TRAJECTORY, Verdict, Verification
from migrate.verify.exploring import add_coverage, explain_unmeasured, explore_calls
from migrate.verify.judging import tolerances
from migrate.verify.judging.interface import compare_interfaces, is_training
from migrate.verify.judging.judgement import Criteria, compare_results
from migrate.verify.pair import Pair, compare_pair
from migrate.verify.results import Results
from migrate.verify.runners.request import Explored, ExploreRequest, RunRequest
from migrate.verify.runners.side import KERAS, SERVING, Side, make_places

_DEEP = (TRAINING, GRADIENTS, TRAJECTORY)


def compare_models(
    baseline: str | os.PathLike[str], candidate: str | os.PathLike[str], options: CompareOptions | None = None
) -> Verification:
    """Compares two models, or a model with recorded outputs (.npz, see `migrate.comparison.recording`).

    Args:
      baseline, candidate: paths of a TF1 Hub module, a TF1 or TF2 SavedModel, an Estimator export, a Keras file (HDF5
        or .keras), or an .npz file.
      options: see CompareOptions.

    Returns:
      The verdict; a side that crashes, hangs or runs out of memory is a FAIL that says so, if it is the candidate.

    Raises:
      UsageError: the call is wrong: no such path, an unknown signature, a tolerance for no output.
      SourceError: a side cannot be read, or is of a kind that cannot be compared.
      JobError: the baseline crashed or hung.
    """
    options = options or CompareOptions()
    with tempfile.TemporaryDirectory(prefix="migrate-compare-") as work:
        timeout = options.limits.timeout
        named = (
            find_subject(baseline, os.path.join(work, "baseline_source"), timeout),
            find_subject(candidate, os.path.join(work, "candidate_source"), timeout),
        )
        with isolation.protect(*(subject.path for subject in named)):
            return _compare(named, (spell_location(baseline), spell_location(candidate)), options, work)


def _compare(
    named: tuple[Subject, Subject], places: tuple[str, str], options: CompareOptions, work: str
) -> Verification:
    """Compares two sides that are on this machine; `places` are where the caller has them."""
    given = options
    subjects = tell_readers(named, options.read)
    subjects = (
        explore_subject(subjects[0], "baseline", work, options),
        explore_subject(subjects[1], "candidate", work, options),
    )
    options, sources = _add_tolerances(subjects, options)
    plan = _make_plan(subjects, options, sources, work)
    explored = _explore(subjects, plan, options, work) if options.coverage else None
    if explored is not None:
        plan = dataclasses.replace(plan, answers={**plan.answers, **explored.answers})
    calls = _load_calls(work, BASELINE_CALLS)
    pair = _make_pair(subjects, plan, options, work)
    verification, answers = _judge(pair, plan, options)
    if options.bisect and any(not diff.equal for diff in verification.diffs):
        found = bisection.bisect_outputs(verification, subjects, plan.names, options, work, plan.update_call)
        verification = dataclasses.replace(verification, bisection=found)
    if options.benchmark:
        answered = {call for _, call in answers[0].outputs} & {call for _, call in answers[1].outputs}
        measured = benchmark.measure_pair(subjects, calls, answered, plan.names, options, work)
        verification = dataclasses.replace(verification, benchmark=measured)
    verification = dataclasses.replace(
        verification,
        inputs=tuple(preview.to_record() for preview in plan.inputs),
        notes=(*plan.notes, *verification.notes),
        tolerances=_list_tolerances(options, sources),
        reproduce=reproduce.spell_command(*places, given),
        not_compared=(*verification.not_compared, *plan.not_compared, *_describe_limits(subjects, options)),
    )
    if explored is not None:
        verification = add_coverage(verification, explored)
    if options.save_to:
        _save(options.save_to, calls, answers)
    return verification


def _add_tolerances(
    subjects: tuple[Subject, Subject], options: CompareOptions
) -> tuple[CompareOptions, dict[str, str]]:
    """The options with the tolerances that lie beside the models, the baseline's before the candidate's and all after
    those that were given; and where each pattern comes from. The candidate's only tighten, unless they are trusted."""
    found = dict(options.tolerances)
    sources = dict.fromkeys(found, "given")
    files = [tolerances.find_file(subject.path) for subject in subjects] if options.tolerance_files else []
    for position, path in enumerate(files):
        for pattern, tolerance in tolerances.load_tolerances(path).items() if path else ():
            if pattern in found:
                continue
            found[pattern], sources[pattern] = tolerance, path
            if position == 1 and not options.trust_candidate_tolerances:
                found[pattern] = tolerances.tighten(options.tolerance, tolerance)
                if found[pattern] != tolerance:
                    sources[pattern] += " (held to what the baseline and the command allow)"
    return dataclasses.replace(options, tolerances=found), sources


def _list_tolerances(options: CompareOptions, sources: dict[str, str]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"output": pattern, **dataclasses.asdict(tolerance), "source": sources[pattern]}
        for pattern, tolerance in options.tolerances.items()
    )


def _describe_limits(subjects: tuple[Subject, Subject], options: CompareOptions) -> list[str]:
    """What the level asks for and a side can never tell."""
    if options.level not in _DEEP:
        return []
    if RECORDED in {subject.kind for subject in subjects}:
        return [f"{options.level}: a recording holds outputs only, no losses, variables or gradients"]
    return [
        f"training: the {name} has no training mode that changes anything; losses "
        f"{'and gradients ' if options.level != TRAINING else ''}were compared"
        for name, subject in zip(("baseline", "candidate"), subjects, strict=True)
        if subject.kind in (SERVING, KERAS) and not subject.training
    ]


def _make_plan(subjects: tuple[Subject, Subject], options: CompareOptions, sources: dict[str, str], work: str) -> Plan:
    if all(subject.kind == RECORDED for subject in subjects):
        if options.level != "inference":
            raise errors.UsageError(
                f"two recordings cannot be compared at level {options.level}", where="--level", hint="use inference"
            )
        entries = [entry for s in subjects if s.recording for entry in recorded.describe_recording(s.recording, ())]
        outputs = [
            (place.signature or "", key)
            for subject in subjects
            if subject.recording
            for place, values in subject.recording.entries.items()
            for key in values
        ]
        plan = Plan(outputs=tuple(outputs), known=(tuple(entries), tuple(entries)))
    else:
        baseline, candidate = (
            SideRequest(path=subject.graph_path, kind=subject.kind, training=subject.training, read=subject.read)
            for subject in subjects
        )
        request = PlanRequest(
            baseline=baseline,
            candidate=candidate,
            # The job's process may stand in another folder than the caller.
            inputs=os.path.abspath(options.inputs) if os.path.exists(options.inputs) else options.inputs,
            signatures=options.signatures,
            level=options.level,
            seed=options.seed,
            batch_sizes=options.batch_sizes,
            nonfinite=options.nonfinite,
            op_library=options.op_library,
            folder=os.getcwd(),
            work=work,
        )
        where = f"{subjects[0].path} and {subjects[1].path}"
        # Nothing of a model runs in it; a function that a person gives may well ask a database.
        by_function = bool(options.inputs) and not os.path.exists(options.inputs)
        plan = isolation.run_job(PLAN, request, network=by_function, where=where).value
    _check_tolerances(sources, plan.outputs)
    return plan


def _check_tolerances(sources: dict[str, str], outputs: Iterable[tuple[str, str]]) -> None:
    """A mistyped key would silently leave its output with the default tolerance."""
    spelled = [(key, f"{signature}/{key}") for signature, key in outputs]
    for pattern, source in sources.items():
        if not any(fnmatch.fnmatchcase(text, pattern) or text == pattern for pair in spelled for text in pair):
            known = ", ".join(sorted({pair[1] for pair in spelled})[:8])
            where = "--tolerance" if source == "given" else source
            raise errors.UsageError(f"no output {pattern!r}", where=where, hint=f"outputs: {known}")


def _explore(subjects: tuple[Subject, Subject], plan: Plan, options: CompareOptions, work: str) -> Explored:
    """Measures the baseline, and adds calls where inputs are made up."""
    baseline = subjects[0]
    if baseline.kind == RECORDED or options.level == INTERFACE:
        return explain_unmeasured("no graph of the baseline is run")
    request = ExploreRequest(
        path=baseline.graph_path,
        kind=SERVING if baseline.kind == KERAS else baseline.kind,
        calls=os.path.join(work, BASELINE_CALLS),
        answering=os.path.join(work, CANDIDATE_CALLS),
        scratch=os.path.join(work, "explored"),
        seed=options.seed,
        searches=not options.inputs and subjects[1].kind != RECORDED,
        op_library=options.op_library,
        names=plan.names[0],
        read=baseline.read,
    )
    return explore_calls(request, options.limits, f"coverage of {baseline.path}")


def _load_calls(work: str, name: str) -> list[Call]:
    folder = os.path.join(work, name)
    return load_calls(folder) if os.path.isdir(folder) else []


def _make_pair(subjects: tuple[Subject, Subject], plan: Plan, options: CompareOptions, work: str) -> Pair:
    sides: list[Side | Results] = []
    places = make_places(work)
    for position, (name, folder) in enumerate((("baseline", BASELINE_CALLS), ("candidate", CANDIDATE_CALLS))):
        subject = subjects[position]
        other = plan.known[1 - position]
        if subject.recording is not None:
            # Calls of the baseline carry its own names; only a candidate's may be spelled otherwise.
            answers = plan.answers if position == 1 else {}
            found = recording.to_results(subject.recording, other, answers)
            sides.append(_restrict(found, options))
            continue
        path = subject.path
        if position == 1:
            # From a folder from which no relative path leads back to anything.
            path = places[1].model
            if os.path.isfile(subject.path):
                os.makedirs(path)
                path = shutil.copy2(subject.path, path)  # Keras goes by the name's ending
            else:
                shutil.copytree(subject.path, path)
        deep = plan.loss_tags is not None
        request = RunRequest(
            path=path,
            calls=os.path.join(work, folder),
            results=places[position].answers,
            op_library=options.op_library,
            losses=deep,
            variables=deep,
            loss_tags=plan.loss_tags[position] if plan.loss_tags else (),
            update_call=plan.update_call,
            gradient_calls=plan.gradient_calls,
            reweigh_calls=plan.reweigh_calls,
            draws=options.draws,
            names=plan.names[position],
            read=subject.read,
        )
        guarded = (places[1 - position].folder,)
        sides.append(Side(kind=subject.kind, request=request, label=f"{name} {subject.path}", guarded=guarded))
    return Pair(
        baseline=sides[0],
        candidate=sides[1],
        random=plan.random,
        racy=plan.racy,
        interface=_select_interface(subjects, plan, options),
    )


def _select_interface(
    subjects: tuple[Subject, Subject], plan: Plan, options: CompareOptions
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The signatures that the level and --signatures ask for; none where a recording cannot tell."""
    if any(subject.kind == RECORDED for subject in subjects):
        return [], []
    sides = [list(entries) for entries in plan.known]
    if options.signatures:
        sides = [[entry for entry in side if entry["signature"] in options.signatures] for side in sides]
    if options.level == INFERENCE and not all(is_training(entry) for entry in sides[0]):
        sides = [[entry for entry in side if not is_training(entry)] for side in sides]
    return sides[0], sides[1]


def _restrict(found: Results, options: CompareOptions) -> Results:
    """Of a recording only the signatures that were asked for."""
    if options.signatures:
        places = {f"{','.join(e['tags']) or '(no tags)'}/{e['signature']}" for e in found.interface}
        wanted = {place for place in places if place.partition("/")[2] in options.signatures}
        found.outputs = {key: v for key, v in found.outputs.items() if key[1].rpartition("/")[0] in wanted}
    return found


def _judge(pair: Pair, plan: Plan, options: CompareOptions) -> tuple[Verification, tuple[Results, Results]]:
    criteria = Criteria(
        tolerance=options.tolerance,
        tolerances=options.tolerances,
        same_argmax=options.same_argmax,
        strict=options.strict,
        error_rate=options.error_rate,
        trainable=options.level in _DEEP,
    )
    if options.level == INTERFACE:
        diffs = compare_interfaces(*pair.interface) if pair.interface else []
        empty = Results()
        return compare_results(empty, empty, criteria, interface=diffs, level=INTERFACE), (empty, empty)
    try:
        verification, *answers = compare_pair(pair, criteria, options.limits, level=options.level)
        if plan.training and isinstance(pair.baseline, Side) and isinstance(pair.candidate, Side):
            found = trajectory.compare_trajectories(
                pair.baseline, pair.candidate, plan.training, criteria, options.limits, steps=options.steps
            )
            verification = trajectory.add_trajectory(verification, found, strict=options.strict)
    except isolation.JobError as error:
        candidate = pair.candidate
        if not isinstance(candidate, Side) or candidate.label not in str(error):
            raise
        # A candidate that dies is a result; a baseline that dies leaves nothing to say about the candidate.
        return Verification(verdict=Verdict.FAIL, problems=(str(error),), level=options.level), (Results(), Results())
    return verification, (answers[0], answers[1])


def _save(folder: str, calls: list[Call], answers: tuple[Results, Results]) -> None:
    """inputs.npz, baseline.npz, candidate.npz: each can be given to --inputs, --baseline and --candidate again."""
    if not calls:
        return  # an interface, or two recordings: there is nothing that does not lie there already
    os.makedirs(folder, exist_ok=True)
    recorded.save_inputs(os.path.join(folder, reproduce.INPUTS), calls)
    for name, results in zip(("baseline.npz", "candidate.npz"), answers, strict=True):
        recording.save_answers(os.path.join(folder, name), results, calls)
