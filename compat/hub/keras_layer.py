"""KerasLayer, which is the one of the installed tensorflow_hub, under its name there."""

from __future__ import annotations

from typing import Any

from compat.hub import installed


def __getattr__(name: str) -> Any:
    if name == "KerasLayer":
        return installed.get(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
