"""Which nodes make lookup tables. No TensorFlow."""

from __future__ import annotations

from typing import Any

_RESOURCE = 20  # types.proto: DT_RESOURCE
_CALLS = ("StatefulPartitionedCall", "PartitionedCall")
MUTABLE = frozenset({"MutableHashTableV2", "MutableHashTableOfTensorsV2", "MutableDenseHashTableV2"})
_TABLES = MUTABLE | {"HashTableV2"}
_V1_TABLES = frozenset({"HashTable", "MutableHashTable", "MutableHashTableOfTensors", "MutableDenseHashTable"})


def is_table(node: Any) -> bool:
    """Whether the node makes a table: a table op, or a call of a function that returns a new resource, as in
    graphs that TF 2.x wrote in v1 mode around a TF2 SavedModel (tf.Transform's feature layers)."""
    return node.op in _TABLES or node.op in _V1_TABLES or is_creator_call(node)


def is_creator_call(node: Any) -> bool:
    return (
        node.op in _CALLS
        and list(node.attr["Tout"].list.type) == [_RESOURCE]
        and _RESOURCE not in node.attr["Tin"].list.type
    )
