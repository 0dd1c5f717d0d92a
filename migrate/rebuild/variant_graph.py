"""A variant's graph, indexed once, and what of it is state."""

from __future__ import annotations

from typing import Any

from migrate.graph import effects
from migrate.graph import index as graph_index
from migrate.graph import tables as table_ops
from migrate.model import GraphVariant


class VariantGraph:
    """A variant's graph, indexed once, with what TF1 would run on loading it."""

    def __init__(self, variant: GraphVariant) -> None:
        self.variant = variant
        self.index = graph_index.FixedIndex(variant.graph_def)
        loading = [f"^{name}" for name in (*variant.init_ops, *variant.table_initializers)]
        self.load_ops = self.index.ancestors(loading)
        self.variables = {spec.node: spec for spec in variant.variables}
        self.tables = table_ops.find_tables(self.index, effects.find_writers(self.index, self.load_ops))
        self.assets = {asset.tensor: asset for asset in variant.assets}

    def find_used_variables(self, cut: Any) -> set[str]:
        """Names of the variables whose nodes a GraphDef that was cut from this graph still holds."""
        nodes = {node.name for node in cut.node}
        return {spec.name for node, spec in self.variables.items() if node in nodes}
