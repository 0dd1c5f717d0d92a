"""Where a migrated model came from: `assets.extra/migration.json`, and the source's attachments beside it."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any

import migrate
from migrate import errors
from migrate.model import Finding, LegacyModel
from migrate.options import RebuildOptions
from migrate.outcome import describe_finding

if TYPE_CHECKING:
    from migrate.rebuild.module import Rebuilt
    from migrate.rebuild.pieces import Piece
    from migrate.write.oldest import OldestTensorFlow

FOLDER = "assets.extra"
FILE = "migration.json"
ATTACHMENTS = "tfhub_attachments"
_SCHEMA_VERSION = 1
_CHUNK = 2**22
_SHARD = re.compile(r"(.+)\.data-\d{5}-of-\d{5}")


def digest_source(path: str) -> str:
    """SHA-256 over names and contents of all files of a model, or over the one file that it is, hex.

    Of a checkpoint's data shards names and sizes: its index holds a checksum of each tensor, so that the digest changes
    with them all the same; `--check_weights` holds the bytes against it.
    """
    digest = hashlib.sha256()
    if os.path.isfile(path):
        for name in _find_parts(path):
            _add_file(digest, name)
        return digest.hexdigest()
    for folder, folders, files in sorted(os.walk(path)):
        folders.sort()
        for name in sorted(files):
            file_path = os.path.join(folder, name)
            digest.update(os.path.relpath(file_path, path).encode() + b"\0")
            shard = _SHARD.fullmatch(name)
            if shard and f"{shard[1]}.index" in files:
                digest.update(os.path.getsize(file_path).to_bytes(8, "little"))
            else:
                _add_file(digest, file_path)
    return digest.hexdigest()


def _find_parts(path: str) -> list[str]:
    """The file; of a checkpoint that is given by its index, all its files."""
    stem, ending = os.path.splitext(path)
    return sorted(glob.glob(f"{glob.escape(stem)}.*")) if ending == ".index" else [path]


def _add_file(digest: Any, path: str) -> None:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)


def describe_piece(piece: Piece) -> dict[str, Any]:
    """How to call a piece, for whoever runs the model without this toolkit's objects."""
    return {
        "signature": piece.plan.key,
        "signature_def": piece.plan.serving_key,
        "attribute": piece.plan.attribute,
        "modes": [{"tags": list(mode.variant.tags), "training": mode.training} for mode in piece.plan.variant_modes],
        "has_training": piece.has_training,
        "has_endpoints": piece.has_endpoints,
        "bare_output": piece.bare_output,
        "positional": list(piece.layout.positional),
        "keywords": dict(piece.layout.keywords),
        "arguments": {key: list(names) for key, names in piece.arguments.items()},
        "inputs": {key: tensor.to_record() for key, tensor in piece.signature.inputs.items()},
        "outputs": {key: tensor.to_record() for key, tensor in piece.signature.outputs.items()},
    }


def describe_migration(
    model: LegacyModel,
    rebuilt: Rebuilt,
    options: RebuildOptions,
    digest: str,
    tensorflow: str,
    findings: tuple[Finding, ...],
    oldest: OldestTensorFlow,
) -> dict[str, Any]:
    """The record. It holds no time, host or path, so that equal sources give equal records."""
    return {
        "schema_version": _SCHEMA_VERSION,
        "tool": {"name": "tf-legacy-migrate", "version": migrate.__version__},
        "tensorflow": tensorflow,
        "oldest_tensorflow": {"version": oldest.version, "reasons": list(oldest.reasons)},
        "source": {
            "name": model.source.origin or os.path.basename(os.path.abspath(model.source.path)),
            "format": model.source.format.value,
            "evidence": list(model.source.evidence),
            "origin": model.source.origin,
            "sha256": digest,
            "tensorflow": model.producer,
            "tag_sets": [list(variant.tags) for variant in model.variants],
        },
        "options": dataclasses.asdict(options),
        "callable": rebuilt.main.plan.serving_key if rebuilt.main else None,
        "pieces": [describe_piece(piece) for piece in rebuilt.pieces],
        "variables": list(rebuilt.state.variables),
        # Of a part of a partitioned variable: the whole's name, and which part (VariableSpec.slice_spec).
        "partitions": {
            name: [spec.checkpoint_key, spec.slice_spec]
            for name, spec in rebuilt.state.specs.items()
            if spec.slice_spec and name in rebuilt.state.variables
        },
        "trainable_variables": [name for name, v in rebuilt.state.variables.items() if v.trainable],
        "regularization_losses": len(getattr(rebuilt.module, "regularization_losses", ())),
        "findings": [describe_finding(finding) for finding in findings],
    }


def write_record(directory: str, record: dict[str, Any]) -> None:
    """Writes (or replaces) the record of a written model."""
    folder = os.path.join(directory, FOLDER)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, FILE)
    with open(f"{path}.tmp", "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, sort_keys=True)
        file.write("\n")
    os.replace(f"{path}.tmp", path)


def read_record(directory: str) -> dict[str, Any] | None:
    """The record of a migrated model, None where there is none."""
    path = os.path.join(directory, FOLDER, FILE)
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except (ValueError, RecursionError) as error:
        raise errors.CorruptModelError(f"no JSON object: {error}", where=path) from error
    return record if isinstance(record, dict) else None


def find_whole(loaded: Any) -> Any:
    """What lists a migrated model's variables and losses as its record does: the root, or what a core keeps beside its
    own (`LegacyModel.core`)."""
    return getattr(loaded, "whole", loaded)


def write_attachments(directory: str, model: LegacyModel) -> None:
    """Attached messages of a hub module, one file a key; per tag set where they differ."""
    written: dict[str, bytes] = {}
    for variant in model.variants:
        for key, value in variant.attachments.items():
            name = key if written.get(key, value) == value else f"{key}.{'_'.join(variant.tags)}"
            written[name] = value
    if not written:
        return
    folder = os.path.join(directory, FOLDER, ATTACHMENTS)
    os.makedirs(folder, exist_ok=True)
    for name, value in written.items():
        with open(os.path.join(folder, name.replace("/", "_")), "wb") as file:
            file.write(value)
