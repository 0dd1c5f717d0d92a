"""Keras configs as data: nested {"class_name", "config"} entries, found and replaced. No TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# A model in a model in a model... takes six levels each.
_MAX_DEPTH = 400


def parse_json(text: str | bytes) -> Any:
    """A config of JSON.

    Raises:
      ValueError: it is none, or nested deeper than any model: what walks through it calls itself at each level.
    """
    try:
        config = json.loads(text)
    except RecursionError:
        raise ValueError("nested deeper than any model") from None
    level, depth = [config], 0
    while level:
        depth += 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"nested more than {_MAX_DEPTH} levels deep, deeper than any model")
        inner: list[Any] = []
        for value in level:
            inner.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        level = inner
    return config


def iterate_layers(config: Any) -> Iterator[dict[str, Any]]:
    """Every entry {"class_name", "config"} within a config, outer ones first: layers, and what they hold."""
    if isinstance(config, Mapping):
        if isinstance(config.get("class_name"), str) and "config" in config:
            yield config  # type: ignore[misc]
        for value in config.values():
            yield from iterate_layers(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from iterate_layers(value)


def replace_layers(config: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A copy of a config in which `change` was applied to every entry, inner ones first."""
    if isinstance(config, Mapping):
        copied = {key: replace_layers(value, change) for key, value in config.items()}
        return change(copied) if isinstance(copied.get("class_name"), str) and "config" in copied else copied
    if isinstance(config, list | tuple):
        return [replace_layers(value, change) for value in config]
    return config


def name_of(entry: Mapping[str, Any]) -> str:
    """The name of a layer's entry, "" for what is no layer."""
    config = entry.get("config")
    return str(config.get("name", "")) if isinstance(config, Mapping) else ""
