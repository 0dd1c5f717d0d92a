"""A frozen GraphDef (.pb, .pbtxt) -> LegacyModel: the variables of old are constants in it.

Written by TF1's `freeze_graph` and `convert_variables_to_constants`. The file has no signatures: they are stated by
the user or inferred.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from migrate import errors
from migrate.model import LegacyModel, Source
from migrate.options import ReadOptions
from migrate.readers import metagraph, protos, state
from migrate.schema import messages

TAGS = ("serve",)
# tensorflow/core/ops/lookup_ops.cc. `freeze_graph` keeps no collection that would name them.
_FILLING = re.compile(r"(InitializeTable|InitializeTableFromTextFile|LookupTableImport)(V2)?")


def wrap_graph(graph_def: Any) -> Any:
    """The MetaGraph that stands for a bare graph."""
    meta_graph = messages.find_message("tensorflow.MetaGraphDef")()
    meta_graph.graph_def.CopyFrom(graph_def)
    meta_graph.meta_info_def.tags.extend(TAGS)
    return meta_graph


def read_frozen_graph(source: Source, options: ReadOptions, scratch: str) -> LegacyModel:
    """Reads a GraphDef; with `options.thaw` its large constants become variables, whose values lie in `scratch`.

    Raises:
      CorruptModelError: the file cannot be parsed, or holds variables, whose values are somewhere else.
      UsageError: `options.inputs` or `outputs` name tensors that the graph does not have.
    """
    graph_def = protos.parse_graph_def(source.path)
    lost = [node.name for node in graph_def.node if node.op in state.VARIABLE_OPS]
    if lost:
        raise errors.CorruptModelError(
            f"the graph is not frozen: it has {len(lost)} variables ({', '.join(lost[:3])}, ...), and a GraphDef holds "
            "no values",
            where=source.path,
            hint="give the folder of the checkpoint that was written with it",
        )
    variant, findings = metagraph.parse_meta_graph(wrap_graph(graph_def), source.path, {}, options)
    variant = dataclasses.replace(
        variant, table_initializers=tuple(node.name for node in graph_def.node if _FILLING.fullmatch(node.op))
    )
    checkpoint = None
    if options.thaw:
        from migrate.readers import thawing  # writes a checkpoint, with TensorFlow

        variant, checkpoint, thawed = thawing.thaw_variant(variant, scratch, source.path)
        findings += thawed
    return LegacyModel(
        source=source,
        variants=(variant,),
        checkpoint=checkpoint,
        producer=f"(GraphDef version {graph_def.versions.producer})" if graph_def.versions.producer else "",
        findings=findings,
    )
