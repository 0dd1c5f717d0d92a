"""Ops that work element by element: they keep the shape, or broadcast two."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from migrate.inputs.synthesis import dims
from migrate.inputs.synthesis.abstract import UNKNOWN, Abstract, Claim
from migrate.inputs.synthesis.graph_view import get_dtype
from migrate.inputs.synthesis.reaching import note_rivals, note_thresholds
from migrate.inputs.synthesis.walk import Rule, Walk

_PASS = [
    "Identity",
    "Snapshot",
    "StopGradient",
    "PreventGradient",
    "CheckNumerics",
    "CheckNumericsV2",
    "PlaceholderWithDefault",
    "Enter",
    "RefEnter",
    "Exit",
    "RefExit",
    "NextIteration",
    "RefNextIteration",
    "Print",
    "PrintV2",
    "StringLower",
    "StringUpper",
    "StringStrip",
    "EnsureShape",
    "DeepCopy",
    "LoopCond",
    "RefIdentity",
    "ReverseV2",
    "Reverse",
    "Roll",
    "RandomShuffle",
    "OptimizationBarrier",
    "Copy",
    "CopyHost",
    "UnicodeTranscode",
    "IdentityN",
    "StaticRegexReplace",
    "RegexReplace",
    "FakeQuantWithMinMaxArgs",
    "FakeQuantWithMinMaxVars",
    "MatrixDiagPart",
    "DebugIdentity",
    "DebugIdentityV2",
    "QuantizeAndDequantizeV2",
    "Bitcast",
    "ReadVariableOp",
]
# Values change in ways that nothing looks through, shapes do not.
_KEEP_SHAPE = [
    "Relu",
    "Relu6",
    "Elu",
    "Selu",
    "LeakyRelu",
    "Tanh",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Softmax",
    "LogSoftmax",
    "Exp",
    "Expm1",
    "Erf",
    "Erfc",
    "Sin",
    "Cos",
    "Tan",
    "Atan",
    "Asin",
    "Acos",
    "Sinh",
    "Cosh",
    "Floor",
    "Ceil",
    "Round",
    "Rint",
    "Sign",
    "Inv",
    "Reciprocal",
    "IsNan",
    "IsInf",
    "IsFinite",
    "LogicalNot",
    "Cumsum",
    "Cumprod",
    "L2Loss",
    "LRN",
    "ClipByValue",
    "Square",
    "ZerosLike",
    "OnesLike",
    "StringLength",
    "StringToHashBucketFast",
    "StringToHashBucket",
    "StringToHashBucketStrong",
    "Lgamma",
    "Digamma",
    "Invert",
    "Dequantize",
    "EncodeBase64",
    "RegexFullMatch",
    "StaticRegexFullMatch",
    "Substr",
    "AdjustContrast",
    "AdjustContrastv2",
    "AdjustHue",
    "AdjustSaturation",
    "RGBToHSV",
    "HSVToRGB",
    "Betainc",
    "Bucketize",
    "BoostedTreesBucketize",
    "BucketizeWithInputBoundaries",
    "FFT",
    "IFFT",
    "FFT2D",
    "IFFT2D",
    "FFT3D",
    "IFFT3D",
]
_POSITIVE = {"Log", "Log1p", "Sqrt", "Rsqrt"}
_BROADCAST = [
    "Sub",
    "RealDiv",
    "Div",
    "DivNoNan",
    "FloorDiv",
    "TruncateDiv",
    "FloorMod",
    "Mod",
    "TruncateMod",
    "Maximum",
    "Minimum",
    "Pow",
    "SquaredDifference",
    "Atan2",
    "Xdivy",
    "Xlogy",
    "LogicalAnd",
    "LogicalOr",
    "Mul",
    "Add",
    "AddV2",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "LeftShift",
    "RightShift",
    "Less",
    "LessEqual",
    "Greater",
    "GreaterEqual",
    "Equal",
    "NotEqual",
    "MulNoNan",
    "ApproximateEqual",
    "Complex",
    "NextAfter",
    "Igamma",
    "Igammac",
    "Zeta",
]
_MOST_CONSTANTS = 64
_COMPARE = {"Less": "lt", "LessEqual": "le", "Greater": "gt", "GreaterEqual": "ge", "Equal": "eq"}
_MIRROR = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq"}
_ARITHMETIC = {
    "Mul": "mul", "Add": "add", "AddV2": "add", "FloorDiv": "floordiv", "Maximum": "max", "Minimum": "min",
    "FloorMod": "mod", "Div": "floordiv", "TruncateDiv": "floordiv",
}  # fmt: skip
_NUMPY = {
    "Sub": np.subtract, "RealDiv": np.divide, "Mul": np.multiply, "Add": np.add, "AddV2": np.add,
    "Maximum": np.maximum, "Minimum": np.minimum,
}  # fmt: skip


def broadcast(walk: Walk, a: Abstract, b: Abstract, weight: int = 5) -> tuple[dims.Dim, ...] | None:
    """The joint shape. Dimensions that face each other are equal unless one of them is 1."""
    if a.shape is None or b.shape is None:
        for unknown, known in ((a, b), (b, a)):
            if unknown.shape is None and known.rank:
                _wish_rank(walk, unknown, known.rank)
        # A scalar broadcasts to whatever the other is.
        return None if 0 not in (a.rank, b.rank) else (a.shape if b.rank == 0 else b.shape)
    rank = max(len(a.shape), len(b.shape))
    left, right = ((1,) * (rank - len(s)) + tuple(s) for s in (a.shape, b.shape))
    return tuple(
        _join(walk, walk.equations.resolve(x), walk.equations.resolve(y), weight)
        for x, y in zip(left, right, strict=True)
    )


def _wish_rank(walk: Walk, x: Abstract, rank: int) -> None:
    for origin in x.origins:
        if walk.sources[origin.source].shape is None and rank >= x.lift:
            walk.wished_ranks.setdefault(origin.source, rank - x.lift)


def _join(walk: Walk, x: dims.Dim, y: dims.Dim, weight: int) -> dims.Dim:
    if x == 1 or y == 1:
        return y if x == 1 else x
    if isinstance(x, int) and isinstance(y, int) and x != y:
        walk.equations.contradictions += 10
        return x
    walk.equations.equate(x, y, weight)
    if x is None or y is None:
        return y if x is None else x
    return x if isinstance(x, int) else y


def keep(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Sequence[Abstract]:
    """The tensor as it is; several tensors each for itself."""
    if node.op == "EnsureShape" and inputs[0].shape is None:
        return [dataclasses.replace(inputs[0], shape=walk.describe_outputs(node)[0].shape)]
    if node.op.startswith("Assign"):  # (ref, value): the variable comes out.
        for a, b in zip(inputs[0].shape or (), inputs[1].shape or (), strict=False):
            walk.equations.equate(a, b)
        return [dataclasses.replace(inputs[0], value=None)]
    if node.op == "ReadVariableOp":
        return [_read_variable(walk, node, inputs[0])]
    return list(inputs)


def _read_variable(walk: Walk, node: Any, handle: Abstract) -> Abstract:
    dtype, shape = walk.variables.get(handle.resource or "", (get_dtype(node, "dtype"), None))
    return Abstract(dtype=dtype, shape=shape)


def change(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Same shape, other values."""
    x = inputs[0]
    if node.op in _POSITIVE:
        walk.mark(x, "positive")
    if node.op == "Bucketize":
        _note_boundaries(walk, x, list(node.attr["boundaries"].list.f))
    dtype = get_dtype(node, "out_type", "dtype", "T")
    if node.op in ("IsNan", "IsInf", "IsFinite", "LogicalNot", "StaticRegexFullMatch", "RegexFullMatch"):
        dtype = "bool"
    # Where the rank is unknown, a consumer further on may still tell it.
    origins = () if x.shape is not None else tuple(origin.after("opaque") for origin in x.origins)
    tags = frozenset(tag for tag in x.tags if tag == "random")
    return Abstract(dtype=dtype, shape=x.shape, origins=origins, tags=tags, lift=x.lift)


def negate(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, stated = inputs[0], inputs[0].constant()
    value = -stated if stated is not None and stated.dtype.kind in "if" else None
    return dataclasses.replace(x, value=value, origins=tuple(origin.after("mul", -1) for origin in x.origins))


def reverse(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    changed, stated = change(walk, node, inputs), inputs[0].constant()
    axes = [axis for axis in inputs[1].dims() or () if isinstance(axis, int)]
    return changed if stated is None or not axes else dataclasses.replace(changed, value=np.flip(stated, tuple(axes)))


def bucketize_each(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """BoostedTreesBucketize: n tensors, then n boundary vectors."""
    count = len(inputs) // 2
    for x, boundaries in zip(inputs[:count], inputs[count:], strict=True):
        if (stated := boundaries.constant()) is not None:
            _note_boundaries(walk, x, stated.reshape(-1).tolist())
        else:  # some of them may be constants all the same
            numbers = [n for tag in boundaries.tags if isinstance(tag, tuple) and tag[0] == "numbers" for n in tag[1]]
            _note_thresholds(walk, x, np.array(numbers, np.float64))
    return [Abstract(dtype="int32", shape=x.shape) for x in inputs[:count]]


def bucketize(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    if (stated := inputs[1].constant()) is not None:
        _note_boundaries(walk, inputs[0], stated.reshape(-1).tolist())
    return Abstract(dtype="int32", shape=inputs[0].shape)


def _note_boundaries(walk: Walk, x: Abstract, boundaries: list[float]) -> None:
    _note_thresholds(walk, x, np.array(boundaries, np.float64))
    for origin in x.origins:
        if not origin.steps:
            walk.sources[origin.source].facts.boundaries += [b for b in boundaries if np.isfinite(b)][:64]


def _note_thresholds(walk: Walk, x: Abstract, constant: np.ndarray | None) -> None:
    if constant is not None and constant.size <= _MOST_CONSTANTS and constant.dtype.kind in "iuf":
        for origin in x.origins:
            note_thresholds(walk.sources[origin.source].facts, origin, constant.reshape(-1).tolist())


def cast(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, dtype = inputs[0], get_dtype(node, "DstT")
    value = x.value
    if value is not None and value.dtype != object:
        try:
            value = value.astype(dtype)
        except TypeError:
            value = None
    elif value is not None and dtype not in ("int32", "int64"):
        # A dimension as a float: still the dimension for what divides or compares it later.
        value = value if dtype in ("float32", "float64") else None
    return dataclasses.replace(x, dtype=dtype, value=value)


def combine(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    a, b = inputs[0], inputs[1]
    shape = broadcast(walk, a, b)
    if node.op in _COMPARE or node.op in ("NotEqual", "ApproximateEqual", "LogicalAnd", "LogicalOr"):
        return _compare(walk, node.op, a, b, shape)
    _note_dropout(walk, node.op, a, b)
    if node.op in ("RealDiv", "Div", "FloorDiv", "FloorMod", "TruncateDiv", "TruncateMod", "Xdivy"):
        walk.mark(b, "nonzero")
    value = _calculate(node.op, a, b)
    origins = a.origins + b.origins
    for x, y, swapped in ((a, b, False), (b, a, True)):
        if x.origins and not y.origins:
            origins = _shift(node.op, x, y.scalar(), swapped)
            if node.op in ("Maximum", "Minimum"):
                _note_thresholds(walk, x, y.constant())
    if a.origins and b.origins:
        origins = _clip(node.op, origins) if node.op in ("Maximum", "Minimum") else ()
    tags = frozenset(tag for tag in a.tags | b.tags if tag == "random")
    lift = a.lift if a.origins else b.lift
    return Abstract(dtype=a.dtype or b.dtype, shape=shape, value=value, origins=origins, tags=tags, lift=lift)


def _shift(op: str, x: Abstract, y: Any, swapped: bool) -> tuple[Any, ...]:
    """Origins of `x` op `y` where y is a constant; () for what cannot be undone."""
    if op in ("Maximum", "Minimum"):
        return _clip(op, x.origins)
    if not isinstance(y, int | float | np.number) or isinstance(y, bool):
        return ()
    step = {"Add": ("add", y), "AddV2": ("add", y), "Mul": ("mul", y)}.get(op)
    if step is None and not swapped:
        step = {"Sub": ("add", -y), "FloorDiv": ("floordiv", y), "FloorMod": ("mod", y)}.get(op)
    if step is None:
        return ()
    number = step[1].item() if isinstance(step[1], np.generic) else step[1]
    return tuple(origin.after(step[0], number) for origin in x.origins)


def _clip(op: str, origins: tuple[Any, ...]) -> tuple[Any, ...]:
    """After Maximum any element may be small, after Minimum any may be large."""
    return tuple(origin.after("filtered" if op == "Maximum" else "clipped") for origin in origins)


def _calculate(op: str, a: Abstract, b: Abstract) -> np.ndarray | None:
    """The value, where both sides are known small integers."""
    x, y = a.constant(), b.constant()
    if x is not None and y is not None and x.size + y.size < 128 and "string" not in (a.dtype, b.dtype):
        function = _NUMPY.get(op)
        if function is not None:
            with np.errstate(all="ignore"):
                return np.asarray(function(x, y))
    if a.dims() is None or b.dims() is None or (op not in _ARITHMETIC and op != "Sub"):
        return None
    shape = np.broadcast_shapes(a.known.shape, b.known.shape)
    left, right = (np.broadcast_to(_objects(v.known), shape).reshape(-1) for v in (a, b))
    result = np.empty(len(left), dtype=object)
    for i, (p, q) in enumerate(zip(left, right, strict=True)):
        result[i] = dims.sub(p, q) if op == "Sub" else dims.apply(_ARITHMETIC[op], p, q)
    return result.reshape(shape)


def _objects(value: np.ndarray) -> np.ndarray:
    if value.dtype == object:
        return value
    result = np.empty(value.shape, dtype=object)
    result[...] = value.tolist() if value.ndim else int(value)
    return result


def _note_dropout(walk: Walk, op: str, a: Abstract, b: Abstract) -> None:
    """TF1's dropout: floor(keep_prob + random), and x / keep_prob."""
    for x, y in ((a, b), (b, a)):
        if op in ("Add", "AddV2") and "random" in x.tags and y.origins:
            walk.mark(y, "keep_prob")
    if op in ("RealDiv", "Div") and b.rank == 0 and b.origins:
        walk.mark(b, "divisor")


def _compare(walk: Walk, op: str, a: Abstract, b: Abstract, shape: Any) -> Abstract:
    claims: list[Claim] = []
    if op == "LogicalAnd":
        claims += a.claims + b.claims
    for x, y, name in ((a, b, _COMPARE.get(op)), (b, a, _MIRROR.get(_COMPARE.get(op, ""), ""))):
        if x.origins and not y.origins and op != "LogicalAnd":
            constant = y.constant()
            if constant is not None and constant.size <= 16 and op in ("Equal", "NotEqual"):
                _note_candidates(walk, x, constant)
            if op in _COMPARE or op == "NotEqual":
                _note_thresholds(walk, x, constant)
            if y.scalar() is not None and name:
                claims += [Claim(name, origin, y.scalar()) for origin in x.origins]
            if "random" in y.tags and name in ("le", "lt", "ge", "gt"):
                walk.mark(x, "drop_rate")
    if op in _COMPARE and a.origins and b.origins:
        facts = {origin.source: walk.sources[origin.source].facts for origin in a.origins + b.origins}
        note_rivals(facts, a.origins, b.origins)
    left, right = a.dims(), b.dims()
    if op == "Equal" and left is not None and right is not None and not (a.origins and b.origins):
        pairs = zip(left, right, strict=True) if len(left) == len(right) else ()
        claims += [Claim("dims", None, pair) for pair in pairs]
    if op in ("LessEqual", "Less", "GreaterEqual", "Greater") and left and right:
        small, large = (left, right) if op.startswith("Less") else (right, left)
        strict = 0 if op.endswith("Equal") else 1
        ordered = zip(small, large, strict=False)
        claims += [Claim("ordered", None, (dims.add(low, strict), high)) for low, high in ordered]
    return Abstract(dtype="bool", shape=shape, claims=tuple(claims), tags=a.tags & b.tags | _where_tags(a, b))


def _where_tags(a: Abstract, b: Abstract) -> frozenset[Any]:
    """Marks a mask as made from a source: what it selects is no longer all of the source."""
    made = {("mask", origin.source) for x in (a, b) for origin in x.origins}
    return frozenset(made | {tag for x in (a, b) for tag in x.tags if isinstance(tag, tuple) and tag[0] == "mask"})


def _note_candidates(walk: Walk, x: Abstract, constant: np.ndarray) -> None:
    for origin in x.origins:
        if not any(step[0] not in ("filtered",) for step in origin.steps):
            facts = walk.sources[origin.source].facts
            facts.candidates += [
                c for c in constant.reshape(-1).tolist() if c not in facts.candidates and c not in ("", b"")
            ]


def select(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    condition, a, b = inputs
    if node.op == "SelectV2" or condition.rank == a.rank:
        broadcast(walk, condition, a if a.shape is not None else b)
    elif condition.rank == 1 and a.shape:
        walk.equations.equate(condition.sizes[0], a.shape[0])
    shape = broadcast(walk, a, b) if node.op == "SelectV2" else (a.shape if a.shape is not None else b.shape)
    if node.op == "Select" and a.shape is not None and b.shape is not None:
        broadcast(walk, a, b, 10)
    # A mask made of the same source replaces its odd values: unknown tokens by hash buckets, padding by 0.
    masked = {tag[1] for tag in condition.tags if isinstance(tag, tuple) and tag[0] == "mask"}
    origins = [o.after("filtered") if o.source in masked else o for o in a.origins + b.origins]
    return Abstract(dtype=a.dtype, shape=shape, origins=tuple(dict.fromkeys(origins)))


def add_many(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    shape = inputs[0].shape
    for other in inputs[1:]:
        shape = broadcast(walk, dataclasses.replace(inputs[0], shape=shape), other, 10) or shape
    return Abstract(dtype=inputs[0].dtype, shape=shape)


def to_text(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x = inputs[0]
    return Abstract(dtype="string", shape=x.shape, origins=tuple(origin.after("text") for origin in x.origins))


def join_strings(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    shape = inputs[0].shape if inputs else UNKNOWN.shape
    for other in inputs[1:]:
        shape = broadcast(walk, Abstract(shape=shape), other)
    return Abstract(dtype="string", shape=shape)


RULES: dict[str, Rule] = {
    **dict.fromkeys(_PASS, keep),
    **dict.fromkeys([*_KEEP_SHAPE, *_POSITIVE], change),
    **dict.fromkeys(_BROADCAST, combine),
    **dict.fromkeys(("Select", "SelectV2"), select),
    **dict.fromkeys(("AddN", "AccumulateNV2"), add_many),
    "BoostedTreesBucketize": bucketize_each,
    "BucketizeWithInputBoundaries": bucketize,
    "Cast": cast,
    "Neg": negate,
    "ReverseV2": reverse,
    "Abs": change,
    "AsString": to_text,
    "StringJoin": join_strings,
}
