"""Directory with a SavedModel -> LegacyModel. TF1 Hub modules and Estimator exports are SavedModels too."""

from __future__ import annotations

import os

from migrate import errors
from migrate.model import LegacyModel, Source
from migrate.options import ReadOptions
from migrate.readers import checkpoint, metagraph, protos


def read_saved_model(source: Source, options: ReadOptions, scratch: str) -> LegacyModel:
    """Reads every MetaGraph; neither weights nor a session are needed.

    Raises:
      CorruptModelError: a file is missing or truncated, or contradicts another.
    """
    proto = protos.parse_saved_model(source.path)
    prefix = checkpoint.find_prefix(source.path)
    entries = checkpoint.parse_entries(prefix)
    parsed = [metagraph.parse_meta_graph(meta_graph, source.path, entries, options) for meta_graph in proto.meta_graphs]
    variants = tuple(variant for variant, _ in parsed)
    if prefix is None and any(variant.restored for variant in variants):
        raise errors.CorruptModelError(
            "the graph restores variables, but there is no checkpoint",
            where=os.path.join(source.path, "variables"),
            hint="copy the variables folder, or export the model again",
        )
    labels = [variant.label for variant in variants]
    doubled = sorted({label for label in labels if labels.count(label) > 1})
    if doubled:
        raise errors.CorruptModelError(
            f"several MetaGraphs have the same tags: {'; '.join(doubled)}",
            where=source.path,
            hint="TF1 cannot tell them apart either: export the model again",
        )
    return LegacyModel(
        source=source,
        variants=variants,
        checkpoint=prefix,
        producer=variants[0].tensorflow_version,
        findings=tuple(finding for _, found in parsed for finding in found),
    )
