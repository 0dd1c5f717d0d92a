"""The state of a rebuilt model: variables, tables, assets. Made on first use, shared by all variants.

Values do not pass through here: a variable has none until the writer gives it one, and most never need any.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from migrate import errors, tensorflow_private
from migrate.checkpoint.entries import Entry
from migrate.graph import removed_ops, subgraph
from migrate.graph import tables as table_ops
from migrate.graph.prepare import Cut, Observer, prepare_graph
from migrate.model import LegacyModel, VariableSpec
from migrate.rebuild import checkpoint, functions
from migrate.rebuild.variant_graph import VariantGraph


class Table(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]  # TensorFlow has no types
    """A lookup table: created and initialised by pieces of the TF1 graph.

    The handle is made outside of any function graph, so that a second save tracks the same resource.
    """

    def __init__(self, store: State, graph: VariantGraph, spec: table_ops.TableSpec, shared_name: str) -> None:
        super().__init__()
        self._spec = spec
        self._shared_name = shared_name
        self._creator = functions.import_creator(graph.index, spec.node, shared_name)
        self._fillers = [
            store.make_load_function(graph, [name]) for name in ([] if spec.mutable else spec.initializers)
        ]
        # Tables that the initialisation looks things up in must be filled first; filling twice is a no-op.
        self._needs: list[Table] = []

    def trace(self) -> None:
        """Makes the functions, and with them the assets, that `_initialize` uses."""
        for fill in self._fillers:
            fill.trace()

    def _create_resource(self) -> tf.Tensor:
        return self._creator()

    def _initialize(self) -> None:
        for other in self._needs:
            other._initialize()
        for fill in self._fillers:
            fill()


class MutableTable(Table):
    """A table whose contents are state: they lie in the checkpoint and are saved again.

    `_serialize_to_tensors` and `_restore_from_tensors` are Trackable's checkpoint protocol (TF >= 2.9); TF's
    own tf.lookup.experimental.MutableHashTable has them too, but names its resource by a counter, so that
    two loaded models would share contents.
    """

    def _serialize_to_tensors(self) -> dict[str, tf.Tensor]:
        keys, values = table_ops.export_contents(
            self.resource_handle, tf.as_dtype(self._spec.key_dtype), tf.as_dtype(self._spec.value_dtype)
        )
        return {"-keys": keys, "-values": values}

    def _restore_from_tensors(self, restored: dict[str, tf.Tensor]) -> Any:
        return table_ops.import_contents(self.resource_handle, restored["-keys"], restored["-values"])


@dataclasses.dataclass(slots=True, eq=False)
class State:
    """Everything that outlives a call.

    Attributes:
      model: the legacy model.
      digest: of the source; makes names of shared resources unique among models.
      trainable: names of variables that train.
      make_observer: gives, for a call, what is shown its graph after each pass.
      has_gradients: whether a function that was prepared has gradients of its author's own.
      load_functions: those that run what TF1 runs on loading.
      valued: names of variables that were given values while building.
      traced: functions by what they were made of (graph, feeds, fetches, targets, shapes): signatures that compute the
        same share one, which is traced, saved and loaded once.
    """

    model: LegacyModel
    digest: str
    trainable: frozenset[str]
    make_observer: Callable[[str], Observer] | None = None
    variables: dict[str, tf.Variable] = dataclasses.field(default_factory=dict)
    specs: dict[str, VariableSpec] = dataclasses.field(default_factory=dict)
    tables: dict[str, Table] = dataclasses.field(default_factory=dict)
    assets: dict[str, tf.saved_model.Asset] = dataclasses.field(default_factory=dict)
    entries: dict[str, Entry] = dataclasses.field(default_factory=dict)
    has_gradients: bool = False
    load_functions: list[functions.LoadFunction] = dataclasses.field(default_factory=list)
    valued: set[str] = dataclasses.field(default_factory=set)
    traced: dict[tuple[Any, ...], Any] = dataclasses.field(default_factory=dict)

    def find_touched(self) -> set[str]:
        """Names of the variables that ops which run on loading read or write, and of those that have a value by now."""
        touched: set[int] = set()
        for function in self.load_functions:
            touched |= function.touched
        return self.valued | {name for name, variable in self.variables.items() if id(variable.handle) in touched}

    def give_values(self, function: Any) -> None:
        """Gives the variables that a concrete function uses the values of the checkpoint: it is run while building.

        Raises:
          CorruptModelError: the checkpoint cannot be restored.
        """
        used = {id(outer) for outer, _ in function.graph.captures}
        for name, variable in self.variables.items():
            spec = self.specs[name]
            if name in self.valued or id(variable.handle) not in used:
                continue
            if spec.checkpoint_key is None:
                self.fill_with_zeros(name)
            else:
                variable.assign(checkpoint.restore_tensors(self.model.checkpoint or "", [spec])[0])
            self.valued.add(name)

    def find_variable(self, spec: VariableSpec) -> tf.Variable:
        """The variable of that name; variants share it."""
        if spec.name in self.variables:
            self._check_same(spec)
            return self.variables[spec.name]
        shape = None if spec.shape is None else list(spec.shape)
        self.variables[spec.name] = tensorflow_private.make_uninitialized_variable(
            spec.name, spec.dtype, tf.TensorShape(shape), trainable=spec.name in self.trainable
        )
        self.specs[spec.name] = spec
        return self.variables[spec.name]

    def fill_with_zeros(self, name: str) -> None:
        """Gives a value to a variable for which there is none."""
        spec = self.specs[name]
        self.variables[name].assign(tf.zeros(self._initial_shape(spec), dtype=spec.dtype))

    def _initial_shape(self, spec: VariableSpec) -> list[int]:
        """A shape for such a value where the variable's own is not fully known."""
        if spec.shape is not None and None not in spec.shape:
            return [size for size in spec.shape if size is not None]
        entry = self.entries.get(spec.checkpoint_key or "")
        if entry is not None and entry.shape is not None and not spec.slice_spec:
            return [size or 0 for size in entry.shape]
        return [] if spec.shape is None else [size or 0 for size in spec.shape]

    def _check_same(self, spec: VariableSpec) -> None:
        known = self.specs[spec.name]
        if known.dtype != spec.dtype:
            raise errors.RebuildError(
                f"variable {spec.name} is {known.dtype} in one tag set and {spec.dtype} in another",
                where=spec.name,
                hint="choose one variant with --inference_tags",
            )
        if known.checkpoint_key is None and spec.checkpoint_key is not None:
            self.specs[spec.name] = spec

    def find_table(self, graph: VariantGraph, node: str) -> Table:
        """The table of a node; tables that are created and filled alike are one."""
        spec = graph.tables[node]
        files = [(asset.tensor, asset.filename) for asset in graph.assets.values()]
        digest = table_ops.digest_initialization(graph.index, spec, files)
        if digest not in self.tables:
            name = re.sub(r"[^A-Za-z0-9_.\-/]", "_", spec.resource_name)
            kind = MutableTable if spec.mutable else Table
            table = kind(self, graph, spec, f"{name}_{self.digest[:16]}_{digest[:8]}")
            self.tables[digest] = table
            table._needs = [
                self.find_table(graph, other)
                for other in self._tables_behind(graph, spec)
                if graph.tables[other].resource_name != spec.resource_name
            ]
        return self.tables[digest]

    def find_made_table(self, graph: VariantGraph, node: str) -> MutableTable | None:
        """The mutable table of a node if some call uses it."""
        files = [(asset.tensor, asset.filename) for asset in graph.assets.values()]
        table = self.tables.get(table_ops.digest_initialization(graph.index, graph.tables[node], files))
        return table if isinstance(table, MutableTable) else None

    def _tables_behind(self, graph: VariantGraph, spec: table_ops.TableSpec) -> list[str]:
        needed = graph.index.ancestors([f"^{name}" for name in spec.initializers])
        return sorted(name for name in needed if name in graph.tables)

    def find_asset(self, graph: VariantGraph, tensor: str) -> tf.Tensor:
        """The path tensor of an asset.

        Raises:
          CorruptModelError: the file is gone.
        """
        asset = graph.assets[tensor]
        if not os.path.exists(asset.path):
            raise errors.CorruptModelError(
                f"the asset file {asset.filename} is missing",
                where=os.path.dirname(asset.path),
                hint="copy the model again, with its assets folder",
            )
        if asset.path not in self.assets:
            self.assets[asset.path] = tf.saved_model.Asset(asset.path)
        return self.assets[asset.path].asset_path

    def captures(self, graph: VariantGraph, nodes: Iterable[str]) -> dict[str, tf.Tensor]:
        """For each state node of a prepared graph: the tensor that takes its place."""
        found = {}
        for name in nodes:
            if name in graph.variables:
                found[f"{name}:0"] = self.find_variable(graph.variables[name]).handle
            elif name in graph.tables:
                found[f"{name}:0"] = self.find_table(graph, name).resource_handle
            elif f"{name}:0" in graph.assets:
                found[f"{name}:0"] = self.find_asset(graph, f"{name}:0")
        return found

    def prepare(
        self,
        graph: VariantGraph,
        feeds: list[subgraph.Feed],
        fetches: list[str],
        where: str,
    ) -> Cut:
        prepared = prepare_graph(
            graph.index,
            feeds=feeds,
            fetches=fetches,
            producer_ops=graph.variant.producer_ops,
            where=where,
            state=removed_ops.make_context(graph.index, graph.variant, self.model.checkpoint),
            observe=self.make_observer(where) if self.make_observer is not None else None,
        )
        self.has_gradients |= bool(prepared.gradients)
        return prepared

    def import_function(
        self,
        graph: VariantGraph,
        prepared: Cut,
        feeds: Sequence[subgraph.Feed],
        fetches: Sequence[str],
        targets: Sequence[str] = (),
        shapes: Sequence[Any] = (),
    ) -> Any:
        """`functions.import_function` over this state's variables, tables and assets."""
        held = self.captures(graph, [node.name for node in prepared.subgraph.graph_def.node])
        watched = [
            self.variables[spec.name]
            for spec in graph.variables.values()
            if f"{spec.node}:0" in held and spec.name in self.variables
        ]
        return functions.import_function(prepared, held, watched, feeds, fetches, targets, shapes)

    def make_load_function(self, graph: VariantGraph, ops: Sequence[str]) -> functions.LoadFunction:
        """The function that runs `ops`, which TF1 runs on loading."""

        def trace() -> Any:
            where = f"{graph.variant.label}/{', '.join(ops)}"
            prepared = self.prepare(graph, [], [f"^{op}" for op in ops], where)
            return self.import_function(graph, prepared, [], [], targets=ops)

        function = functions.LoadFunction(trace)
        self.load_functions.append(function)
        return function
