"""The lines of Python that load a model and call it, with inputs that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from migrate.arrays import RaggedValue, SparseValue

# Numbers that are spelled out, and letters of all strings; what is larger is made by a formula, or not at all.
_MANY, _LONG = 24, 4000


def write_example(piece: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """The code, which loads from the working directory.

    Args:
      piece: as migration.json describes it.
      inputs: values by input key; an optional input may be absent.

    Returns:
      "" where an input cannot be spelled in a few lines.
    """
    try:
        spelled = {key: _spell(value, piece["inputs"][key]["dtype"]) for key, value in inputs.items()}
    except ValueError:
        return ""
    positional = [key for key in piece["positional"] if key in spelled]
    if len(positional) != len(piece["positional"]):
        return ""
    arguments = []
    if len(positional) == 1:
        arguments.append(spelled[positional[0]])
    elif positional:
        arguments.append("{" + ", ".join(f"{key!r}: {spelled[key]}" for key in positional) + "}")
    arguments += [f"{name}={spelled[key]}" for name, key in piece["keywords"].items() if key in spelled]
    target = f"model.{piece['attribute']}" if piece["attribute"] else "model"
    code = f"outputs = {target}({', '.join(arguments)})"
    numpy = ["import numpy as np"] if "np." in code else []
    return "\n".join(
        [*numpy, "import tensorflow as tf", "", 'model = tf.saved_model.load(".")', code, "print(outputs)"]
    )


def _spell(value: Any, dtype: str) -> str:
    if isinstance(value, SparseValue):
        shape = np.asarray(value.dense_shape).tolist()
        return f"tf.SparseTensor({_spell_indices(value.indices)}, {_spell(value.values, dtype)}, {shape})"
    if isinstance(value, RaggedValue):
        splits = ", ".join(f"np.{np.asarray(s).dtype}({np.asarray(s).tolist()})" for s in value.row_splits)
        return f"tf.RaggedTensor.from_nested_row_splits({_spell(value.flat_values, dtype)}, [{splits}])"
    array = np.asarray(value)
    if array.size <= _MANY or array.dtype == object:
        text = repr(array.tolist())
        if array.dtype.kind in "fc":
            text = text.replace("nan", "np.nan").replace("inf", "np.inf")
        if len(text) > _LONG:
            raise ValueError("too long")
        if array.size == 0:
            return f"tf.zeros({list(array.shape)}, {_spell_dtype(dtype)})"
        return f"tf.constant({text}, {_spell_dtype(dtype)})"
    shape = list(array.shape)
    if array.dtype.kind == "f":
        low, high = float(np.nanmin(array)), float(np.nanmax(array))
        made = f"np.linspace({low:.4g}, {high:.4g}, {array.size}).reshape({shape})"
    else:
        # A number that the model takes at one place it takes at all, an id say.
        made = f"np.full({shape}, {array.ravel()[0].item()!r})"
    return f"tf.constant({made}, {_spell_dtype(dtype)})"


def _spell_indices(indices: Any) -> str:
    array = np.asarray(indices)
    if array.size > 4 * _MANY:
        raise ValueError("too long")
    return f"np.zeros({list(array.shape)}, np.int64)" if array.size == 0 else repr(array.tolist())


def _spell_dtype(dtype: str) -> str:
    return f"tf.{dtype}"
