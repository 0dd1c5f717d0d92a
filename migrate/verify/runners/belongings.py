"""What belongs to a model beside its graph: assets, attachments, tables, and the parts that each piece says it has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.graph import prepare, table_nodes
from migrate.graph.index import FixedIndex, GraphIndex, find_resource_name, parse_tensor_name
from migrate.model import GraphVariant, LegacyModel
from migrate.readers import protos
from migrate.readers.large_constants import LARGE_CONSTANT
from migrate.verify import contents
from migrate.verify import results as result_files
from migrate.verify.runners.calling import spell_variable
from migrate.write import provenance

_EXTRA = "assets.extra"
_MOST_ENTRIES = 200_000
_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


# --- the original ----------------------------------------------------------------------------------------


def read_original(model: LegacyModel, found: result_files.Results) -> None:
    """Files and parts of a TF1 model, from its files and graph."""
    for variant in model.variants:
        for asset in variant.assets:
            if os.path.isfile(asset.path):
                found.files.setdefault(f"asset {asset.filename}", contents.read_lines(asset.path))
        for key, data in variant.attachments.items():
            found.files.setdefault(f"attachment {key}", contents.split_lines(data))
    folder = os.path.join(model.source.path, _EXTRA)
    for name, path in contents.list_files(folder).items() if os.path.isdir(folder) else ():
        found.files[f"{_EXTRA} {name}"] = contents.read_lines(path)
    for variant in model.variants:
        found.pieces.extend(_describe_variant(variant))


def _describe_variant(variant: GraphVariant) -> list[dict[str, Any]]:
    index = FixedIndex(variant.graph_def)
    names = {spec.node: spec.name for spec in variant.variables}
    updates = [parse_tensor_name(str(op)).node for op in variant.collections.get("update_ops", ())]
    losses = _list_losses(variant, index)
    used = [sorted(_name_variables(index, index.ancestors([name]), names)) for name in losses]
    found = []
    for signature in variant.signatures.values():
        feeds = [name for tensor in signature.inputs.values() for name in tensor.tensor_names]
        fetches = [name for tensor in signature.outputs.values() for name in tensor.tensor_names]
        unable = prepare.find_unable(index, feeds) if updates else set()
        moved = index.ancestors([f"^{name}" for name in updates if name not in unable], stop=feeds)
        reached = index.ancestors(fetches, stop=feeds)
        found.append(
            {
                "tags": list(variant.tags),
                "signature": signature.key,
                "variables": sorted(_name_variables(index, reached, names)),
                "constants": sorted(n for n in reached if _may_be_moved(index.nodes[n], frozen=not names)),
                "updated": sorted(_name_variables(index, moved, names)),
                "losses": used,
                "loss_names": losses,
            }
        )
    return found


def _may_be_moved(node: Any, *, frozen: bool) -> bool:
    """Whether a migrated model may have a variable of this constant's name: thawed, or too large for a graph."""
    return node.op == "Const" and (frozen or node.ByteSize() >= LARGE_CONSTANT)


def _list_losses(variant: GraphVariant, index: GraphIndex) -> list[str]:
    """Regularization losses that a function without arguments can give; the others are told as findings."""
    names = map(str, variant.collections.get("regularization_losses", ()))
    return [name for name in names if index.has_tensor(name) and not prepare.find_open_ends(index, [name], [])]


def _name_variables(index: GraphIndex, nodes: Iterable[str], names: Mapping[str, str]) -> set[str]:
    return {names[node] for node in nodes if node in names and index.nodes[node].op in _VARIABLES}


def read_session_tables(session: Any, graph: tf.Graph, graph_def: Any, found: result_files.Results) -> None:
    """Tables of a TF1 session that can be exported, as they are after loading."""
    nodes = [node for node in graph_def.node if table_nodes.is_table(node) and "key_dtype" in node.attr]
    seen = set()
    with graph.as_default():
        for node in nodes:
            name = find_resource_name(node)
            if name in seen:
                continue
            seen.add(name)
            handle = graph.get_tensor_by_name(f"{node.name}:0")
            export = tf.raw_ops.LookupTableExportV2 if handle.dtype == tf.resource else tf.raw_ops.LookupTableExport
            size = tf.raw_ops.LookupTableSizeV2 if handle.dtype == tf.resource else tf.raw_ops.LookupTableSize
            dtypes = {"Tkeys": node.attr["key_dtype"].type, "Tvalues": node.attr["value_dtype"].type}
            try:
                if session.run(size(table_handle=handle)) <= _MOST_ENTRIES:
                    _keep_table(found, *session.run(tuple(export(table_handle=handle, **dtypes))))
            except tf.errors.OpError:
                continue  # not initialised: no call of this variant needs it


# --- the migrated model ----------------------------------------------------------------------------------


def read_migrated(path: str, record: Mapping[str, Any], loaded: Any, found: result_files.Results) -> None:
    """Files, tables and parts of a migrated model."""
    for name, file in contents.list_files(os.path.join(path, "assets")).items():
        found.files[f"asset {name}"] = contents.read_lines(file)
    extra = os.path.join(path, _EXTRA)
    attached = os.path.join(extra, provenance.ATTACHMENTS)
    for name, file in contents.list_files(attached).items() if os.path.isdir(attached) else ():
        found.files[f"attachment {name}"] = contents.read_lines(file)
    for name, file in contents.list_files(extra, (provenance.FILE, provenance.ATTACHMENTS)).items():
        found.files[f"{_EXTRA} {name}"] = contents.read_lines(file)
    _read_tables(path, loaded, found)
    known = list(getattr(provenance.find_whole(loaded), "regularization_losses", ()))
    for piece in record["pieces"]:
        target = getattr(loaded, piece["attribute"], None) if piece["attribute"] else loaded
        found.pieces.append(
            {
                "signature": piece["signature"],
                "attribute": piece["attribute"],
                "is_core": not piece["attribute"] and provenance.find_whole(loaded) is not loaded,
                "modes": piece["modes"],
                "has_training": piece["has_training"],
                "variables": _list_names(target, "variables"),
                "trainable": _list_names(target, "trainable_variables"),
                "losses": _find_positions(known, list(getattr(target, "regularization_losses", ()))),
            }
        )


def _find_positions(known: list[Any], losses: list[Any]) -> list[int]:
    """Where each loss of a piece stands among the root's: the same function, else one that gives its value; else -1."""
    free = list(range(len(known)))
    found: list[int] = []
    for loss in losses:
        same = [position for position in free if known[position] is loss]
        same = same or [position for position in free if np.array_equal(known[position](), loss())]
        found.append(same[0] if same else -1)
        free = [position for position in free if position not in same[:1]]
    return found


def _list_names(target: Any, name: str) -> list[str]:
    return [spell_variable(variable.name) for variable in getattr(target, name, ())]


def _read_tables(path: str, loaded: Any, found: result_files.Results) -> None:
    for table, dtypes in zip(getattr(loaded, "tables", ()), _find_dtypes(path), strict=False):
        if dtypes is None:
            continue
        handle = table.resource_handle
        if int(tf.raw_ops.LookupTableSizeV2(table_handle=handle)) <= _MOST_ENTRIES:
            exported = tf.raw_ops.LookupTableExportV2(table_handle=handle, Tkeys=dtypes[0], Tvalues=dtypes[1])
            _keep_table(found, exported[0].numpy(), exported[1].numpy())


def _find_dtypes(path: str) -> list[tuple[int, int] | None]:
    """Key and value dtype of each entry of the root's `tables`. A restored table does not say what it maps, and asking
    one for other dtypes kills the process (TF 2.21), so the function that makes it is looked at."""
    meta_graph = protos.parse_saved_model(path).meta_graphs[0]
    nodes = meta_graph.object_graph_def.nodes
    library = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    listed = [child.node_id for child in nodes[0].children if child.local_name == "tables"]
    found: list[tuple[int, int] | None] = []
    for entry in nodes[listed[0]].children if listed else ():
        makers = [c.node_id for c in nodes[entry.node_id].children if c.local_name == "_create_resource"]
        names = [name for maker in makers for name in nodes[maker].function.concrete_functions]
        names += [nodes[maker].bare_concrete_function.concrete_function_name for maker in makers]
        found.append(_find_table_node([name for name in names if name], library))
    return found


def _find_table_node(names: list[str], library: Mapping[str, Any]) -> tuple[int, int] | None:
    pending, seen = list(names), set()
    while pending:
        name = pending.pop()
        if name not in library or name in seen:
            continue
        seen.add(name)
        for node in library[name].node_def:
            if "key_dtype" in node.attr and "value_dtype" in node.attr:
                return node.attr["key_dtype"].type, node.attr["value_dtype"].type
            pending.extend(value.func.name for value in node.attr.values() if value.func.name)
    return None


def _keep_table(found: result_files.Results, keys: Any, values: Any) -> None:
    found.tables.append(contents.sort_entries(np.asarray(keys), np.asarray(values)))
