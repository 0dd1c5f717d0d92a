"""The MetaGraph of a variant as its file has it: what a TF1 program would have imported."""

from __future__ import annotations

from typing import Any

from migrate.model import Format, GraphVariant, LegacyModel
from migrate.readers import frozen_graph, protos, training_checkpoint


def load_meta_graph(model: LegacyModel, variant: GraphVariant) -> Any:
    """Reads the file again: nothing that a reader made of it is in what comes back."""
    path = model.source.path
    if model.source.format is Format.FROZEN_GRAPH:
        return frozen_graph.wrap_graph(protos.parse_graph_def(path))
    if model.source.format is Format.CHECKPOINT:
        assert model.checkpoint is not None
        return training_checkpoint.load_graph(training_checkpoint.find_graph_of(model.checkpoint))
    tags = variant.tags if variant.origin_tags is None else variant.origin_tags
    for meta_graph in protos.parse_saved_model(path).meta_graphs:
        if tuple(sorted(set(meta_graph.meta_info_def.tags))) == tags:
            return meta_graph
    raise AssertionError("the variant comes from this proto")
