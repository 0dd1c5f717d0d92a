"""One index of a GraphDef: nodes by name, edges, dtypes. Built once, read by every pass.

Tensor names follow NodeDef.input (tensorflow/core/framework/node_def.proto): "node", "node:1", "^node".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable
from typing import Any

from migrate.checkpoint.entries import DTYPE_NAMES
from migrate.schema import ops

_REF_OFFSET = 100  # types.proto: DT_FLOAT_REF = DT_FLOAT + 100


@dataclasses.dataclass(frozen=True, slots=True)
class TensorRef:
    """An edge of the graph: output `index` of `node`; index -1 is a control edge."""

    node: str
    index: int

    def __str__(self) -> str:
        return f"^{self.node}" if self.index < 0 else f"{self.node}:{self.index}"

    @property
    def is_control(self) -> bool:
        return self.index < 0

    @property
    def spelled(self) -> str:
        """The short form that NodeDef.input uses."""
        return self.node if self.index == 0 else str(self)


def parse_tensor_name(name: str) -> TensorRef:
    """Parses "node", "node:1" or "^node"."""
    if name.startswith("^"):
        return TensorRef(name[1:], -1)
    node, colon, index = name.rpartition(":")
    if colon and index.isdigit():
        return TensorRef(node, int(index))
    return TensorRef(name, 0)


class GraphIndex:
    """Nodes of a GraphDef by name. The GraphDef is not copied and must not change meanwhile.

    Attributes:
      graph_def: the GraphDef.
      nodes: NodeDef by name.
    """

    def __init__(self, graph_def: Any) -> None:
        self.graph_def = graph_def
        self.nodes: dict[str, Any] = {node.name: node for node in graph_def.node}

    def inputs(self, name: str) -> list[TensorRef]:
        return [parse_tensor_name(text) for text in self.nodes[name].input]

    def consumers(self) -> dict[str, list[tuple[Any, int]]]:
        """For each node name the (NodeDef, input position) pairs that use it, control edges included."""
        found: dict[str, list[tuple[Any, int]]] = {}
        for node in self.graph_def.node:
            for position, text in enumerate(node.input):
                found.setdefault(parse_tensor_name(text).node, []).append((node, position))
        return found

    def has_tensor(self, name: str) -> bool:
        ref = parse_tensor_name(name)
        node = self.nodes.get(ref.node)
        if node is None:
            return False
        if ref.is_control:
            return True
        count = len(output_dtypes(node))
        return ref.index < count or not is_registered(node.op)

    def dtype(self, name: str) -> str:
        """Dtype name of a tensor ("float32"), reference types as their base; "" where unknown."""
        ref = parse_tensor_name(name)
        node = self.nodes.get(ref.node)
        dtypes = output_dtypes(node) if node is not None else []
        return dtype_name(dtypes[ref.index]) if 0 <= ref.index < len(dtypes) else ""

    def ancestors(self, targets: Iterable[str], stop: Iterable[str] = ()) -> set[str]:
        """Names of the nodes that `targets` (tensor or op names) need.

        Args:
          targets: what is computed.
          stop: tensors that are fed: the walk does not go behind them.
        """
        fed = self._find_fed(stop)
        pending = [ref.node for ref in map(parse_tensor_name, targets) if ref not in fed]
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            if name in seen or name not in self.nodes:
                continue
            seen.add(name)
            pending.extend(ref.node for ref in self.inputs(name) if ref not in fed)
        return seen

    def descendants(self, sources: Iterable[str], stop: Iterable[str] = ()) -> set[str]:
        """Names of the nodes that need one of the nodes `sources`, which are among them.

        Args:
          sources: names of nodes.
          stop: tensors that are fed: who takes one needs nothing of what is behind it.
        """
        fed = self._find_fed(stop)
        consumers = self.consumers()
        pending, seen = list(sources), set(sources)
        while pending:
            for node, position in consumers.get(pending.pop(), ()):
                if node.name not in seen and parse_tensor_name(node.input[position]) not in fed:
                    seen.add(node.name)
                    pending.append(node.name)
        return seen

    def sort(self, roots: Iterable[str], among: Container[str], *, controls: bool = True) -> list[str]:
        """The nodes among `among` that `roots` need, each after what it needs; a loop's back edge counts for nothing.

        Args:
          roots: names of nodes, themselves among them.
          among: names beyond which the walk does not go.
          controls: whether control edges count.
        """
        found: list[str] = []
        seen: set[str] = set()
        for root in roots:
            pending = [(root, False)]
            while pending:
                name, is_done = pending.pop()
                if is_done:
                    found.append(name)
                elif name in among and name not in seen:
                    seen.add(name)
                    pending.append((name, True))
                    pending.extend((ref.node, False) for ref in self.inputs(name) if controls or not ref.is_control)
        return found

    def _find_fed(self, stop: Iterable[str]) -> set[TensorRef]:
        fed = {parse_tensor_name(name) for name in stop}
        # TF1 hangs the control edges of a fed Placeholder on the feed (tensorflow/core/graph/subgraph.cc).
        return fed | {
            TensorRef(ref.node, -1)
            for ref in fed
            if ref.node in self.nodes and self.nodes[ref.node].op in ("Placeholder", "PlaceholderV2")
        }


class FixedIndex(GraphIndex):
    """Of a graph that nobody changes, a MetaGraph's: edges are parsed once."""

    def __init__(self, graph_def: Any) -> None:
        super().__init__(graph_def)
        self._inputs: dict[str, list[TensorRef]] = {}
        self._consumers: dict[str, list[tuple[Any, int]]] | None = None

    def inputs(self, name: str) -> list[TensorRef]:
        found = self._inputs.get(name)
        if found is None:
            found = self._inputs[name] = super().inputs(name)
        return found

    def consumers(self) -> dict[str, list[tuple[Any, int]]]:
        if self._consumers is None:
            self._consumers = super().consumers()
        return self._consumers


def make_unique(name: str, taken: Container[str]) -> str:
    """`name`, or `name_1`, `name_2`, ...: the first that is not taken."""
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    return candidate


def is_registered(op: str) -> bool:
    """Whether this TensorFlow process knows the op."""
    return ops.find_op_def(op) is not None


def dtype_name(dtype: int) -> str:
    """TensorFlow's name of a DataType enum value, of its base type for a reference; "" for DT_INVALID."""
    return DTYPE_NAMES.get(dtype - _REF_OFFSET if dtype > _REF_OFFSET else dtype, "")


def is_ref(dtype: int) -> bool:
    return dtype > _REF_OFFSET


def read_attr(proto: Any, name: str) -> Any:
    """The attribute, an empty one where it is not set. Indexing `proto.attr` would add it to the source, and a GraphDef
    that was read is never changed."""
    return proto.attr[name] if name in proto.attr else type(proto)().attr[name]


def find_resource_name(node: Any) -> str:
    """Of the resource whose handle a node makes: nodes of one name share it (ContainerInfo::Init,
    tensorflow/core/framework/resource_mgr.cc)."""
    return read_attr(node, "shared_name").s.decode() or str(node.name)


def output_dtypes(node: Any) -> list[int]:
    """DataType of each output of a node, from its OpDef and attributes; [] for an unknown op."""
    op_def = ops.find_op_def(node.op)
    if op_def is None:
        return []
    defaults = {attr.name: attr.default_value for attr in op_def.attr if attr.HasField("default_value")}

    def value(name: str) -> Any:
        return node.attr[name] if name in node.attr else defaults.get(name)

    dtypes: list[int] = []
    for arg in op_def.output_arg:
        if arg.type_list_attr:
            listed = value(arg.type_list_attr)
            found = list(listed.list.type) if listed is not None else []
        else:
            chosen = value(arg.type_attr) if arg.type_attr else None
            dtype = arg.type or (chosen.type if chosen is not None else 0)
            number = value(arg.number_attr) if arg.number_attr else None
            found = [dtype] * (number.i if number is not None else 1)
        dtypes.extend(d + _REF_OFFSET if arg.is_ref and not is_ref(d) else d for d in found)
    return dtypes
