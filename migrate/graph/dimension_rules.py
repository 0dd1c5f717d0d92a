"""What each op says of its outputs' dimensions and short integer values, for `dimensions`.

A rule may say less than is true (None), never more.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from migrate.graph import index as graph_index
from migrate.graph.index import read_attr
from migrate.graph.shapes import parse_shape

_MAX_CONTENT = 32  # Elements of an integer tensor whose values are followed: shapes, axes and permutations are short.
_INTEGERS = frozenset((tf.int32.as_datatype_enum, tf.int64.as_datatype_enum))


@dataclasses.dataclass(frozen=True, slots=True)
class Extent:
    """The size of `axis` of `tensor`, a tensor of the outermost graph."""

    tensor: graph_index.TensorRef
    axis: int


Dim = int | Extent | None
Dims = tuple[Dim, ...] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """What is known of a tensor.

    Attributes:
      dims: its shape; None for an unknown rank.
      content: the values of a short integer vector, or `(value,)` of a scalar; None where they are not followed.
      element: of a list of tensors: the shape of every element.
    """

    dims: Dims = None
    content: tuple[Dim, ...] | None = None
    element: Dims = None


UNKNOWN = Fact()


def unite(first: Dims, second: Dims) -> Dims:
    """Of two shapes that an op wants to be equal."""
    if first is None or second is None:
        return first if second is None else second
    if len(first) != len(second):
        return None  # The op fails.
    return tuple(_unite_dims(one, other) for one, other in zip(first, second, strict=True))


def _unite_dims(one: Dim, other: Dim) -> Dim:
    if isinstance(other, int) or one is None:
        return other
    return one


def _weaken(first: Dims, second: Dims) -> Dims:
    """What holds of a tensor that has either shape."""
    if first is None or second is None or len(first) != len(second):
        return None
    return tuple(one if one == other else None for one, other in zip(first, second, strict=True))


def weaken_fact(first: Fact, second: Fact) -> Fact:
    return Fact(
        _weaken(first.dims, second.dims),
        _weaken(first.content, second.content),
        _weaken(first.element, second.element),
    )


def _broadcast(first: Dims, second: Dims) -> Dims:
    if first is None or second is None:
        return None
    rank = max(len(first), len(second))
    pairs = zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True)
    return tuple(_broadcast_dims(one, other) for one, other in pairs)


def _broadcast_dims(one: Dim, other: Dim) -> Dim:
    if one == other or other == 1:
        return one
    if one == 1:
        return other
    # A known size other than 1 is the result's whatever the other side turns out to be.
    return next((dim for dim in (one, other) if isinstance(dim, int)), None)


class Caller(Protocol):
    """Who asks a rule, and knows the bodies of functions."""

    def find_results(self, name: str, facts: Sequence[Fact]) -> list[Fact]:
        """Of a call of the function `name`."""

    def find_invariants(self, loop: Any) -> list[Fact]:
        """What holds of each of a loop's values at the start of every round, and at its end."""


# A rule takes the scope, the node and what is known of its inputs, and gives what is known of its outputs.
Rule = Callable[[Caller, Any, Sequence[Fact]], list[Fact]]


def _axis(fact: Fact, rank: int) -> int | None:
    """A scalar axis, counted from the front."""
    value = fact.content[0] if fact.content is not None and len(fact.content) == 1 else None
    return value % rank if isinstance(value, int) and rank and -rank <= value < rank else None


def _numbers(content: tuple[Dim, ...] | None) -> list[int] | None:
    """Values that are all known."""
    if content is None:
        return None
    found = [value for value in content if isinstance(value, int)]
    return found if len(found) == len(content) else None


def _same(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact(given[0].dims)]


def _identity(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [given[0]]


def _broadcasting(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims: Dims = ()
    for fact in given:
        dims = _broadcast(dims, fact.dims)
    return [Fact(dims)]


def _select(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact(unite(given[1].dims, given[2].dims))]


def _add_n(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims: Dims = None
    for fact in given:
        dims = unite(dims, fact.dims)
    return [Fact(dims)]


def _constant(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    tensor = read_attr(node, "value").tensor
    dims = parse_shape(tensor.tensor_shape)
    if dims is None or len(dims) > 1 or tensor.dtype not in _INTEGERS or (dims and (dims[0] or 0) > _MAX_CONTENT):
        return [Fact(dims)]
    return [Fact(dims, tuple(int(value) for value in np.ravel(tf.make_ndarray(tensor))))]


def _stated(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    # A Placeholder's [] once meant "unknown": nothing hangs on a scalar here.
    return [Fact(parse_shape(read_attr(node, "shape").shape) or None)] if "shape" in node.attr else []


def _read(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact(given[0].element)]


def _handle(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact((), None, parse_shape(read_attr(node, "shape").shape))]


def _shape(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims = given[0].dims
    return [Fact((None,) if dims is None else (len(dims),), dims)]


def _rank(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact((), None if given[0].dims is None else (len(given[0].dims),))]


def _range(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    bounds = [_numbers(fact.content) for fact in given]
    start, limit, delta = (bound[0] if bound else None for bound in bounds)
    if start is None or limit is None or not delta or len(range(start, limit, delta)) > _MAX_CONTENT:
        return [Fact((None,))]
    values = tuple(range(start, limit, delta))
    return [Fact((len(values),), values)]


def _filled(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact(given[0].content)]


def _reshape(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    content = given[1].content
    if content is None:
        return []
    return [Fact(tuple(None if dim == -1 else dim for dim in content), given[0].content)]


def _matmul(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    first, second = (fact.dims for fact in given[:2])
    rows = None if first is None else first[1 if read_attr(node, "transpose_a").b else 0]
    columns = None if second is None else second[0 if read_attr(node, "transpose_b").b else 1]
    return [Fact((rows, columns))]


def _batch_matmul(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    first, second = (fact.dims for fact in given[:2])
    if first is None or second is None or len(first) < 2 or len(second) < 2:
        return []
    rows, columns = first[-1 if read_attr(node, "adj_x").b else -2], second[-2 if read_attr(node, "adj_y").b else -1]
    leading = unite if node.op == "BatchMatMul" else _broadcast
    batch = leading(first[:-2], second[:-2])
    return [] if batch is None else [Fact((*batch, rows, columns))]


def _concat(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    *parts, axis_fact = given
    known = [fact.dims for fact in parts if fact.dims is not None]
    axis = _axis(axis_fact, len(known[0])) if known else None
    if axis is None or any(len(dims) != len(known[0]) for dims in known):
        return []
    sizes = [None if fact.dims is None else fact.dims[axis] for fact in parts]
    numbers = _numbers(tuple(sizes))
    dims: Dims = None
    for part in known:
        dims = unite(dims, part)
    if dims is None:
        return []
    dims = (*dims[:axis], None if numbers is None else sum(numbers), *dims[axis + 1 :])
    contents = [fact.content for fact in parts]
    followed = [value for content in contents if content is not None for value in content]
    whole = len(dims) == 1 and None not in contents and len(followed) <= _MAX_CONTENT
    return [Fact(dims, tuple(followed) if whole else None)]


def _split(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    value, at = (given[0], given[2]) if node.op == "SplitV" else (given[1], given[0])
    count = read_attr(node, "num_split").i
    axis = None if value.dims is None else _axis(at, len(value.dims))
    if value.dims is None or axis is None:
        return []
    size = value.dims[axis]
    part = size // count if isinstance(size, int) and node.op == "Split" else None
    return [Fact((*value.dims[:axis], part, *value.dims[axis + 1 :]))] * count


def _pack(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims: Dims = None
    for fact in given:
        dims = unite(dims, fact.dims)
    if dims is None:
        return []
    axis = read_attr(node, "axis").i % (len(dims) + 1)
    # The values of scalars only: each has one.
    content = None if dims else tuple(fact.content[0] if fact.content else None for fact in given)
    return [Fact((*dims[:axis], len(given), *dims[axis:]), content)]


def _unpack(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims = given[0].dims
    if not dims:
        return []
    axis = read_attr(node, "axis").i % len(dims)
    return [Fact((*dims[:axis], *dims[axis + 1 :]))] * read_attr(node, "num").i


def _expand_dims(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims = given[0].dims
    axis = None if dims is None else _axis(given[1], len(dims) + 1)
    if dims is None or axis is None:
        return []
    return [Fact((*dims[:axis], 1, *dims[axis:]), None if dims else given[0].content)]


def _squeeze(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims, axes = given[0].dims, list(read_attr(node, "squeeze_dims").list.i)
    if dims is None or (not axes and _numbers(dims) is None):
        return []
    gone = {axis % len(dims) for axis in axes} if axes else {axis for axis, dim in enumerate(dims) if dim == 1}
    return [Fact(tuple(dim for axis, dim in enumerate(dims) if axis not in gone))]


def _strided_slice(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims, bounds = given[0].dims, [_numbers(fact.content) for fact in given[1:4]]
    begin, end, strides = bounds
    if dims is None or begin is None or end is None or strides is None or len(begin) > len(dims):
        return []
    if read_attr(node, "ellipsis_mask").i or read_attr(node, "new_axis_mask").i:
        return []
    kept: list[Dim] = []
    shrink = read_attr(node, "shrink_axis_mask").i
    slices = [
        slice(
            None if read_attr(node, "begin_mask").i >> axis & 1 else first,
            None if read_attr(node, "end_mask").i >> axis & 1 else last,
            step,
        )
        for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True))
    ]
    for axis, (dim, part) in enumerate(zip(dims, slices, strict=False)):
        if shrink >> axis & 1:
            continue
        whole = part.start in (None, 0) and part.stop is None and part.step == 1
        kept.append(dim if whole else len(range(*part.indices(dim))) if isinstance(dim, int) else None)
    content = given[0].content
    if content is not None and len(dims) == 1 and slices:
        if shrink & 1:
            content = (content[begin[0]],) if -len(content) <= begin[0] < len(content) else None
        else:
            content = content[slices[0]]
    return [Fact((*kept, *dims[len(slices) :]), content)]


def _transpose(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims, order = given[0].dims, _numbers(given[1].content)
    if dims is None or order is None or len(order) != len(dims):
        return []
    return [Fact(tuple(dims[axis] for axis in order))]


def _tile(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims, times = given[0].dims, given[1].content
    if dims is None or times is None or len(times) != len(dims):
        return []
    return [Fact(tuple(_multiply(dim, count) for dim, count in zip(dims, times, strict=True)))]


def _multiply(dim: Dim, count: Dim) -> Dim:
    if count == 1 or dim == 1:
        return dim if count == 1 else count
    return dim * count if isinstance(dim, int) and isinstance(count, int) else None


def _reduce(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims, axes = given[0].dims, _numbers(given[1].content)
    if dims is None or axes is None:
        return []
    gone = {axis % len(dims) for axis in axes} if dims else set()
    if read_attr(node, "keep_dims").b:
        return [Fact(tuple(1 if axis in gone else dim for axis, dim in enumerate(dims)))]
    return [Fact(tuple(dim for axis, dim in enumerate(dims) if axis not in gone))]


def _product(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    found, numbers = _reduce(scope, node, given), _numbers(given[0].content)
    if numbers is None or given[0].dims is None or len(given[0].dims) != 1 or not found or found[0].dims != ():
        return found
    return [Fact((), (math.prod(numbers),))]


def _where(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact((None, None if given[0].dims is None else len(given[0].dims)))]


def _sparse_reshape(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    content = given[2].content
    rank = None if content is None else len(content)
    shape = None if content is None else tuple(None if dim == -1 else dim for dim in content)
    return [Fact((None, rank)), Fact((rank,), shape)]


def _sparse_to_dense(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact(given[1].content)]


def _one_hot(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims, depth = given[0].dims, given[1].content
    if dims is None:
        return []
    axis = (read_attr(node, "axis").i if "axis" in node.attr else -1) % (len(dims) + 1)
    return [Fact((*dims[:axis], None if depth is None else depth[0], *dims[axis:]))]


def _gather(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    rows = given[0].element if node.op == "ResourceGather" else given[0].dims
    indices = given[1].dims
    first = len(given) < 3 or (given[2].content == (0,) and not read_attr(node, "batch_dims").i)
    if not rows or indices is None or not first:
        return []
    return [Fact((*indices, *rows[1:]))]


def _reserve(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact((), None, _told(given[0]))]


def _told(shape: Fact) -> Dims:
    """The shape that an operand tells; a scalar -1 tells nothing, -1 in a vector leaves a dimension open."""
    if shape.content is None or shape.dims == ():
        return None
    return tuple(None if dim == -1 else dim for dim in shape.content)


def _unstack(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    dims = given[0].dims
    return [Fact((), None, unite(None if not dims else dims[1:], _told(given[1])))]


def _get_item(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return [Fact(unite(_told(given[2]), given[0].element))]


def _stack(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    element = unite(_told(given[1]), given[0].element)
    return [] if element is None else [Fact((None, *element))]


def _loop(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    return scope.find_invariants(node)


def _branch(scope: Caller, node: Any, given: Sequence[Fact]) -> list[Fact]:
    names = (read_attr(node, key).func.name for key in ("then_branch", "else_branch"))
    taken, other = (scope.find_results(name, given[1:]) for name in names)
    return [weaken_fact(one, two) for one, two in zip(taken, other, strict=True)]


def _spread(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_spread(_identity, "Identity StopGradient PreventGradient Cast Snapshot TensorListResize TensorListSetItem"),
    **_spread(
        _same,
        "Abs Acos Asin Atan BiasAdd BiasAddV1 Ceil CheckNumerics Cos Cosh Cumprod Cumsum Elu Erf Erfc Exp Expm1 Floor "
        "Inv IsFinite IsInf IsNan LeakyRelu Log Log1p LogSoftmax LogicalNot Neg OnesLike Reciprocal Relu Relu6 "
        "ReverseSequence ReverseV2 Rint Round Rsqrt Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Square "
        "Tan Tanh ZerosLike",
    ),
    **_spread(
        _broadcasting,
        "Add AddV2 Atan2 Div DivNoNan Equal FloorDiv FloorMod Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr "
        "Maximum Minimum Mod Mul MulNoNan NotEqual Pow RealDiv SelectV2 SquaredDifference Sub TruncateDiv TruncateMod "
        "Xdivy Xlogy",
    ),
    **_spread(_reduce, "All Any Max Mean Min Sum"),
    **_spread(_filled, "Empty Fill RandomStandardNormal RandomUniform TruncatedNormal"),
    **_spread(_batch_matmul, "BatchMatMul BatchMatMulV2"),
    **_spread(_gather, "Gather GatherV2 ResourceGather"),
    **_spread(_loop, "While StatelessWhile"),
    **_spread(_branch, "If StatelessIf"),
    **_spread(_split, "Split SplitV"),
    **_spread(_stated, "Placeholder PlaceholderV2 PlaceholderWithDefault"),
    "AddN": _add_n,
    "ConcatV2": _concat,
    "Const": _constant,
    "ExpandDims": _expand_dims,
    "MatMul": _matmul,
    "OneHot": _one_hot,
    "Pack": _pack,
    "Prod": _product,
    "Range": _range,
    "Rank": _rank,
    "ReadVariableOp": _read,
    "Reshape": _reshape,
    "Select": _select,
    "Shape": _shape,
    "SparseReshape": _sparse_reshape,
    "SparseToDense": _sparse_to_dense,
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "TensorListFromTensor": _unstack,
    "TensorListGetItem": _get_item,
    "TensorListReserve": _reserve,
    "TensorListStack": _stack,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unpack": _unpack,
    "VarHandleOp": _handle,
    "Where": _where,
}
