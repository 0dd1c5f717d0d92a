"""Ops that decode strings: what comes out is a source of its own, which is encoded again for the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from migrate.inputs.synthesis.abstract import Abstract, Decoder, Origin
from migrate.inputs.synthesis.dims import Dim
from migrate.inputs.synthesis.graph_view import get_dtype, name_dtype
from migrate.inputs.synthesis.rules.shaping import make_dims
from migrate.inputs.synthesis.walk import Rule, Walk


def decode(
    walk: Walk,
    x: Abstract,
    kind: str,
    dtype: str,
    shape: Sequence[Dim] | None,
    *,
    role: str = "",
    options: tuple[Any, ...] = (),
) -> Abstract:
    """Notes the decoder on each source of `x`; returns the decoded elements, `shape` for each string."""
    for origin in x.origins:
        if any(step[0] in ("lookup", "opaque", "text") for step in origin.steps):
            continue
        name = f"{origin.source}|{kind}"
        child = walk.add_source(name, dtype, shape, role)
        facts = walk.sources[origin.source].facts
        if not any(decoder.children == (name,) for decoder in facts.decoders):
            facts.decoders.append(Decoder(kind, children=(name,), options=options))
        full = None if child.shape is None or x.shape is None else (*x.shape, *child.shape)
        return Abstract(dtype=dtype, shape=full, origins=(Origin(name),))
    full = None if shape is None or x.shape is None else (*x.shape, *shape)
    return Abstract(dtype=dtype, shape=full)


_FORMATS = {"DecodePng": "png", "DecodeGif": "gif", "DecodeBmp": "bmp", "DecodeImage": "jpeg"}


def decode_image(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """Pixels [height, width, channels]; a GIF has frames before them."""
    x = inputs[0]
    walk.want_rank(x, 0)
    file_format = _FORMATS.get(node.op, "jpeg")
    channels: Dim = node.attr["channels"].i or 3
    if node.op == "DecodeGif":
        channels = 3
    dtype = get_dtype(node, "dtype") or "uint8"
    lead: tuple[Dim, ...] = (2,) if node.op == "DecodeGif" else ()
    result = decode(walk, x, "image", dtype, (*lead, None, None, channels), role="spatial", options=(file_format,))
    for origin in result.origins:
        walk.sources[origin.source].facts.marks.add("image")
    return result


def image_shape(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    decode_image(walk, node, inputs)
    return Abstract(dtype="int32", shape=(3,))


def decode_wav(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    walk.want_rank(inputs[0], 0)
    samples = node.attr["desired_samples"].i
    channels = node.attr["desired_channels"].i
    shape = (samples if samples > 0 else None, channels if channels > 0 else 1)
    audio = decode(walk, inputs[0], "wav", "float32", shape, role="samples")
    return [audio, Abstract(dtype="int32", shape=())]


def decode_base64(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    return decode(walk, inputs[0], "base64", "string", ())


def decode_raw(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    dtype = get_dtype(node, "out_type")
    length: Dim = None
    if node.op == "DecodePaddedRaw":
        width = {"float64": 8, "int64": 8, "uint8": 1, "int8": 1, "float16": 2, "int16": 2, "uint16": 2}.get(dtype, 4)
        length = None if inputs[1].scalar() is None else int(inputs[1].scalar()) // width
    order = "<" if node.attr["little_endian"].b or "little_endian" not in node.attr else ">"
    return decode(walk, inputs[0], "raw", dtype, (length,), options=(order,))


def decode_csv(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """One column for each type; the columns are sources of scalars."""
    x = inputs[0]
    types = [name_dtype(number) for number in node.attr["OUT_TYPE"].list.type]
    delimiter = node.attr["field_delim"].s or b","
    selected = list(node.attr["select_cols"].list.i) or list(range(len(types)))
    columns = []
    for origin in x.origins[:1]:
        for i, dtype in enumerate(types):
            columns.append(walk.add_source(f"{origin.source}|csv/{i}", dtype, ()).name)
        decoder = Decoder("csv", children=tuple(columns), options=(delimiter, tuple(selected)))
        walk.sources[origin.source].facts.decoders.append(decoder)
    origins: list[tuple[Origin, ...]] = [(Origin(name),) for name in columns] or [()] * len(types)
    return [Abstract(dtype=t, shape=x.shape, origins=o) for t, o in zip(types, origins, strict=True)]


def parse_tensor(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    walk.want_rank(inputs[0], 0)
    return decode(walk, inputs[0], "tensor", get_dtype(node, "out_type"), None)


def decode_json_example(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    return decode(walk, inputs[0], "json_example", "string", ())


def decompress(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    return decode(walk, inputs[0], "compressed", "string", (), options=(node.attr["compression_type"].s,))


def string_to_number(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> Abstract:
    """The number in the string: bounds and buckets of it are those of a numeric source."""
    x = inputs[0]
    return decode(walk, x, "number", get_dtype(node, "out_type") or "float32", ())


def split_text(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """StringSplit: (indices, values, shape) of the tokens, [rows, longest]."""
    x = inputs[0]
    walk.want_rank(x, 1)
    separator = (inputs[1].scalar() if len(inputs) > 1 else None) or b" "
    if node.op == "StringSplit" and separator != b" ":
        separator = separator[:1]  # Each character of the delimiter splits.
    tokens = decode(walk, x, "sentence", "string", (), options=(separator,))
    return [
        Abstract(dtype="int64", shape=(None, 2)),
        Abstract(dtype="string", shape=(None,), origins=tokens.origins),
        Abstract(dtype="int64", shape=(2,), value=make_dims([x.shape[0] if x.shape else None, None])),
    ]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("DecodeJpeg", "DecodePng", "DecodeGif", "DecodeBmp", "DecodeImage", "DecodeAndCropJpeg"),
        decode_image,
    ),
    "ExtractJpegShape": image_shape,
    "DecodeWav": decode_wav,
    "DecodeBase64": decode_base64,
    **dict.fromkeys(("DecodeRaw", "DecodePaddedRaw"), decode_raw),
    "DecodeCSV": decode_csv,
    "ParseTensor": parse_tensor,
    "DecodeJSONExample": decode_json_example,
    "DecodeCompressed": decompress,
    "StringToNumber": string_to_number,
    **dict.fromkeys(("StringSplit", "StringSplitV2"), split_text),
}
