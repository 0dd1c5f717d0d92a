"""A function that can be run in a process of its own, named rather than imported: what it needs (TensorFlow) is loaded
there and nowhere else."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True, slots=True)
class Job(Generic[Request, Answer]):
    """Attributes:
    target: "package.module:function" of a function that takes one `request` and returns an `answer`, annotated so.
    request, answer: types that `migrate.records` can spell.
    needs: modules that the function imports, beside its own; the server imports them once, before it forks.
        "module:function" also fills the cache of a function without arguments.
    """

    target: str
    request: type[Request]
    answer: type[Answer]
    needs: tuple[str, ...] = ()


def find_function(target: str) -> tuple[Callable[[Any], Any], Any]:
    """The function that a target names, imported, and the type that it takes.

    Raises:
      ImportError, AttributeError: there is none.
      TypeError: it is no job: it takes another number of arguments, or does not say of which type.
    """
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    hints = typing.get_type_hints(function)
    taken = [kind for argument, kind in hints.items() if argument != "return"]
    if len(taken) != 1:
        raise TypeError(f"{target} is no job: it must take one argument of a stated type")
    return function, taken[0]
