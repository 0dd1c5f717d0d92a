"""variable_map: the variables of an instance under the names that the module's author gave them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migrate import tensorflow_private


def recover_partitioned_variable_map(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Joins the parts of partitioned variables.

    Args:
      variables: node name below the module's scope -> variable; a part is named "<variable>/part_<n>".

    Returns:
      variable name -> variable, or list of parts by offset.

    Raises:
      RuntimeError: parts contradict each other or a whole variable.
    """
    wholes: dict[str, Any] = {}
    parts: dict[str, dict[int, Any]] = {}
    order: dict[str, None] = {}
    for key, variable in variables.items():
        part = tensorflow_private.find_partition(variable)
        if part is None:
            name = key
            wholes[name] = variable
        else:
            name = key.rpartition("/")[0]
            if not part.full_name.endswith(name):
                raise RuntimeError(f"Variable {key} says that it is a part of {part.full_name}")
            offset = part.var_offset[0]
            if offset in parts.setdefault(name, {}):
                raise RuntimeError(f"Variable map contains duplicate offset {offset} for variable [{name}]")
            parts[name][offset] = variable
        order[name] = None
    both = sorted(wholes.keys() & parts.keys())
    if both:
        raise RuntimeError(f"Variable {', '.join(both)} exists both as a single and partitioned variable.")
    return {name: wholes[name] if name in wholes else _order_parts(parts[name]) for name in order}


def _order_parts(by_offset: Mapping[int, Any]) -> list[Any]:
    ordered = [by_offset[offset] for offset in sorted(by_offset)]
    shapes = [variable.shape[1:] for variable in ordered]
    if any(shape != shapes[0] for shape in shapes):
        raise RuntimeError(f"Shapes not compatible: {shapes}")
    return ordered


def flatten_variable_map(variable_map: Mapping[str, Any]) -> list[Any]:
    """All variables, by name, parts in their order."""
    found: list[Any] = []
    for _, value in sorted(variable_map.items()):
        found.extend(value if isinstance(value, list) else [value])
    return found
