"""The weight path: data shards travel as files, a new index says under which names their tensors are known now.

`tf.saved_model.save` of uninitialised variables writes all about them but their values, and a checkpoint that holds
what else there is. Its object graph says under which key a variable's value is looked for; the old index says where
the value lies. The merged index points there, with the checksum of old, and the bytes never pass through the process.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from typing import Any

from tensorflow.core.protobuf import trackable_object_graph_pb2

from migrate import errors
from migrate.checkpoint import entries, index, tensors
from migrate.checkpoint.ordered_code import Extents
from migrate.model import Finding, Severity, VariableSpec
from migrate.rebuild.state import State
from migrate.write import provenance, transfer

REWRITE = "rewrite"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VARIABLES, _VALUE = "variables", "VARIABLE_VALUE"
# Share of bytes that no variable of the result needs (slots of optimizers, mostly) above which they are left behind.
_MOST_DEAD = 0.1
# Checking so much takes less than a tenth of a second: it is done unasked.
_CHECKED_ALWAYS = 2**28


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Variables whose bytes stay as they are.

    Attributes:
      source: the old index.
      places: variable name -> its entry there.
    """

    source: index.Index
    places: Mapping[str, entries.Entry]


def find_carried(state: State, touched: Collection[str]) -> Carried | None:
    """What can travel as it lies: whole entries, of the variable's dtype and shape, in this machine's byte order.

    Args:
      state: of the rebuilt model.
      touched: names of variables that an op of loading reads or writes: these have values in this process.

    Returns:
      None where nothing can, as in a checkpoint of the first version.

    Raises:
      CorruptModelError: the index or a shard is damaged.
    """
    prefix = state.model.checkpoint
    if prefix is None or not os.path.exists(f"{prefix}.index"):
        return None
    source = index.read_index(prefix)
    if source.header.big_endian:
        return None
    index.check_shards(source)
    places = {}
    for name, spec in state.specs.items():
        place = _find_place(source, spec) if name not in touched else None
        if place is not None and state.variables[name].shape.is_compatible_with(place.shape):
            places[name] = place
    return Carried(source=source, places=places) if places else None


def _find_place(source: index.Index, spec: VariableSpec) -> entries.Entry | None:
    if spec.checkpoint_key is None:
        return None
    entry = source.find(spec.checkpoint_key)
    if entry is None or entry.dtype != spec.dtype or entry.dtype in ("variant", "resource"):
        return None
    extents = parse_slice_spec(spec.slice_spec) or tuple((0, None) for _ in entry.shape)
    if entry.slices:
        return source.find_part(spec.checkpoint_key, extents)
    whole = all(
        start == 0 and length in (None, size) for (start, length), size in zip(extents, entry.shape, strict=True)
    )
    return entry if whole else None


def parse_slice_spec(text: str) -> Extents:
    """Extents of "10 4 0,3:-" (VariableSpec.slice_spec); () for ""."""
    if not text:
        return ()
    parts = text.split(" ")[-1].split(":")
    pairs = [(0, None) if part == "-" else tuple(map(int, part.split(","))) for part in parts]
    return tuple((start, length) for start, length in pairs)


def check_bytes(carried: Carried, *, everything: bool) -> None:
    """Holds the bytes against their checksums; without `everything` those that are carried, where that takes no time.

    Raises:
      CorruptModelError: tensors are damaged.
    """
    if everything:
        tensors.check_weights(carried.source)
    elif sum(entry.size for entry in carried.places.values()) <= _CHECKED_ALWAYS:
        tensors.check_entries(carried.source, carried.places)


def carry_weights(
    rebuilt: Any, carried: Carried, directory: str, how: str, *, scratch: str = ""
) -> tuple[Finding, ...]:
    """Completes the checkpoint of a model that was saved with its carried variables uninitialised.

    Args:
      rebuilt: Rebuilt; its module's `variables` name the nodes of the object graph.
      carried: what is to be carried.
      directory: of the saved model.
      how: transfer.COPY, REFLINK or LINK.
      scratch: folder whose files are nobody else's: a checkpoint that a reader wrote there is linked.

    Raises:
      WriteError: the save's checkpoint is not as expected.
    """
    prefix = os.path.join(directory, "variables", "variables")
    fresh = index.read_index(prefix)
    keys = _find_keys(fresh, rebuilt)
    packing = _Packing(carried, scratch, compact=how == transfer.COPY)
    shards = packing.count + fresh.header.shards
    done = packing.write(prefix, shards, how)
    merged = {
        key: dataclasses.replace(entry, shard=entry.shard + packing.count) for key, entry in fresh.entries.items()
    }
    for name, entry in carried.places.items():
        key = index.encode_name(keys[name])
        if key in merged:
            raise errors.WriteError(f"the value of {name} was written, and is carried as well", where=directory)
        merged[key] = packing.move(entry)
    for shard in range(fresh.header.shards):
        os.rename(fresh.shard_path(shard), index.shard_path(prefix, shard + packing.count, shards))
    index.write_index(prefix, dataclasses.replace(fresh.header, shards=shards), merged)
    return () if packing.is_ours else _describe(packing, how, done)


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), os.path.realpath(folder)]) == os.path.realpath(folder)


def _find_keys(fresh: index.Index, rebuilt: Any) -> dict[str, str]:
    """Variable name -> key of its value, from the object graph that the save wrote."""
    (data,) = tensors.Shards(fresh).read(_OBJECT_GRAPH).reshape(-1)
    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(data).nodes
    children = {child.local_name: child.node_id for child in nodes[0].children}
    if "whole" in children:  # of a core: the root lists its own variables only
        children = {child.local_name: child.node_id for child in nodes[children["whole"]].children}
    listed = {child.local_name: child.node_id for child in nodes[children[_VARIABLES]].children}
    names = {id(variable): name for name, variable in rebuilt.state.variables.items()}
    found = {}
    for position, variable in enumerate(provenance.find_whole(rebuilt.module).variables):
        attributes = nodes[listed[str(position)]].attributes
        found[names[id(variable)]] = next(a.checkpoint_key for a in attributes if a.name == _VALUE)
    return found


class _Packing:
    """How the needed bytes of the old shards lie in the new ones.

    Attributes:
      count: number of shards of the result that hold them.
      size, dead: bytes of the needed old shards, and those of them that nothing needs.
      is_ours: all of them lie in the scratch folder.
    """

    def __init__(self, carried: Carried, scratch: str, *, compact: bool) -> None:
        self._source = carried.source
        live = {(entry.shard, entry.offset, entry.size) for entry in carried.places.values()}
        self._shards = sorted({shard for shard, _, _ in live})
        # A shard in the scratch folder is nobody else's, and linked; what it links to is not in there.
        self._ours = {n for n in self._shards if scratch and _is_below(carried.source.shard_path(n), scratch)}
        self.is_ours = self._ours == set(self._shards)
        self.size = sum(os.path.getsize(carried.source.shard_path(shard)) for shard in self._shards)
        self._ranges = _merge_ranges(live)
        self.dead = self.size - sum(end - start for _, start, end in self._ranges)
        self.compact = compact and not self.is_ours and self.dead > _MOST_DEAD * self.size
        self.count = 1 if self.compact else len(self._shards)

    def write(self, prefix: str, shards: int, how: str) -> set[str]:
        """Makes the data shards; returns how those that are not ours were made."""
        if self.compact:
            dest = index.shard_path(prefix, 0, shards)
            if os.path.exists(dest):
                raise errors.WriteError("the save wrote a shard of this name", where=dest)
            for shard, start, end in self._ranges:
                transfer.copy_ranges(self._source.shard_path(shard), dest, [(start, end - start)])
            return {transfer.COPY}
        done = set()
        for position, shard in enumerate(self._shards):
            path = self._source.shard_path(shard)
            is_ours = shard in self._ours
            way = transfer.transfer_file(
                path, index.shard_path(prefix, position, shards), transfer.LINK if is_ours else how
            )
            done |= set() if is_ours else {way}
        return done

    def move(self, entry: entries.Entry) -> entries.Entry:
        """The entry with its place in the new shards."""
        if not self.compact:
            return dataclasses.replace(entry, shard=self._shards.index(entry.shard))
        at = 0
        for shard, start, end in self._ranges:
            if shard == entry.shard and start <= entry.offset and entry.offset + entry.size <= end:
                return dataclasses.replace(entry, shard=0, offset=at + entry.offset - start)
            at += end - start
        raise AssertionError("every carried entry lies in a range")


def _merge_ranges(live: Collection[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """(shard, offset, size) of all that is needed -> (shard, start, end), neighbours joined, in file order."""
    ranges: list[tuple[int, int, int]] = []
    for shard, offset, size in sorted(live):
        if ranges and ranges[-1][0] == shard and offset <= ranges[-1][2]:
            ranges[-1] = (shard, ranges[-1][1], max(ranges[-1][2], offset + size))
        else:
            ranges.append((shard, offset, offset + size))
    return ranges


def _describe(packing: _Packing, how: str, done: set[str]) -> tuple[Finding, ...]:
    findings = []
    if how == transfer.LINK and transfer.LINK in done:
        findings.append(
            Finding(
                code="weights-linked",
                where="variables",
                message="the data shards are the source's own files: whoever changes one in place changes both models",
            )
        )
    if how == transfer.LINK and done != {transfer.LINK}:
        findings.append(_give_way("cannot be linked to (it lies on another device, say)"))
    if how == transfer.REFLINK and transfer.COPY in done and not packing.compact:
        findings.append(_give_way("offers no reflinks"))
    if packing.dead and not packing.compact and packing.dead > _MOST_DEAD * packing.size:
        findings.append(
            Finding(
                code="dead-weights",
                where="variables",
                message=f"{packing.dead:,} of {packing.size:,} bytes of the data shards belong to no variable of the "
                "model (optimizer slots, mostly)",
                hint="--weights=copy leaves them behind",
            )
        )
    return tuple(findings)


def _give_way(reason: str) -> Finding:
    return Finding(
        code="weights-copied",
        severity=Severity.INFO,
        where="variables",
        message=f"the data shards were copied: the source's file system {reason}",
    )
