"""Inputs and outputs in .npz files (the codec of migrate.arrays), keyed so that a person can write them too.

    tags|case|signature|key    tags joined by commas, "" for none
    case|signature|key         any tag set
    signature|key              one case
    key                        one case of the only signature, or of "default" or "serving_default"

An empty last part says that the call has no input (or output): it keeps a signature without inputs callable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from migrate import arrays, errors
from migrate.inputs.calls import Call

GIVEN = "given"
_DEFAULTS = ("default", "serving_default")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a key says: None where it leaves the tag set or the signature open."""

    tags: tuple[str, ...] | None
    case: str
    signature: str | None

    def fits(self, tags: tuple[str, ...], signature: str) -> bool:
        return self.tags in (None, tags) and self.signature in (None, signature)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """Values by place and key."""

    path: str
    entries: Mapping[Place, Mapping[str, Any]]


def parse_key(text: str) -> tuple[Place, str]:
    parts = text.split("|")
    if len(parts) == 1:
        return Place(tags=None, case=GIVEN, signature=None), text
    if len(parts) == 2:
        return Place(tags=None, case=GIVEN, signature=parts[0]), parts[1]
    if len(parts) == 3:
        return Place(tags=None, case=parts[0], signature=parts[1]), parts[2]
    tags = tuple(sorted(tag for tag in parts[0].split(",") if tag))
    return Place(tags=tags, case=parts[1], signature=parts[2]), "|".join(parts[3:])


def load_recording(path: str) -> Recording:
    """Reads an .npz file.

    Raises:
      SourceNotFoundError, CorruptModelError: as `arrays.load_arrays`.
      CorruptModelError: it holds nothing.
    """
    entries: dict[Place, dict[str, Any]] = {}
    for text, value in arrays.load_arrays(path).items():
        place, key = parse_key(text)
        found = entries.setdefault(place, {})
        if key:
            found[key] = value
    if not entries:
        raise errors.CorruptModelError("the recording is empty", where=path)
    return Recording(path=path, entries=entries)


def describe_recording(recording: Recording, known: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The recording's signatures in the form of `verify.signature_defs`, without what it cannot tell.

    Args:
      recording: outputs.
      known: signatures of the other side, which settle what a key leaves open.
    """
    others = list(known)
    found: dict[tuple[tuple[str, ...], str], dict[str, Any]] = {}
    for place in recording.entries:
        for tags, signature in _settle(place, others):
            entry = {"tags": list(tags), "signature": signature, "method": "", "inputs": None, "outputs": None}
            found.setdefault((tags, signature), entry)
    return list(found.values())


def _settle(place: Place, others: list[Mapping[str, Any]]) -> list[tuple[tuple[str, ...], str]]:
    """(tags, signature) that an entry stands for."""
    signature = place.signature
    if signature is None:
        keys = list(dict.fromkeys(entry["signature"] for entry in others))
        chosen = [key for key in _DEFAULTS if key in keys] or keys
        signature = chosen[0] if chosen else _DEFAULTS[0]
    if place.tags is not None:
        return [(place.tags, signature)]
    tag_sets = [tuple(entry["tags"]) for entry in others if entry["signature"] == signature]
    serving = [tags for tags in tag_sets if not {"train", "eval"} & set(tags)]
    return [((serving or tag_sets or [()])[0], signature)]


def list_calls(recording: Recording, known: Iterable[Mapping[str, Any]]) -> list[tuple[Place, Call]]:
    """The calls that the recording answers, without their inputs, and the entry of each."""
    others = list(known)
    return [
        (place, Call(tags=tags, signature=signature, case=place.case, inputs={}))
        for place in recording.entries
        for tags, signature in _settle(place, others)
    ]


def save_inputs(path: str, calls: Iterable[Call]) -> None:
    """Writes the inputs of calls so that `load_recording` gives the same calls again."""
    values: dict[str, Any] = {}
    for call in calls:
        prefix = f"{','.join(call.tags)}|{call.case}|{call.signature}|"
        values |= {prefix + key: value for key, value in call.inputs.items()} or {prefix: np.zeros(0, np.int8)}
    arrays.save_arrays(path, values)
