"""Migrates legacy TensorFlow models to TF2 SavedModels, and proves that nothing changed.

Public names are resolved on first use (PEP 562): importing `migrate`, or one of its light modules
(`detect`, `model`, `errors`), does not load TensorFlow. Editors and type checkers read them in the TYPE_CHECKING block.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from migrate.comparison import compare_models as compare_models
    from migrate.detect import detect_format as detect_format
    from migrate.errors import MigrateError as MigrateError
    from migrate.inspection import Inspection as Inspection
    from migrate.inspection import inspect_model as inspect_model
    from migrate.model import Finding as Finding
    from migrate.model import Format as Format
    from migrate.options import CompareOptions as CompareOptions
    from migrate.options import Limits as Limits
    from migrate.options import MigrateOptions as MigrateOptions
    from migrate.options import ReadOptions as ReadOptions
    from migrate.options import RebuildOptions as RebuildOptions
    from migrate.options import Tolerance as Tolerance
    from migrate.options import ZooOptions as ZooOptions
    from migrate.outcome import Outcome as Outcome
    from migrate.pipeline import migrate_model as migrate_model
    from migrate.verdict import Verification as Verification
    from migrate.zoo import ZooReport as ZooReport
    from migrate.zoo import migrate_zoo as migrate_zoo
else:

    def __getattr__(name: str) -> Any:
        module = _PUBLIC.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
