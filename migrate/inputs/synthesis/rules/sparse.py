"""Ops on the three parts of sparse tensors. Indices carry the tag ("indices", dims of the tensor)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from migrate.inputs.synthesis import dims
from migrate.inputs.synthesis.abstract import Abstract
from migrate.inputs.synthesis.dims import Dim
from migrate.inputs.synthesis.rules.shaping import make_dims, read_shape
from migrate.inputs.synthesis.walk import Rule, Walk


def find_dense_shape(indices: Abstract) -> tuple[Dim, ...] | None:
    """The dense shape of the input to which the indices belong; None for computed indices."""
    for tag in indices.tags:
        if isinstance(tag, tuple) and tag[0] == "indices":
            shape: tuple[Dim, ...] = tag[1]
            return shape
    return None


def sparse_to_dense(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Indices lie inside output_shape: the input must be no larger."""
    indices, shape, values = inputs[0], read_shape(walk, inputs[1]), inputs[2]
    inside = find_dense_shape(indices)
    if inside is not None and shape is not None and len(inside) == len(shape):
        for small, large in zip(inside, shape, strict=True):
            walk.equations.at_least(large, small)
    elif shape is not None and inside is None:
        whole = [d for d in shape if isinstance(d, int)]
        walk.bound(indices, 0, min(whole) if whole else None)
    return Abstract(dtype=values.dtype, shape=shape, origins=values.origins)


def sparse_dense_mat_mul(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    indices, values, shape, b = inputs
    a = read_shape(walk, shape)
    walk.want_rank(b, 2)
    if a is None or len(a) != 2 or b.rank != 2:
        return Abstract(dtype=values.dtype, shape=(None, None))
    rows, inner = (a[1], a[0]) if node.attr["adjoint_a"].b else a
    inner_b, columns = reversed(b.sizes) if node.attr["adjoint_b"].b else b.sizes
    walk.equations.equate(inner, inner_b)
    walk.bound_columns(indices, (inner_b, rows) if node.attr["adjoint_a"].b else (rows, inner_b))
    return Abstract(dtype=values.dtype, shape=(rows, columns))


def sparse_reshape(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    indices, shape, wanted = inputs[0], read_shape(walk, inputs[1]), read_shape(walk, inputs[2])
    if wanted is None:
        return [Abstract(dtype="int64", shape=(None, None)), Abstract(dtype="int64", shape=(None,))]
    total = None if shape is None else dims.product(shape)
    if wanted.count(-1) == 1:
        rest = dims.product(d for d in wanted if d != -1)
        free = dims.exact_div(total, rest)
        if free is None and rest != 0:
            walk.equations.divides(rest, total)
            free = dims.apply("floordiv", total, rest)
        wanted = tuple(free if d == -1 else d for d in wanted)
    else:
        walk.equations.equate(total, dims.product(wanted))
    count = indices.shape[0] if indices.shape else None
    same = shape is not None and tuple(walk.equations.resolve(d) for d in shape) == wanted
    tags = indices.tags if same else frozenset()
    return [
        Abstract(dtype="int64", shape=(count, len(wanted)), tags=tags),
        Abstract(dtype="int64", shape=(len(wanted),), value=make_dims(wanted)),
    ]


def reorder(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    return list(inputs[:2])


def fill_empty_rows(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    indices, values, shape = inputs[:3]
    rows = (read_shape(walk, shape) or (None,))[0]
    return [
        dataclasses.replace(indices, shape=(None, indices.shape[1] if indices.shape else None)),
        dataclasses.replace(values, shape=(None,)),
        Abstract(dtype="bool", shape=(rows,)),
        Abstract(dtype="int64", shape=(None,)),
    ]


def segment(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """SparseSegmentSum and the like: data [rows, ...], indices [n] below rows, segment_ids [n] sorted."""
    data, indices, ids = inputs[:3]
    if data.shape:
        walk.bound(indices, 0, data.shape[0])
    if indices.shape and ids.shape:
        walk.equations.equate(indices.shape[0], ids.shape[0])
    walk.mark(ids, "sorted")
    rest = data.shape[1:] if data.shape else None
    return Abstract(dtype=data.dtype, shape=None if rest is None else (None, *rest))


def reduce_sparse(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    return Abstract(dtype=inputs[1].dtype)


RULES: dict[str, Rule] = {
    "SparseToDense": sparse_to_dense,
    "SparseTensorDenseMatMul": sparse_dense_mat_mul,
    "SparseReshape": sparse_reshape,
    "SparseReorder": reorder,
    "SparseFillEmptyRows": fill_empty_rows,
    **{
        f"SparseSegment{kind}{suffix}": segment
        for kind in ("Sum", "Mean", "SqrtN")
        for suffix in ("", "WithNumSegments")
    },
    **dict.fromkeys(("SparseReduceSum", "SparseReduceMax"), reduce_sparse),
}
