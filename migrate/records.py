"""Typed values as JSON and back: what crosses a process is a frozen dataclass on both sides. No TensorFlow import.

Known types: None, bool, int, float, str, enums (by value), dataclasses (an object with a member for each field),
`list`, `tuple` of one type or of fixed length, `Mapping` and `dict` with string keys, unions with None, and Any for
what is a JSON value already.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import functools
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")

_PLAIN = (bool, int, float, str)
_EXACT = frozenset((*_PLAIN, types.NoneType))


def to_json(value: Any) -> Any:
    """`value` as `json.dumps` takes it.

    Raises:
      TypeError: a value of a type that has no spelling; a mapping whose keys are no strings.
    """
    if type(value) in _EXACT:
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, _PLAIN):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_json(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, collections.abc.Mapping):
        strange = [key for key in value if not isinstance(key, str)]
        if strange:
            raise TypeError(f"the key {strange[0]!r} is no string")
        return {key: to_json(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} has no spelling in JSON: {value!r:.80}")


def from_json(kind: type[T], value: Any) -> T:
    """The value of type `kind` that `to_json` has spelled.

    Raises:
      TypeError: it is of another type, lacks a field or has one too many; the message says where.
    """
    found: T = _read(kind, value, getattr(kind, "__name__", str(kind)))
    return found


def _read(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, value, where)
    if kind is None or kind is types.NoneType:
        _check(value is None, "null", value, where)
        return None
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if kind in _PLAIN:
        # A whole number is as good a float; a bool is an int to Python, and to nobody else.
        fits = isinstance(value, int | float if kind is float else kind) and (kind is bool) == isinstance(value, bool)
        _check(fits, kind.__name__, value, where)
        return kind(value)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    if origin in (list, tuple, collections.abc.Sequence):
        _check(isinstance(value, list), "a list", value, where)
        return _read_list(origin, arguments, value, where)
    if origin in (dict, collections.abc.Mapping):
        _check(isinstance(value, dict), "an object", value, where)
        return {key: _read(arguments[1], item, f"{where}[{key!r}]") for key, item in value.items()}
    raise TypeError(f"{where}: values of type {kind} do not cross processes")


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not types.NoneType]
    if len(others) != 1:
        raise TypeError(f"{where}: JSON does not tell which of {kinds} it is")
    return _read(others[0], value, where)


def _read_list(origin: Any, kinds: tuple[Any, ...], value: list[Any], where: str) -> Any:
    if origin is not tuple:
        return [_read(kinds[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    _check(len(kinds) == len(value), f"a list of {len(kinds)}", value, where)
    return tuple(_read(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _read_dataclass(kind: Any, value: Any, where: str) -> Any:
    _check(isinstance(value, dict), "an object", value, where)
    fields = _fields(kind)
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise TypeError(f"{where} has no field {', '.join(unknown)}")
    return kind(**{name: _read(fields[name], item, f"{where}.{name}") for name, item in value.items()})


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


@functools.cache
def _fields(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _check(fits: bool, wanted: str, value: Any, where: str) -> None:
    if not fits:
        raise TypeError(f"{where} is {value!r:.80}, not {wanted}")
