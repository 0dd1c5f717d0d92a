"""Signatures that were recorded before SavedModel: as collections of a meta graph.

- SessionBundle (tensorflow/contrib/session_bundle of TF 1.x): `serving_signatures` holds one Any with a
  tensorflow.serving.Signatures (manifest.proto), `serving_init_op` the op that fills tables, `serving_assets` files.
- Cloud ML of 2016: `inputs` and `outputs`, each one JSON object, alias -> tensor name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from migrate import errors, wire

_DEFAULT = "serving_default"
_METHODS = {1: "tensorflow/serving/regress", 2: "tensorflow/serving/classify", 3: "tensorflow/serving/predict"}
_PREDICT = _METHODS[3]
# Fields of RegressionSignature and ClassificationSignature, by the keys that SavedModel has for them.
_FIELDS = {1: (("inputs", 1), ("outputs", 2)), 2: (("inputs", 1), ("classes", 2), ("scores", 3))}


def adopt_signatures(meta_graph: Any) -> None:
    """Makes SignatureDefs of what the collections say, and the init op and files of a SessionBundle those of a
    SavedModel, in place. What a MetaGraph states itself stays."""
    collections = meta_graph.collection_def
    found: dict[str, tuple[str, Mapping[str, str], Mapping[str, str]]] = {}
    if "serving_signatures" in collections:
        for packed in collections["serving_signatures"].any_list.value:
            found |= _parse_session_bundle(packed.value)
    if "serving_init_op" in collections and "legacy_init_op" not in collections:
        collections["legacy_init_op"].CopyFrom(collections["serving_init_op"])
    if "serving_assets" in collections and not meta_graph.asset_file_def:
        for packed in collections["serving_assets"].any_list.value:
            fields = _parse_message(packed.value)
            definition = meta_graph.asset_file_def.add(filename=wire.parse_text(fields.get(2, [0])[-1]))
            definition.tensor_info.name = _parse_binding(fields.get(1, [b""])[-1])
    sides = [_parse_json(collections[key]) if key in collections else {} for key in ("inputs", "outputs")]
    if sides[0] and sides[1] and not found:
        found[_DEFAULT] = (_PREDICT, sides[0], sides[1])
    for key, (method, inputs, outputs) in found.items():
        if key in meta_graph.signature_def:
            continue
        definition = meta_graph.signature_def[key]
        definition.method_name = method
        for side, tensors in ((definition.inputs, inputs), (definition.outputs, outputs)):
            for name, tensor in tensors.items():
                side[name].name = tensor


def _parse_session_bundle(data: bytes) -> dict[str, tuple[str, Mapping[str, str], Mapping[str, str]]]:
    """Signatures{default_signature = 1, named_signatures = 2}; the generic pair `inputs`, `outputs` is one signature
    (tensorflow/contrib/session_bundle/bundle_shim.py)."""
    found: dict[str, tuple[str, Mapping[str, str], Mapping[str, str]]] = {}
    try:
        fields = _parse_message(data)
        named = {}
        for entry in fields.get(2, []):
            parts = _parse_message(entry)
            named[wire.parse_text(parts.get(1, [0])[-1])] = _parse_signature(parts.get(2, [b""])[-1])
        default = [_parse_signature(value) for value in fields.get(1, [])]
    except (errors.CorruptModelError, TypeError):
        return {}
    for key, (kind, tensors) in [*named.items(), *((_DEFAULT, signature) for signature in default)]:
        if kind in _FIELDS:
            outputs = {name: tensor for name, tensor in tensors.items() if name != "inputs"}
            found[key] = (_METHODS[kind], {"inputs": tensors.get("inputs", "")}, outputs)
    pair = [named.get(key, (0, {})) for key in ("inputs", "outputs")]
    if all(kind == 3 for kind, _ in pair):
        key = "predict" if _DEFAULT in found else _DEFAULT
        found[key] = (_PREDICT, pair[0][1], pair[1][1])
    return found


def _parse_signature(data: Any) -> tuple[int, dict[str, str]]:
    """Signature{regression = 1 | classification = 2 | generic = 3} -> (which, tensor names by key)."""
    for kind, values in _parse_message(data).items():
        fields = _parse_message(values[-1])
        if kind in _FIELDS:
            return kind, {key: _parse_binding(fields[n][-1]) for key, n in _FIELDS[kind] if n in fields}
        if kind == 3:  # GenericSignature: map<string, TensorBinding> map = 1
            entries = [_parse_message(entry) for entry in fields.get(1, [])]
            return kind, {wire.parse_text(e.get(1, [0])[-1]): _parse_binding(e.get(2, [b""])[-1]) for e in entries}
    return 0, {}


def _parse_binding(data: Any) -> str:
    """TensorBinding{tensor_name = 1}."""
    return wire.parse_text(_parse_message(data).get(1, [0])[-1])


def _parse_message(data: Any) -> dict[int, list[Any]]:
    if isinstance(data, int):
        raise errors.CorruptModelError("a number stands where a message should")
    return dict(wire.parse_fields(data))


def _parse_json(collection: Any) -> dict[str, str]:
    """One JSON object of strings; {} for a collection of that name with something else in it."""
    values = collection.bytes_list.value
    try:
        parsed = json.loads(values[0].decode()) if len(values) == 1 else None
    except ValueError:
        return {}
    fits = isinstance(parsed, dict) and all(isinstance(name, str) for name in parsed.values())
    return dict(parsed) if fits and parsed is not None else {}
