"""The model that weights belong to: a config in a file of its own (`model.to_json()`, `to_yaml()`), or code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from migrate import errors
from migrate.readers.keras import custom

_FLAG = "--architecture"


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without code; tuples, which Keras wrote as Python's, are lists."""


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", lambda loader, node: loader.construct_sequence(node))


def parse_architecture(path: str) -> dict[str, Any]:
    """The config {"class_name", "config", ...} in a JSON or YAML file.

    Raises:
      UsageError: it cannot be read, or is no config of Keras.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        value = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise errors.UsageError(
            f"the config cannot be read: {str(error).splitlines()[0]}", where=_FLAG, hint="model.to_json() writes one"
        ) from error
    if not isinstance(value, dict) or "class_name" not in value or "config" not in value:
        raise errors.UsageError(
            f"{path} is no config of a Keras model: it has no class_name and config",
            where=_FLAG,
            hint="model.to_json() writes one",
        )
    return value


def is_third(config: Mapping[str, Any]) -> bool:
    """Whether Keras 3 wrote a config: it says of each object which module it is of, and no version."""
    return "keras_version" not in config and "module" in config


def build_model(spec: str) -> Any:
    """The model that the user's function makes.

    Raises:
      UsageError: the function cannot be imported, fails, or makes no model of tf_keras.
    """
    import tf_keras

    function = custom.import_object(spec, "--builder")
    try:
        model = function()
    except Exception as error:  # The user's code raises what it likes.
        raise errors.UsageError(
            f"{spec} fails: {type(error).__name__}: {error}", where="--builder", hint="it is called without arguments"
        ) from error
    if not isinstance(model, tf_keras.Model):
        raise errors.UsageError(
            f"{spec} gives a {type(model).__module__}.{type(model).__name__}, not a model of tf_keras",
            where="--builder",
            hint="build it with tf_keras: import tf_keras as keras",
        )
    return model
