"""Inputs as a person would look at them: images as PNG, texts as text, numbers as a few numbers."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np

from migrate.arrays import RaggedValue, SparseValue, is_float
from migrate.inputs.calls import Call
from migrate.inputs.synthesis.images import encode_png
from migrate.verdict import InputPreview

_MOST, _WIDTH, _ITEMS = 48, 300, 12
_MAGIC = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"BM": "image/bmp"}
_LARGEST_IMAGE = 40_000


def preview_calls(calls: Iterable[Call]) -> tuple[InputPreview, ...]:
    """The first inputs of the calls."""
    found: list[InputPreview] = []
    for call in calls:
        for key, value in call.inputs.items():
            if len(found) < _MOST:
                found.append(_preview(call.id, key, value))
    return tuple(found)


def _preview(where: str, key: str, value: Any) -> InputPreview:
    kind = ""
    shape: tuple[int, ...] = ()
    if isinstance(value, SparseValue):
        kind, shape, value = "sparse ", tuple(int(n) for n in value.dense_shape), value.values
    elif isinstance(value, RaggedValue):
        kind, value = "ragged ", value.flat_values
    array = np.asarray(value)
    return InputPreview(
        where=where,
        key=key,
        dtype=kind + ("string" if array.dtype.kind == "O" else array.dtype.name),
        shape=shape or array.shape,
        text=_spell(array),
        image=_find_image(array),
    )


def _spell(array: np.ndarray) -> str:
    items = [_spell_item(item) for item in array.ravel()[:_ITEMS]]
    more = " …" if array.size > _ITEMS else ""
    text = ", ".join(items) + more
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _spell_item(item: Any) -> str:
    if isinstance(item, bytes):
        try:
            text = item.decode("utf-8")
        except UnicodeDecodeError:
            return f"{len(item)} bytes {item[:8].hex()}…"
        return repr(text) if text.isprintable() else f"{len(item)} bytes {item[:16]!r}…"
    return f"{float(item):.6g}" if isinstance(item, np.floating) or is_float(np.asarray(item).dtype) else str(item)


def _find_image(array: np.ndarray) -> str:
    """The first image of a batch as a data URI: encoded images as they stand, floats in [0, 1] and bytes as PNG."""
    if array.dtype.kind == "O" and array.size:
        data = array.ravel()[0]
        for magic, media in _MAGIC.items():
            if data.startswith(magic) and len(data) <= _LARGEST_IMAGE:
                return f"data:{media};base64,{base64.b64encode(data).decode()}"
        return ""
    pixels = array[0] if array.ndim == 4 and len(array) else array
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3) or min(pixels.shape[:2]) < 4:
        return ""
    if is_float(pixels.dtype):
        wide = pixels.astype(np.float64)
        if not np.isfinite(wide).all() or wide.min() < 0:
            return ""
        scale = 255.0 if wide.max() <= 1 else 1.0
        pixels = np.clip(wide * scale, 0, 255).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        return ""
    step = max(1, max(pixels.shape[:2]) // 96)
    return f"data:image/png;base64,{base64.b64encode(encode_png(pixels[::step, ::step])).decode()}"
