"""The graph variants of a module: MetaGraphs in memory, and as a SavedModel directory.

In memory no MetaGraph holds an asset collection: the Const nodes of `asset_filepaths` hold real paths. On disk
they hold a marker and `saved_model_assets` names the files. `add_graph_copy`, `load` and `export` keep this.

Names are those of tensorflow_hub.saved_model_lib.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from compat import reading
from compat.hub import protos, storage, tf_utils
from migrate.graph import index as graph_index
from migrate.readers import metagraph

_constants = tf.compat.v1.saved_model.constants
# tensorflow_hub/saved_model_lib.py (0.12): the collection of serialized ModuleAttachments.
ATTACHMENT_COLLECTION_SAVED = "hub_module_attachments"
_ASSET_MARKER = b"SAVEDMODEL-ASSET"

# Keys that are no strings: TF's exporter leaves such collections alone. They live in the module_fn's graph only.
_SIGNATURES = ("__hub_signatures",)
_ATTACHED = ("__hub_attachments",)

# Attributes that a current TensorFlow writes with a value, and which TF 1.15's importer refuses as unknown.
_LATE_ATTRIBUTES = (("VarHandleOp", "debug_name"),)


def add_signature(key: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
    """Adds a signature to the default graph; a later one of the same key replaces it.

    Raises:
      TypeError: a value is no tensor.
    """
    build = tf.compat.v1.saved_model.utils.build_tensor_info
    sides = [{name: build(value) for name, value in side.items()} for side in (inputs, outputs)]
    definition = tf.compat.v1.saved_model.signature_def_utils.build_signature_def(*sides)
    tf.compat.v1.add_to_collection(_SIGNATURES, (key, definition))


def attach_bytes(key: str, data: bytes) -> None:
    """Attaches bytes to the default graph; a later attachment of the same key replaces it."""
    tf.compat.v1.add_to_collection(_ATTACHED, protos.ModuleAttachment(key=key, value=data))


class SavedModelHandler:
    """MetaGraphs by tag set."""

    def __init__(self, saved_model: Any = None) -> None:
        self._proto = saved_model or saved_model_pb2.SavedModel()

    @property
    def meta_graphs(self) -> list[Any]:
        return list(self._proto.meta_graphs)

    def get_tags(self) -> list[frozenset[str]]:
        """Tag sets as tensorflow_hub ordered them: a subset before its supersets, else in the order of the graphs."""
        return sorted(frozenset(meta_graph.meta_info_def.tags) for meta_graph in self._proto.meta_graphs)

    def get_meta_graph(self, tags: Iterable[str] | None = None) -> Any:
        """The MetaGraph of exactly these tags; not to be changed.

        Raises:
          KeyError: there is none, or more than one.
        """
        wanted = set(tags or ())
        matches = [m for m in self._proto.meta_graphs if set(m.meta_info_def.tags) == wanted]
        if len(matches) != 1:
            count = "several graphs" if matches else "no graph"
            raise KeyError(f"The module has {count} with tags: {sorted(wanted)!r}")
        return matches[0]

    def get_meta_graph_copy(self, tags: Iterable[str] | None = None) -> Any:
        """get_meta_graph, to be changed at will."""
        return _copy(self.get_meta_graph(tags))

    def get_attached_bytes_map(self, tags: Iterable[str] | None = None) -> dict[str, bytes]:
        """See the function of that name."""
        return get_attached_bytes_map(self.get_meta_graph(tags))

    def add_graph_copy(self, graph: Any, tags: Iterable[str] | None = None) -> None:
        """Adds a copy of a graph with what `add_signature` and `attach_bytes` said in it.

        Raises:
          ValueError: no signature was declared.
        """
        signatures = graph.get_collection(_SIGNATURES)
        if not signatures:
            raise ValueError("No signatures present. Call hub.add_signature(...) at least once in the module_fn.")
        # Attributes at their defaults are left out: an older TensorFlow need not know them.
        with graph.as_default():
            meta_graph = tf.compat.v1.train.export_meta_graph(strip_default_attrs=True)
            for key in [key for key in meta_graph.collection_def if not graph.get_collection_ref(key)]:
                del meta_graph.collection_def[key]
            _export_module_attachments(meta_graph)
        _strip_late_attributes(meta_graph.graph_def)
        meta_graph.meta_info_def.tags.extend(sorted(tags or ()))
        for key, definition in signatures:
            meta_graph.signature_def[key].CopyFrom(definition)
        self.add_meta_graph_copy(meta_graph)

    def add_meta_graph_copy(self, meta_graph: Any) -> None:
        self._proto.meta_graphs.add().CopyFrom(meta_graph)

    def export(self, path: str, variables_saver: Callable[[str], None] | None = None) -> None:
        """Writes assets, variables and the proto below `path`.

        Args:
          path: directory, made where missing.
          variables_saver: takes the checkpoint prefix and writes the values there; None: there are none.

        Raises:
          ValueError: the collection asset_filepaths holds something else than scalar string constants.
          tf.errors.OpError: a file cannot be read or written.
        """
        proto = _copy(self._proto)
        files = _make_assets_key_collection(proto, path)
        tf.io.gfile.makedirs(os.path.join(path, _constants.ASSETS_DIRECTORY))
        for original, target in files.items():
            tf.io.gfile.copy(tf.compat.as_str_any(original), target)
        prefix = get_variables_path(path)
        tf.io.gfile.makedirs(os.path.dirname(prefix))
        if variables_saver is not None:
            variables_saver(prefix)
        target = os.path.join(path, _constants.SAVED_MODEL_FILENAME_PB)
        tf_utils.atomic_write_string_to_file(target, proto.SerializeToString(), overwrite=True)


def get_attached_bytes_map(meta_graph: Any) -> dict[str, bytes]:
    """Attached bytes by key.

    Raises:
      ValueError: the collection is malformed.
    """
    collections = meta_graph.collection_def
    if ATTACHMENT_COLLECTION_SAVED not in collections:
        return {}
    kind = collections[ATTACHMENT_COLLECTION_SAVED].WhichOneof("kind")
    if kind != "bytes_list":
        raise ValueError(f"The collection of attached messages has kind {kind}, expected bytes_list")
    return metagraph.parse_attachments(metagraph.parse_collections(meta_graph))


def _export_module_attachments(meta_graph: Any) -> None:
    """Writes what `attach_bytes` said in the default graph into a MetaGraph."""
    attachments = {item.key: item for item in tf.compat.v1.get_collection(_ATTACHED)}
    if attachments:
        values = [item.SerializeToString() for item in attachments.values()]
        meta_graph.collection_def[ATTACHMENT_COLLECTION_SAVED].bytes_list.value.extend(values)


def get_variables_path(path: str) -> str:
    """Checkpoint prefix of a SavedModel directory."""
    return os.path.join(path, _constants.VARIABLES_DIRECTORY, _constants.VARIABLES_FILENAME)


def load(path: str) -> SavedModelHandler:
    """Reads a SavedModel directory.

    Raises:
      OSError: the proto cannot be parsed.
      ValueError: an asset lies outside the assets folder.
      TypeError: an asset's node is no scalar string constant.
    """
    proto = reading.read_saved_model(path)
    for meta_graph in proto.meta_graphs:
        _move_assets_in(meta_graph, os.path.join(path, _constants.ASSETS_DIRECTORY))
    return SavedModelHandler(proto)


def _copy(proto: Any) -> Any:
    result = type(proto)()
    result.CopyFrom(proto)
    return result


def _strip_late_attributes(graph_def: Any) -> None:
    libraries = [function.node_def for function in graph_def.library.function]
    for nodes in (graph_def.node, *libraries):
        for node in nodes:
            for op, attribute in _LATE_ATTRIBUTES:
                if node.op == op and attribute in node.attr:
                    del node.attr[attribute]


def _move_assets_in(meta_graph: Any, folder: str) -> None:
    files = metagraph.parse_asset_files(meta_graph)
    filenames = {graph_index.parse_tensor_name(tensor).node: name for tensor, name in files.items()}
    for node in meta_graph.graph_def.node:
        if node.name in filenames:
            _check_asset_node(node)
            path = storage.join_inside(folder, filenames[node.name])
            node.attr["value"].tensor.string_val[0] = tf.compat.as_bytes(path)
    del meta_graph.asset_file_def[:]
    if _constants.ASSETS_KEY in meta_graph.collection_def:
        del meta_graph.collection_def[_constants.ASSETS_KEY]


def _make_assets_key_collection(saved_model_proto: Any, export_path: str) -> dict[bytes, str]:
    """Puts the marker into asset nodes and lists their files; returns where each file is to be copied."""
    filenames: dict[bytes, str] = {}
    for meta_graph in saved_model_proto.meta_graphs:
        _move_assets_out(meta_graph, filenames)
    folder = os.path.join(export_path, _constants.ASSETS_DIRECTORY)
    return {original: os.path.join(folder, filename) for original, filename in filenames.items()}


def _move_assets_out(meta_graph: Any, filenames: dict[bytes, str]) -> None:
    """Puts the marker into asset nodes and lists their files; `filenames` grows by what it did not have."""
    key = tf.compat.v1.GraphKeys.ASSET_FILEPATHS
    if key not in meta_graph.collection_def:
        return
    collection = meta_graph.collection_def[key]
    if collection.WhichOneof("kind") != "node_list":
        raise ValueError("MetaGraph collection ASSET_FILEPATHS is not a list of tensors.")
    if not all(tensor.endswith(":0") for tensor in collection.node_list.value):
        raise ValueError("Unexpected tensor in ASSET_FILEPATHS collection.")
    wanted = {tensor.removesuffix(":0") for tensor in collection.node_list.value}
    nodes = sorted((n for n in meta_graph.graph_def.node if n.name in wanted), key=lambda n: f"{n.name}:0")
    for node in nodes:
        _check_asset_node(node)
        value = node.attr["value"].tensor.string_val
        definition = meta_graph_pb2.AssetFileDef(filename=_choose_filename(value[0], filenames))
        definition.tensor_info.name = f"{node.name}:0"
        meta_graph.collection_def[_constants.ASSETS_KEY].any_list.value.add().Pack(definition)
        value[0] = _ASSET_MARKER


def _choose_filename(original: bytes, filenames: dict[bytes, str]) -> str:
    """One file for one path; a second path of the same base name becomes `vocab.txt0`, then `vocab.txt1`."""
    if original not in filenames:
        base = os.path.basename(tf.compat.as_str_any(original))
        taken = set(filenames.values())
        choices = [base, *(f"{base}{number}" for number in range(len(taken)))]
        filenames[original] = next(name for name in choices if name not in taken)
    return filenames[original]


def _check_asset_node(node: Any) -> None:
    if node.op != "Const" or tf.as_dtype(node.attr["dtype"].type) != tf.string:
        raise TypeError(f"Asset node {node.name!r} must be a constant of dtype string.")
    if len(node.attr["value"].tensor.string_val) != 1:
        raise TypeError(f"Asset node {node.name!r} must be a scalar.")
