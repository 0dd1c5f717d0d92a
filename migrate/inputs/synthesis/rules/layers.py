"""Ops with weights, and image ops: the weights' shapes say what the inputs' unknown dimensions are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from migrate.inputs.synthesis import dims
from migrate.inputs.synthesis.abstract import Abstract
from migrate.inputs.synthesis.dims import Dim
from migrate.inputs.synthesis.graph_view import get_dtype
from migrate.inputs.synthesis.rules.shaping import read_shape
from migrate.inputs.synthesis.walk import Rule, Walk


def mat_mul(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    a, b = inputs[0], inputs[1]
    batched = node.op.startswith("Batch")
    names = ("adj_x", "adj_y") if batched else ("transpose_a", "transpose_b")
    swap_a, swap_b = (node.attr[name].b for name in names)
    if not batched:
        walk.want_rank(a, 2)
        walk.want_rank(b, 2)
    elif b.rank or a.rank:
        walk.want_rank(a, b.rank or 2)
        walk.want_rank(b, a.rank or 2)
    left, right = (x.shape if x.shape is not None and len(x.shape) >= 2 else (None, None) for x in (a, b))
    rows, inner = (left[-1], left[-2]) if swap_a else (left[-2], left[-1])
    inner_b, columns = (right[-1], right[-2]) if swap_b else (right[-2], right[-1])
    walk.equations.equate(inner, inner_b)
    lead: tuple[Dim, ...] = ()
    if batched:
        lead = left[:-2] if len(left) >= len(right) else right[:-2]
        for x, y in zip(reversed(left[:-2]), reversed(right[:-2]), strict=False):
            if 1 not in (x, y):
                walk.equations.equate(x, y)
    return Abstract(dtype=a.dtype or b.dtype, shape=(*lead, rows, columns))


def bias_add(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, bias = inputs[0], inputs[1]
    if x.shape and bias.shape:
        place = 1 if node.attr["data_format"].s == b"NCHW" and len(x.shape) > 2 else -1
        walk.equations.equate(x.shape[place], bias.shape[0])
    return Abstract(dtype=x.dtype, shape=x.shape)


def _places(node: Any, rank: int) -> tuple[int, list[int]]:
    """(channel axis, spatial axes) of the node's data_format."""
    first = node.attr["data_format"].s.startswith(b"NC")
    return (1, list(range(2, rank))) if first else (rank - 1, list(range(1, rank - 1)))


def _slide(walk: Walk, node: Any, size: Dim, window: Dim, stride: int, dilation: int) -> Dim:
    """Output length of one spatial axis."""
    padding = node.attr["padding"].s
    if padding == b"SAME":
        return dims.apply("ceildiv", size, stride)
    if padding != b"VALID":
        return None
    reach = dims.add(dims.mul(dims.add(window, -1), dilation), 1)
    walk.equations.at_least(size, reach)
    return dims.apply("ceildiv", dims.add(dims.sub(size, reach), 1), stride)


def convolve(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Conv2D, Conv3D, DepthwiseConv2dNative: x [batch, ...space, channels], filter [...space, in, out]."""
    x, kernel = inputs[0], inputs[1]
    rank = 5 if node.op == "Conv3D" else 4
    walk.want_rank(x, rank)
    if rank == 4:
        walk.mark(x, "image")
    if x.rank != rank or kernel.rank != rank:
        return Abstract(dtype=x.dtype, shape=(None,) * rank)
    channel, spatial = _places(node, rank)
    strides, dilations = list(node.attr["strides"].list.i), list(node.attr["dilations"].list.i)
    walk.equations.equate(x.sizes[channel], kernel.sizes[-2])
    out = kernel.sizes[-1] if "Depthwise" not in node.op else dims.mul(kernel.sizes[-2], kernel.sizes[-1])
    shape = list(x.sizes)
    shape[channel] = out
    for i, axis in enumerate(spatial):
        walk.equations.set_role(x.sizes[axis], "spatial")
        dilation = dilations[axis] if dilations else 1
        shape[axis] = _slide(walk, node, x.sizes[axis], kernel.sizes[i], strides[axis], dilation)
    return Abstract(dtype=x.dtype, shape=tuple(shape))


def pool(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x = inputs[0]
    rank = 5 if "3D" in node.op else 4
    walk.want_rank(x, rank)
    if x.rank != rank:
        return Abstract(dtype=x.dtype, shape=(None,) * rank)
    window, strides = list(node.attr["ksize"].list.i), list(node.attr["strides"].list.i)
    shape = list(x.sizes)
    for axis in _places(node, rank)[1]:
        walk.equations.set_role(x.sizes[axis], "spatial")
        shape[axis] = _slide(walk, node, x.sizes[axis], window[axis], strides[axis], 1)
    return Abstract(dtype=x.dtype, shape=tuple(shape))


def transposed_convolution(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    sizes, kernel, x = inputs
    if x.shape is not None and kernel.shape is not None:
        walk.equations.equate(x.shape[_places(node, len(x.shape))[0]], kernel.shape[-1])
        for axis in _places(node, len(x.shape))[1]:
            walk.equations.set_role(x.sizes[axis], "spatial")
    return Abstract(dtype=x.dtype, shape=read_shape(walk, sizes))


def normalize(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """FusedBatchNorm: scale, offset, ... are [channels]."""
    x = inputs[0]
    walk.want_rank(x, 4)
    vector = inputs[1].shape
    if x.shape and len(x.shape) == 4 and vector:
        walk.equations.equate(x.shape[_places(node, 4)[0]], vector[0])
    return [Abstract(dtype=x.dtype, shape=x.shape)] + [Abstract(dtype="float32", shape=vector)] * 5


def resize(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, size = inputs[0], read_shape(walk, inputs[1])
    walk.want_rank(x, 4)
    walk.mark(x, "image")
    if x.rank != 4:
        return Abstract(dtype="float32", shape=(None, *(size or (None, None)), None))
    for axis in (1, 2):
        walk.equations.set_role(x.sizes[axis], "spatial")
    walk.equations.set_role(x.sizes[3], "channel")
    dtype = x.dtype if "Nearest" in node.op else "float32"
    return Abstract(dtype=dtype, shape=(x.sizes[0], *(size or (None, None)), x.sizes[3]), origins=x.origins)


def crop_and_resize(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    image, boxes, box_index = inputs[:3]
    size = read_shape(walk, inputs[3]) or (None, None)
    walk.want_rank(image, 4)
    walk.want_rank(boxes, 2)
    if image.shape is not None:
        walk.bound(box_index, 0, image.shape[0])
    if boxes.shape is not None and box_index.shape:
        walk.equations.equate(boxes.shape[0], box_index.shape[0])
        walk.equations.equate(boxes.shape[1], 4)
    count = boxes.shape[0] if boxes.shape else None
    return Abstract(dtype="float32", shape=(count, *size, image.sizes[3] if image.rank == 4 else None))


def block_cell(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """BlockLSTM: x [time, batch, in], w [in + cells, 4 * cells]; LSTMBlockCell: x [batch, in]."""
    loop = node.op.startswith("BlockLSTM")
    x, cs, h, w = inputs[1:5] if loop else inputs[:4]
    walk.want_rank(x, 3 if loop else 2)
    cells = dims.exact_div(w.sizes[1], 4)
    walk.equations.equate(dims.add(x.sizes[-1], cells), w.sizes[0])
    for state in (cs, h):
        walk.equations.equate(state.sizes[-1], cells)
        walk.equations.equate(state.sizes[0], x.sizes[-2])
    if loop:
        walk.bound(inputs[0], 0, dims.add(x.sizes[0], 1))
    return [Abstract(dtype=x.dtype, shape=(*x.sizes[:-1], cells))] * 7


def cross_entropy(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    logits, labels = inputs[0], inputs[1]
    sparse = node.op.startswith("Sparse")
    walk.want_rank(logits, 2)
    walk.want_rank(labels, 1 if sparse else 2)
    if logits.rank == 2:
        for a, b in zip(logits.sizes, labels.shape or (), strict=False):
            walk.equations.equate(a, b)
        if sparse:
            walk.bound(labels, 0, logits.sizes[1])
    lead = logits.shape[:1] if logits.shape else None
    return [Abstract(dtype=logits.dtype, shape=lead), Abstract(dtype=logits.dtype, shape=logits.shape)]


def in_top_k(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    predictions, targets = inputs[0], inputs[1]
    walk.want_rank(predictions, 2)
    walk.want_rank(targets, 1)
    if predictions.rank == 2:
        walk.bound(targets, 0, predictions.sizes[1])
        if targets.shape:
            walk.equations.equate(predictions.sizes[0], targets.shape[0])
    return Abstract(dtype="bool", shape=targets.shape)


def einsum(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Letters that occur twice are equal dimensions; "..." tells nothing."""
    terms, _, out = node.attr["equation"].s.decode().replace(" ", "").partition("->")
    if "." in terms:
        return Abstract(dtype=get_dtype(node, "T"))
    sizes: dict[str, Dim] = {}
    for term, x in zip(terms.split(","), inputs, strict=True):
        walk.want_rank(x, len(term))
        for letter, d in zip(term, x.shape or (), strict=False):
            if sizes.get(letter) is not None:
                walk.equations.equate(sizes[letter], d)
            else:
                sizes[letter] = d
    return Abstract(dtype=get_dtype(node, "T"), shape=tuple(sizes.get(letter) for letter in out))


def space_to_depth(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    x, block = inputs[0], node.attr["block_size"].i
    walk.want_rank(x, 4)
    if x.rank != 4:
        return dataclasses.replace(x, shape=(None,) * 4)
    batch, height, width, channels = x.sizes
    if node.op == "SpaceToDepth":
        walk.equations.divides(block, height)
        walk.equations.divides(block, width)
        sides = [dims.apply("floordiv", side, block) for side in (height, width)]
        return Abstract(dtype=x.dtype, shape=(batch, *sides, dims.mul(channels, block * block)))
    sides = [dims.mul(side, block) for side in (height, width)]
    return Abstract(dtype=x.dtype, shape=(batch, *sides, dims.apply("floordiv", channels, block * block)))


def spectrogram(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """AudioSpectrogram: [samples, channels] -> [channels, frames, frequencies]."""
    x, window, stride = inputs[0], node.attr["window_size"].i, node.attr["stride"].i
    walk.want_rank(x, 2)
    if x.rank != 2:
        return Abstract(dtype="float32", shape=(None,) * 3)
    walk.equations.set_role(x.sizes[0], "samples")
    walk.equations.at_least(x.sizes[0], window)
    frames = dims.add(dims.apply("floordiv", dims.add(x.sizes[0], -window), stride), 1)
    size = 1 << (window - 1).bit_length()
    return Abstract(dtype="float32", shape=(x.sizes[1], frames, size // 2 + 1))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), mat_mul),
    **dict.fromkeys(("BiasAdd", "BiasAddV1"), bias_add),
    **dict.fromkeys(("Conv2D", "Conv3D", "DepthwiseConv2dNative"), convolve),
    **dict.fromkeys(("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D"), pool),
    "Conv2DBackpropInput": transposed_convolution,
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), normalize),
    **dict.fromkeys(("ResizeBilinear", "ResizeBicubic", "ResizeNearestNeighbor", "ResizeArea"), resize),
    "CropAndResize": crop_and_resize,
    **dict.fromkeys(("BlockLSTM", "BlockLSTMV2", "LSTMBlockCell"), block_cell),
    **dict.fromkeys(("SparseSoftmaxCrossEntropyWithLogits", "SoftmaxCrossEntropyWithLogits"), cross_entropy),
    **dict.fromkeys(("InTopK", "InTopKV2"), in_top_k),
    "Einsum": einsum,
    **dict.fromkeys(("SpaceToDepth", "DepthToSpace"), space_to_depth),
    "AudioSpectrogram": spectrogram,
}
