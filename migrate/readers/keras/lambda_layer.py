"""Lambda layers, whose functions are told here and not by Keras: whether code of a file may run was asked before
(`lambdas.check_lambdas`), while Keras asks in some of its paths only, by a switch that holds for the whole thread."""

from __future__ import annotations

import builtins
import importlib
import marshal
import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from migrate.readers.keras import lambdas, old_bytecode


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
    data = lambdas.parse_code(stored)
    module = sys.modules.get(str(config.get("module")))
    own = {**(vars(module) if module else {}), **objects}
    known = {"np": np, "numpy": np, "K": tf_keras.backend, "keras": tf_keras, "tf_keras": tf_keras}
    if lambdas.describe_bytecode(data) != lambdas.describe_own_python() and (old := old_bytecode.parse(data)):
        library = _OldTensorFlow(first=not old_bytecode.may_know_second(old))
        around = old_bytecode.Surroundings(
            names={**vars(builtins), **known, "tf": library, "tensorflow": library, "xrange": range, **own},
            load_module=lambda name: _load_module(name, library),
            divide=_divide,
        )
        return old_bytecode.make_function(old, around, defaults=defaults or (), closure=closure or ())
    code = marshal.loads(data)
    return types.FunctionType(
        code,
        {**known, "tf": tf, **own},
        name=code.co_name,
        argdefs=None if defaults is None else tuple(defaults),
        closure=None if closure is None else tuple(types.CellType(value) for value in closure),
    )


class _OldTensorFlow:
    """TensorFlow by the names of its time: those of version 1 before those of version 2, or after; with its Keras."""

    keras = tf_keras

    def __init__(self, *, first: bool) -> None:
        self._apis = (tf.compat.v1, tf) if first else (tf, tf.compat.v1)

    def __getattr__(self, name: str) -> Any:
        for api in self._apis:
            if hasattr(api, name):
                return getattr(api, name)
        raise AttributeError(f"TensorFlow has no {name}")


def _load_module(name: str, library: _OldTensorFlow) -> Any:
    """What an import in old code gives: Keras, of its own or TensorFlow's, is the one that rebuilds the model."""
    room, _, rest = name.partition(".")
    found: Any
    if "keras" in name.split("."):
        found, rest = tf_keras, name.partition("keras")[2].lstrip(".")
    elif room == "tensorflow":
        found = library
    else:
        return importlib.import_module(name)
    for part in filter(None, rest.split(".")):
        found = getattr(found, part)
    return found


def _divide(first: Any, second: Any) -> Any:
    """`/` of Python 2: of whole numbers the whole part."""
    if tf.is_tensor(first) or tf.is_tensor(second):
        return tf.compat.v1.div(first, second)
    return first // second if isinstance(first, int) and isinstance(second, int) else first / second
