"""Options of one model of a zoo, by name, as a manifest states them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from migrate import errors
from migrate.options import Limits, MigrateOptions, ReadOptions, RebuildOptions, Tolerance, parse_size


def list_changes() -> dict[str, tuple[str, ...]]:
    """Names by which `change_options` knows the options of a model -> where they lie in MigrateOptions."""
    groups = {"read": ReadOptions, "rebuild": RebuildOptions, "tolerance": Tolerance, "limits": Limits}
    names: dict[str, tuple[str, ...]] = {
        field.name: (field.name,) for field in dataclasses.fields(MigrateOptions) if field.name not in groups
    }
    for group, kind in groups.items():
        for field in dataclasses.fields(kind):
            names.setdefault(field.name, (group, field.name))
    # A model's own line decides neither what happens to the destination nor where a run keeps things.
    for name in ("overwrite", "quarantine", "dump_graphs"):
        del names[name]
    # The flags' names.
    names |= {"rtol": ("tolerance", "relative"), "atol": ("tolerance", "absolute")}
    # `signature` is the flag that both have: the one of rebuilding reaches the reader, too.
    names["signature"] = ("rebuild", "signature")
    return names


def change_options(options: MigrateOptions, changes: Mapping[str, Any]) -> MigrateOptions:
    """`options` with some of them changed, by name; values may be texts, as in a table.

    Raises:
      UsageError: there is no such option, or the value is none of its.
    """
    names = list_changes()
    for name, value in changes.items():
        if name not in names:
            raise errors.UsageError(f"{name!r} is no option of a model", hint=f"one of {', '.join(sorted(names))}")
        *group, field = names[name]
        owner: Any = getattr(options, group[0]) if group else options
        changed = dataclasses.replace(owner, **{field: _parse_value(owner, field, name, value)})
        options = dataclasses.replace(options, **{group[0]: changed}) if group else changed
    return options


def get_option(options: MigrateOptions, name: str) -> Any:
    """The value of an option by the name that `change_options` knows it by."""
    value: Any = options
    for part in list_changes()[name]:
        value = getattr(value, part)
    return value


def _parse_value(owner: Any, field: str, name: str, value: Any) -> Any:
    kind = str(next(found.type for found in dataclasses.fields(owner) if found.name == field))
    try:
        if "tuple" in kind:
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(str(part) for part in parts if part)
        if not isinstance(value, str):
            fits: Any = {"bool": bool, "str": str, "int": int, "float": (int, float)}[kind.partition(" ")[0]]
            if not isinstance(value, fits) or (isinstance(value, bool) and "bool" not in kind):
                raise ValueError
            return value
        if kind == "bool":
            return {"true": True, "false": False, "1": True, "0": False}[value.lower()]
        if field in ("memory_limit", "disk_limit"):
            return parse_size(value)
        return {"str": str, "int": int, "float": float}[kind.partition(" ")[0]](value)
    except (ValueError, KeyError, TypeError) as error:
        raise errors.UsageError(f"{value!r} is no value of {name}", where=name, hint=f"its type is {kind}") from error
