"""A migrated model in memory, and its state put back where loading left it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.readers import protos
from migrate.verify.runners.calling import spell_variable, to_value
from migrate.write import provenance

# Functions that the loader runs, and the saver of an older TensorFlow: what they write is no call's doing.
_LOADING = re.compile(r"__inference__(traced_(save|restore)|initializer|creator|destroyer)")
_TABLES = re.compile(r"Mutable(Dense|HashTableOfTensors)?HashTable|MutableHashTableOfTensors|MutableDenseHashTable")
_WRITES = re.compile(r"Assign(Add|Sub)?VariableOp|Resource(Scatter|StridedSliceAssign|Apply|SparseApply|CountUpTo)\w*")


def find_state(path: str) -> tuple[bool, bool]:
    """Whether calls may change contents of tables, and whether they may change variables."""
    functions = [
        function
        for meta_graph in protos.parse_saved_model(path).meta_graphs
        for function in meta_graph.graph_def.library.function
        if not _LOADING.match(function.signature.name)
    ]
    ops = {node.op for function in functions for node in function.node_def}
    return any(map(_TABLES.match, ops)), any(map(_WRITES.fullmatch, ops))


class LoadedModel:
    """A migrated model as its users load it.

    One load serves all routes: `reset` puts every variable back, and loads anew where tables hold state.

    Attributes:
      object: what `tf.saved_model.load` gave.
      variables: by TF1's name, as the object itself calls them.
      has_state: whether calls may change anything.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._has_tables, self._writes = find_state(path)
        self.has_state = self._has_tables or self._writes
        self._load()

    def _load(self) -> None:
        self.object: Any = tf.saved_model.load(self._path)
        self.variables = {spell_variable(v.name): v for v in getattr(self.whole, "variables", ())}
        self._initial = {name: v.read_value() for name, v in self.variables.items()} if self._writes else {}

    @property
    def whole(self) -> Any:
        """What lists all variables and losses: the root, or what a core keeps beside its own."""
        return provenance.find_whole(self.object)

    def reset(self) -> None:
        """Undoes what calls have left behind."""
        if self._has_tables:
            self._load()
            return
        for name, value in self._initial.items():
            self.variables[name].assign(value)

    def close(self) -> None:
        """Gives up the model and its memory."""
        self.object, self.variables, self._initial = None, {}, {}
        release_memory()

    @property
    def trainable(self) -> list[str]:
        return [spell_variable(v.name) for v in getattr(self.whole, "trainable_variables", ())]

    def read_variables(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(to_value(v.read_value())) for name, v in self.variables.items()}


def release_memory() -> None:
    """Hands back what nobody holds any more: graphs are full of circles, and glibc keeps freed pages for itself."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # another C library has no such call
        ctypes.CDLL(None).malloc_trim(0)
