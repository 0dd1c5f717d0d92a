"""Models that this toolkit migrated, as ModuleSpecs: `hub.Module` goes on working after its module was migrated.

The format: a TF2 SavedModel beside `assets.extra/migration.json` (migrate/write/provenance.py), which tells how
each signature of the old module is called. What differs from the old module: with a training variant's tags, the
moving averages are updated when the outputs are computed, and not by UPDATE_OPS.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from compat.hub import migrated_graphs, module_spec, native_spec, tensor_info

_RECORD = os.path.join("assets.extra", "migration.json")
_ATTACHMENTS = os.path.join("assets.extra", "tfhub_attachments")
_HUB_FILE = "tfhub_module.pb"


def is_migrated(path: str) -> bool:
    """Whether a directory holds a migrated model and no TF1 Hub module."""
    return tf.io.gfile.exists(os.path.join(path, _RECORD)) and not tf.io.gfile.exists(os.path.join(path, _HUB_FILE))


class Loader:
    """Directory of a migrated model -> ModuleSpec, for registry.loader."""

    def is_supported(self, path: str) -> bool:
        return is_migrated(path)

    def __call__(self, path: str) -> MigratedModuleSpec:
        return MigratedModuleSpec(path)


class MigratedModuleSpec(module_spec.ModuleSpec):
    """A ModuleSpec over a migrated model."""

    def __init__(self, path: str) -> None:
        """Reads the record; the model itself is read when the first instance is made.

        Raises:
          OSError: the record cannot be parsed.
        """
        self.path = path
        where = os.path.join(path, _RECORD)
        try:
            with tf.io.gfile.GFile(where, "r") as file:
                self.record = json.loads(file.read())
            self._pieces = {piece["signature"]: piece for piece in self.record["pieces"]}
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"{where} is no record of a migration: {error}") from error

    def get_tags(self) -> list[frozenset[str]]:
        found = {frozenset(mode["tags"]) for piece in self._pieces.values() for mode in piece["modes"]}
        return sorted(found, key=lambda tags: (len(tags), sorted(tags)))

    def get_signature_names(self, tags: Iterable[str] | None = None) -> list[str]:
        return list(self.select_pieces(tags))

    def get_input_info_dict(self, signature: str | None = None, tags: Iterable[str] | None = None) -> dict[str, Any]:
        return _parse_infos(self._get_piece(signature, tags)["inputs"])

    def get_output_info_dict(self, signature: str | None = None, tags: Iterable[str] | None = None) -> dict[str, Any]:
        return _parse_infos(self._get_piece(signature, tags)["outputs"])

    def select_pieces(self, tags: Iterable[str] | None) -> dict[str, Any]:
        """Pieces that a variant has.

        Raises:
          KeyError: no piece has a variant of these tags.
        """
        wanted = set(tags or ())
        found = {
            key: piece
            for key, piece in self._pieces.items()
            if any(set(mode["tags"]) == wanted for mode in piece["modes"])
        }
        if not found:
            raise KeyError(f"The migrated module has no graph with tags: {sorted(wanted)!r}")
        return found

    def _get_piece(self, signature: str | None, tags: Iterable[str] | None) -> Any:
        name = "default" if signature is None else signature
        pieces = self.select_pieces(tags)
        if name not in pieces:
            raise ValueError(f"Signature {name!r} is missing. The module has: {', '.join(sorted(pieces))}")
        return pieces[name]

    def _get_attached_bytes(self, key: str, tags: Iterable[str] | None) -> bytes | None:
        return self.get_attachments(tags).get(key)

    def get_attachments(self, tags: Iterable[str] | None) -> dict[str, bytes]:
        """Attached messages by key."""
        folder = os.path.join(self.path, _ATTACHMENTS)
        names = set(tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else ())
        found = {}
        # A key, which holds no ".", has a file of its own for each variant whose message differs.
        for key in sorted({name.partition(".")[0] for name in names}):
            own = f"{key}.{'_'.join(sorted(tags or ()))}"
            with tf.io.gfile.GFile(os.path.join(folder, own if own in names else key), "rb") as file:
                found[key] = file.read()
        return found

    def _create_impl(self, name: str, trainable: bool, tags: Iterable[str] | None) -> module_spec.ModuleImpl:
        return self._native_spec._create_impl(name=name, trainable=trainable, tags=tags)

    @functools.cached_property
    def _native_spec(self) -> native_spec.NativeModuleSpec:
        return native_spec.NativeModuleSpec(migrated_graphs.build_graphs(self), checkpoint_path=None)


def _parse_infos(described: Mapping[str, Any]) -> dict[str, tensor_info.ParsedTensorInfo]:
    return {key: tensor_info.ParsedTensorInfo.from_type_spec(_parse_spec(item)) for key, item in described.items()}


def _parse_spec(item: Mapping[str, Any]) -> Any:
    shape, dtype = tf.TensorShape(item["shape"]), tf.as_dtype(item["dtype"])
    if item["encoding"] == "coo_sparse":
        return tf.SparseTensorSpec(shape, dtype)
    if item["encoding"] == "ragged":
        return tf.RaggedTensorSpec(shape, dtype, ragged_rank=item["ragged_rank"])
    return tf.TensorSpec(shape, dtype)
