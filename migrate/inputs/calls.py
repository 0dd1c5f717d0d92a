"""The calls that both sides run: which signature, with which inputs. Saved, so that a run can be repeated.

No TensorFlow import.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from migrate import arrays

_CALLS, _INPUTS = "calls.json", "inputs.npz"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One call of one signature of one variant.

    Attributes:
      tags: of the variant.
      signature: key.
      case: name of the inputs.
      inputs: by input key; an optional input may be left out.
      answers: id of the other side's call that this one answers, where tags or keys are not the same there.
    """

    tags: tuple[str, ...]
    signature: str
    case: str
    inputs: Mapping[str, Any]
    answers: str = ""

    @property
    def id(self) -> str:
        return self.answers or f"{','.join(self.tags) or '(no tags)'}/{self.signature}/{self.case}"


def save_calls(folder: str, calls: Iterable[Call]) -> None:
    """Writes calls.json and inputs.npz."""
    listed = list(calls)
    entries = [
        {
            "tags": list(call.tags),
            "signature": call.signature,
            "case": call.case,
            "keys": list(call.inputs),
            "answers": call.answers,
        }
        for call in listed
    ]
    values = {f"{position}|{key}": value for position, call in enumerate(listed) for key, value in call.inputs.items()}
    arrays.save_arrays(os.path.join(folder, _INPUTS), values)
    with open(os.path.join(folder, _CALLS), "w", encoding="utf-8") as file:
        json.dump(entries, file)


def load_calls(folder: str, skip: Collection[str] = ()) -> list[Call]:
    """What `save_calls` wrote, without the cases named in `skip`."""
    return _load(folder, skip, arrays.load_arrays(os.path.join(folder, _INPUTS)))


def list_calls(folder: str, skip: Collection[str] = ()) -> list[Call]:
    """As `load_calls`, with None for each input: for who only asks what is called."""
    return _load(folder, skip, {})


def _load(folder: str, skip: Collection[str], values: Mapping[str, Any]) -> list[Call]:
    with open(os.path.join(folder, _CALLS), encoding="utf-8") as file:
        entries = json.load(file)
    return [
        Call(
            tags=tuple(entry["tags"]),
            signature=entry["signature"],
            case=entry["case"],
            inputs={key: values.get(f"{position}|{key}") for key in entry["keys"]},
            answers=entry["answers"],
        )
        for position, entry in enumerate(entries)
        if entry["case"] not in skip
    ]
