"""MetaGraphDef -> scopes: the graph and each function of its library, with the same questions to answer for both."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from migrate.scan import schema

# Collections whose ops a loader, hub.Module or the rebuild runs; the others only name things.
_RUN_COLLECTIONS = (
    "saved_model_main_op",
    "legacy_init_op",
    "saved_model_train_op",
    "table_initializer",
    "regularization_losses",
    "update_ops",
)
_ASSETS = "saved_model_assets"
# The one edge that may lead back: a loop's next iteration.
BACK_EDGES = frozenset({"NextIteration", "RefNextIteration"})
# Functional control flow: how many inputs stand before the function's arguments.
_BEFORE_ARGUMENTS = {
    "PartitionedCall": 0, "StatefulPartitionedCall": 0, "While": 0, "StatelessWhile": 0, "If": 1, "StatelessIf": 1,
    "Case": 1, "StatelessCase": 1, "SymbolicGradient": 0,
}  # fmt: skip


def split_name(text: str) -> str:
    """Name of the node in "node", "node:1", "node:out:0" or "^node"."""
    return text.lstrip("^").partition(":")[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Scope:
    """The graph itself (name "") or a function. What is asked of it often is found once.

    Attributes:
      name: of the function.
      label: tags of the MetaGraph.
      nodes: NodeDefs in order.
      by_name: by name, the last of several.
      arguments: names of a function's arguments, in order.
      returns: tensors that a function returns.
    """

    name: str
    label: str
    nodes: tuple[Any, ...]
    by_name: Mapping[str, Any]
    arguments: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()

    @functools.cached_property
    def inputs(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the nodes that each node takes something of, control inputs among them, in order."""
        return {name: tuple(map(split_name, node.input)) for name, node in self.by_name.items()}

    @functools.cached_property
    def named(self) -> Mapping[int, tuple[str, ...]]:
        """Names of functions in the attributes of nodes, by a node's position; of most there are none."""
        found = ((position, tuple(attribute_functions(node.attr))) for position, node in enumerate(self.nodes))
        return {position: names for position, names in found if names}

    @functools.cached_property
    def order(self) -> list[str]:
        """Names in an order in which inputs come first; nodes on a circle and behind it are left out."""
        missing: dict[str, int] = {}
        consumers: dict[str, list[str]] = {}
        for name in self.by_name:
            wanted = self.forward_inputs(name)
            missing[name] = len(wanted)
            for text in wanted:
                consumers.setdefault(text, []).append(name)
        ready = [name for name, count in missing.items() if not count]
        order: list[str] = []
        while ready:
            name = ready.pop()
            order.append(name)
            for consumer in consumers.get(name, ()):
                missing[consumer] -= 1
                if not missing[consumer]:
                    ready.append(consumer)
        return order

    @functools.cached_property
    def _following(self) -> set[str]:
        """Names of the nodes that may be forward inputs."""
        return {name for name, node in self.by_name.items() if node.op not in BACK_EDGES}

    def forward_inputs(self, name: str) -> set[str]:
        """The nodes that a node needs, but for the back edge of a loop."""
        return self._following.intersection(self.inputs[name])

    def describe(self, node: str) -> str:
        """Where a node is, for people."""
        inside = f", function {self.name!r}" if self.name else ""
        return f"node {node!r} (tags {self.label}{inside})"

    def closure(self, targets: Iterable[str]) -> set[str]:
        """Names of the nodes that tensors or ops need."""
        pending = [split_name(text) for text in targets]
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            if name in seen or name not in self.by_name:
                continue
            seen.add(name)
            pending.extend(self.inputs[name])
        return seen

    def find_calls(self, functions: Mapping[str, Any]) -> Iterator[tuple[Any, tuple[str, ...]]]:
        """Nodes that call functions of the library or hand them on, in the attributes of attributes, too; with each,
        the names."""
        for position, node in enumerate(self.nodes if functions else ()):
            names = tuple(name for name in (node.op, *self.named.get(position, ())) if name in functions)
            if names:
                yield node, names


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MetaGraph:
    """One MetaGraph as the scan sees it. What is asked of it often is found once.

    Attributes:
      label: its tags.
      graph: the graph.
      functions: by name.
      doubled: names that several functions have.
      entries: tensors and ops of the graph that are run: signatures, init ops, losses, updates.
      asset_files: node that holds an asset's path -> name of its file below `assets/`.
      asset_names: file of each AssetFileDef, by position.
      saver: (filename tensor, save tensor, restore op) of the SaverDef, "" where there is none.
      concrete: functions that TF2's object graph offers -> the objects bound to their last arguments.
      objects: what the object graph binds: position of an asset, None for all else.
      named: (function, where) of what the library names without a node: gradients, attributes of functions.
      bare: a GraphDef alone, of which any part may be asked for.
    """

    label: str
    graph: Scope
    functions: Mapping[str, Scope]
    doubled: tuple[str, ...]
    entries: tuple[str, ...]
    asset_files: Mapping[str, str]
    asset_names: tuple[str, ...]
    saver: tuple[str, str, str]
    concrete: Mapping[str, tuple[int, ...]]
    objects: tuple[int | None, ...]
    named: tuple[tuple[str, str], ...] = ()
    bare: bool = False

    @functools.cached_property
    def reached(self) -> set[tuple[str, str]]:
        """(function, node) of all that a loader may run."""
        return self.find_reached(self.entries, self.concrete)

    def scopes(self) -> Iterator[Scope]:
        yield self.graph
        yield from self.functions.values()

    def find_reached(self, entries: Iterable[str], functions: Iterable[str] = ()) -> set[tuple[str, str]]:
        """(function, node) of all that `entries` and `functions` run: a called function is run as a whole."""
        own = self.graph.closure(entries)
        called: dict[str, None] = {}
        pending = [name for name in functions if name in self.functions]
        for node, names in self.graph.find_calls(self.functions):
            pending.extend(names if node.name in own else ())
        while pending:
            function = pending.pop()
            if function not in called:
                called[function] = None
                scope = self.functions[function]
                pending.extend(name for _, names in scope.find_calls(self.functions) for name in names)
        reached = {("", name) for name in own}
        reached.update((name, node.name) for name in called for node in self.functions[name].nodes)
        return reached


def parse_meta_graph(proto: Any) -> MetaGraph:
    """A MetaGraphDef of `schema` -> MetaGraph."""
    label = ",".join(sorted(set(proto.meta_info_def.tags))) or "(no tags)"
    definitions = list(proto.graph_def.library.function)
    counts = collections.Counter(definition.signature.name for definition in definitions)
    assets = _find_assets(proto)
    return MetaGraph(
        label=label,
        graph=_make_scope("", label, proto.graph_def.node),
        functions={definition.signature.name: _make_function(definition, label) for definition in definitions},
        doubled=tuple(sorted(name for name, count in counts.items() if count > 1)),
        entries=tuple(_find_entries(proto)),
        asset_files={split_name(definition.tensor_info.name): definition.filename for definition in assets},
        asset_names=tuple(definition.filename for definition in assets),
        saver=(
            proto.saver_def.filename_tensor_name,
            proto.saver_def.save_tensor_name,
            proto.saver_def.restore_op_name,
        ),
        named=tuple(_find_named(proto.graph_def.library)),
        concrete={
            name: tuple(function.bound_inputs) for name, function in proto.object_graph_def.concrete_functions.items()
        },
        objects=tuple(
            node.asset.asset_file_def_index if node.HasField("asset") else None for node in proto.object_graph_def.nodes
        ),
    )


def _find_named(library: Any) -> Iterator[tuple[str, str]]:
    for definition in library.function:
        for name in attribute_functions(definition.attr):
            yield name, f"function {definition.signature.name!r}"
    for gradient in library.gradient:
        yield gradient.gradient_func, f"gradient of {gradient.function_name!r}"
    for gradient in library.registered_gradients:
        yield gradient.gradient_func, f"gradient of {gradient.registered_op_type!r}"


def parse_bare_graph(proto: Any) -> MetaGraph:
    """A GraphDef of `schema` -> MetaGraph; what nothing consumes is what can be run."""
    whole = schema.make_message("MetaGraphDef")
    whole.graph_def.CopyFrom(proto)
    parsed = parse_meta_graph(whole)
    consumed = {split_name(text) for node in parsed.graph.nodes for text in node.input}
    ends = tuple(name for name in parsed.graph.by_name if name not in consumed)
    return dataclasses.replace(parsed, entries=ends, bare=True)


def _make_scope(name: str, label: str, nodes: Any, arguments: Any = (), returns: Any = ()) -> Scope:
    kept = tuple(nodes)
    return Scope(name, label, kept, {node.name: node for node in kept}, tuple(arguments), tuple(returns))


def _make_function(definition: Any, label: str) -> Scope:
    arguments = [argument.name for argument in definition.signature.input_arg]
    returns = [definition.ret[key] for key in sorted(definition.ret)]
    return _make_scope(definition.signature.name, label, definition.node_def, arguments, returns)


def _find_assets(proto: Any) -> list[Any]:
    """AssetFileDefs of the field or, in older models, of the collection (saved_model/constants.py)."""
    found = list(proto.asset_file_def)
    if not found and _ASSETS in proto.collection_def:
        for packed in proto.collection_def[_ASSETS].any_list.value:
            if packed.type_url.rpartition("/")[2] == "tensorflow.AssetFileDef":
                definition = schema.make_message("AssetFileDef")
                definition.ParseFromString(packed.value)
                found.append(definition)
    return found


def _find_entries(proto: Any) -> Iterator[str]:
    for key in sorted(proto.signature_def):
        definition = proto.signature_def[key]
        for infos in (definition.outputs, definition.inputs):
            for name in sorted(infos):
                yield from _tensor_names(infos[name])
    for key in _RUN_COLLECTIONS:
        if key in proto.collection_def:
            yield from proto.collection_def[key].node_list.value


def _tensor_names(info: Any) -> Iterator[str]:
    if info.name:
        yield info.name
    sparse = info.coo_sparse
    yield from filter(None, (sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name))
    for component in info.composite_tensor.components:
        yield from _tensor_names(component)


def attribute_functions(attributes: Any) -> Iterator[str]:
    """Function names in a map of attributes."""
    pending = [attributes]
    while pending:
        for value in pending.pop().values():
            called = [value.func] if value.HasField("func") else []
            if value.HasField("list"):
                called.extend(value.list.func)
            for function in called:
                yield function.name
                if function.attr:
                    pending.append(function.attr)


def argument_position(node: Any, argument: int, functions: Mapping[str, Any]) -> int | None:
    """Which input of a calling node is a function's argument; None where it cannot be told."""
    if node.op in functions:
        return argument
    before = _BEFORE_ARGUMENTS.get(node.op)
    return None if before is None else before + argument
