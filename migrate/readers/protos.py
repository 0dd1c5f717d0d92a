"""Files -> protos of TensorFlow (SavedModel, GraphDef, MetaGraphDef), with protobuf's exceptions translated."""

from __future__ import annotations

import os
from typing import Any

from google.protobuf import descriptor_pool

from migrate import errors
from migrate.scan import bounds
from migrate.schema import messages

_HINT = "the file is damaged or truncated: copy the model again"


def parse_saved_model(directory: str) -> Any:
    """Reads the SavedModel proto of a directory; `.pb` wins over `.pbtxt`, as in TF's loader.

    Raises:
      CorruptModelError: the file cannot be parsed or holds no MetaGraph.
    """
    saved_model = messages.find_message("tensorflow.SavedModel")()
    binary = os.path.join(directory, "saved_model.pb")
    text = os.path.join(directory, "saved_model.pbtxt")
    path = binary if os.path.exists(binary) else text
    bounds.fill_message(saved_model, path, _find_pool())
    if not saved_model.meta_graphs:
        raise errors.CorruptModelError("the SavedModel holds no MetaGraph", where=path, hint=_HINT)
    return saved_model


def parse_graph_def(path: str) -> Any:
    """Reads a GraphDef, in text form if the name ends in ".pbtxt".

    Raises:
      CorruptModelError: the file cannot be parsed or holds no node.
    """
    graph_def = messages.find_message("tensorflow.GraphDef")()
    bounds.fill_message(graph_def, path, _find_pool())
    if not any(node.op for node in graph_def.node):
        raise errors.CorruptModelError("the GraphDef holds no node", where=path, hint=_HINT)
    return graph_def


def parse_meta_graph_def(path: str) -> Any:
    """Reads what `export_meta_graph` wrote beside a checkpoint.

    Raises:
      CorruptModelError: the file cannot be parsed or holds no graph.
    """
    meta_graph = messages.find_message("tensorflow.MetaGraphDef")()
    bounds.fill_message(meta_graph, path, _find_pool())
    if not meta_graph.graph_def.node:
        raise errors.CorruptModelError("the MetaGraph holds no graph", where=path, hint=_HINT)
    return meta_graph


def _find_pool() -> Any:
    """Of the messages that Any fields (assets, in collections) may hold."""
    return descriptor_pool.Default() if messages.is_tensorflow_loaded() else messages.find_pool()
