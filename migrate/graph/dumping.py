"""Graphs as each pass leaves them, written where a person can read and compare them (`--dump_graphs=DIR`)."""

from __future__ import annotations

import os
import re

from google.protobuf import text_format

from migrate import errors
from migrate.graph.prepare import Cut, Observer

_LONGEST = 100


def make_observer(folder: str, where: str) -> Observer:
    """Writes `folder`/<where>/<number>_<pass>.pbtxt for one call; a second call of that name gets a number.

    Where a pass list is run a second time, the numbers go on.

    Raises:
      WriteError: the folder cannot be written.
    """
    call = _make_folder(folder, re.sub(r"[^A-Za-z0-9_.-]+", "_", where)[:_LONGEST] or "call")
    written = 0

    def observe(name: str, cut: Cut) -> None:
        nonlocal written
        path = os.path.join(call, f"{written:02d}_{name}.pbtxt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text_format.MessageToString(cut.graph_def))
        written += 1

    return observe


def _make_folder(folder: str, name: str) -> str:
    number = 1
    while True:
        path = os.path.join(folder, name if number == 1 else f"{name}_{number}")
        try:
            os.makedirs(path)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise errors.WriteError(f"{error.strerror}", where=path, hint="check --dump_graphs") from error
        else:
            return path
