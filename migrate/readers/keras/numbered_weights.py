"""Keras' `*.weights.h5` (keras/saving/saving_lib.py, since Keras 2.12) -> a model: every array accounted for.

Arrays bear numbers below the place of their layer ("layers/dense_1/vars/0"); the file says nothing of its Keras or of
the model. What a model expects, it tells by saving itself.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import h5py

from migrate.readers.keras import hdf5, stored_weights

_VARIABLES = "vars"
# What only training needs, at the root of the file.
_TRAINING = ("optimizer/", "metrics/", "loss/", "compile_metrics/")
# Keras 2.12 and 2.13 call the place of a functional model's layers by the name of the attribute.
_OLD_PLACE, _PLACE = "_layer_checkpoint_dependencies", "layers"
NAME = "model.weights.h5"


def is_numbered(path: str) -> bool:
    """Whether an HDF5 file is of this kind."""
    with hdf5.open_file(path) as file:
        if any(key.startswith((hdf5.LAYER_NAMES, hdf5.CONFIG)) for key in file.attrs):
            return False
        return bool(file.visit(lambda name: name.rpartition("/")[2] == _VARIABLES or None))


def set_weights(model: Any, path: str) -> None:
    """Fills a model of tf_keras or keras.

    Raises:
      CorruptModelError: an array has no place in the model, or a variable no array, or their shapes differ.
    """
    stored = _list_arrays(path)
    with tempfile.TemporaryDirectory(prefix="migrate-weights-") as folder:
        own = os.path.join(folder, NAME)
        model.save_weights(own)
        expected = _list_arrays(own)
        os.remove(own)
        lost = [name for name in expected if name not in stored]
        strange = [name for name in stored if name not in expected]
        stored_weights.check_names(lost, strange, "an array in the file", path)
        wrong = [
            f"{name} is {list(stored[name])} in the file, {list(shape)} in the model"
            for name, shape in expected.items()
            if stored[name] != shape
        ]
        stored_weights.check_fit(wrong, path)
        # Keras goes by the name of the file.
        os.symlink(os.path.abspath(path), own)
        model.load_weights(own)


def _list_arrays(path: str) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith(_TRAINING):
            head, _, rest = name.partition("/")
            found[f"{_PLACE if head == _OLD_PLACE else head}/{rest}"] = tuple(item.shape)

    with hdf5.open_file(path) as file:
        file.visititems(note)
    return found
