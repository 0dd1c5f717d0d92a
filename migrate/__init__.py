"""Migrates legacy TensorFlow models to TF2 SavedModels, and proves that nothing changed.

Public names are resolved on first use (PEP 562): importing `migrate`, or one of its light modules
(`detect`, `model`, `errors`), does not load TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "inspect_model": "migrate.inspection",
    "Inspection": "migrate.inspection",
    "migrate_model": "migrate.pipeline",
    "MigrateOptions": "migrate.options",
    "compare_models": "migrate.comparison",
    "CompareOptions": "migrate.options",
    "migrate_zoo": "migrate.zoo",
    "ZooOptions": "migrate.options",
    "ZooReport": "migrate.zoo",
    "detect_format": "migrate.detect",
    "Outcome": "migrate.outcome",
    "Verification": "migrate.verdict",
    "ReadOptions": "migrate.options",
    "RebuildOptions": "migrate.options",
    "Tolerance": "migrate.options",
    "Limits": "migrate.options",
    "Finding": "migrate.model",
    "Format": "migrate.model",
    "MigrateError": "migrate.errors",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
