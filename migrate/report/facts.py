"""What a report says of the run itself: when, by what, and what the run before it found."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, TextIO

import migrate

_CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Attributes:
    date: when it ended, "2026-11-25 08:00 UTC".
    versions: name -> version of what made it.
    command: the command line, "" for a library call.
    previous: source -> status in the run whose report stood in the folder before, None where there was none.
    """

    date: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    command: str = ""
    previous: Mapping[str, str] | None = None


def find_facts(folder: str, command: str = "") -> RunFacts:
    """The facts of a run that ends now, whose reports will stand in `folder`. No version costs an import."""
    versions = {"tf-legacy-migrate": migrate.__version__, "Python": platform.python_version()}
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            versions.setdefault("TensorFlow", metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    now = datetime.datetime.now(datetime.UTC)
    return RunFacts(
        date=f"{now:%Y-%m-%d %H:%M} UTC",
        versions=versions,
        command=command,
        previous=read_statuses(os.path.join(folder, "report.json")),
    )


def read_statuses(report: str) -> dict[str, str] | None:
    """Source -> status of an earlier report.json; None where there is none that can be read."""
    try:
        with open(report, encoding="utf-8") as file:
            return {str(model["source"]): str(model["status"]) for model in _iterate_models(file)}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _iterate_models(file: TextIO) -> Iterator[dict[str, Any]]:
    """The objects of the list "models", one at a time: a report of thousands need not fit into memory.

    Raises:
      ValueError: the file ends within an object, or has no such list.
    """
    decoder = json.JSONDecoder()
    text, start = "", -1
    while start < 0:
        chunk = file.read(_CHUNK)
        text += chunk
        start = text.find('"models": [')
        if not chunk and start < 0:
            raise ValueError("no models")
    text = text[start + len('"models": [') :]
    while True:
        text = text.lstrip(" \n\r\t,")
        if text.startswith("]"):
            return
        try:
            model, end = decoder.raw_decode(text)
        except ValueError:
            chunk = file.read(max(_CHUNK, len(text)))
            if not chunk:
                raise
            text += chunk
            continue
        yield model
        text = text[end:]
