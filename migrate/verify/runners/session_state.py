"""The state of a TF1 session put back where loading left it: between a run and the next, nothing has happened."""

from __future__ import annotations

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
            for name in names:
                node = graph.get_tensor_by_name(f"{name}:0")
                dtype = tf.as_dtype(index.nodes[name].attr["dtype"].type)
                is_resource = index.nodes[name].op == "VarHandleOp"
                read = tf.raw_ops.ReadVariableOp(resource=node, dtype=dtype) if is_resource else tf.identity(node)
                try:
                    value = session.run(read)
                except tf.errors.OpError:
                    self.restores_all = False
                    continue  # without a value, as before
                new = tf.compat.v1.placeholder(dtype, value.shape)
                assign = tf.raw_ops.AssignVariableOp if is_resource else None
                if assign is not None:
                    self._restore.append(assign(resource=node, value=new))
                else:
                    self._restore.append(tf.compat.v1.assign(node, new, validate_shape=False).op)
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
