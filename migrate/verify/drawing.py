"""Random outputs of two sides: drawn in fresh processes, round by round, until they are judged (`judging/trials`)."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping

from migrate.options import Limits
from migrate.verify.judging.judgement import Criteria
from migrate.verify.judging.trials import FIRST, Drawn, Trials
from migrate.verify.results import Results
from migrate.verify.runners.side import KERAS, MIGRATED, Side, run_side


def draw_pair(
    sides: tuple[Side, Side],
    random: frozenset[tuple[str, str]],
    first: Results,
    criteria: Criteria,
    limits: Limits,
) -> Drawn:
    """Draws the outputs `random`, (call id, output key), of baseline and candidate.

    Args:
      sides: their requests ask for nothing but the calls; `draws` is the number of the first round that counts.
      random: places in which the baseline differs from itself.
      first: what the baseline drew already, in a process that ran as its later ones will.
      criteria: the error rate.
      limits: of each process.

    Raises:
      JobError: a side crashed or hung.
    """
    # A migration sets no seed, so that its model has none to have been traced with.
    is_migrated = MIGRATED in {side.kind for side in sides}
    baseline, candidate = (side.kind == KERAS and not is_migrated for side in sides)
    trials = Trials(random, criteria.error_rate, (baseline, candidate))
    calls = dict.fromkeys(sorted({call for _, call in first.draws}), FIRST)
    answered = [_copy(first), _draw(sides[1], calls, 0, limits)]
    keeps_seeds, number = False, 0
    while True:
        keeps_seeds = keeps_seeds or any(results.keeps_seeds for results in answered)
        trials.add_round(answered[0].draws, answered[1].draws, calls)
        calls = trials.plan_round(sides[0].request.draws)
        if not calls:
            return trials.conclude(keeps_seeds=keeps_seeds)
        number += 1
        answered = [_draw(side, calls, number, limits) for side in sides]


def _draw(side: Side, calls: Mapping[str, int], number: int, limits: Limits) -> Results:
    folder = f"{side.request.results}_draws_{number}"
    request = dataclasses.replace(side.request, draw_calls=calls, results=folder)
    found = _copy(run_side(dataclasses.replace(side, request=request), limits))
    shutil.rmtree(folder, ignore_errors=True)
    return found


def _copy(results: Results) -> Results:
    """The draws alone, in memory."""
    draws = {place: {key: rows.copy() for key, rows in outputs.items()} for place, outputs in results.draws.items()}
    return Results(draws=draws, keeps_seeds=results.keeps_seeds)
