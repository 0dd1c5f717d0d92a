"""Values: from the TF1 checkpoint, and from the ops that TF1 runs on loading, into the rebuilt variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import tensorflow as tf

from migrate import errors
from migrate.graph import effects
from migrate.graph import index as graph_index
from migrate.model import Finding, Severity, VariableSpec
from migrate.rebuild import checkpoint
from migrate.rebuild.functions import LoadFunction
from migrate.rebuild.module import Rebuilt, find_uninitialized
from migrate.write import weights

# Enough to keep the reader busy, little enough to bound the second copy of the values in memory.
_BATCH_BYTES = 256 * 2**20


def restore_values(rebuilt: Rebuilt, *, carry: bool = False) -> tuple[tuple[Finding, ...], weights.Carried | None]:
    """Fills variables and mutable tables as TF1's loader would.

    Args:
      rebuilt: the model.
      carry: leave variables without a value whose bytes can be carried as they lie.

    Returns:
      Findings, and what is to be carried.

    Raises:
      MissingValuesError: variables that calls use have no value anywhere; all are named at once.
      CorruptModelError: the index is damaged, a data shard is missing or truncated.
    """
    findings = _check_values(rebuilt)
    state = rebuilt.state
    prefix = state.model.checkpoint
    loading = _find_loading(rebuilt)
    carried = weights.find_carried(state, state.find_touched()) if carry else None
    stays = carried.places if carried is not None else {}
    restored = [spec for spec in state.specs.values() if spec.checkpoint_key is not None and spec.name not in stays]
    for batch in _batches(restored):
        values = checkpoint.restore_tensors(prefix or "", batch)
        for spec, value in zip(batch, values, strict=True):
            _assign(state.variables[spec.name], spec, value)
    for name, spec in state.specs.items():
        if spec.checkpoint_key is None:
            state.fill_with_zeros(name)
    _restore_tables(rebuilt)
    for table in state.tables.values():
        table._initialize()
    for function in loading:
        function()
    return findings, carried


def _check_values(rebuilt: Rebuilt) -> tuple[Finding, ...]:
    missing = find_uninitialized(rebuilt)
    needed = sorted(name for name in missing if any(name in piece.variable_names for piece in rebuilt.pieces))
    if needed:
        raise errors.MissingValuesError(
            f"the checkpoint has no value for: {', '.join(needed)}",
            where=rebuilt.state.model.source.path,
            hint="the variables folder belongs to another export: copy both from one export",
        )
    return tuple(
        Finding(
            code="variable-without-value",
            severity=Severity.WARNING,
            where=name,
            message="the checkpoint has no value for it and no signature uses it: it is zeros",
        )
        for name in missing
    )


def _batches(specs: Sequence[VariableSpec]) -> Iterator[list[VariableSpec]]:
    batch: list[VariableSpec] = []
    size = 0
    for spec in specs:
        count = 1
        for extent in spec.shape or ():
            count *= extent or 1
        batch.append(spec)
        size += count * max(tf.as_dtype(spec.dtype).size, 1)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _assign(variable: tf.Variable, spec: VariableSpec, value: tf.Tensor) -> None:
    if not variable.shape.is_compatible_with(value.shape):
        raise errors.CorruptModelError(
            f"variable {spec.name} has shape {variable.shape} in the graph and {value.shape} in the checkpoint",
            where=spec.name,
            hint="graph and checkpoint are of different exports",
        )
    variable.assign(value)


def _restore_tables(rebuilt: Rebuilt) -> None:
    """Contents of mutable tables that TF1's saver keeps in the checkpoint (`<table>-keys`, `<table>-values`)."""
    state = rebuilt.state
    for graph in rebuilt.graphs.values():
        restored = {item.tensor: item for item in graph.variant.restored}
        ops = graph.index.ancestors([f"^{graph.variant.restore_op}"]) if graph.variant.restore_op else set()
        for node, table_nodes in effects.find_table_imports(graph.index, ops).items():
            table = state.find_made_table(graph, node)
            if table is None:
                continue
            for keys, values in table_nodes:
                pair = [restored.get(str(graph_index.parse_tensor_name(name))) for name in (keys, values)]
                if None in pair:
                    continue
                found = [item for item in pair if item is not None]
                dtypes = [tf.as_dtype(graph.index.dtype(item.tensor)) for item in found]
                contents = checkpoint.restore_entries(
                    state.model.checkpoint or "", [i.key for i in found], [i.slice_spec for i in found], dtypes
                )
                table._restore_from_tensors({"-keys": contents[0], "-values": contents[1]})


def _find_loading(rebuilt: Rebuilt) -> list[LoadFunction]:
    """What is run once, before saving: what TF1 runs on each load and what leaves its effect in variables and mutable
    tables.

    Their state is then saved like any other; tables that are a constant mapping fill themselves on each load.
    """
    state = rebuilt.state
    found = []
    for graph in rebuilt.graphs.values():
        made = {node for node, spec in graph.variables.items() if spec.name in state.variables}
        made |= {node for node, spec in graph.tables.items() if spec.mutable and state.find_made_table(graph, node)}
        ops = effects.select_writers(graph.index, graph.load_ops, made)
        if ops:
            found.append(state.make_load_function(graph, ops))
    return found
