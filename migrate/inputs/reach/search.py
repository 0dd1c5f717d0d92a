"""A search for inputs that reach what made-up inputs did not. Knows no TensorFlow: a function makes the calls."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from migrate.inputs.calls import Call
from migrate.inputs.cases import REACHED
from migrate.inputs.reach.mutations import Inputs, mutate

# Of one model: calls made by the search, and seconds after which it makes no more.
MOST_CALLS = 300
MOST_SECONDS = 20.0
# A parent that has led to nothing so often gives way to the others.
_FEW_PARENTS = 8

# Makes a call: the goals that it reached, by number; None where the model refuses it.
Attempt = Callable[[Call], set[int] | None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of a search.

    Attributes:
      reached: numbers of the goals that were reached, by what was planned or by what was found.
      calls: those that reach something new, in the order in which they were found.
      attempts: calls that the search made.
    """

    reached: frozenset[int]
    calls: tuple[Call, ...]
    attempts: int


def search_calls(
    planned: Sequence[Call],
    goals: Mapping[tuple[tuple[str, ...], str], frozenset[int]],
    attempt: Attempt,
    constants: Sequence[Any],
    *,
    seed: int,
    most_calls: int = MOST_CALLS,
    most_seconds: float = MOST_SECONDS,
) -> Found:
    """Makes the planned calls, then changed ones, as long as something is left to reach and the budget lasts.

    Args:
      planned: of any signatures of one model.
      goals: numbers of the goals that each (tags, signature) can reach.
      attempt: makes one call.
      constants: of the graph, which changed inputs take up.
      seed: the same seed gives the same calls, unless time runs out.
      most_calls, most_seconds: the budget of the search; planned calls do not count.
    """
    reached: set[int] = set()
    parents: dict[tuple[tuple[str, ...], str], list[Inputs]] = {}
    for call in planned:
        got = attempt(call)
        if got is not None:
            reached |= got
            parents.setdefault((call.tags, call.signature), []).append(call.inputs)
    digest = hashlib.sha256(repr((seed, "reach")).encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
    found: list[Call] = []
    attempts = turn = 0
    deadline = time.monotonic() + most_seconds
    while attempts < most_calls and len(found) < len(REACHED) and time.monotonic() < deadline:
        open_places = [
            place for place in parents if goals.get(place, frozenset()) - reached and _can_change(parents[place])
        ]
        if not open_places:
            break
        place = open_places[turn % len(open_places)]
        turn += 1
        pool = parents[place]
        # What was found last leads on; the rest is not forgotten.
        recent = pool[-_FEW_PARENTS:] if rng.random() < 0.5 else pool
        inputs = mutate(recent[rng.integers(len(recent))], constants, pool, rng)
        if rng.random() < 0.3:
            inputs = mutate(inputs, constants, pool, rng)
        call = Call(tags=place[0], signature=place[1], case=REACHED[len(found)], inputs=inputs)
        got = attempt(call)
        attempts += 1
        if got is not None and got - reached:
            reached |= got
            found.append(call)
            pool.append(inputs)
    return Found(reached=frozenset(reached), calls=tuple(found), attempts=attempts)


def _can_change(pool: Sequence[Inputs]) -> bool:
    return any(inputs for inputs in pool)
