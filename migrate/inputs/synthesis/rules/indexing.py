"""Ops that pick elements: indices must lie below what they pick from; tables want their own tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from migrate.inputs.synthesis import dims
from migrate.inputs.synthesis.abstract import Abstract
from migrate.inputs.synthesis.dims import Dim
from migrate.inputs.synthesis.graph_view import get_dtype
from migrate.inputs.synthesis.rules.shaping import make_dims, read_shape
from migrate.inputs.synthesis.walk import Rule, Walk


def strided_slice(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x = inputs[0]
    begin, end, strides = (inputs[i].dims() for i in (1, 2, 3))
    masks = {name: node.attr[f"{name}_mask"].i for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    stated = inputs[1].shape[0] if inputs[1].shape else None
    count = len(begin) if begin is not None else stated if isinstance(stated, int) else None
    if x.shape is None or count is None:
        return dataclasses.replace(x, shape=None, value=None)
    begin, end, strides = (values or [None] * count for values in (begin, end, strides))
    extra = bin(masks["new_axis"] & (2**count - 1)).count("1") + (1 if masks["ellipsis"] else 0)
    left = len(x.shape) - (count - extra)
    shape: list[Dim] = []
    index: list[Any] = []
    axis = 0
    for i in range(count):
        bit = 1 << i
        if masks["ellipsis"] & bit:
            shape += x.shape[axis : axis + left]
            index.append(Ellipsis)
            axis += left
        elif masks["new_axis"] & bit:
            shape.append(1)
            index.append(None)
        elif masks["shrink_axis"] & bit:
            place = begin[i]
            if isinstance(place, int) and place >= 0:
                walk.equations.at_least(x.shape[axis], place + 1)
            index.append(place if isinstance(place, int) else "?")
            axis += 1
        else:
            low = None if masks["begin"] & bit else begin[i]
            high = None if masks["end"] & bit else end[i]
            unknown = (begin[i] is None and not masks["begin"] & bit) or (end[i] is None and not masks["end"] & bit)
            shape.append(None if unknown else _slice_length(x.shape[axis], low, high, strides[i]))
            whole = all(n is None or isinstance(n, int) for n in (low, high, strides[i])) and not unknown
            index.append(slice(low, high, strides[i]) if whole else "?")
            axis += 1
    shape += x.shape[axis:]
    value = None
    if x.value is not None and "?" not in index:
        value = np.asarray(x.value[tuple(index)])
        if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1 and x.dtype != "string":
            value = make_dims(list(value.reshape(-1)), value.shape)
    return dataclasses.replace(x, shape=tuple(shape), value=value)


def _slice_length(size: Dim, low: Dim, high: Dim, stride: Dim) -> Dim:
    if not isinstance(stride, int):
        return None
    if low is None and high is None:
        return dims.apply("ceildiv", size, abs(stride))
    if isinstance(size, int) and all(n is None or isinstance(n, int) for n in (low, high)):
        return len(range(*slice(low, high, stride).indices(size)))
    if stride != 1:
        return None
    low = 0 if low is None else low
    if isinstance(low, int) and low < 0:
        low = dims.add(size, low)
    if high is None:
        high = size
    elif isinstance(high, int) and high < 0:
        high = dims.add(size, high)
    elif isinstance(high, int):
        high = dims.apply("min", size, high)
    return dims.sub(high, low)


def slice_(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, begin, size = inputs[0], read_shape(walk, inputs[1]), read_shape(walk, inputs[2])
    rank = len(size) if size is not None else len(begin) if begin is not None else None
    if rank is None:
        return dataclasses.replace(x, shape=None, value=None)
    walk.want_rank(x, rank)
    if x.shape is None or x.rank != rank:
        return dataclasses.replace(x, shape=(None,) * rank, value=None)
    begin, size = (values or (None,) * rank for values in (begin, size))
    shape = []
    for d, low, count in zip(x.shape, begin, size, strict=True):
        shape.append(dims.sub(d, low) if count == -1 else count)
        if count != -1:
            walk.equations.at_least(d, dims.add(low, count))
    value = None
    if x.value is not None and x.rank == 1 and isinstance(begin[0], int) and isinstance(shape[0], int):
        value = make_dims(list(x.value[begin[0] : begin[0] + shape[0]]))
    return dataclasses.replace(x, shape=tuple(shape), value=value)


def gather(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Gather, GatherV2 and ResourceGather: indices lie in [0, rows)."""
    params, indices = inputs[0], inputs[1]
    shape, dtype = params.shape, params.dtype
    if node.op == "ResourceGather":
        dtype, shape = walk.variables.get(params.resource or "", (get_dtype(node, "dtype"), None))
    axis = inputs[2].scalar() if len(inputs) > 2 else 0
    batch_dims = node.attr["batch_dims"].i
    origins = _select(params, indices)
    if shape is None or not isinstance(axis, int | np.integer) or not shape:
        return Abstract(dtype=dtype, origins=origins)
    place = int(axis) % len(shape)
    walk.bound(indices, 0, shape[place])
    value = None
    if params.value is not None and params.value.ndim == 1 and indices.constant() is not None:
        value = np.asarray(params.value[indices.value])
        if value.dtype == object and dtype != "string":
            value = make_dims(list(value.reshape(-1)), value.shape)
    result = None
    if indices.shape is not None:
        result = (*shape[:place], *indices.shape[batch_dims:], *shape[place + 1 :])
    return Abstract(dtype=dtype, shape=result, value=value, origins=origins)


def _select(params: Abstract, indices: Abstract) -> tuple[Any, ...]:
    """Origins of picked elements: a mask made of the source sorts out its odd values."""
    masked = {tag[1] for tag in indices.tags if isinstance(tag, tuple) and tag[0] == "where"}
    return tuple(
        origin.after("filtered") if origin.source in masked and origin.steps[-1:] != (("filtered",),) else origin
        for origin in params.origins
    )


def gather_nd(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    params, indices = inputs[0], inputs[1]
    origins = _select(params, indices)
    depth = indices.shape[-1] if indices.shape else None
    if params.shape is None or not isinstance(depth, int):
        return Abstract(dtype=params.dtype, origins=origins)
    rows = [d for d in params.shape[:depth] if isinstance(d, int)]
    joined = walk.bound_columns(indices, params.shape)
    if rows and not joined:
        walk.bound(indices, 0, min(rows))
    elif depth == 1 and not joined:
        walk.bound(indices, 0, params.shape[0])
    return Abstract(dtype=params.dtype, shape=(*indices.sizes[:-1], *params.shape[depth:]), origins=origins)


def where(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    tags = frozenset(("where", tag[1]) for tag in inputs[0].tags if isinstance(tag, tuple) and tag[0] == "mask")
    return Abstract(dtype="int64", shape=(None, inputs[0].rank), tags=tags)


def one_hot(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Indices outside are legal and give a row of off values: no light on the model. OOV stays allowed."""
    indices, depth = inputs[0], (inputs[1].dims() or [None])[0]
    for origin in indices.origins:
        if not any(step[0] == "lookup" for step in origin.steps):
            walk.bound_origin(origin, 0, depth)
    if indices.shape is None:
        return Abstract(dtype=get_dtype(node, "T"))
    axis = node.attr["axis"].i if "axis" in node.attr else -1
    place = axis if axis >= 0 else indices.rank
    shape = (*indices.shape[:place], depth, *indices.shape[place:])
    return Abstract(dtype=get_dtype(node, "T"), shape=shape)


def top_k(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    x = inputs[0]
    k: Dim = node.attr["k"].i if node.op == "TopK" else (inputs[1].dims() or [None])[0]
    if len(inputs) > 1:
        walk.bound(inputs[1], 1, 4)
    if not x.shape:
        return [Abstract(dtype=x.dtype), Abstract(dtype="int32")]
    walk.equations.at_least(x.shape[-1], k)
    shape = (*x.shape[:-1], k)
    stated = x.constant()
    value = np.flip(np.sort(stated, -1), -1)[..., :k] if stated is not None and isinstance(k, int) else None
    return [Abstract(dtype=x.dtype, shape=shape, value=value, origins=x.origins), Abstract(dtype="int32", shape=shape)]


def arg_max(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, axis = inputs[0], inputs[1].scalar()
    dtype = get_dtype(node, "output_type") or "int64"
    if not x.shape or not isinstance(axis, int | np.integer):
        return Abstract(dtype=dtype)
    place = int(axis) % len(x.shape)
    return Abstract(dtype=dtype, shape=(*x.shape[:place], *x.shape[place + 1 :]))


def look_up(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """LookupTableFind: the keys are the table's; what comes out carries the way back through it."""
    handle, keys, default = inputs
    table = walk.tables.get(handle.resource or "")
    dtype = get_dtype(node, "Tout")
    if table is None:
        return Abstract(dtype=dtype, shape=keys.shape)
    fallback = default.scalar()
    origins = []
    for origin in keys.origins:
        facts = walk.sources[origin.source].facts
        if not any(step[0] in ("opaque", "lookup") for step in origin.steps):
            facts.tables.append((table, origin.steps, None))
        origins.append(origin.after("lookup", table, fallback))
    return Abstract(dtype=dtype, shape=keys.shape, origins=tuple(origins))


def table_size(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    table = walk.tables.get(inputs[0].resource or "")
    return Abstract(dtype="int64", shape=(), value=None if table is None else np.array(table.keys.size))


def hash_bucket(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Any token will do, and what comes out is below the number of buckets."""
    return Abstract(dtype="int64", shape=inputs[0].shape)


def segment(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Segment ids of inputs are sorted; with UnsortedSegment they lie below the number of segments."""
    data, ids = inputs[0], inputs[1]
    if ids.shape is not None and data.shape is not None:
        for a, b in zip(data.shape, ids.shape, strict=False):
            walk.equations.equate(a, b)
    rest = None if data.shape is None or ids.rank is None else data.shape[ids.rank :]
    if node.op.startswith("Unsorted"):
        count = (inputs[2].dims() or [None])[0]
        walk.bound(ids, 0, count)
    else:
        count = None
        walk.mark(ids, "sorted")
    return Abstract(dtype=data.dtype, shape=None if rest is None else (count, *rest))


def reverse_sequence(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, lengths = inputs[0], inputs[1]
    axis, batch = node.attr["seq_dim"].i, node.attr["batch_dim"].i
    if x.shape is not None:
        walk.bound(lengths, 1, dims.add(x.shape[axis], 1))
        if lengths.shape:
            walk.equations.equate(lengths.shape[0], x.shape[batch])
    return x


def scatter_nd(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    indices, updates, shape = inputs[0], inputs[1], read_shape(walk, inputs[2])
    if shape:
        walk.bound(indices, 0, shape[0])
    return Abstract(dtype=updates.dtype, shape=shape)


def scatter_into_variable(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """ScatterAdd, ResourceScatterUpdate, ScatterNdAdd, ...: indices lie in the variable's rows."""
    variable, indices = inputs[0], inputs[1]
    _, shape = walk.variables.get(variable.resource or "", ("", variable.shape))
    if shape and "Nd" in node.op:
        walk.bound(indices, 0, min((d for d in shape if isinstance(d, int)), default=None))
    elif shape:
        walk.bound(indices, 0, shape[0])
        if len(inputs) > 2 and indices.shape and inputs[2].shape:
            for a, b in zip(inputs[2].shape, (*indices.shape, *shape[1:]), strict=False):
                walk.equations.equate(a, b)
    return [dataclasses.replace(variable, value=None)]


def dynamic_partition(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    data, partitions = inputs[0], inputs[1]
    count = node.attr["num_partitions"].i
    walk.bound(partitions, 0, count)
    rest = None if data.shape is None or partitions.rank is None else (None, *data.shape[partitions.rank :])
    # A partition holds only the ids that are its own; what they are modulo the parts then needs no bound.
    origins = tuple(origin for origin in data.origins if not any(step[0] == "mod" for step in origin.steps))
    return [dataclasses.replace(data, shape=rest, value=None, origins=origins)] * count


def unique(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    x = inputs[0]
    unique_values = dataclasses.replace(x, shape=(None,), value=None)
    return [unique_values, Abstract(dtype="int32", shape=x.shape), Abstract(dtype="int32", shape=(None,))]


RULES: dict[str, Rule] = {
    "StridedSlice": strided_slice,
    "Slice": slice_,
    **dict.fromkeys(("Gather", "GatherV2", "ResourceGather"), gather),
    **dict.fromkeys(("GatherNd", "ResourceGatherNd"), gather_nd),
    "Where": where,
    "OneHot": one_hot,
    **dict.fromkeys(("TopK", "TopKV2"), top_k),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_max),
    **dict.fromkeys(("LookupTableFind", "LookupTableFindV2"), look_up),
    **dict.fromkeys(("LookupTableSize", "LookupTableSizeV2"), table_size),
    **dict.fromkeys(
        ("SegmentSum", "SegmentMean", "SegmentMax", "SegmentMin", "SegmentProd", "UnsortedSegmentSum",
         "UnsortedSegmentMax", "UnsortedSegmentMin", "UnsortedSegmentProd"), segment),
    "ReverseSequence": reverse_sequence,
    "ScatterNd": scatter_nd,
    **{
        f"{prefix}{nd}{kind}": scatter_into_variable
        for prefix in ("Scatter", "ResourceScatter")
        for nd in ("", "Nd")
        for kind in ("Update", "Add", "Sub", "Mul", "Div", "Min", "Max")
    },
    "DynamicPartition": dynamic_partition,
    **dict.fromkeys(("Unique", "UniqueV2", "UniqueWithCounts"), unique),
}  # fmt: skip
