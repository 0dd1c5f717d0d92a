"""The state of a TF1 session put back where loading left it: between a run and the next, nothing has happened."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from migrate.graph import effects
from migrate.graph import index as graph_index


class SessionState:
    """Variables that calls of some signatures write, with the values that they had when this was made.

    Attributes:
      restores_all: whether that is all that these calls write; tables, and variables that had no value, are not put
        back.
    """

    def __init__(self, session: Any, graph: tf.Graph, graph_def: Any, tensors: Sequence[str]) -> None:
        """
        Args:
          session, graph: where the model is loaded; ops are added to the graph.
          graph_def: of that graph.
          tensors: names of all that is fetched, ops as "^name".
        """
        self._session = session
        self._restore: list[Any] = []
        self._feeds: dict[Any, Any] = {}
        index = graph_index.GraphIndex(graph_def)
        written = effects.find_writers(index, index.ancestors(list(tensors)))
        names = [name for name in written if index.nodes[name].op in ("VarHandleOp", "VariableV2", "Variable")]
        self.restores_all = len(names) == len(written)
        with graph.as_default():
            held = {name: graph.get_tensor_by_name(f"{name}:0") for name in names}
            dtypes = {name: tf.as_dtype(index.nodes[name].attr["dtype"].type) for name in names}
            values = _run_able(session, {name: _read(node, dtypes[name]) for name, node in held.items()})
            self.restores_all &= len(values) == len(names)  # the others stay without a value, as before
            for name, value in values.items():
                new = tf.compat.v1.placeholder(dtypes[name], value.shape)
                self._restore.append(_assign(held[name], new))
                self._feeds[new] = value

    @property
    def is_moved(self) -> bool:
        """Whether calls move what is put back."""
        return bool(self._restore)

    @property
    def is_untouched(self) -> bool:
        """Whether calls write nothing at all: after them, all is as it was loaded."""
        return self.restores_all and not self.is_moved

    def restore(self) -> None:
        if self._restore:
            self._session.run(self._restore, self._feeds)


def _run_able(session: Any, reads: dict[str, Any]) -> dict[str, Any]:
    """The values of those reads that can run: a variable may have no value, or wait for a feed in a branch."""
    try:
        # All at once: whatever was added to a graph costs the next run a look through all of it.
        return dict(session.run(reads))
    except tf.errors.OpError:
        values = {}
        for name, read in reads.items():
            with contextlib.suppress(tf.errors.OpError):
                values[name] = session.run(read)
        return values


def _read(node: Any, dtype: tf.DType) -> Any:
    return tf.raw_ops.ReadVariableOp(resource=node, dtype=dtype) if node.dtype == tf.resource else tf.identity(node)


def _assign(node: Any, value: Any) -> Any:
    if node.dtype == tf.resource:
        return tf.raw_ops.AssignVariableOp(resource=node, value=value)
    return tf.compat.v1.assign(node, value, validate_shape=False).op
