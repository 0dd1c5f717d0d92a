"""Speed and memory side by side: rounds of calls that alternate between the sides, each in a fresh process."""

from __future__ import annotations

import os
import statistics
from typing import Any

from migrate import errors, isolation
from migrate.comparison.sides import BASELINE_CALLS, CANDIDATE_CALLS, RECORDED, Subject
from migrate.inputs.calls import Call
from migrate.options import CompareOptions
from migrate.verify.runners import request

ROUNDS, REPEATS, WARMUPS = 4, 20, 3


def measure_pair(
    subjects: tuple[Subject, Subject],
    calls: list[Call],
    answered: set[str],
    names: tuple[request.Names, request.Names],
    options: CompareOptions,
    work: str,
) -> dict[str, Any]:
    """Times the largest call that both sides answer.

    Returns:
      {"call", "rounds", "repeats", "baseline", "candidate": {"median_seconds", "fastest_round", "slowest_round" (both
      medians of a round), "peak_rss_bytes" (the process, TensorFlow included)}, "ratio": candidate over baseline,
      "ratio_low", "ratio_high": over the pairs of rounds, "message"}.

    Raises:
      UsageError: a side is a recording, or there is no such call.
    """
    if any(subject.kind == RECORDED for subject in subjects):
        raise errors.UsageError("a recording has no speed", where="--benchmark", hint="give two models")
    able = [call for call in calls if call.id in answered]
    if not able:
        raise errors.UsageError("there is no call that both sides answer", where="--benchmark")
    call = max(able, key=lambda call: sum(getattr(value, "size", 0) for value in call.inputs.values()))
    rounds: list[list[float]] = [[], []]
    memory = [0, 0]
    for _ in range(ROUNDS):
        for position, (subject, folder) in enumerate(zip(subjects, (BASELINE_CALLS, CANDIDATE_CALLS), strict=True)):
            timed = request.Subject(
                path=subject.path,
                kind=subject.kind,
                calls=os.path.join(work, folder),
                call=call.id,
                op_library=options.op_library,
                names=names[position],
                read=subject.read,
            )
            wish = request.TimingRequest(subject=timed, repeats=REPEATS, warmups=WARMUPS)
            result = isolation.run_job(request.TIMING, wish, where=f"benchmark of {subject.path}")
            rounds[position].append(statistics.median(result.value.seconds))
            memory[position] = max(memory[position], result.peak_rss_bytes)
    return summarize_rounds(call.id, rounds, memory)


def summarize_rounds(call: str, rounds: list[list[float]], memory: list[int]) -> dict[str, Any]:
    """`rounds`: for each side the medians of its rounds, in seconds."""
    sides = [
        {
            "median_seconds": statistics.median(times),
            "fastest_round": min(times),
            "slowest_round": max(times),
            "peak_rss_bytes": peak,
        }
        for times, peak in zip(rounds, memory, strict=True)
    ]
    ratios = [new / old for old, new in zip(*rounds, strict=True)]
    ratio = sides[1]["median_seconds"] / sides[0]["median_seconds"]
    message = (
        f"the candidate takes {ratio:.2f} times the baseline's time ({min(ratios):.2f} to {max(ratios):.2f} over "
        f"{len(ratios)} rounds; medians {1e3 * sides[0]['median_seconds']:.3g} and "
        f"{1e3 * sides[1]['median_seconds']:.3g} ms) and {memory[1] / max(memory[0], 1):.2f} times its peak memory"
    )
    return {
        "call": call,
        "rounds": len(ratios),
        "repeats": REPEATS,
        "baseline": sides[0],
        "candidate": sides[1],
        "ratio": ratio,
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "message": message,
    }
