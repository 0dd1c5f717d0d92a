"""Who resolves handles and who loads modules: lists to which a program can add its own."""

from __future__ import annotations

from typing import Any

from absl import logging


class MultiImplRegister:
    """A function with several implementations; the one added last that supports the arguments is called.

    An implementation is callable and has `is_supported`, which takes the same arguments.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._implementations: list[Any] = []

    def add_implementation(self, implementation: Any) -> None:
        self._implementations.append(implementation)

    def clear_implementations(self) -> None:
        self._implementations.clear()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the implementation.

        Raises:
          RuntimeError: none supports the arguments.
        """
        tried = []
        for implementation in reversed(self._implementations):
            if implementation.is_supported(*args, **kwargs):
                return implementation(*args, **kwargs)
            tried.append(type(implementation).__name__)
            logging.info("%s %s does not support the provided handle.", self._name, tried[-1])
        raise RuntimeError(
            f"Missing implementation that supports: {self._name}(*{args!r}, **{kwargs!r}). Tried {tried!r}"
        )


# Handle -> path of a directory.
resolver = MultiImplRegister("resolver")
# Path of a directory -> ModuleSpec.
loader = MultiImplRegister("loader")


def _clear() -> None:
    resolver.clear_implementations()
    loader.clear_implementations()
