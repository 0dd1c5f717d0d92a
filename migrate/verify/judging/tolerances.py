"""Tolerances of single outputs: on a command line, in a JSON file, and in `migrate_tolerances.json` beside a model.

    {"probabilities": [1e-3, 1e-5], "serving_default/logits*": {"relative": 0, "absolute": 0, "ulp": 4}}

A key is an output or signature/output, shell wildcards allowed; the first match counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from migrate import errors
from migrate.options import Tolerance

FILE_NAME = "migrate_tolerances.json"
_FIELDS = ("relative", "absolute", "ulp")


def find_file(model: str) -> str:
    """The tolerance file in a model's folder, or beside a model that is a file; "" where there is none."""
    folder = model if os.path.isdir(model) else os.path.dirname(os.path.abspath(model))
    path = os.path.join(folder, FILE_NAME)
    return path if os.path.isfile(path) else ""


def load_tolerances(path: str) -> dict[str, Tolerance]:
    """Reads a file of tolerances.

    Raises:
      SourceNotFoundError: there is no such file.
      CorruptModelError: it is no JSON object of tolerances; the message names the entry.
    """
    if not os.path.isfile(path):
        raise errors.SourceNotFoundError("there are no such tolerances", where=path, hint="check --tolerances")
    try:
        with open(path, encoding="utf-8") as file:
            listed = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise errors.CorruptModelError(f"no JSON file of tolerances: {error}", where=path) from error
    if not isinstance(listed, dict):
        raise errors.CorruptModelError("not a JSON object {KEY: [RTOL, ATOL]}", where=path)
    try:
        return {key: parse_tolerance(entry, f"{path}[{key!r}]") for key, entry in listed.items()}
    except errors.UsageError as error:
        raise errors.CorruptModelError(error.message, where=error.where, hint=error.hint) from error


# A few representable numbers are always closer than any tolerance that is in use.
_FEW_ULP = 2


def tighten(allowed: Tolerance, wish: Tolerance) -> Tolerance:
    """What a candidate wishes for one of its outputs, as far as it is no looser than what is allowed."""
    return Tolerance(
        relative=min(allowed.relative, wish.relative),
        absolute=min(allowed.absolute, wish.absolute),
        ulp=min(max(allowed.ulp, _FEW_ULP), wish.ulp),
    )


def parse_tolerance(entry: Any, where: str) -> Tolerance:
    """[RTOL, ATOL], [RTOL, ATOL, ULP], or an object with some of relative, absolute, ulp (the others are 0).

    Raises:
      UsageError: it is none of them, or a number is negative or no number.
    """
    hint = "give [RTOL, ATOL], [RTOL, ATOL, ULP] or an object of " + ", ".join(_FIELDS)
    if isinstance(entry, dict):
        if not entry or set(entry) - set(_FIELDS):
            raise errors.UsageError(f"{entry} is no tolerance", where=where, hint=hint)
        numbers: Sequence[Any] = [entry.get(name, 0) for name in _FIELDS]
    elif isinstance(entry, list) and len(entry) in (2, 3):
        numbers = [*entry, 0][:3]
    else:
        raise errors.UsageError(f"{entry!r} is no tolerance", where=where, hint=hint)
    try:
        return Tolerance(
            relative=float(str(numbers[0])), absolute=float(str(numbers[1])), ulp=int(str(numbers[2]).strip())
        )
    except ValueError as error:
        raise errors.UsageError(f"{entry!r} is no tolerance", where=where, hint=hint) from error
