"""A recording as a side: outputs in an .npz file, keyed as `inputs/recorded.py` says, read and written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from migrate import arrays
from migrate.inputs.calls import Call
from migrate.inputs.recorded import Recording, describe_recording, list_calls
from migrate.verify.judging.judgement import choose_answers
from migrate.verify.results import Results


def to_results(recording: Recording, known: Iterable[Mapping[str, Any]], answers: Mapping[str, str]) -> Results:
    """The recording as the answers of a side.

    Args:
      recording: outputs.
      known: signatures of the other side.
      answers: own call id -> id of the baseline's call, where they are not the same.
    """
    others = list(known)
    found = Results(interface=describe_recording(recording, others))
    for place, call in list_calls(recording, others):
        found.outputs["recorded", answers.get(call.id, call.id)] = dict(recording.entries[place])
    return found


def save_answers(path: str, results: Results, calls: Iterable[Call]) -> None:
    """Writes a side's outputs under the names of the baseline's calls; one route, the most direct one."""
    answered = choose_answers(results)
    values: dict[str, Any] = {}
    for call in calls:
        for key, value in answered.get(call.id, {}).items():
            values[f"{','.join(call.tags)}|{call.case}|{call.signature}|{key}"] = value
    arrays.save_arrays(path, values)
