"""State, v1 control flow and asserts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from migrate.inputs.synthesis import graph_view
from migrate.inputs.synthesis.abstract import Abstract
from migrate.inputs.synthesis.rules.shaping import make_dims
from migrate.inputs.synthesis.walk import Rule, Walk


def variable(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    dtype, shape = walk.variables.get(node.name, (graph_view.get_dtype(node, "dtype"), None))
    return Abstract(dtype=dtype, shape=shape, resource=node.name)


def handle(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    return Abstract(dtype="resource", shape=(), resource=node.name)


def variable_shape(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    _, shape = walk.variables.get(inputs[0].resource or "", ("", None))
    value = None if shape is None else make_dims(shape)
    return Abstract(dtype="int32", shape=(None if shape is None else len(shape),), value=value)


def switch(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    walk.mark(inputs[1], "switch")
    return [inputs[0]] * 2


def merge(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """Which branch is taken is not known: what both agree on, and the origins of both."""
    known = [x for x in inputs if x.shape is not None or x.resource is not None] or list(inputs[:1])
    first = known[0]
    origins = tuple(dict.fromkeys(origin for x in inputs for origin in x.origins))
    value = first.value if len(known) == 1 else None
    if len(known) > 1 and first.shape is not None:
        same = all(x.rank == first.rank for x in known)
        shapes = zip(*(x.shape for x in known), strict=True) if same else None
        shape = None if shapes is None else tuple(_agree(ds) for ds in shapes)
        first = dataclasses.replace(first, shape=shape)
    return [dataclasses.replace(first, origins=origins, value=value), Abstract(dtype="int32", shape=())]


def _agree(options: Sequence[Any]) -> Any:
    known = [d for d in options if d is not None]
    return known[0] if known and all(d == known[0] for d in known) else None


def assertion(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """What the condition claims is demanded."""
    for claim in inputs[0].claims:
        if claim.op == "dims":
            walk.equations.equate(*claim.bound)
        elif claim.op == "ordered":
            walk.equations.at_least(claim.bound[1], claim.bound[0])
        elif claim.origin is not None:
            _demand(walk, claim)
    return []


def _demand(walk: Walk, claim: Any) -> None:
    bound = claim.bound.item() if hasattr(claim.bound, "item") else claim.bound
    if not isinstance(bound, int | float):
        return
    step = 1 if isinstance(bound, int) else 1e-3
    low, high = {
        "lt": (None, bound),
        "le": (None, bound + step),
        "gt": (bound + step, None),
        "ge": (bound, None),
        "eq": (bound, bound + step),
    }[claim.op]
    walk.bound_origin(claim.origin, low, high)


# Tensor arrays: the element that goes in comes out, seen by the node that made the array.


def tensor_array(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    return [Abstract(dtype="resource", resource=node.name), Abstract(dtype="float32", shape=())]


def array_scatter(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    array, value = inputs[0].resource, inputs[2]
    if array:
        shape = value.shape[1:] if value.shape else None
        walk.elements[array] = dataclasses.replace(value, shape=shape, value=None, lift=value.lift - 1)
        walk.elements[f"{array}#size"] = Abstract(shape=value.shape[:1] if value.shape else None)
    return inputs[3]


def array_read(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    element = walk.elements.get(inputs[0].resource or "")
    if element is None:
        return Abstract(dtype=graph_view.get_dtype(node, "dtype", "element_dtype"))
    known = {origin.source for origin in element.origins} <= set(walk.sources)
    return element if known else dataclasses.replace(element, origins=())


def array_write(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    if inputs[0].resource:
        walk.elements[inputs[0].resource] = dataclasses.replace(inputs[2], value=None)
    return inputs[3]


def array_gather(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    element = array_read(walk, node, inputs)
    size = inputs[1].shape[0] if inputs[1].shape else None
    shape = None if element.shape is None else (size, *element.shape)
    return dataclasses.replace(element, shape=shape)


def array_size(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    size = walk.elements.get(f"{inputs[0].resource}#size")
    value = None if size is None or not size.shape or size.shape[0] is None else make_dims(size.shape, ())
    return Abstract(dtype="int32", shape=(), value=value)


# Tensor lists (v2 loops) are values, not resources; all the same they are followed by their maker.


def list_make(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    name = f"{walk.depth}:{node.name}"
    if node.op == "TensorListFromTensor":
        value = inputs[0]
        element = dataclasses.replace(value, shape=value.shape[1:] if value.shape else None, value=None)
        walk.elements[name] = dataclasses.replace(element, lift=value.lift - 1)
        walk.elements[f"{name}#size"] = Abstract(shape=value.shape[:1] if value.shape else None)
    elif node.op == "TensorListReserve" and (size := inputs[1].dims()) is not None:
        walk.elements[f"{name}#size"] = Abstract(shape=tuple(size))
    return Abstract(dtype="variant", shape=(), resource=name)


def list_set(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    if inputs[0].resource:
        walk.elements[inputs[0].resource] = dataclasses.replace(inputs[-1], value=None)
    return inputs[0]


def list_pop(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    return [inputs[0], array_read(walk, node, inputs)]


def list_stack(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    element = array_read(walk, node, inputs)
    size = walk.elements.get(f"{inputs[0].resource}#size", Abstract()).shape or (None,)
    return dataclasses.replace(element, shape=None if element.shape is None else (*size, *element.shape))


_V = ("V2", "V3")

RULES: dict[str, Rule] = {
    **dict.fromkeys(("VariableV2", "Variable", "VarHandleOp"), variable),
    **dict.fromkeys(
        ("HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2", "MutableDenseHashTableV2",
         "AnonymousHashTable"), handle),
    "VariableShape": variable_shape,
    **dict.fromkeys(("Switch", "RefSwitch"), switch),
    **dict.fromkeys(("Merge", "RefMerge"), merge),
    "Assert": assertion,
    **dict.fromkeys(("TensorListFromTensor", "TensorListReserve", "EmptyTensorList"), list_make),
    **dict.fromkeys(("TensorListSetItem", "TensorListPushBack"), list_set),
    "TensorListGetItem": array_read,
    "TensorListPopBack": list_pop,
    "TensorListStack": list_stack,
    "TensorListLength": array_size,
    **{f"TensorArray{v}": tensor_array for v in _V},
    **{f"TensorArrayScatter{v}": array_scatter for v in _V},
    **{f"TensorArrayRead{v}": array_read for v in _V},
    **{f"TensorArrayWrite{v}": array_write for v in _V},
    **{f"TensorArrayGather{v}": array_gather for v in _V},
    **{f"TensorArraySize{v}": array_size for v in _V},
}  # fmt: skip
