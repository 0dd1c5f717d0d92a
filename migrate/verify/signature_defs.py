"""Signatures of any SavedModel as the interface level describes them. Parses files, runs nothing.

A signature is described as JSON: {"tags", "signature", "method", "inputs": {key: {"dtype", "shape", "encoding",
"optional"}}, "outputs": {...}}; inputs and outputs are None for what is callable but has no SignatureDef of its own;
"left_out" says why a migration openly left a signature out.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migrate.graph import index as graph_index
from migrate.graph import shapes
from migrate.model import Asset, GraphVariant, Signature, SignatureTensor
from migrate.readers import protos
from migrate.readers.signatures import parse_signatures


def describe_signature(
    tags: Sequence[str], signature: Signature, index: graph_index.GraphIndex | None = None
) -> dict[str, Any]:
    """With the graph's index, the defaults of optional inputs too."""
    defaults = {key: read_default(index, tensor) for key, tensor in signature.inputs.items()} if index else {}
    entry = _describe(tags, signature)
    for key, value in defaults.items():
        if value is not None:
            entry["inputs"][key]["default"] = value
    return entry


def read_default(index: graph_index.GraphIndex, tensor: SignatureTensor) -> str | None:
    """The value of an optional input as text, where a constant of the graph gives it."""
    if tensor.default is None:
        return None
    ref = graph_index.parse_tensor_name(tensor.default)
    while ref.node in index.nodes and index.nodes[ref.node].op == "Identity":
        ref = index.inputs(ref.node)[0]
    node = index.nodes.get(ref.node)
    if node is None or node.op != "Const":
        return None
    import tensorflow as tf  # only where a default is to be read

    value = tf.make_ndarray(node.attr["value"].tensor)
    return f"{value.dtype} {value.tolist()!r}"[:300]


def _describe(tags: Sequence[str], signature: Signature) -> dict[str, Any]:
    return {
        "tags": list(tags),
        "signature": signature.key,
        "method": signature.method,
        "inputs": {key: _describe_tensor(tensor) for key, tensor in signature.inputs.items()},
        "outputs": {key: _describe_tensor(tensor) for key, tensor in signature.outputs.items()},
    }


def _describe_tensor(tensor: SignatureTensor) -> dict[str, Any]:
    record = tensor.to_record()
    # Names of tensors are no part of an interface.
    return {name: record[name] for name in ("dtype", "shape", "encoding", "optional")}


def describe_variants(variants: Iterable[GraphVariant]) -> list[dict[str, Any]]:
    """All signatures of a TF1 model."""
    found = []
    for variant in variants:
        index = graph_index.GraphIndex(variant.graph_def)
        for signature in variant.signatures.values():
            found.append(describe_signature(variant.tags, _narrow_inputs(signature, index), index))
    return found


def _narrow_inputs(signature: Signature, index: graph_index.GraphIndex) -> Signature:
    """A TensorInfo may leave open what the placeholder does not: what can be fed is what both allow."""
    inputs = {}
    for key, tensor in signature.inputs.items():
        declared = shapes.declared_shape(index, tensor.name) if tensor.encoding.value == "dense" else None
        inputs[key] = dataclasses.replace(tensor, shape=_meet(tensor.shape, declared))
    return dataclasses.replace(signature, inputs=inputs)


def _meet(stated: Any, declared: Any) -> Any:
    if stated is None or declared is None or len(stated) != len(declared):
        return declared if stated is None else stated
    return tuple(b if a is None else a for a, b in zip(stated, declared, strict=True))


def read_variants(path: str) -> list[GraphVariant]:
    """The MetaGraphs of a TF2 SavedModel with their signatures and assets; variables are not parsed.

    Raises:
      CorruptModelError: saved_model.pb cannot be parsed.
    """
    found = []
    for meta_graph in protos.parse_saved_model(path).meta_graphs:
        tags = tuple(sorted(set(meta_graph.meta_info_def.tags)))
        index = graph_index.GraphIndex(meta_graph.graph_def)
        found.append(
            GraphVariant(
                tags=tags,
                graph_def=meta_graph.graph_def,
                signatures=parse_signatures(meta_graph, index, ",".join(tags)),
                collections={},
                variables=(),
                assets=tuple(
                    Asset(
                        tensor=definition.tensor_info.name,
                        filename=definition.filename,
                        path=os.path.join(path, "assets", definition.filename),
                    )
                    for definition in meta_graph.asset_file_def
                ),
                attachments={},
                tensorflow_version=meta_graph.meta_info_def.tensorflow_version,
            )
        )
    return found


def describe_migrated(path: str, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Signatures of a migrated model under the tag sets and keys of its source, by its record.

    The first mode of a piece is the SignatureDef that is really in the file; the others are callable only. What
    the migration left out, and says so, is there as an entry with `left_out`.
    """
    variants = read_variants(path)
    definitions = {s.key: s for variant in variants for s in variant.signatures.values()}
    index = graph_index.GraphIndex(variants[0].graph_def)
    recorded = {key: set(d.defaults) for key, d in protos.parse_saved_model(path).meta_graphs[0].signature_def.items()}
    found = []
    for piece in record["pieces"]:
        for position, mode in enumerate(piece["modes"]):
            definition = definitions.get(piece["signature_def"])
            if definition is None:
                continue  # interface and outputs both say that it is gone
            entry = describe_signature(mode["tags"], dataclasses.replace(definition, key=piece["signature"]), index)
            for key, tensor in entry["inputs"].items():
                if "default" in tensor:
                    # What serves the model has it from the SignatureDef, whatever the graph holds.
                    tensor["served_default"] = key in recorded[piece["signature_def"]]
            if position:
                entry |= {"inputs": None, "outputs": None}
            found.append(entry)
    left_out = {f["where"]: f["message"] for f in record["findings"] if f["code"] == "signature-left-out"}
    for key, message in left_out.items():
        for tags in record["source"]["tag_sets"]:
            empty = {"method": "", "inputs": None, "outputs": None, "left_out": message}
            found.append({"tags": list(tags), "signature": key} | empty)
    return found
