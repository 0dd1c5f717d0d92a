"""The graphs of a migrated model, as a TF1 Hub module has them.

The SavedModel is loaded into a new graph for each tag set, and each signature is applied once to placeholders. The
calls of its functions are then replaced by their bodies: TF1 has no gradient for a call that reads a variable, and
TF2's gradient of a call changes the call, which no session may have seen by then. So a migrated model is
instantiated, trained and exported as any module. What the graphs do is what the migrated model does: moving averages
are updated when outputs of a training variant are computed, UPDATE_OPS stays empty; tables are shared by all
instances. Initial values are restored from the migrated model's own checkpoint; a module that was exported has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import tensorflow as tf

from compat.hub import module, saved_model_lib
from migrate import tensorflow_private
from migrate.graph import inlining
from migrate.graph.subgraph import Subgraph
from migrate.write import provenance

_Keys = tf.compat.v1.GraphKeys
_FED_OPS = ("Placeholder", "VarHandleOp")


class Migrated(Protocol):
    """What is asked of a migrated model: `migrated.MigratedModuleSpec` answers it."""

    path: str
    record: Mapping[str, Any]

    def get_tags(self) -> Iterable[Any]: ...
    def select_pieces(self, tags: Any) -> Mapping[str, Any]: ...
    def get_input_info_dict(self, signature: str | None = None, tags: Any = None) -> Mapping[str, Any]: ...
    def get_attachments(self, tags: Any) -> Mapping[str, bytes]: ...


def build_graphs(spec: Migrated) -> saved_model_lib.SavedModelHandler:
    """The tags, signatures, variables, losses, tables, assets and messages of a migrated model as MetaGraphs."""
    handler = saved_model_lib.SavedModelHandler()
    for tags in spec.get_tags():
        with tf.Graph().as_default() as graph:
            _build_graph(spec, tags)
        handler.add_graph_copy(graph, tags)
    for meta_graph in handler.meta_graphs:
        _inline_functions(meta_graph)
    return handler


def _build_graph(spec: Migrated, tags: Any) -> None:
    model = tf.saved_model.load(spec.path)
    _collect_state(model, spec.record)
    for signature, piece in spec.select_pieces(tags).items():
        scope = signature.replace(":", "_")
        with tf.compat.v1.variable_scope(scope):
            infos = spec.get_input_info_dict(signature, tags)
            inputs = {key: module._make_placeholder(info, key) for key, info in infos.items()}
            outputs = _apply(model, piece, inputs, tags)
        # Copies, which keep their names when calls are replaced.
        copies = {key: tf.nest.map_structure(tf.identity, t, expand_composites=True) for key, t in outputs.items()}
        saved_model_lib.add_signature(signature, inputs, copies)
    for key, data in spec.get_attachments(tags).items():
        saved_model_lib.attach_bytes(key, data)


def _collect_state(model: Any, record: Mapping[str, Any]) -> None:
    """Fills the collections of variables and losses, and tells the parts of partitioned variables."""
    graph = tf.compat.v1.get_default_graph()
    by_key = dict(zip(record["variables"], getattr(provenance.find_whole(model), "variables", ()), strict=True))
    for key, (whole, part) in record.get("partitions", {}).items():
        # Not an optimizer's slot "x/part_0/Adagrad", which TF1 says to be a part of something else.
        if key.rpartition("/")[0] == whole:
            _mark_as_part(by_key[key], whole, part)
    for name, keys in (
        (_Keys.GLOBAL_VARIABLES, record["variables"]),
        (_Keys.TRAINABLE_VARIABLES, record["trainable_variables"]),
    ):
        graph.get_collection_ref(name)[:] = [by_key[key] for key in keys]
    losses = [tf.identity(loss()) for loss in getattr(model, "regularization_losses", ())]
    graph.get_collection_ref(_Keys.REGULARIZATION_LOSSES)[:] = losses


def _mark_as_part(variable: Any, full_name: str, part: str) -> None:
    """Tells TF1's savers and variable_map that a variable is a part of `full_name`.

    Args:
      variable: the part.
      full_name: of the whole.
      part: VariableSpec.slice_spec, "10 4 0,3:0,4".
    """
    *shape, extents = part.split()
    starts, sizes = zip(*(map(int, extent.split(",")) for extent in extents.split(":")), strict=True)
    info = tf.Variable.SaveSliceInfo(full_name, [int(size) for size in shape], list(starts), list(sizes))
    tensorflow_private.mark_partition(variable, info)


def _apply(model: Any, piece: Mapping[str, Any], inputs: dict[str, Any], tags: Any) -> dict[str, Any]:
    """Calls what a signature became; see migrate/write/provenance.py for the record of a piece."""
    function = getattr(model, piece["attribute"]) if piece["attribute"] else model
    positional = {key: inputs[key] for key in piece["positional"]}
    arguments: list[Any] = list(positional.values()) if len(positional) == 1 else [positional] if positional else []
    keywords = {parameter: inputs[key] for parameter, key in piece["keywords"].items()}
    if piece["has_training"]:
        keywords["training"] = next(m["training"] for m in piece["modes"] if set(m["tags"]) == set(tags))
    if piece["has_endpoints"]:
        keywords["return_endpoints"] = True
    outputs = function(*arguments, **keywords)
    return dict(outputs) if isinstance(outputs, dict) else {next(iter(piece["outputs"])): outputs}


def _inline_functions(meta_graph: Any) -> None:
    """Replaces calls in place; what initialises tables is named by what stands for it."""
    key = _Keys.TABLE_INITIALIZERS
    collection = meta_graph.collection_def[key].node_list if key in meta_graph.collection_def else None
    names = list(collection.value) if collection is not None else []
    fetches = {name: name if ":" in name else f"^{name}" for name in names}
    flat, _ = inlining.inline_functions(
        Subgraph(graph_def=meta_graph.graph_def, feeds={}, fetches={fetch: fetch for fetch in fetches.values()}),
        lower=False,
    )
    if collection is not None:
        collection.value[:] = [flat.fetches[fetches[name]].removeprefix("^") for name in names]
    meta_graph.graph_def.CopyFrom(flat.graph_def)
    # An application feeds state and inputs; nothing may wait for the nodes that are then left behind.
    fed = {f"^{node.name}" for node in meta_graph.graph_def.node if node.op in _FED_OPS}
    for node in meta_graph.graph_def.node:
        kept = [name for name in node.input if name not in fed]
        del node.input[:]
        node.input.extend(kept)
