"""Variables of a MetaGraph and where TF1's saver finds their values.

Sources: tensorflow/core/framework/variable.proto (VariableDef, SaveSliceInfoDef), the SaverDef's restore
subgraph, and, for graphs without collections, the variable nodes themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from google.protobuf import message

from migrate.graph import index as graph_index
from migrate.graph import shapes
from migrate.model import Restored, VariableSpec
from migrate.schema import messages

VARIABLE_OPS = frozenset({"Variable", "VariableV2", "VarHandleOp"})
_RESTORE_OPS = frozenset({"RestoreV2", "RestoreSlice", "Restore"})
_ASSIGN_OPS = frozenset({"Assign", "AssignVariableOp"})
_VARIABLE_COLLECTIONS = (
    "variables",
    "trainable_variables",
    "model_variables",
    "moving_average_variables",
    "local_variables",
    "metric_variables",
    "global_step",
)


def parse_variable_defs(meta_graph: Any) -> dict[str, list[Any]]:
    """VariableDefs by collection; a collection of other content is left out."""
    found: dict[str, list[Any]] = {}
    for key in _VARIABLE_COLLECTIONS:
        definitions = []
        for data in meta_graph.collection_def[key].bytes_list.value if key in meta_graph.collection_def else ():
            definition = messages.find_message("tensorflow.VariableDef")()
            try:
                definition.ParseFromString(data)
            except message.DecodeError:
                continue
            definitions.append(definition)
        found[key] = definitions
    return found


def find_restored(index: graph_index.GraphIndex, restore_op: str) -> tuple[Restored, ...]:
    """What the saver's restore op reads: one entry for each output of its restore nodes.

    Names and slices that are not constants are left out: TF1's own savers always write constants.
    """
    found = []
    for name in sorted(index.ancestors([restore_op])) if restore_op else ():
        node = index.nodes[name]
        if node.op not in _RESTORE_OPS:
            continue
        outputs = max(len(node.attr["dtypes"].list.type), 1)
        keys = _constant_strings(index, node.input[1], outputs)
        slices = _constant_strings(index, node.input[2], outputs) if len(node.input) > 2 else [""] * len(keys)
        for position, (key, spec) in enumerate(zip(keys, slices, strict=True)):
            found.append(Restored(tensor=str(graph_index.TensorRef(name, position)), key=key, slice_spec=spec))
    return tuple(found)


def _constant_strings(index: graph_index.GraphIndex, name: str, limit: int) -> list[str]:
    """The first `limit` values: a constant of a few bytes can claim more than memory holds."""
    node = index.nodes.get(graph_index.parse_tensor_name(name).node)
    if node is None or node.op != "Const":
        return []
    tensor = node.attr["value"].tensor
    values: list[str] = [value.decode() for value in tensor.string_val]
    # The last value stands for all that follow (tensor.proto).
    count = min(int(math.prod(dim.size for dim in tensor.tensor_shape.dim)), limit)
    return values + values[-1:] * (count - len(values))


def _restored_by_node(index: graph_index.GraphIndex, restored: tuple[Restored, ...]) -> dict[str, Restored]:
    """Variable node -> what the saver assigns to it."""
    sources = {graph_index.parse_tensor_name(item.tensor): item for item in restored}
    found: dict[str, Restored] = {}
    for node in index.graph_def.node:
        if node.op not in _ASSIGN_OPS or len(node.input) < 2:
            continue
        value = graph_index.parse_tensor_name(node.input[1])
        while value not in sources and value.node in index.nodes and index.nodes[value.node].op in _FORWARDING:
            value = graph_index.parse_tensor_name(index.nodes[value.node].input[0])
        if value in sources:
            found[graph_index.parse_tensor_name(node.input[0]).node] = sources[value]
    return found


_FORWARDING = frozenset({"Identity", "Reshape"})


def _slice_spec(definition: Any) -> tuple[str, str]:
    """(checkpoint key, slice) of a part of a partitioned variable, in SaveV2's spelling."""
    part = definition.save_slice_info_def
    extents = (f"{start},{size}" for start, size in zip(part.var_offset, part.var_shape, strict=True))
    return part.full_name, " ".join(map(str, part.full_shape)) + " " + ":".join(extents)


def parse_variables(
    meta_graph: Any,
    index: graph_index.GraphIndex,
    restored: tuple[Restored, ...],
    entries: Mapping[str, Any],
) -> tuple[VariableSpec, ...]:
    """All variables of a MetaGraph: collection order first, then nodes that no collection names.

    Args:
      meta_graph: MetaGraphDef.
      index: of its GraphDef.
      restored: what the saver reads.
      entries: the checkpoint's entries, by key.
    """
    definitions = parse_variable_defs(meta_graph)
    by_node = _restored_by_node(index, restored)
    trainable = {d.variable_name for d in definitions["trainable_variables"]}
    local = {d.variable_name for d in definitions["local_variables"] + definitions["metric_variables"]}
    specs: dict[str, VariableSpec] = {}
    for definition in (d for key in _VARIABLE_COLLECTIONS for d in definitions[key]):
        node = index.nodes.get(_variable_node(definition))
        if node is None or node.name in specs:
            continue
        name = graph_index.parse_tensor_name(definition.variable_name).node
        key, spec = _checkpoint_entry(node.name, name, definition, by_node, entries)
        specs[node.name] = _variable_spec(
            index,
            node,
            name=name,
            trainable=definition.variable_name in trainable,
            checkpoint_key=key,
            slice_spec=spec,
            local=definition.variable_name in local,
            initializer=graph_index.parse_tensor_name(definition.initializer_name).node,
        )
    for node in index.graph_def.node:
        if node.op in VARIABLE_OPS and node.name not in specs:
            key, spec = _checkpoint_entry(node.name, node.name, None, by_node, entries)
            specs[node.name] = _variable_spec(index, node, name=node.name, checkpoint_key=key, slice_spec=spec)
    return tuple(specs.values())


def _variable_node(definition: Any) -> str:
    return graph_index.parse_tensor_name(definition.variable_name).node


def _checkpoint_entry(
    node: str,
    name: str,
    definition: Any | None,
    by_node: Mapping[str, Restored],
    entries: Mapping[str, Any],
) -> tuple[str | None, str]:
    if node in by_node:
        return by_node[node].key, by_node[node].slice_spec
    if definition is not None and definition.HasField("save_slice_info_def"):
        key, spec = _slice_spec(definition)
        if key in entries:
            return key, spec
    return (name, "") if name in entries else (None, "")


def _variable_spec(index: graph_index.GraphIndex, node: Any, **fields: Any) -> VariableSpec:
    return VariableSpec(
        node=node.name,
        dtype=graph_index.dtype_name(node.attr["dtype"].type),
        shape=shapes.parse_shape(node.attr["shape"].shape),
        **fields,
    )
