"""Large constants of large graphs -> variables that do not train, whose values lie in a checkpoint.

A message of protobuf ends at 2 GB, and TensorFlow copies a graph many times while it is imported, traced and saved: a
graph that holds its own weights (a frozen one, for the most part) and comes near that limit can neither be rebuilt nor
written as it is. A checkpoint has no such limit, and travels as a file.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
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
    shard = _Shard(os.path.join(scratch, _CHECKPOINT), model)
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


class _Shard:
    """The checkpoint that is written: the model's own, if it has one, and one data shard more."""

    def __init__(self, prefix: str, model: LegacyModel) -> None:
        self._prefix = prefix
        self._source = checkpoint_index.read_index(model.checkpoint) if model.checkpoint is not None else None
        self._shards = self._source.header.shards if self._source is not None else 0
        self.taken = {spec.name for variant in model.variants for spec in variant.variables}
        if self._source is not None:
            self.taken |= {name for name, _ in self._source.tensors()}
        self.found: dict[str, entries.Entry] = {}
        self._values: dict[tuple[Any, ...], str] = {}
        self._offset = 0
        os.makedirs(os.path.dirname(prefix), exist_ok=True)
        self._path = f"{prefix}.data"
        self._file = open(self._path, "wb")  # noqa: SIM115  # until `finish`

    def add(self, name: str, tensor: Any) -> str:
        """The name under which the value lies: a new one where another value has this one."""
        data = tensor.tensor_content
        checksum = table.mask_checksum(google_crc32c.value(data))
        shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
        entry = entries.Entry(
            dtype=entries.DTYPE_NAMES[tensor.dtype],
            shape=shape,
            shard=self._shards,
            offset=self._offset,
            size=len(data),
            checksum=checksum,
        )
        value = (name, entry.dtype, shape, entry.size, checksum)
        if value not in self._values:
            self._values[value] = make_unique(name, self.taken)
            self.taken.add(self._values[value])
            self._file.write(data)
            self._offset += len(data)
            self.found[self._values[value]] = entry
        return self._values[value]

    def finish(self) -> str:
        self._file.close()
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


def _move(variant: GraphVariant, shard: _Shard, least: int) -> GraphVariant:
    specs = []
    for node in _find_large(variant.graph_def, least):
        tensor = node.attr["value"].tensor
        shape, dtype = tuple(dim.size for dim in tensor.tensor_shape.dim), entries.DTYPE_NAMES[tensor.dtype]
        name = shard.add(node.name, tensor)
        become_variable(node)
        specs.append(VariableSpec(name=name, node=node.name, dtype=dtype, shape=shape, checkpoint_key=name))
    # What was cleared in a message is freed with the message only.
    graph_def = type(variant.graph_def)()
    graph_def.CopyFrom(variant.graph_def)
    return dataclasses.replace(variant, graph_def=graph_def, variables=(*variant.variables, *specs))


def _find_large(graph_def: Any, least: int) -> Iterator[Any]:
    """Constants whose bytes stand in the graph as they lie in memory."""
    for node in graph_def.node:
        if node.op != "Const" or node.ByteSize() < least:
            continue
        tensor = node.attr["value"].tensor
        try:
            itemsize = entries.numpy_dtype(entries.DTYPE_NAMES[tensor.dtype]).itemsize
        except KeyError:  # strings
            continue
        elements = 1
        for dim in tensor.tensor_shape.dim:
            elements *= dim.size
        if len(tensor.tensor_content) == elements * itemsize >= least:
            yield node
