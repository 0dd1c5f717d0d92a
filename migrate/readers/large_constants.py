"""Large constants of large graphs -> variables that do not train, whose values lie in a checkpoint.

A message of protobuf ends at 2 GB, and TensorFlow copies a graph many times while it is imported, traced and saved: a
graph that holds its own weights (a frozen one, for the most part) and comes near that limit can neither be rebuilt nor
written as it is. A checkpoint has no such limit, and travels as a file.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import Any

import google_crc32c

from migrate.checkpoint import entries, table
from migrate.checkpoint import index as checkpoint_index
from migrate.graph.index import make_unique
from migrate.model import Finding, GraphVariant, LegacyModel, Severity, VariableSpec

# Bytes of all graphs of a model from which on its constants are moved, and of a constant that is.
LARGE_MODEL, LARGE_CONSTANT = 2**28, 2**20
_CHECKPOINT = os.path.join("constants", "variables")


def move_constants(
    model: LegacyModel, scratch: str, large_model: int = LARGE_MODEL, large_constant: int = LARGE_CONSTANT
) -> LegacyModel:
    """A model whose graphs are small again; one whose graphs are not large as it is.

    Args:
      model: its graphs are changed, not copied before.
      scratch: folder for the checkpoint; "" leaves everything as it is (nothing is rebuilt, then).
      large_model: bytes from which on the graphs of a model are large.
      large_constant: bytes from which on a constant is moved. Those of functions stay: a function has no variables.

    Returns:
      The model. Equal constants of one name in several variants are one variable. With a checkpoint of the first
      version, which lies in another format, constants stay where they are.
    """
    if not scratch or sum(variant.graph_def.ByteSize() for variant in model.variants) < large_model:
        return model
    if model.checkpoint is not None and not os.path.exists(f"{model.checkpoint}.index"):
        return model
    source = None if model.checkpoint is None else checkpoint_index.read_index(model.checkpoint)
    taken = {spec.name for variant in model.variants for spec in variant.variables}
    shard = ConstantsShard(os.path.join(scratch, _CHECKPOINT), taken, source)
    variants = tuple(_move(variant, shard, large_constant) for variant in model.variants)
    if not shard.found:
        return model
    finding = Finding(
        code="constants-moved",
        severity=Severity.INFO,
        where="graph",
        message=f"{len(shard.found)} constants of {sum(entry.size for entry in shard.found.values()):,} bytes are "
        "variables that do not train: a graph that holds them is too large to be written",
    )
    return dataclasses.replace(model, variants=variants, checkpoint=shard.finish(), findings=(*model.findings, finding))


def become_variable(node: Any) -> None:
    """Constant -> reference variable of its name, dtype and shape: what took the constant takes it as it is."""
    dtype = node.attr["value"].tensor.dtype
    dims = [dim.size for dim in node.attr["value"].tensor.tensor_shape.dim]
    node.op = "VariableV2"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = dtype
    shape = node.attr["shape"].shape
    for size in dims:
        shape.dim.add(size=size)
    node.attr["container"].s = b""
    node.attr["shared_name"].s = b""


class ConstantsShard:
    """A checkpoint of values that were constants: one data shard, behind those of a checkpoint that is there already.

    Attributes:
      found: entries of the constants, by the names of their variables.
    """

    def __init__(self, prefix: str, taken: Iterable[str] = (), source: checkpoint_index.Index | None = None) -> None:
        """Args:
        prefix: of the checkpoint that is written.
        taken: names that other variables have.
        source: the checkpoint that is there.
        """
        self._prefix, self._source = prefix, source
        self._shards = source.header.shards if source is not None else 0
        self._taken = {*taken, *(name for name, _ in (source.tensors() if source is not None else ()))}
        self.found: dict[str, entries.Entry] = {}
        self._names: dict[tuple[str, entries.Entry], str] = {}
        self._path = f"{prefix}.data"
        os.makedirs(os.path.dirname(prefix), exist_ok=True)

    def add(self, name: str, entry: entries.Entry, data: bytes) -> str:
        """Appends a value of the entry's dtype and shape.

        Returns:
          The name under which it lies: a new one where another value has this one.
        """
        entry = dataclasses.replace(
            entry, shard=self._shards, size=len(data), checksum=table.mask_checksum(google_crc32c.value(data))
        )
        if (name, entry) not in self._names:
            new = self._names[name, entry] = make_unique(name, self._taken)
            self._taken.add(new)
            with open(self._path, "ab") as file:
                self.found[new] = dataclasses.replace(entry, offset=file.tell())
                file.write(data)
        return self._names[name, entry]

    def finish(self) -> str:
        """Writes the index; gives the prefix."""
        total = self._shards + 1
        os.replace(self._path, checkpoint_index.shard_path(self._prefix, self._shards, total))
        header = entries.Header(shards=total)
        kept: dict[bytes, entries.Entry] = {}
        if self._source is not None:
            header = dataclasses.replace(self._source.header, shards=total)
            kept = dict(self._source.entries)
            for number in range(self._shards):
                old = os.path.abspath(self._source.shard_path(number))
                os.symlink(old, checkpoint_index.shard_path(self._prefix, number, total))
        kept |= {checkpoint_index.encode_name(name): entry for name, entry in self.found.items()}
        checkpoint_index.write_index(self._prefix, header, kept)
        return self._prefix


def _move(variant: GraphVariant, shard: ConstantsShard, least: int) -> GraphVariant:
    specs = []
    for node in variant.graph_def.node:
        entry = describe_constant(node) if node.op == "Const" and node.ByteSize() >= least else None
        if entry is None:
            continue
        data = node.attr["value"].tensor.tensor_content
        # What does not lie there as bytes lies in the field of its dtype: one number for all, say.
        if len(data) < least or len(data) != entry.expected_size:
            continue
        name = shard.add(node.name, entry, data)
        become_variable(node)
        specs.append(VariableSpec(name=name, node=node.name, dtype=entry.dtype, shape=entry.shape, checkpoint_key=name))
    # What was cleared in a message is freed with the message only.
    graph_def = type(variant.graph_def)()
    graph_def.CopyFrom(variant.graph_def)
    return dataclasses.replace(variant, graph_def=graph_def, variables=(*variant.variables, *specs))


def describe_constant(node: Any) -> entries.Entry | None:
    """dtype and shape of a constant; None for strings, whose size they do not tell."""
    tensor = node.attr["value"].tensor
    entry = entries.Entry(
        dtype=entries.DTYPE_NAMES[tensor.dtype], shape=tuple(dim.size for dim in tensor.tensor_shape.dim)
    )
    return None if entry.expected_size is None else entry
