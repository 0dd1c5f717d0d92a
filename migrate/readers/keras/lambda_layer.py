"""Lambda layers, whose functions are told here and not by Keras: whether code of a file may run was asked before
(`lambdas.check_lambdas`), while Keras asks in some of its paths only, by a switch that holds for the whole thread."""

from __future__ import annotations

import marshal
import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from migrate.readers.keras import lambdas


def make_layer(objects: Mapping[str, Any], *, allowed: bool) -> Any:
    """The class in the place of tf_keras' Lambda.

    Args:
      objects: functions of the user's own, by name.
      allowed: whether code that lies in the file may be run.
    """

    class Lambda(tf_keras.layers.Lambda):  # type: ignore[misc]
        @classmethod
        def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
            own = dict(config)
            for key in lambdas.FUNCTIONS:
                kind = own.get(f"{key}_type")
                if kind == "function" and callable(found := objects.get(str(own[key]), own[key])):
                    own |= {key: found, f"{key}_type": "raw"}
                elif kind == "lambda" and allowed:
                    own |= {key: _load_function(own[key], own, objects), f"{key}_type": "raw"}
            return super().from_config(own, custom_objects)

    return Lambda


def _load_function(stored: Any, config: Mapping[str, Any], objects: Mapping[str, Any]) -> Any:
    """A function from [code, defaults, values of its closure], with the globals that Keras' own would see."""
    _, defaults, closure = (*stored, None, None)[:3] if isinstance(stored, list | tuple) else (stored, None, None)
    code = marshal.loads(lambdas.parse_code(stored))
    module = sys.modules.get(str(config.get("module")))
    known = {"tf": tf, "np": np, "numpy": np, "K": tf_keras.backend, "keras": tf_keras, "tf_keras": tf_keras}
    return types.FunctionType(
        code,
        {**known, **(vars(module) if module else {}), **objects},
        name=code.co_name,
        argdefs=None if defaults is None else tuple(defaults),
        closure=None if closure is None else tuple(types.CellType(value) for value in closure),
    )
