"""Random outputs judged over several rounds of draws, each from a process of its own on either side. numpy only.

The first round only teaches what to look at (`distribution.Reference`); all later ones are tested. A difference counts
when draws made after it was seen show it again. Rounds are asked for until that is settled and the stated power is
reached, or the bound is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from migrate.verdict import TRAINING, Coverage, OutputDiff
from migrate.verify.draws import FEWEST
from migrate.verify.judging import distribution
from migrate.verify.judging.distribution import Power, TwoSampleTest

# Draws of the first round, and the most of one round; looks at the evidence.
FIRST = 2 * FEWEST
MOST, ROUNDS = 2000, 5
# A suspicion is confirmed by draws of their own at this error rate, beside the stated one.
_CONFIRMED = 1e-3
_MOST_SUSPECTS = 3
# Fewer different draws of one output may well come a second time in the same order.
_DISTINCT = 8
_MOST_LINES = 6

Draws = Mapping[tuple[str, str], Mapping[str, np.ndarray]]
Statistics = Mapping[tuple[str, str], np.ndarray]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DrawnOutput:
    """Verdict on one random output of one call on one route; `message` says what differs, "" for nothing."""

    where: str
    route: str
    output: str
    p_value: float
    draws: int
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What the trials of a comparison found."""

    outputs: tuple[DrawnOutput, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    coverage: tuple[Coverage, ...] = ()

    def find(self, diff: OutputDiff) -> DrawnOutput | None:
        place = (diff.where, diff.route, diff.output)
        return next((found for found in self.outputs if (found.where, found.route, found.output) == place), None)


class Trial:
    """One call on one route of the candidate, round by round.

    Attributes:
      failed: output -> the test that differed, and did so again.
      open: (output, statistic) -> the sign of a difference that was seen once.
    """

    def __init__(self, call: str, route: str, keys: frozenset[str], error_rate: float) -> None:
        self.call, self.route, self.keys = call, route, keys
        self.failed: dict[str, TwoSampleTest] = {}
        self.open: dict[tuple[str, str], float] = {}
        self.powers: dict[str, Power] = {}
        self.worst: dict[str, float] = {}
        self.draws = 0
        self._error_rate = error_rate
        self._rounds: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = []
        self._fresh: list[tuple[Statistics, Statistics]] = []
        self._reference: distribution.Reference | None = None

    def add_round(self, baseline: Mapping[str, np.ndarray], candidate: Mapping[str, np.ndarray]) -> None:
        """Draws of one process on each side: output key -> [n, components]."""
        keys = [key for key in baseline if key in candidate and key in self.keys]
        self._rounds.append(({key: baseline[key] for key in keys}, {key: candidate[key] for key in keys}))
        if self._reference is None:
            self._reference = distribution.learn_reference(*self._rounds[0])
            # These draws prove nothing; how far they spread tells how many more it takes.
            taught = [distribution.compute_statistics(self._reference, side) for side in self._rounds[0]]
            self.draws = min((len(rows) for side in self._rounds[0] for rows in side.values()), default=0)
            count = max(1, len(taught[0]))
            self.powers = {key: distribution.find_power(key, taught, self._error_rate / count) for key in keys}
            return
        new = [self._find_new(side) for side in (0, 1)]
        if any(not rows or not len(next(iter(rows.values()))) for rows in new):
            return
        old, other = (distribution.compute_statistics(self._reference, rows) for rows in new)
        self._confirm(distribution.compare_statistics(old, other))
        # A side with a fixed seed says again what it said: only what is new counts.
        self._fresh.append((old, other))
        self._look()

    def _find_new(self, side: int) -> dict[str, np.ndarray]:
        latest = self._rounds[-1][side]
        if not self.is_fixed(side):
            return latest
        known = max(len(rows) for earlier in self._rounds[:-1] for rows in earlier[side].values())
        return {key: rows[known:] for key, rows in latest.items()}

    def is_fixed(self, side: int) -> bool | None:
        """Whether a side draws the same numbers in each fresh process; None where that cannot be told."""
        if len(self._rounds) < 2:
            return None
        first, second = (found[side] for found in self._rounds[:2])
        known: list[bool] = []
        for key in first:
            pair = first[key][:FEWEST], second[key][:FEWEST]
            if all(len(np.unique(rows, axis=0)) >= _DISTINCT for rows in pair):
                known.append(bool(np.allclose(*pair, rtol=1e-4, atol=1e-6)))
        return any(known) if known else None

    def _confirm(self, tests: Mapping[tuple[str, str], TwoSampleTest]) -> None:
        for (key, name), sign in self.open.items():
            test = tests.get((key, name))
            if test is None or test.p_value > _CONFIRMED / len(self.open):
                continue
            if sign * (test.candidate_mean - test.baseline_mean) >= 0:
                best = self.failed.get(key)
                self.failed[key] = test if best is None or test.p_value < best.p_value else best
        self.open = {}

    def _look(self) -> None:
        pooled = tuple(
            {place: np.concatenate([found[side][place] for found in self._fresh]) for place in self._fresh[0][side]}
            for side in (0, 1)
        )
        tests = distribution.compare_statistics(*pooled)
        self.draws = min(len(next(iter(side.values()))) for side in pooled)
        count = max(1, len(tests))
        for key in {place[0] for place in pooled[0]}:
            own = [test.p_value for place, test in tests.items() if place[0] == key]
            self.worst[key] = min(1.0, min(own, default=1.0) * count)
            self.powers[key] = distribution.find_power(key, pooled, self._error_rate / count)
        ranked = sorted(tests.items(), key=lambda item: item[1].p_value)[:_MOST_SUSPECTS]
        self.open = {
            place: float(np.sign(test.candidate_mean - test.baseline_mean))
            for place, test in ranked
            if test.p_value * count <= self._error_rate and place[0] not in self.failed
        }

    def judge(self, key: str) -> DrawnOutput:
        test = self.failed.get(key)
        p_value = self.worst.get(key, 1.0)
        message = "" if test is None else self._describe(test, p_value)
        return DrawnOutput(
            where=self.call, route=self.route, output=key, p_value=p_value, draws=self.draws, message=message
        )

    def _describe(self, test: TwoSampleTest, p_value: float) -> str:
        return (
            f"random, and drawn from another distribution: the {test.component} has mean {test.baseline_mean:.6g} in "
            f"the baseline and {test.candidate_mean:.6g} in the candidate (Kolmogorov-Smirnov D {test.statistic:.3g}, "
            f"corrected p {p_value:.2g} < {self._error_rate:g} in {self.draws} draws of fresh processes, and again in "
            "later ones)"
        )


class Trials:
    """All calls with random outputs of one comparison."""

    def __init__(
        self,
        random: frozenset[tuple[str, str]],
        error_rate: float,
        forgets_seeds: tuple[bool, bool] = (False, False),
    ) -> None:
        """Args:
        random: (call id, output key).
        error_rate: chance that an output of unchanged distribution is suspected.
        forgets_seeds: whether baseline and candidate cannot hold the seed of the process that saved them: what draws
          anew in such a file may have been traced with a seed elsewhere, which is no fault.
        """
        self._random, self._error_rate, self._forgets = random, error_rate, forgets_seeds
        self._trials: dict[tuple[str, str], Trial] = {}
        self._rounds = 0
        self._known: dict[str, int] = {}

    def add_round(self, baseline: Draws, candidate: Draws, draws: Mapping[str, int]) -> None:
        """What one process of each side drew, at most `draws` times each, by call id."""
        by_call = {call: outputs for (_, call), outputs in reversed(list(baseline.items()))}
        for (route, call), outputs in candidate.items():
            if call not in by_call:
                continue
            keys = frozenset(key for where, key in self._random if where == call)
            trial = self._trials.setdefault((route, call), Trial(call, route, keys, self._error_rate))
            trial.add_round(by_call[call], outputs)
        self._rounds += 1
        self._known |= {call: max(number, self._known.get(call, 0)) for call, number in draws.items()}

    def plan_round(self, draws: int) -> dict[str, int]:
        """Ids of the calls to draw next -> how often; {} when all is settled. `draws`: of the first that counts."""
        if self._rounds < 2:
            wanted = dict.fromkeys(self._known, max(draws, 3 * FEWEST))
            for power, trial in self._find_best().values():
                if np.isfinite(power.lacking):
                    needed = FIRST + int(1.2 * power.lacking * trial.draws)
                    wanted[trial.call] = min(MOST, max(wanted[trial.call], needed))
            return wanted
        if self._rounds >= ROUNDS or any(is_fault for _, is_fault in self._tell_seeds()):
            return {}
        wanted = {trial.call: max(trial.draws, 10 * FEWEST) for trial in self._trials.values() if trial.open}
        for power, trial in self._find_best().values():
            if not power.is_reached and not trial.failed and np.isfinite(power.lacking):
                needed = int(1.1 * (power.lacking - 1) * trial.draws) + FEWEST
                wanted[trial.call] = max(wanted.get(trial.call, 0), needed)
        wanted = {call: min(MOST, number) for call, number in sorted(wanted.items())}
        is_fixed = any(trial.is_fixed(side) for trial in self._trials.values() for side in (0, 1))
        if wanted and is_fixed:
            # A fixed seed gives the same numbers only to the same calls in the same order.
            return {call: known + wanted.get(call, 0) for call, known in self._known.items()}
        return wanted

    def _find_best(self) -> dict[tuple[str, str], tuple[Power, Trial]]:
        """(tags/signature, output) -> the power of the call that tells most of it."""
        found: dict[tuple[str, str], tuple[Power, Trial]] = {}
        for trial in self._trials.values():
            for key, power in trial.powers.items():
                place = trial.call.rpartition("/")[0], key
                if place not in found or power.lacking < found[place][0].lacking:
                    found[place] = power, trial
        return found

    def _tell_seeds(self) -> list[tuple[str, bool]]:
        """A side that draws the same numbers in each fresh process where the other draws anew; whether it is a
        fault."""
        found = []
        for label in sorted({trial.call.rpartition("/")[0] for trial in self._trials.values()}):
            own = [trial for trial in self._trials.values() if trial.call.rpartition("/")[0] == label]
            fixed = [[known for trial in own if (known := trial.is_fixed(side)) is not None] for side in (0, 1)]
            if all(fixed) and any(fixed[0]) != any(fixed[1]):
                spelled = ["draws the same numbers in each fresh process" if any(f) else "draws anew" for f in fixed]
                said = (
                    f"{label}: the baseline {spelled[0]}, the candidate {spelled[1]}: "
                    f"{'a fixed seed became a free one' if any(fixed[0]) else 'a free seed became a fixed one'}"
                )
                found.append((said, not self._forgets[1 if any(fixed[0]) else 0]))
        return found

    def conclude(self, *, keeps_seeds: bool = False) -> Drawn:
        """The verdicts. `keeps_seeds`: a side holds the state of its generators in a variable, as Keras 3 does; its
        saved state is then no seed that anybody chose."""
        outputs = [trial.judge(key) for trial in self._trials.values() for key in sorted(trial.worst)]
        best = self._find_best()
        weak = [(place, power) for place, (power, _) in best.items() if not power.is_reached]
        lines = [
            f"{where}/{key}: after {trial.draws} draws only {power.describe()} would have been told"
            for (where, key), (power, trial) in best.items()
            if not power.is_reached
        ]
        notes = [
            f"power of the draws, from {self._rounds} fresh processes a side: {where}/{key}: {power.describe()} would "
            f"have been told ({trial.draws} draws)"
            for (where, key), (power, trial) in best.items()
            if power.is_reached
        ]
        seeds = self._tell_seeds()
        met = Coverage(
            name="random outputs",
            level=TRAINING if all("train" in where for where, _ in best) else "inference",
            reached=len(best) - len(weak),
            total=len(best),
            missed=tuple(lines[:_MOST_LINES]),
        )
        if lines:
            notes.append(
                f"the stated power (a dropout rate off by 0.05, a weight off by 5 %) was not reached: {lines[0]}"
            )
        return Drawn(
            outputs=tuple(outputs),
            problems=tuple(said for said, is_fault in seeds if is_fault and not keeps_seeds),
            notes=(*notes[:_MOST_LINES], *(said for said, is_fault in seeds if keeps_seeds or not is_fault)),
            coverage=(met,) if best else (),
        )
