"""A copy of a SavedModel whose random ops draw what another side can draw too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from migrate.graph import stand_ins
from migrate.inputs.calls import Call
from migrate.readers import protos
from migrate.verify.runners.altered import write_altered


def describe_model(path: str) -> dict[str, tuple[str, bool]]:
    """Name of each random op, in whatever function -> (op, whether its seed is fixed)."""
    found: dict[str, tuple[str, bool]] = {}
    for meta_graph in protos.parse_saved_model(path).meta_graphs:
        found |= stand_ins.describe_generators(stand_ins.iterate_generators(meta_graph.graph_def))
    return found


def pair_calls(
    wanted: Sequence[Call], baseline: Mapping[str, Mapping[str, str]], candidate: Mapping[str, Mapping[str, str]]
) -> tuple[list[Call], dict[str, str]]:
    """Calls for which both sides hold the same generators, and the stream that stands in for each of the candidate's.

    Args:
      wanted: calls that draw on both sides.
      baseline, candidate: call id -> name -> op of what draws for it.
    """
    streams: dict[str, str] = {}
    able = []
    for call in wanted:
        pairs = stand_ins.pair_generators(baseline[call.id], candidate[call.id])
        if pairs is not None:
            streams |= pairs
            able.append(call)
    return able, streams


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
