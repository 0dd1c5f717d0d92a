"""Models that this toolkit migrated, as ModuleSpecs: `hub.Module` goes on working after its module was migrated.

The format: a TF2 SavedModel beside `assets.extra/migration.json` (migrate/write/provenance.py), which tells how
each signature of the old module is called. What differs from the old module: with a training variant's tags, the
moving averages are updated when the outputs are computed, and not by UPDATE_OPS; and a partitioned variable is
known by its parts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from compat.hub import module_spec, tensor_info

_RECORD = os.path.join("assets.extra", "migration.json")
_ATTACHMENTS = os.path.join("assets.extra", "tfhub_attachments")
_HUB_FILE = "tfhub_module.pb"
_Keys = tf.compat.v1.GraphKeys


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
        """Reads the record; the model itself is read for each instance.

        Raises:
          OSError: the record cannot be parsed.
        """
        self._path = path
        where = os.path.join(path, _RECORD)
        try:
            with tf.io.gfile.GFile(where, "r") as file:
                self._record = json.loads(file.read())
            self._pieces = {piece["signature"]: piece for piece in self._record["pieces"]}
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"{where} is no record of a migration: {error}") from error

    def get_tags(self) -> list[frozenset[str]]:
        found = {frozenset(mode["tags"]) for piece in self._pieces.values() for mode in piece["modes"]}
        return sorted(found, key=lambda tags: (len(tags), sorted(tags)))

    def get_signature_names(self, tags: Iterable[str] | None = None) -> list[str]:
        return list(self._select(tags))

    def get_input_info_dict(self, signature: str | None = None, tags: Iterable[str] | None = None) -> dict[str, Any]:
        return _parse_infos(self._get_piece(signature, tags)["inputs"])

    def get_output_info_dict(self, signature: str | None = None, tags: Iterable[str] | None = None) -> dict[str, Any]:
        return _parse_infos(self._get_piece(signature, tags)["outputs"])

    def _select(self, tags: Iterable[str] | None) -> dict[str, Any]:
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
        pieces = self._select(tags)
        if name not in pieces:
            raise ValueError(f"Signature {name!r} is missing. The module has: {', '.join(sorted(pieces))}")
        return pieces[name]

    def _get_attached_bytes(self, key: str, tags: Iterable[str] | None) -> bytes | None:
        # A key whose messages differ between variants has a file for each further one.
        for name in (f"{key}.{'_'.join(sorted(tags or ()))}", key):
            path = os.path.join(self._path, _ATTACHMENTS, name)
            if tf.io.gfile.exists(path):
                with tf.io.gfile.GFile(path, "rb") as file:
                    return file.read()
        return None

    def _create_impl(self, name: str, trainable: bool, tags: Iterable[str] | None) -> module_spec.ModuleImpl:
        return MigratedModuleImpl(
            path=self._path, record=self._record, pieces=self._select(tags), trainable=trainable, tags=tags, name=name
        )


class MigratedModuleImpl(module_spec.ModuleImpl):
    """An instance: the SavedModel loaded into the default graph."""

    def __init__(
        self,
        *,
        path: str,
        record: Mapping[str, Any],
        pieces: Mapping[str, Any],
        trainable: bool,
        tags: Iterable[str] | None,
        name: str,
    ) -> None:
        """Loads the model below the name scope `name`.

        Args:
          path: directory.
          record: the migration's record.
          pieces: descriptions of the variant's signatures.
          trainable: whether TRAINABLE_VARIABLES and REGULARIZATION_LOSSES are filled.
          tags: of the variant.
          name: an unused name scope.
        """
        self._pieces = pieces
        self._tags = set(tags or ())
        graph = tf.compat.v1.get_default_graph()
        with tf.control_dependencies(None), tf.compat.v1.name_scope(name):
            self._model = tf.saved_model.load(path)
            loaded = list(getattr(self._model, "variables", ()))
            self._variable_map = dict(zip(record["variables"], loaded, strict=True))
            collected = {id(variable) for variable in graph.get_collection(_Keys.GLOBAL_VARIABLES)}
            for variable in loaded:
                if id(variable) not in collected:
                    graph.add_to_collection(_Keys.GLOBAL_VARIABLES, variable)
            if trainable:
                for key in record["trainable_variables"]:
                    graph.add_to_collection(_Keys.TRAINABLE_VARIABLES, self._variable_map[key])
                for loss in getattr(self._model, "regularization_losses", ()):
                    graph.add_to_collection(_Keys.REGULARIZATION_LOSSES, loss())

    def create_apply_graph(self, signature: str, input_tensors: dict[str, Any], name: str) -> dict[str, Any]:
        piece = self._pieces[signature]
        function = getattr(self._model, piece["attribute"]) if piece["attribute"] else self._model
        positional = {key: input_tensors[key] for key in piece["positional"]}
        arguments: list[Any] = list(positional.values()) if len(positional) == 1 else [positional] if positional else []
        keywords = {parameter: input_tensors[key] for parameter, key in piece["keywords"].items()}
        if piece["has_training"]:
            keywords["training"] = next(m["training"] for m in piece["modes"] if set(m["tags"]) == self._tags)
        if piece["has_endpoints"]:
            keywords["return_endpoints"] = True
        with tf.compat.v1.name_scope(name):
            outputs = function(*arguments, **keywords)
        if isinstance(outputs, dict):
            return dict(outputs)
        return {next(iter(piece["outputs"])): outputs}

    def export(self, path: str, session: Any) -> None:
        """A migrated model is a TF2 SavedModel, which no TF1 Hub code could read.

        Raises:
          NotImplementedError: always.
        """
        raise NotImplementedError(
            "A migrated module is not written as a TF1 Hub module again: load it eagerly with tf.saved_model.load, and "
            "write it with tf.saved_model.save."
        )

    @property
    def variable_map(self) -> dict[str, Any]:
        return self._variable_map


def _parse_infos(described: Mapping[str, Any]) -> dict[str, tensor_info.ParsedTensorInfo]:
    return {key: tensor_info.ParsedTensorInfo.from_type_spec(_parse_spec(item)) for key, item in described.items()}


def _parse_spec(item: Mapping[str, Any]) -> Any:
    shape, dtype = tf.TensorShape(item["shape"]), tf.as_dtype(item["dtype"])
    if item["encoding"] == "coo_sparse":
        return tf.SparseTensorSpec(shape, dtype)
    if item["encoding"] == "ragged":
        return tf.RaggedTensorSpec(shape, dtype, ragged_rank=item["ragged_rank"])
    return tf.TensorSpec(shape, dtype)
