"""MetaGraphDef -> GraphVariant: the one place that knows how TF1 spells collections, assets and init ops."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import message

from migrate import errors, wire
from migrate.graph import index as graph_index
from migrate.model import Asset, Finding, GraphVariant, Severity
from migrate.options import ReadOptions
from migrate.readers import inference, signatures, state
from migrate.schema import messages

# tensorflow/python/saved_model/constants.py and, for modules, tensorflow_hub/saved_model_lib.py (0.12).
_MAIN_OP = "saved_model_main_op"
_LEGACY_INIT_OP = "legacy_init_op"
_ASSETS = "saved_model_assets"
_LOSSES = "losses"
_ATTACHMENTS = "hub_module_attachments"


def parse_meta_graph(
    meta_graph: Any, directory: str, entries: Mapping[str, Any], options: ReadOptions
) -> tuple[GraphVariant, tuple[Finding, ...]]:
    """Parses one MetaGraph.

    Args:
      meta_graph: MetaGraphDef.
      directory: of the SavedModel.
      entries: checkpoint entries by key.
      options: `inputs` and `outputs` make a signature where there is none.

    Raises:
      UsageError: they name tensors that the graph does not have.
      CorruptModelError: signatures or collections name what the graph lacks, or an asset lies outside the model.
    """
    info = meta_graph.meta_info_def
    tags = tuple(sorted(set(info.tags)))
    label = ",".join(tags) or "(no tags)"
    index = graph_index.GraphIndex(meta_graph.graph_def)
    collections = parse_collections(meta_graph)
    restore_op = graph_index.parse_tensor_name(meta_graph.saver_def.restore_op_name).node
    restored = state.find_restored(index, restore_op)
    init_ops, findings = _find_init_ops(meta_graph, collections, index, label)
    assets = _parse_assets(meta_graph, directory, index)
    findings += _find_lost_assets(assets, label)
    parsed = signatures.parse_signatures(meta_graph, index, label)
    if not parsed or options.inputs or options.outputs:
        made, inferred = inference.make_signature(
            index,
            label,
            (restore_op, *init_ops),
            meta_graph.saver_def.filename_tensor_name,
            options,
            list(map(str, collections.get(_LOSSES, ()))),
        )
        parsed = parsed | made
        findings += inferred
    return (
        GraphVariant(
            tags=tags,
            graph_def=meta_graph.graph_def,
            signatures=parsed,
            collections=collections,
            variables=state.parse_variables(meta_graph, index, restored, entries),
            assets=assets,
            attachments=parse_attachments(collections),
            init_ops=init_ops,
            table_initializers=tuple(
                graph_index.parse_tensor_name(name).node
                for name in collections.get("table_initializer", ())
                if graph_index.parse_tensor_name(name).node in index.nodes
            ),
            restore_op=restore_op,
            restored=restored,
            producer_ops=info.stripped_op_list,
            tensorflow_version=info.tensorflow_version,
        ),
        findings,
    )


def parse_collections(meta_graph: Any) -> dict[str, tuple[Any, ...]]:
    """Collections by name: node lists as names, byte, number and Any lists as they stand."""
    found: dict[str, tuple[Any, ...]] = {}
    for key in sorted(meta_graph.collection_def):
        definition = meta_graph.collection_def[key]
        kind = definition.WhichOneof("kind")
        found[key] = tuple(getattr(definition, kind).value) if kind else ()
    return found


def _find_init_ops(
    meta_graph: Any, collections: Mapping[str, tuple[Any, ...]], index: graph_index.GraphIndex, label: str
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """TF's loader looks at the init signature, then main_op, then legacy_init_op (cc/saved_model/loader_util.cc)."""
    named: list[tuple[str, ...]] = []
    definition = meta_graph.signature_def.get(signatures.INIT_OP_KEY)
    if definition is not None:
        named.append(tuple(info.name for info in definition.outputs.values()))
    named.extend(tuple(map(str, collections.get(key, ()))) for key in (_MAIN_OP, _LEGACY_INIT_OP))
    chosen = next((names for names in named if names), ())
    ops = tuple(dict.fromkeys(graph_index.parse_tensor_name(name).node for name in chosen))
    lost = [name for name in ops if name not in index.nodes]
    if lost:
        raise errors.CorruptModelError(
            f"the init op {', '.join(lost)} is not in the graph", where=label, hint="export the model again"
        )
    if len(ops) > 1:
        return ops, (
            Finding(
                code="several-init-ops",
                severity=Severity.INFO,
                where=label,
                message=f"TF1's loader takes one init op; all {len(ops)} are run: {', '.join(ops)}",
            ),
        )
    return ops, ()


def parse_asset_files(meta_graph: Any) -> dict[str, str]:
    """Tensor that holds an asset's path -> name of its file below `assets/`."""
    definitions = list(meta_graph.asset_file_def)
    if not definitions and _ASSETS in meta_graph.collection_def:
        for packed in meta_graph.collection_def[_ASSETS].any_list.value:
            definition = messages.find_message("tensorflow.AssetFileDef")()
            if packed.Unpack(definition):
                definitions.append(definition)
    return {str(graph_index.parse_tensor_name(d.tensor_info.name)): d.filename for d in definitions}


def _parse_assets(meta_graph: Any, directory: str, index: graph_index.GraphIndex) -> tuple[Asset, ...]:
    folder = os.path.join(directory, "assets")
    found = []
    for tensor, filename in parse_asset_files(meta_graph).items():
        # Assets are copied into the result: a model from elsewhere must not reach for other files of this machine.
        if os.path.isabs(filename) or ".." in filename.replace("\\", "/").split("/"):
            raise errors.CorruptModelError(
                f"the asset {filename!r} lies outside the folder of assets", where=folder, hint="do not trust the model"
            )
        if graph_index.parse_tensor_name(tensor).node in index.nodes:
            found.append(Asset(tensor=tensor, filename=filename, path=os.path.join(folder, filename)))
    return tuple(found)


def _find_lost_assets(assets: Sequence[Asset], label: str) -> tuple[Finding, ...]:
    """A file that is gone is an error only for what needs it: the rebuild tells."""
    return tuple(
        Finding(
            code="asset-missing",
            severity=Severity.WARNING,
            where=f"{label}/{asset.tensor}",
            message=f"the asset file {asset.filename} is missing",
            hint="no matter unless a signature needs it; else copy the model again, with its assets folder",
        )
        for asset in assets
        if not os.path.exists(asset.path)
    )


def parse_attachments(collections: Mapping[str, tuple[Any, ...]]) -> dict[str, bytes]:
    """ModuleAttachment{key = 1, value = 2} (tensorflow_hub/module_attachment.proto)."""
    found = {}
    for data in collections.get(_ATTACHMENTS, ()):
        try:
            fields = wire.parse_fields(data)
        except (errors.CorruptModelError, message.DecodeError, TypeError):
            continue
        value = fields.get(2, [b""])[-1]
        found[wire.parse_text(fields.get(1, [0])[-1])] = b"" if isinstance(value, int) else bytes(value)
    return found
