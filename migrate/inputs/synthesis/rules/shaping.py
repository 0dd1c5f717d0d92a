"""Ops that make, read and change shapes, and constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from migrate.inputs.synthesis import dims, graph_view
from migrate.inputs.synthesis.abstract import Abstract
from migrate.inputs.synthesis.dims import Dim
from migrate.inputs.synthesis.walk import Rule, Walk


def make_dims(dims_list: Sequence[Dim], shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Dims as a value; plain int64 where all are numbers."""
    if all(isinstance(d, int) for d in dims_list):
        array = np.array(dims_list, dtype=np.int64)
    else:
        array = np.fromiter(dims_list, dtype=object, count=len(dims_list))
    return array.reshape(len(dims_list) if shape is None else shape)


def constant(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    if id(node) not in walk.constants:
        value = graph_view.read_constant(node)
        shape = None if value is None else value.shape
        walk.constants[id(node)] = Abstract(dtype=graph_view.get_dtype(node, "dtype"), shape=shape, value=value)
    return walk.constants[id(node)]


def shape_of(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    results = []
    for x in inputs:
        value = None if x.shape is None else make_dims(x.shape)
        results.append(Abstract(dtype="int32", shape=(x.rank,), value=value))
    return results


def size_of(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    total = None if inputs[0].shape is None else dims.product(inputs[0].shape)
    return Abstract(dtype="int32", shape=(), value=None if total is None else make_dims([total], ()))


def rank_of(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    rank = inputs[0].rank
    return Abstract(dtype="int32", shape=(), value=None if rank is None else np.array(rank))


def read_shape(walk: Walk, wanted: Abstract) -> tuple[Dim, ...] | None:
    """The shape that a tensor of dimensions spells; None where not even the rank is known."""
    values = wanted.dims()
    if values is not None:
        return tuple(values)
    if wanted.shape is not None and len(wanted.shape) == 1 and isinstance(wanted.shape[0], int):
        return (None,) * wanted.shape[0]
    return None


def reshape(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """The number of elements stays. So does the first dimension (the batch) where it can."""
    x = inputs[0]
    wanted = read_shape(walk, inputs[1])
    if wanted is None:
        return dataclasses.replace(x, shape=None, value=None)
    wanted = tuple(walk.equations.resolve(d) for d in wanted)
    total = None if x.shape is None else dims.product(x.shape)
    if wanted.count(-1) == 1:
        place = wanted.index(-1)
        rest = dims.product(d for d in wanted if d != -1)
        free = dims.exact_div(total, rest)
        if free is None and total is not None and rest is not None and rest != 0:
            if place == 0 and x.shape and isinstance(x.shape[0], dims.Symbol):
                walk.equations.equate(total, dims.mul(x.shape[0], rest), 4)
            walk.equations.divides(rest, total)
            free = dims.apply("floordiv", total, rest)
        wanted = (*wanted[:place], free, *wanted[place + 1 :])
    elif -1 not in wanted:
        walk.equations.equate(total, dims.product(wanted))
    value = x.value
    if value is not None:
        numbers = [d for d in wanted if isinstance(d, int)]
        known = len(numbers) == len(wanted) and int(np.prod(numbers)) == value.size
        value = value.reshape(numbers) if known else None
    return dataclasses.replace(x, shape=wanted, value=value)


def expand_dims(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, axis = inputs[0], inputs[1].scalar()
    if x.shape is None or not isinstance(axis, int | np.integer):
        return dataclasses.replace(x, shape=None, value=None, lift=x.lift + 1)
    place = int(axis) + (len(x.shape) + 1 if axis < 0 else 0)
    value = None if x.value is None else np.expand_dims(x.value, place)
    return dataclasses.replace(x, shape=(*x.shape[:place], 1, *x.shape[place:]), value=value)


def squeeze(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x = inputs[0]
    axes = list(node.attr["squeeze_dims"].list.i)
    if x.shape is None:
        if axes:
            walk.want_rank(x, max(max(axes) + 1, -min(axes), 2 if max(axes) > 0 else 1))
        return dataclasses.replace(x, value=None, lift=x.lift - len(axes))
    places = {axis % len(x.shape) for axis in axes} if x.shape else set()
    for place in places:
        walk.equations.equate(x.shape[place], 1)
    if not axes:
        places = {i for i, d in enumerate(x.shape) if d == 1}
    shape = tuple(d for i, d in enumerate(x.shape) if i not in places)
    numbers = [d for d in shape if isinstance(d, int)]
    value = x.value.reshape(numbers) if x.value is not None and len(numbers) == len(shape) else None
    return dataclasses.replace(x, shape=shape, value=value)


def transpose(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, stated = inputs[0], inputs[1].dims()
    order = [d for d in stated or () if isinstance(d, int)]
    if stated is None or len(order) < len(stated):
        return dataclasses.replace(x, shape=None if x.shape is None else (None,) * len(x.shape), value=None)
    walk.want_rank(x, len(order))
    if x.shape is None:
        return dataclasses.replace(x, value=None)
    return dataclasses.replace(x, shape=tuple(x.shape[i] for i in order), value=None)


def fill(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Fill and BroadcastTo take the shape second or first."""
    wanted, x = (inputs[0], inputs[1]) if node.op == "Fill" else (inputs[1], inputs[0])
    shape = read_shape(walk, wanted)
    _note_sizes(walk, wanted)
    value = None
    filling = x.dims()
    if node.op == "Fill" and filling is not None and shape is not None and len(shape) == 1:
        count = shape[0]
        value = make_dims(filling * count) if isinstance(count, int) and count in range(65) else None
    return Abstract(dtype=x.dtype, shape=shape, value=value, origins=x.origins)


def _note_sizes(walk: Walk, wanted: Abstract) -> None:
    """An input that says how large something is: positive and small."""
    walk.bound(wanted, 1, 8)


def random(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    return Abstract(
        dtype=graph_view.get_dtype(node, "dtype"),
        shape=read_shape(walk, inputs[0]),
        tags=frozenset(["random"]),
    )


def value_range(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    start, limit, delta = (x.scalar() for x in inputs)
    _note_sizes(walk, inputs[1])
    if not all(isinstance(n, int | np.integer | dims.Symbol | dims.Term) for n in (start, limit, delta)):
        return Abstract(dtype=inputs[0].dtype, shape=(None,))
    start, limit, delta = (int(n) if isinstance(n, np.integer) else n for n in (start, limit, delta))
    count = dims.apply("ceildiv", dims.sub(limit, start), delta)
    value = None
    if isinstance(count, int) and 0 <= count <= 64 and isinstance(start, int):
        value = np.arange(start, limit, delta)
    return Abstract(dtype=inputs[0].dtype, shape=(count,), value=value)


def tile(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, times = inputs[0], read_shape(walk, inputs[1])
    _note_sizes(walk, inputs[1])
    if times is not None:
        walk.want_rank(x, len(times))
    if x.shape is None or times is None or len(times) != x.rank:
        return dataclasses.replace(x, shape=None, value=None)
    return dataclasses.replace(x, shape=tuple(dims.mul(d, n) for d, n in zip(x.shape, times, strict=True)), value=None)


def pad(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, widths = inputs[0], inputs[1].dims()
    if widths is None:
        return dataclasses.replace(x, shape=None if x.shape is None else (None,) * len(x.shape), value=None)
    walk.want_rank(x, len(widths) // 2)
    if x.shape is None:
        return x
    pairs = zip(x.shape, widths[::2], widths[1::2], strict=True)
    shape = tuple(dims.add(d, dims.add(low, high)) for d, low, high in pairs)
    return dataclasses.replace(x, shape=shape, value=None)


def pack(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    axis = node.attr["axis"].i
    first = next((x for x in inputs if x.shape is not None), inputs[0])
    if first.shape is None:
        return Abstract(dtype=first.dtype, origins=_origins(inputs), lift=first.lift + 1)
    shape = first.shape
    for other in inputs:
        for a, b in zip(shape, other.shape or (), strict=False):
            walk.equations.equate(a, b)
    place = axis % (len(shape) + 1)
    value = None
    if len(shape) == 0 and any(x.dims() is not None for x in inputs):
        value = make_dims([(x.dims() or [None])[0] for x in inputs])
    elif all(x.constant() is not None and x.known.size <= 64 for x in inputs):
        value = np.stack([x.known for x in inputs], place)
    tags = _mark_columns(inputs) if place == len(shape) and place else frozenset()
    shape = (*shape[:place], len(inputs), *shape[place:])
    return Abstract(dtype=first.dtype, shape=shape, value=value, origins=_origins(inputs), tags=tags)


def _mark_columns(parts: Sequence[Abstract]) -> frozenset[Any]:
    """Index tuples are put together from columns, each with bounds of its own."""
    return frozenset([("columns", tuple(x.origins for x in parts))])


def _origins(inputs: Sequence[Abstract]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(origin for x in inputs for origin in x.origins))


def _mark_numbers(parts: Sequence[Abstract]) -> frozenset[Any]:
    """The constants among what is put together: the boundaries of buckets, the last of which is a value's own."""
    stated = [value for x in parts if (value := x.constant()) is not None and value.dtype.kind == "f"]
    numbers = tuple(float(n) for value in stated if value.size <= 64 for n in value.reshape(-1))
    return frozenset([("numbers", numbers)]) if numbers else frozenset()


def concat(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    parts, axis = (inputs[:-1], inputs[-1]) if node.op == "ConcatV2" else (inputs[1:], inputs[0])
    ranks = {len(x.shape) for x in parts if x.shape is not None}
    origins = _origins(parts)
    if not ranks or not isinstance(axis.scalar(), int | np.integer):
        return Abstract(dtype=parts[0].dtype, origins=origins)
    rank = max(ranks)
    for x in parts:
        walk.want_rank(x, rank)
    if rank == 0 or any(x.rank != rank for x in parts):
        return Abstract(dtype=parts[0].dtype, shape=(None,) * rank, origins=origins)
    place = int(axis.scalar()) % rank
    shape: list[Dim] = list(parts[0].sizes)
    for x in parts[1:]:
        for i, d in enumerate(x.sizes):
            if i != place:
                walk.equations.equate(shape[i], d)
        shape[place] = dims.add(shape[place], x.sizes[place])
    value = None
    if rank == 1 and all(x.dims() is not None for x in parts):
        value = make_dims([d for x in parts for d in x.dims() or ()])
    elif all(x.constant() is not None and x.known.size <= 64 for x in parts):
        value = np.concatenate([x.known for x in parts], place)
    columns = place == rank - 1 and all(x.sizes[place] == 1 for x in parts)
    tags = _mark_columns(parts) if columns else frozenset()
    if value is None:
        tags |= _mark_numbers(parts)
    return Abstract(dtype=parts[0].dtype, shape=tuple(shape), value=value, origins=origins, tags=tags)


def split(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    count = node.attr["num_split"].i
    sizes: list[Dim] | None = None
    if node.op == "SplitV":
        x, sizes, axis = inputs[0], inputs[1].dims(), inputs[2].scalar()
    else:
        axis, x = inputs[0].scalar(), inputs[1]
    if x.shape is None or not isinstance(axis, int | np.integer):
        return [dataclasses.replace(x, shape=None, value=None)] * count
    place = int(axis) % len(x.shape)
    if sizes is None:
        part = dims.exact_div(x.shape[place], count)
        if part is None:
            walk.equations.divides(count, x.shape[place])
            part = dims.apply("floordiv", x.shape[place], count)
        sizes = [part] * count
    elif -1 not in sizes:
        total: Dim = 0
        for size in sizes:
            total = dims.add(total, size)
        walk.equations.equate(x.shape[place], total)
    return [
        dataclasses.replace(
            x, shape=(*x.shape[:place], None if size == -1 else size, *x.shape[place + 1 :]), value=None
        )
        for size in sizes
    ]


def unpack(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    x, count = inputs[0], node.attr["num"].i
    if not x.shape:
        return [dataclasses.replace(x, shape=None, value=None, lift=x.lift - 1)] * count
    place = node.attr["axis"].i % x.rank
    walk.equations.equate(x.shape[place], count)
    shape = (*x.shape[:place], *x.shape[place + 1 :])
    parts = [None] * count if x.value is None or x.value.shape[place] != count else list(np.moveaxis(x.value, place, 0))
    return [dataclasses.replace(x, shape=shape, value=None if v is None else np.asarray(v)) for v in parts]


def reduce(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, stated = inputs[0], inputs[1].dims()
    keep = node.attr["keep_dims"].b
    claims = x.claims if node.op == "All" else ()
    if node.op == "Max" and len(x.origins) == 1 and not x.origins[0].steps and x.dtype in ("int32", "int64"):
        # The longest of the sequence lengths often makes a dimension: a symbol stands for it.
        walk.sources[x.origins[0].source].facts.maximum = top = walk.symbol(f"{x.origins[0].source}.max", "length")
        return Abstract(dtype=x.dtype, shape=(), value=make_dims([top], ()))
    axes = [axis for axis in stated or () if isinstance(axis, int)]
    if x.shape is None or stated is None or len(axes) < len(stated):
        return Abstract(dtype=x.dtype, claims=claims)
    places = {axis % len(x.shape) for axis in axes} if x.shape else set()
    shape = tuple(1 if i in places else d for i, d in enumerate(x.shape) if keep or i not in places)
    value, elements = None, x.dims()
    if x.rank == 1 and len(places) == 1 and elements is not None and node.op in ("Prod", "Sum", "Max", "Min"):
        value = make_dims([_fold(node.op, elements)], (1,) if keep else ())
    origins = x.origins if node.op in ("Max", "Min", "Any", "All") else ()
    return Abstract(dtype=x.dtype, shape=shape, value=value, origins=origins, claims=claims)


def _fold(op: str, values: list[Dim]) -> Dim:
    name = {"Prod": "mul", "Sum": "add", "Max": "max", "Min": "min"}[op]
    result = values[0] if values else int(op == "Prod")
    for value in values[1:]:
        result = dims.apply(name, result, value)
    return result


def ensure(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    stated = graph_view.parse_shape(node.attr["shape"].shape)
    x = inputs[0]
    if stated is None:
        return x
    walk.want_rank(x, len(stated))
    for a, b in zip(x.shape or (), stated, strict=False):
        walk.equations.equate(a, b)
    return x if x.shape is not None else dataclasses.replace(x, shape=stated)


RULES: dict[str, Rule] = {
    "Const": constant,
    "HostConst": constant,
    "Shape": shape_of,
    "ShapeN": shape_of,
    "Size": size_of,
    "Rank": rank_of,
    "Reshape": reshape,
    "ExpandDims": expand_dims,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "ConjugateTranspose": transpose,
    "Fill": fill,
    "BroadcastTo": fill,
    "Range": value_range,
    "Tile": tile,
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), pad),
    "Pack": pack,
    **dict.fromkeys(("ConcatV2", "Concat"), concat),
    **dict.fromkeys(("Split", "SplitV"), split),
    "Unpack": unpack,
    **dict.fromkeys(("Sum", "Mean", "Max", "Min", "Prod", "All", "Any", "EuclideanNorm"), reduce),
    **dict.fromkeys(
        (
            "RandomUniform",
            "RandomStandardNormal",
            "TruncatedNormal",
            "StatelessRandomUniform",
            "StatelessRandomNormal",
        ),
        random,
    ),
    "EnsureShape": ensure,
}
