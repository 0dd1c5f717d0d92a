"""Lookup tables of a prepared graph: how each is created, initialised, exported and imported."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2, node_def_pb2

from migrate.graph import index as graph_index
from migrate.graph.index import find_resource_name
from migrate.graph.table_nodes import MUTABLE, is_creator_call, is_table


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableSpec:
    """A table node of a whole variant graph.

    Attributes:
      node: its name.
      resource_name: TF1's name of the resource: nodes of one name are one table within a session.
      mutable: its contents are state (saved), not a constant mapping (initialised).
      key_dtype, value_dtype: dtype enum values.
      initializers: ops that fill it, in graph order.
    """

    node: str
    resource_name: str
    mutable: bool
    key_dtype: int
    value_dtype: int
    initializers: tuple[str, ...]


def find_tables(index: graph_index.GraphIndex, writers: Mapping[str, Sequence[str]]) -> dict[str, TableSpec]:
    """Tables of a graph by node name.

    Args:
      index: of the graph.
      writers: state node -> ops that TF1 runs on loading and that may fill it (effects.find_writers).
    """
    nodes = [node for node in index.graph_def.node if is_table(node)]
    by_resource: dict[str, list[str]] = {}
    for node in nodes:
        by_resource.setdefault(find_resource_name(node), []).append(node.name)
    return {
        node.name: TableSpec(
            node=node.name,
            resource_name=find_resource_name(node),
            mutable=node.op in MUTABLE or f"{node.op}V2" in MUTABLE,
            key_dtype=node.attr["key_dtype"].type,
            value_dtype=node.attr["value_dtype"].type,
            initializers=tuple(op for name in by_resource[find_resource_name(node)] for op in writers.get(name, ())),
        )
        for node in nodes
    }


def digest_initialization(index: graph_index.GraphIndex, table: TableSpec, assets: Iterable[tuple[str, str]]) -> str:
    """Equal for two tables that are created and filled alike: the identity of a table over variants.

    Args:
      index: of the graph that holds it.
      table: the table.
      assets: (tensor, file name) pairs of the variant.
    """
    named = dict(assets)
    digest = hashlib.sha256(f"{table.resource_name} {table.mutable}".encode())
    for name in sorted(index.ancestors([table.node, *table.initializers])):
        node = node_def_pb2.NodeDef()
        node.CopyFrom(index.nodes[name])
        if f"{name}:0" in named:
            node.attr.clear()
            digest.update(named[f"{name}:0"].encode())
        digest.update(node.SerializeToString(deterministic=True))
    return digest.hexdigest()


def override_shared_name(graph_def: Any, node_name: str, shared_name: str) -> Any:
    """A copy in which the resources that the node makes, itself or in functions that it calls, have another name."""
    result = graph_pb2.GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        if node.name == node_name and not is_creator_call(node):
            node.attr["shared_name"].s = shared_name.encode()
            return result
    for function in result.library.function:
        for node in function.node_def:
            if is_table(node) and not is_creator_call(node):
                node.attr["shared_name"].s = f"{shared_name}_{node.name}".encode()
    return result


def export_contents(handle: tf.Tensor, key_dtype: tf.DType, value_dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """(keys, values) of a mutable table."""
    keys, values = tf.raw_ops.LookupTableExportV2(table_handle=handle, Tkeys=key_dtype, Tvalues=value_dtype)
    return keys, values


def import_contents(handle: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> Any:
    """Replaces the contents of a mutable table."""
    return tf.raw_ops.LookupTableImportV2(table_handle=handle, keys=keys, values=values)
