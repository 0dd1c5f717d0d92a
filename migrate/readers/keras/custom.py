"""Objects of the user's own that a Keras config names: `--custom_objects=module:name`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from typing import Any

from migrate import errors

_FLAG = "--custom_objects"


def import_object(spec: str, flag: str) -> Any:
    """What "module:name" names; `name` may have dots.

    Raises:
      UsageError: there is no such module or name, or importing it fails.
    """
    module_name, colon, name = spec.partition(":")
    if not (colon and module_name and name):
        raise errors.UsageError(f"{spec!r} is not module:name", where=flag, hint="my_layers:Attention, say")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # Importing runs the user's module, which raises what it likes.
        raise errors.UsageError(
            f"{spec!r} cannot be imported: {type(error).__name__}: {error}",
            where=flag,
            hint="is the module's folder on PYTHONPATH?",
        ) from error
    return found


def add_import_paths(paths: Iterable[str]) -> None:
    """Makes modules of the user's found: layers import more of them when they are called."""
    sys.path.extend(path for path in paths if path not in sys.path)


def import_objects(specs: Iterable[str]) -> dict[str, Any]:
    """Objects by the name under which configs know them: the last part of each spec; a dict gives all its entries.

    Raises:
      UsageError: one cannot be imported.
    """
    found: dict[str, Any] = {}
    for spec in (part.strip() for text in specs for part in text.split(",")):
        value = import_object(spec, _FLAG)
        found |= dict(value) if isinstance(value, dict) else {spec.rpartition(":")[2].rpartition(".")[2]: value}
    return found
