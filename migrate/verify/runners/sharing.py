"""A copy of a SavedModel whose random ops draw what another side can draw too."""

from __future__ import annotations

from collections.abc import Mapping

from migrate.graph import stand_ins
from migrate.readers import protos
from migrate.verify.runners.altered import write_altered


def describe_model(path: str) -> dict[str, tuple[str, bool]]:
    """Name of each random op, in whatever function -> (op, whether its seed is fixed)."""
    found: dict[str, tuple[str, bool]] = {}
    for meta_graph in protos.parse_saved_model(path).meta_graphs:
        found |= stand_ins.describe_generators(stand_ins.iterate_generators(meta_graph.graph_def))
    return found


def copy_model(path: str, folder: str, streams: Mapping[str, str]) -> str:
    """Writes the copy, which shares variables and assets with the original.

    Args:
      path: of the model.
      folder: to write.
      streams: name of a generator -> name of the stream that stands in for it.
    """
    saved_model = protos.parse_saved_model(path)
    for meta_graph in saved_model.meta_graphs:
        stand_ins.replace_generators(meta_graph.graph_def, streams)
    write_altered(saved_model, path, folder)
    return folder
