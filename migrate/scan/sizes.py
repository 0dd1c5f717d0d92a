"""Shapes and sizes that no model has: what would fill the memory or the disk before anything is computed.

A lower bound of each tensor's elements (bytes, for strings) is carried through the graph from what is constant. It
sees constants that a single value fills, fills, repetitions, and doublings of doublings; what depends on inputs, and
what the shape of an input multiplies, is left to the limits of the process that runs it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from migrate.scan import schema
from migrate.scan.graphs import MetaGraph, Scope, split_name

MAX_ELEMENTS = 2**31
# Bytes that constants may take beyond what the file holds of them.
MAX_EXPANDED = 2**33
# A dimension product above it is no shape at all (tensorflow/core/framework/tensor_shape.cc refuses the overflow).
_MAX_PRODUCT = 2**62
_MAX_RANK = 254  # tensorflow/core/framework/tensor_shape.h
_MAX_VALUES = 64
# What is larger is cut: a chain of products must not make numbers of a million digits.
_CEILING = 2**64
# Elements of less than a byte (INT4) are kept one a byte.
_ITEM_BYTES = {
    "FLOAT": 4, "DOUBLE": 8, "INT32": 4, "UINT8": 1, "INT16": 2, "INT8": 1, "COMPLEX64": 8, "INT64": 8, "BOOL": 1,
    "QINT8": 1, "QUINT8": 1, "QINT32": 4, "BFLOAT16": 2, "QINT16": 2, "QUINT16": 2, "UINT16": 2, "COMPLEX128": 16,
    "HALF": 2, "UINT32": 4, "UINT64": 8,
}  # fmt: skip

Values = tuple[int, ...]


def find_absurd(meta_graph: MetaGraph) -> Iterator[tuple[str, str]]:
    """Yields (where, what is wrong); a size that is computed matters only where it is run."""
    expanded = 0
    for scope in meta_graph.scopes():
        for node in scope.nodes:
            wrong, more = _check_attributes(node)
            expanded += more
            if wrong:
                yield scope.describe(node.name), wrong
                return
    if expanded > MAX_EXPANDED:
        yield (
            f"tags {meta_graph.label}",
            f"constants of {expanded:,} bytes that a few values fill; {MAX_EXPANDED:,} is the limit",
        )
    for scope in meta_graph.scopes():
        yield from _find_large(scope, meta_graph.reached)


def _check_attributes(node: Any) -> tuple[str, int]:
    """(what is wrong with the shapes and tensors of a node, bytes of its constants that the file does not hold)."""
    expanded = 0
    for name, value in node.attr.items():
        listed = value.list if value.HasField("list") else None
        for number in (value.type, *(listed.type if listed else ())):
            if number and not schema.base_type(number):
                return f"attribute {name}: {number} is no type of a tensor", expanded
        shapes = [value.shape] if value.HasField("shape") else []
        tensors = [value.tensor] if value.HasField("tensor") else []
        if listed:
            shapes.extend(listed.shape)
            tensors.extend(listed.tensor)
        for shape in shapes:
            wrong = _check_shape(shape)
            if wrong:
                return f"attribute {name}: {wrong}", expanded
        for tensor in tensors:
            wrong, more = _check_tensor(tensor)
            expanded += more
            if wrong:
                return f"attribute {name}: {wrong}", expanded
    return "", expanded


def _check_shape(shape: Any) -> str:
    if len(shape.dim) > _MAX_RANK:
        return f"a shape of {len(shape.dim):,} dimensions"
    sizes = [dim.size for dim in shape.dim]
    if any(size < -1 for size in sizes):
        return f"a dimension of {min(sizes)}"
    if math.prod(size for size in sizes if size > 0) > _MAX_PRODUCT:
        return f"a shape of {' x '.join(map(str, sizes[:8]))} elements"
    return ""


def _check_tensor(tensor: Any) -> tuple[str, int]:
    pending = [tensor]
    expanded = 0
    while pending:
        current = pending.pop()
        pending.extend(inner for variant in current.variant_val for inner in variant.tensors)
        if len(current.tensor_shape.dim) > _MAX_RANK:
            return f"a constant of {len(current.tensor_shape.dim):,} dimensions", expanded
        sizes = [dim.size for dim in current.tensor_shape.dim]
        if any(size < 0 for size in sizes):
            return f"a constant with a dimension of {min(sizes)}", expanded
        count = math.prod(sizes)
        if count > MAX_ELEMENTS:
            return f"a constant of {count:,} elements; {MAX_ELEMENTS:,} is the limit", expanded
        size = _ITEM_BYTES.get(schema.base_type(current.dtype), 0)
        stored = len(current.tensor_content)
        if size and stored and stored != count * size:
            return f"a constant of {count:,} elements of {size} bytes holds {stored:,} bytes", expanded
        expanded += 0 if stored else max(count * max(size, 1) - current.ByteSize(), 0)
    return "", expanded


def _find_large(scope: Scope, reached: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    values: dict[str, Values] = {}
    counts: dict[str, int] = {}
    for name in scope.order:
        node = scope.by_name[name]
        inputs = [split_name(text) for text in node.input if not text.startswith("^")]
        known = _fold(node, inputs, values)
        if known is not None and len(known) <= _MAX_VALUES:
            values[name] = tuple(min(max(value, -_CEILING), _CEILING) for value in known)
        counts[name] = count = min(_count(node, inputs, values, counts), _CEILING)
        if count > MAX_ELEMENTS and (scope.name, name) in reached:
            yield scope.describe(name), f"{node.op} makes {count:,} elements; {MAX_ELEMENTS:,} is the limit"
            return


def _constant(node: Any) -> Any:
    return node.attr["value"].tensor if "value" in node.attr else schema.make_message("TensorProto")


def _parse_integers(tensor: Any) -> Values | None:
    """The elements of a small integer constant, None for any other."""
    kind = schema.base_type(tensor.dtype)
    count = math.prod(dim.size for dim in tensor.tensor_shape.dim)
    if kind not in ("INT32", "INT64") or count > _MAX_VALUES:
        return None
    if tensor.tensor_content:
        letter = "i" if kind == "INT32" else "q"
        return struct.unpack(f"<{count}{letter}", tensor.tensor_content)
    found = tuple(tensor.int_val if kind == "INT32" else tensor.int64_val)
    # The last element fills the rest; a tensor without any is of zeros (tensor.proto).
    return (*found, *(found[-1:] or (0,)) * (count - len(found)))[:count]


def _fold(node: Any, inputs: Sequence[str], values: Mapping[str, Values]) -> Values | None:
    """Integers that a node computes from constants, flattened."""
    if node.op == "Const":
        return _parse_integers(_constant(node))
    known = [values.get(name) for name in inputs]
    if not known or known[0] is None:
        return None
    first = known[0]
    if node.op in ("Identity", "Cast", "ExpandDims", "Reshape", "Squeeze", "Snapshot", "StopGradient"):
        return first
    if node.op == "Prod":
        return (math.prod(first),)
    if any(value is None for value in known):
        return None
    parts = [value for value in known if value is not None]
    if node.op in ("Pack", "ConcatV2"):
        return tuple(item for part in (parts if node.op == "Pack" else parts[:-1]) for item in part)
    combine = _ARITHMETIC.get(node.op)
    lengths = set(map(len, parts))
    if combine is not None and len(parts) == 2 and (len(lengths) == 1 or (1 in lengths and 0 not in lengths)):
        length = max(map(len, parts))
        left, right = (part * length if len(part) == 1 else part for part in parts)
        return tuple(combine(a, b) for a, b in zip(left, right, strict=True))
    return None


_ARITHMETIC: Mapping[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "AddV2": lambda a, b: a + b,
    "Mul": lambda a, b: a * b,
    "Sub": lambda a, b: a - b,
    "LeftShift": lambda a, b: a << min(max(b, 0), 64),
}
# Where the shape, or the number of elements, stands among the inputs.
_SHAPED = {
    "Fill": 0, "RandomUniform": 0, "RandomStandardNormal": 0, "TruncatedNormal": 0, "RandomUniformInt": 0,
    "RandomGamma": 0, "RandomPoisson": 0, "RandomPoissonV2": 0, "StatelessRandomUniform": 0, "StatelessRandomNormal": 0,
    "StatelessTruncatedNormal": 0, "StatelessRandomUniformInt": 0, "StatelessRandomUniformV2": 0,
    "StatelessRandomNormalV2": 0, "StatefulUniform": 2, "StatefulStandardNormalV2": 2, "Empty": 0, "BroadcastTo": 1,
    "TensorListReserve": 1, "TensorArrayV3": 0, "TensorArrayV2": 0, "TensorArray": 0, "LinSpace": 2, "ScatterNd": 2,
    "ParameterizedTruncatedNormal": 0, "SparseToDense": 1, "Bincount": 1, "DenseBincount": 1,
    "UnsortedSegmentSum": 2, "UnsortedSegmentProd": 2, "UnsortedSegmentMax": 2, "UnsortedSegmentMin": 2,
    "ResizeBilinear": 1, "ResizeNearestNeighbor": 1, "ResizeBicubic": 1, "ResizeArea": 1, "CropAndResize": 3,
    "ImageProjectiveTransformV2": 2, "ImageProjectiveTransformV3": 2, "ExtractGlimpse": 1, "ExtractGlimpseV2": 1,
    "Conv2DBackpropInput": 0, "Conv3DBackpropInputV2": 0, "StridedSliceGrad": 0,
}  # fmt: skip
# What they add to each dimension is their second input, [rank, 2].
_PADDING = frozenset({"Pad", "PadV2", "MirrorPad"})
_SUMMED = frozenset({"Pack", "ConcatV2", "Concat", "StringJoin", "ParallelConcat", "DynamicStitch", "AddN"})
_LARGEST = frozenset(
    {
        "Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "Snapshot", "StopGradient", "Neg", "Abs", "Square",
        "Sqrt", "Exp", "Log", "Tanh", "Sigmoid", "Relu", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "Maximum",
        "Minimum", "Pow", "Transpose", "ReverseV2", "OnesLike", "ZerosLike", "Select", "SelectV2", "Softmax", "BiasAdd",
        "AsString", "EncodeBase64", "Floor", "Round", "Enter", "Switch", "Merge",
    }
)  # fmt: skip


def _count(node: Any, inputs: Sequence[str], values: Mapping[str, Values], counts: Mapping[str, int]) -> int:
    """Elements of a node's first output at least; 0 where nothing is known."""
    op = node.op
    if op == "Const":
        tensor = _constant(node)
        return int(max(sum(map(len, tensor.string_val)), math.prod(dim.size for dim in tensor.tensor_shape.dim)))
    sizes = [counts.get(name, 0) for name in inputs]
    if op in _SHAPED:
        at = _SHAPED[op]
        shape = values.get(inputs[at]) if at < len(inputs) else None
        return math.prod(max(size, 0) for size in shape) if shape else 0
    if op == "Range" and len(inputs) == 3:
        start, limit, step = (values.get(name) for name in inputs)
        return abs(limit[0] - start[0]) // abs(step[0]) if start and limit and step and step[0] else 0
    if op == "Tile" and len(inputs) == 2:
        return sizes[0] * math.prod(max(size, 0) for size in values.get(inputs[1], (1,)))
    if op in _PADDING and len(inputs) > 1:
        added = values.get(inputs[1], ())
        return math.prod(max(before + after, 1) for before, after in zip(added[::2], added[1::2], strict=False))
    if op == "OneHot" and len(inputs) > 1:
        return sizes[0] * max((values.get(inputs[1]) or (1,))[0], 0)
    if op in _SUMMED and op != "AddN":
        return sum(sizes)
    return max(sizes, default=0) if op in _LARGEST or op == "AddN" else 0
