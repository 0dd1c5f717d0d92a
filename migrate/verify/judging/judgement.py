"""Results of two sides -> Verification. Whoever ran them: the verify stage, migrate-compare, a recording."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

from migrate.inputs.cases import is_venture
from migrate.model import SEED_STATE
from migrate.options import Tolerance
from migrate.verdict import (
    CALLABLE,
    DEFAULT,
    EMPTY_BATCH,
    INFERENCE,
    PARTIAL_ROUTES,
    TRAINING,
    OutputDiff,
    Verification,
    judge,
)
from migrate.verify.draws import find_varying
from migrate.verify.judging.belongings import compare_belongings, cover_belongings
from migrate.verify.judging.diagnosis import find_swap
from migrate.verify.judging.gradients import compare_gradients, cover_gradients
from migrate.verify.judging.trials import Drawn
from migrate.verify.judging.values import Comparer, compare_values
from migrate.verify.results import Results

_DIGITS = 300
# Only so many outputs carry the pairs that a plot needs: a record is read by people and by CI.
_MOST_SAMPLES = 24
_MOST_NOTES = 8
_SHARED = "with the same random numbers on both sides"
_REWEIGHED = "with other weights, the same on both sides"
LOSSES, VARIABLES, UPDATE = "regularization_losses", "variables", "update"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What counts as equal.

    Attributes:
      tolerance: of floats.
      tolerances: by output, as "output" or "signature/output", shell wildcards allowed; the first match counts.
      gradient_tolerance: of gradients: sums over the batch, in another order.
      same_argmax: a row whose largest element is another one fails, however small the difference.
      strict: what the baseline could not run fails.
      trainable: whether both sides must train the same variables.
      error_rate: chance that a random output of unchanged distribution is called different.
    """

    tolerance: Tolerance = dataclasses.field(default_factory=Tolerance)
    tolerances: Mapping[str, Tolerance] = dataclasses.field(default_factory=dict)
    gradient_tolerance: Tolerance = dataclasses.field(default_factory=lambda: Tolerance(relative=1e-4, absolute=1e-5))
    same_argmax: bool = False
    strict: bool = False
    trainable: bool = False
    error_rate: float = 1e-3

    def find_tolerance(self, where: str, output: str) -> Tolerance:
        """Of one output of the call "tags/signature/case"."""
        spellings = (output, f"{parse_signature(where)}/{output}")
        for pattern, tolerance in self.tolerances.items():
            if pattern in spellings or any(fnmatch.fnmatchcase(text, pattern) for text in spellings):
                return tolerance
        return self.tolerance


def parse_signature(where: str) -> str:
    """The signature key of a call id "tags/signature/case"."""
    return where.partition("/")[2].rpartition("/")[0]


def compare_results(
    baseline: Results,
    candidate: Results,
    criteria: Criteria,
    *,
    random: frozenset[tuple[str, str]] = frozenset(),
    unsteady: frozenset[tuple[str, str]] = frozenset(),
    interface: Iterable[OutputDiff] = (),
    level: str = TRAINING,
    ordered: Results | None = None,
    drawn: Drawn | None = None,
) -> Verification:
    """Judges all answers of the candidate against the baseline's.

    Args:
      baseline, candidate: answers to the same calls.
      criteria: what counts as equal.
      random: (call id, output key) of outputs in which the baseline differs from itself.
      unsteady: of outputs in which the candidate differs from itself and the baseline does not.
      interface: what was found of the two interfaces.
      level: how far the comparison was to go.
      ordered: the baseline's answers where it reads before it writes: what TF1 left open may be answered so too.
      drawn: what draws of random outputs told.
    """
    diffs: list[OutputDiff] = list(interface)
    # What the baseline cannot do either is no fault of the candidate; it is said to be not compared.
    unable = {_find_subject(note) for note in baseline.notes}
    problems: list[str] = [note for note in candidate.notes if _find_subject(note) not in unable]
    drawn = drawn or Drawn()
    expected = choose_answers(baseline)
    comparer = Comparer()
    refused = [
        f"{call}: {reason}"
        for call, reason in _choose_refusals(baseline, expected)
        if not call.endswith(f"/{EMPTY_BATCH}") and not is_venture(call.rpartition("/")[2])
    ] + baseline.notes
    if baseline.losses is not None and candidate.losses is None:
        refused.append(f"{LOSSES}: the candidate's cannot be asked for")
    if baseline.updates is not None and candidate.updates is None:
        refused.append(f"{UPDATE}: the candidate cannot be asked for its variables after a training call")
    for (route, call), outputs in candidate.outputs.items():
        if call in expected:
            old = _select_outputs(route, baseline.outputs.get((route, call), expected[call]), outputs)
            compared = _compare_call(call, route, old, outputs, criteria, comparer, random, unsteady, drawn)
            if ordered is not None:
                first = _order_outputs(old, ordered, call)
                other = _compare_call(call, route, first, outputs, criteria, comparer, random, unsteady, drawn)
                compared = [new if new.equal else diff for diff, new in zip(compared, other, strict=True)]
            diffs.extend(compared)
    diffs.extend(_compare_again(baseline.shared, candidate.shared, criteria, comparer, _SHARED))
    again = _compare_again(baseline.reweighed, candidate.reweighed, criteria, comparer, _REWEIGHED)
    diffs.extend(dataclasses.replace(diff, level=TRAINING) for diff in again)
    for (route, call), reason in candidate.refusals.items():
        # What a baseline refuses on the same route is no fault of the candidate.
        if call in expected and (route, call) not in baseline.refusals:
            problems.append(f"{call} ({route}): {reason[:_DIGITS]}")
    answered = {call for _, call in candidate.outputs} | {call for _, call in candidate.refusals}
    problems.extend(f"{call}: the candidate did not answer" for call in expected if call not in answered)
    problems.extend((*_compare_seeds(baseline, candidate), *drawn.problems))
    owned = compare_belongings(baseline, candidate, trainable=criteria.trainable)
    # A misspelt line is named before the outputs that follow from it.
    diffs[:0] = owned
    diffs.extend(_compare_losses(baseline, candidate, criteria, problems))
    diffs.extend(_compare_variables(baseline, candidate, criteria, refused))
    diffs.extend(_compare_updates(baseline, candidate, criteria))
    diffs.extend(compare_gradients(baseline, candidate, criteria.gradient_tolerance, problems))
    if criteria.trainable and baseline.trainable is not None and candidate.trainable is not None:
        problems.extend(_compare_trainable(baseline.trainable, candidate.trainable))
    verification = judge(
        _limit_samples(diffs),
        tuple(refused),
        tuple(problems),
        strict=criteria.strict,
        notes=(
            *_describe_random(diffs, criteria, drawn.notes),
            *_note_flips(diffs),
            *_note_void(diffs),
            *_note_empty(baseline),
        ),
        level=level,
    )
    coverage = (
        *candidate.coverage,
        *drawn.coverage,
        *cover_belongings(owned),
        *cover_gradients(baseline, candidate, diffs, level),
    )
    return dataclasses.replace(verification, coverage=coverage)


def _find_subject(note: str) -> str:
    """Of a runner's note "call: no gradients: reason" or "updates: reason" what comes before the reason."""
    parts = note.replace(" in the original", "").replace(" of the original", "").split(": ")
    return ": ".join(parts[: 2 if "/" in parts[0] else 1])


def choose_answers(baseline: Results) -> dict[str, dict[str, Any]]:
    """Call id -> outputs of a side that acts as baseline: the session's, else the callable's, else the signature's."""
    found: dict[str, dict[str, Any]] = {}
    for (_, call), outputs in baseline.outputs.items():
        found.setdefault(call, outputs)
    return found


def _select_outputs(route: str, expected: Mapping[str, Any], outputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a route has to give: one that gives a part owes `default`, where there is such an output."""
    if route not in PARTIAL_ROUTES:
        return expected
    return {key: value for key, value in expected.items() if key == DEFAULT or key in outputs}


def _order_outputs(expected: Mapping[str, Any], ordered: Results, call: str) -> dict[str, Any]:
    found = choose_answers(ordered).get(call, {})
    return {key: found.get(key, value) for key, value in expected.items()}


def _compare_again(
    expected: Mapping[tuple[str, str], Mapping[str, Any]],
    found: Mapping[tuple[str, str], Mapping[str, Any]],
    criteria: Criteria,
    comparer: Comparer,
    how: str,
) -> list[OutputDiff]:
    """Calls that were made once more in another way, `how`, on both sides: exactly."""
    answers = {call: outputs for (_, call), outputs in expected.items()}
    diffs: list[OutputDiff] = []
    for (route, call), outputs in found.items():
        if call in answers:
            old = _select_outputs(route, answers[call], outputs)
            compared = _compare_call(call, route, old, outputs, criteria, comparer, frozenset(), frozenset(), Drawn())
            diffs.extend(diff if diff.equal else _explain(diff, how) for diff in compared)
    return diffs


def find_shared(baseline: Results, candidate: Results) -> frozenset[str]:
    """Ids of random calls in which both sides drew the same numbers."""
    return frozenset({call for _, call in baseline.shared} & {call for _, call in candidate.shared})


def _compare_seeds(baseline: Results, candidate: Results) -> list[str]:
    """A generator with a seed of its own starts every process alike; one without does not."""
    known = {name for generators in baseline.generators.values() for name in generators}
    others = {name for generators in candidate.generators.values() for name in generators}
    found = []
    for name in sorted(known & others):
        fixed = name in baseline.fixed_seeds, name in candidate.fixed_seeds
        if fixed[0] != fixed[1]:
            spelled = "a fixed seed became a free one" if fixed[0] else "a free seed became a fixed one"
            found.append(f"random op {name}: {spelled}")
    return found


def _choose_refusals(baseline: Results, answered: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(call, reason) for (_, call), reason in baseline.refusals.items() if call not in answered]


def _compare_call(
    call: str,
    route: str,
    expected: Mapping[str, Any],
    outputs: Mapping[str, Any],
    criteria: Criteria,
    comparer: Comparer,
    random: frozenset[tuple[str, str]],
    unsteady: frozenset[tuple[str, str]],
    drawn: Drawn,
) -> list[OutputDiff]:
    diffs = []
    for key in dict.fromkeys((*expected, *outputs)):
        if key not in outputs or key not in expected:
            side = "the candidate lacks it" if key not in outputs else "the baseline does not have it"
            diffs.append(OutputDiff(where=call, route=route, output=key, equal=False, message=side))
            continue
        diff = comparer.compare(
            expected[key],
            outputs[key],
            where=call,
            route=route,
            output=key,
            tolerance=criteria.find_tolerance(call, key),
            random=(call, key) in random,
        )
        told = drawn.find(diff) if diff.random and diff.equal else None
        if told is not None:
            equal = not told.message
            diff = dataclasses.replace(diff, equal=equal, message=told.message, p_value=told.p_value, draws=told.draws)
        if criteria.same_argmax and diff.equal and diff.statistics and diff.statistics.argmax_flips:
            diff = dataclasses.replace(diff, equal=False, message=_describe_flips(diff))
        swap = "" if diff.equal else find_swap(key, outputs[key], expected)
        diff = _explain(diff, swap) if swap else diff
        if not diff.equal and (call, key) in unsteady:
            diff = _explain(diff, "the candidate's is random, it differs from call to call; the baseline's does not")
        diffs.append(diff)
    return diffs


def _describe_flips(diff: OutputDiff) -> str:
    assert diff.statistics is not None
    return (
        f"within tolerance, but {diff.statistics.argmax_flips} rows have another largest element, first "
        f"{diff.statistics.first_flip}"
    )


def _describe_random(diffs: list[OutputDiff], criteria: Criteria, drawn: tuple[str, ...]) -> tuple[str, ...]:
    tested = sorted({(diff.where, diff.output) for diff in diffs if diff.random and diff.p_value is not None})
    exact = {(d.where, d.output) for d in diffs if not d.random}
    loose = sorted({(d.where, d.output) for d in diffs if d.random and d.p_value is None} - exact - set(tested))
    shared = sorted({(d.where, d.output) for d in diffs if d.random} & exact)
    notes = []
    if shared:
        notes.append(
            f"{len(shared)} outputs are random and were compared exactly, with the same random numbers on both sides: "
            f"{_list_places(shared)}"
        )
    if tested:
        notes.append(
            f"{len(tested)} outputs are random and were compared in distribution, not exactly (tests by "
            f"rank, error rate {criteria.error_rate:g} for each, confirmed by fresh draws): {_list_places(tested)}"
        )
    if loose:
        notes.append(
            f"{len(loose)} outputs differ from run to run of the baseline: only their dtype and rank were compared: "
            f"{_list_places(loose)}"
        )
    notes.extend(drawn)
    values = [diff for diff in diffs if diff.level != "interface"]
    if values and all(diff.random for diff in values):
        notes.append("nothing was compared exactly: every output is random")
    return tuple(notes)


def _note_flips(diffs: list[OutputDiff]) -> list[str]:
    """Equal numbers may well be another answer."""
    exact = [diff for diff in diffs if diff.equal and not diff.random and diff.level == INFERENCE]
    flipped = [diff for diff in exact if diff.statistics and diff.statistics.argmax_flips]
    return [f"{diff.where}/{diff.output} ({diff.route}): {_describe_flips(diff)}" for diff in flipped[:_MOST_NOTES]]


def _note_void(diffs: list[OutputDiff]) -> list[str]:
    """Outputs that were NaN or infinite throughout, whatever was fed: that both sides are says little of them."""
    void: dict[tuple[str, str], bool] = {}
    for diff in diffs:
        if diff.level == INFERENCE and not diff.where.endswith(f"/{EMPTY_BATCH}"):
            place = (diff.where.rpartition("/")[0], diff.output)
            void[place] = void.get(place, True) and diff.is_void
    places = sorted(place for place, is_void in void.items() if is_void)
    return [f"NaN or infinite on both sides in every call, no proof: {_list_places(places)}"] if places else []


def _note_empty(baseline: Results) -> list[str]:
    places = sorted({call.rpartition("/")[0] for _, call in baseline.refusals if call.endswith(f"/{EMPTY_BATCH}")})
    notes = [f"the baseline takes no batch without rows: {', '.join(places[:4])}"] if places else []
    ventures = sorted({call for _, call in baseline.refusals if is_venture(call.rpartition("/")[2])})
    return notes + ([f"the baseline refuses inputs that were tried: {', '.join(ventures[:4])}"] if ventures else [])


def _list_places(places: list[tuple[str, str]]) -> str:
    named = ", ".join(f"{where}/{output}" for where, output in places[:4])
    return named + (f" and {len(places) - 4} more" if len(places) > 4 else "")


def _compare_losses(baseline: Results, candidate: Results, criteria: Criteria, problems: list[str]) -> list[OutputDiff]:
    if baseline.losses is None or candidate.losses is None:
        return []
    if len(baseline.losses) != len(candidate.losses):
        problems.append(
            f"the baseline has {len(baseline.losses)} regularization losses, the candidate {len(candidate.losses)}"
        )
        return []
    return [
        compare_values(
            old,
            new,
            where=LOSSES,
            route="callable",
            output=str(position),
            tolerance=criteria.tolerance,
            level=TRAINING,
        )
        for position, (old, new) in enumerate(zip(baseline.losses, candidate.losses, strict=True))
    ]


def _compare_variables(
    baseline: Results, candidate: Results, criteria: Criteria, refused: list[str]
) -> list[OutputDiff]:
    """By name, as loaded: a weight may matter in no call that was made."""
    if not baseline.variables or candidate.variables is None:
        return []
    # Made anew with each load: its value is as random as what it gives.
    shared = [name for name in baseline.variables if name in candidate.variables and SEED_STATE not in name]
    lost = [name for name in baseline.variables if name not in candidate.variables]
    due = _find_due(baseline, candidate, lost)
    if len(due) < len(lost):
        refused.append(
            f"{VARIABLES}: {len(lost) - len(due)} of {len(baseline.variables)} have no namesake in the candidate"
        )
    missing = [
        OutputDiff(
            where=VARIABLES, route=CALLABLE, output=name, equal=False, message="the candidate lacks it", level=TRAINING
        )
        for name in due
    ]
    return missing + [
        compare_values(
            baseline.variables[name],
            candidate.variables[name],
            where=VARIABLES,
            route="callable",
            output=name,
            tolerance=criteria.tolerance,
            level=TRAINING,
        )
        for name in shared
    ]


def _find_due(baseline: Results, candidate: Results, lost: list[str]) -> list[str]:
    """A migrated model has all of its original's variables, whether or not a signature uses them; where signatures were
    left out, those of the others."""
    if not candidate.pieces or not baseline.pieces:
        return []
    left_out = {(tuple(e["tags"]), e["signature"]) for e in candidate.interface if "left_out" in e}
    kept = [e for e in baseline.pieces if "tags" in e and (tuple(e["tags"]), e["signature"]) not in left_out]
    used = {name for entry in kept for name in (*entry["variables"], *entry["updated"])}
    return [name for name in lost if not left_out or name in used]


def _compare_updates(baseline: Results, candidate: Results, criteria: Criteria) -> list[OutputDiff]:
    if baseline.updates is None or candidate.updates is None:
        return []
    is_shared = baseline.shared_updates is not None and candidate.shared_updates is not None
    updates = baseline.shared_updates if is_shared else baseline.updates
    answers = candidate.shared_updates if is_shared else candidate.updates
    assert updates is not None and answers is not None
    diffs = []
    for name, value in updates.items():
        if name not in answers or SEED_STATE in name:
            continue
        diff = compare_values(
            value,
            answers[name],
            where=UPDATE,
            route="callable",
            output=name,
            tolerance=criteria.tolerance,
            # A statistic of random activations: its value proves nothing.
            random=not is_shared and name in baseline.unsteady,
            level=TRAINING,
        )
        if name in candidate.unmoved and name not in baseline.unmoved:
            diff = _explain(dataclasses.replace(diff, equal=False), "the training call does not move it")
        diffs.append(diff)
    return diffs


def _explain(diff: OutputDiff, reason: str) -> OutputDiff:
    return dataclasses.replace(diff, message=f"{diff.message} ({reason})" if diff.message else reason)


def _compare_trainable(baseline: list[str], candidate: list[str]) -> list[str]:
    lost, new = sorted(set(baseline) - set(candidate)), sorted(set(candidate) - set(baseline))
    found = [f"trains no longer: {', '.join(lost)}"] if lost else []
    return found + ([f"trains now, and did not: {', '.join(new)}"] if new else [])


def find_random(
    first: Results, second: Results, drawn: Iterable[Iterable[str]], tolerance: Tolerance
) -> frozenset[tuple[str, str]]:
    """(call id, output key) of outputs that a generator reaches and in which, in any call, two runs differ."""
    again = choose_answers(second)
    # What is seldom drawn otherwise was so in one of the draws, if any were made.
    differing = [[call.rpartition("/")[0], key] for call, key in find_varying(second.draws) & {*calls_of(first, drawn)}]
    for call, key in calls_of(first, drawn):
        value = choose_answers(first)[call][key]
        if call not in again or key not in again[call]:
            continue
        diff = compare_values(value, again[call][key], where=call, route="", output=key, tolerance=tolerance)
        if not diff.equal:
            differing.append([call.rpartition("/")[0], key])
    return frozenset(calls_of(first, differing))


def calls_of(results: Results, places: Iterable[Iterable[str]]) -> list[tuple[str, str]]:
    """(call id, output key) of every call of the outputs (tags/signature, output key)."""
    wanted = {tuple(place) for place in places}
    return [
        (call, key)
        for call, outputs in choose_answers(results).items()
        for key in outputs
        if (call.rpartition("/")[0], key) in wanted
    ]


def _limit_samples(diffs: list[OutputDiff]) -> tuple[OutputDiff, ...]:
    """Differing outputs keep their plot first."""
    carrying = [i for i, diff in enumerate(diffs) if diff.statistics and diff.statistics.sample]
    kept = set(sorted(carrying, key=lambda i: (diffs[i].equal, diffs[i].level != INFERENCE, i))[:_MOST_SAMPLES])
    return tuple(
        dataclasses.replace(diff, statistics=dataclasses.replace(diff.statistics, sample=()))
        if diff.statistics and i not in kept
        else diff
        for i, diff in enumerate(diffs)
    )
