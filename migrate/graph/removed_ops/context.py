"""What a rewrite may know: the node, its whole graph, and what TF1's saver would have restored."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.graph import index as graph_index
from migrate.model import GraphVariant


class CannotRewriteError(Exception):
    """This node has no equivalent in current ops; the text says why. The node stays, and blocks what needs it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RewriteContext:
    """Where a resource's state comes from.

    Attributes:
      index: of the variant's whole graph, as TF1 wrote it: a signature's part lacks the saver.
      restored: tensor of the saver's restore op -> checkpoint key.
      checkpoint: path prefix of the values, None where there are none.
    """

    index: graph_index.GraphIndex
    restored: Mapping[str, str]
    checkpoint: str | None

    def find_users(self, op: str, resource: ResourceName) -> Iterator[Any]:
        """Nodes of that op whose first input is a handle of the resource."""
        for node in self.index.graph_def.node:
            if node.op == op and find_resource(self.index.nodes, node.input[0]) == resource:
                yield node

    def read_value(self, tensor: str) -> np.ndarray | None:
        """What a tensor that some op loads from holds after restoring: a checkpoint entry or a constant."""
        ref = graph_index.parse_tensor_name(tensor)
        while ref.node in self.index.nodes and self.index.nodes[ref.node].op == "Identity":
            ref = graph_index.parse_tensor_name(self.index.nodes[ref.node].input[0])
        if str(ref) in self.restored:
            return self.read_entry(self.restored[str(ref)])
        node = self.index.nodes.get(ref.node)
        return (
            np.asarray(tf.make_ndarray(node.attr["value"].tensor)) if node is not None and node.op == "Const" else None
        )

    def read_entry(self, key: str) -> np.ndarray | None:
        """A checkpoint entry; None where there is none."""
        if self.checkpoint is None:
            return None
        reader = tf.train.load_checkpoint(self.checkpoint)
        return np.asarray(reader.get_tensor(key)) if reader.has_tensor(key) else None


def make_context(index: graph_index.GraphIndex, variant: GraphVariant, checkpoint: str | None) -> RewriteContext:
    """The context of a variant; `index` is of its unchanged graph."""
    return RewriteContext(
        index=index, restored={item.tensor: item.key for item in variant.restored}, checkpoint=checkpoint
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResourceName:
    """TF1's identity of a resource: handle nodes of one op, container and name share it."""

    op: str
    container: str
    name: str


def find_resource(nodes: Mapping[str, Any], text: str) -> ResourceName | None:
    """The resource whose handle an edge carries; None where it cannot be told (a function's argument)."""
    node = nodes.get(text.split(":")[0])
    while node is not None and node.op == "Identity":
        node = nodes.get(node.input[0].split(":")[0])
    if node is None or not node.op.endswith("HandleOp"):
        return None
    return ResourceName(
        op=node.op,
        container=graph_index.read_attr(node, "container").s.decode(),
        name=graph_index.find_resource_name(node),
    )


class RemovedOp:
    """The node that is replaced, as its rewrite sees it: inputs become placeholders of the graph being traced.

    Attributes:
      node: NodeDef.
      context: None where nothing is known but the node's own graph.
      taken: input position -> placeholder, for the inputs that the rewrite asked for.
    """

    def __init__(self, node: Any, siblings: Mapping[str, Any], context: RewriteContext | None) -> None:
        self.node = node
        self.context = context
        self.taken: dict[int, tf.Tensor] = {}
        self._siblings = siblings

    def input(self, position: int, dtype: tf.DType, rank: int | None = None) -> tf.Tensor:
        """A data input. Dtype, and rank where it matters, are stated here: the OpDef may be gone with the op."""
        if position not in self.taken:
            shape = None if rank is None else [None] * rank
            self.taken[position] = tf.compat.v1.placeholder(dtype, shape, name=f"input_{position}")
        return self.taken[position]

    def dtype(self, name: str) -> tf.DType:
        return tf.as_dtype(self.node.attr[name].type)

    def dtypes(self, name: str) -> list[tf.DType]:
        return [tf.as_dtype(dtype) for dtype in self.node.attr[name].list.type]

    def integer(self, name: str) -> int:
        return int(self.node.attr[name].i)

    def number(self, name: str, default: float) -> float:
        """A float attribute; `default` is the op's own, which writers leave out."""
        return float(self.node.attr[name].f) if name in self.node.attr else default

    def flag(self, name: str) -> bool:
        return bool(self.node.attr[name].b)

    def find_state(self) -> tuple[RewriteContext, ResourceName]:
        """Context and resource of the handle in the first input.

        Raises:
          CannotRewriteError: it is not known.
        """
        resource = find_resource(self._siblings, self.node.input[0])
        if resource is None or self.context is None:
            raise CannotRewriteError(f"{self.node.name}: nothing tells which resource {self.node.input[0]} is")
        return self.context, resource
