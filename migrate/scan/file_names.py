"""Where the file names come from that savers, table initialisers and caches take.

A saver may read and write the checkpoint that a loader names, a table may be filled from an asset of its model. Both
are told from other files by the tensor of the name: it is followed back, out of a function to those who call it, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from migrate.scan.graphs import MetaGraph, Scope, argument_position, split_name
from migrate.scan.ops import ASSET_OPS, CACHE_OPS, READS, RESTORE_OPS, SAVE_OPS, WRITES

# Ops that hand a name on, alone or among others.
_HANDING = frozenset(
    {
        "Identity", "IdentityN", "PlaceholderWithDefault", "Pack", "Unpack", "Reshape", "Squeeze", "ExpandDims",
        "Snapshot", "StopGradient", "PreventGradient", "EnsureShape", "ConcatV2", "Concat", "Merge", "Switch",
        "RefSwitch", "Select", "SelectV2", "StridedSlice", "Slice", "Gather", "GatherV2", "Fill",
    }
)  # fmt: skip
# Datasets that hand their elements on as they are.
_DATASETS = frozenset(
    {
        "TensorDataset", "TensorSliceDataset", "RepeatDataset", "ShuffleDataset", "ShuffleDatasetV2",
        "ShuffleDatasetV3", "PrefetchDataset", "TakeDataset", "SkipDataset", "ShardDataset", "ConcatenateDataset",
    }
)  # fmt: skip
# Their first input chooses and is no part of a name (TF1's saver: a name for S3, else one for files).
_CHOOSING = frozenset({"Select", "SelectV2"})
# Ops that make a name of others; an attribute may be a part of it.
_JOINING = {
    "StringJoin": "separator",
    "ReduceJoin": "separator",
    "ShardedFilename": "",
    "ShardedFilespec": "",
    "AddV2": "",
    "Add": "",
}
_CHECKED = RESTORE_OPS | SAVE_OPS | ASSET_OPS.keys() | CACHE_OPS.keys()
_MAX_STEPS = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """A tensor of the graph or of a function that a file name is made from.

    Attributes:
      kind: "asset", "saver" (the file name that a loader feeds), "constant", "joined" (the name is made of several
        parts), "unknown".
      text: the asset's file, the constant, what joins, or the node.
    """

    kind: str
    text: str


class Tracer:
    """Follows file names through one MetaGraph."""

    def __init__(self, meta_graph: MetaGraph) -> None:
        self._meta_graph = meta_graph
        self._filename = split_name(meta_graph.saver[0])
        self._callers = _find_callers(meta_graph)

    def find_origins(self, scope: Scope, tensor: str) -> set[Origin]:
        """All that the name `tensor` in `scope` is made from."""
        found: set[Origin] = set()
        pending = [(scope.name, split_name(tensor))]
        seen: set[tuple[str, str]] = set()
        while pending:
            place = pending.pop()
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > _MAX_STEPS:
                return found | {Origin("unknown", tensor)}
            pending.extend(self._step(*place, found))
        return found

    def _step(self, function: str, name: str, found: set[Origin]) -> Iterator[tuple[str, str]]:
        """Adds what `name` is to `found`, or yields what it is made from."""
        meta_graph = self._meta_graph
        scope = meta_graph.functions[function] if function else meta_graph.graph
        node = scope.by_name.get(name)
        if not function and name in meta_graph.asset_files:
            found.add(Origin("asset", meta_graph.asset_files[name]))
        elif not function and name == self._filename:
            found.add(Origin("saver", name))
        elif node is None and name in scope.arguments:
            yield from self._follow_argument(scope, scope.arguments.index(name), found)
        elif node is not None and node.op == "Const":
            values = node.attr["value"].tensor.string_val if "value" in node.attr else ()
            found.update(Origin("constant", bytes(value).decode("utf-8", "backslashreplace")) for value in values)
        elif node is not None and (node.op in _HANDING or node.op in _JOINING or node.op in _DATASETS):
            if node.op in _JOINING:
                separator = node.attr[_JOINING[node.op]].s if _JOINING[node.op] in node.attr else b""
                found.add(Origin("joined", bytes(separator).decode("utf-8", "backslashreplace")))
            parts = [text for text in node.input if not text.startswith("^")]
            yield from ((function, split_name(text)) for text in parts[node.op in _CHOOSING :])
        elif node is not None and node.op == "ReadVariableOp" and not function:
            yield from self._follow_variable(node, found)
        elif node is None or node.op not in ("Placeholder", "PlaceholderV2"):
            # What nobody feeds is no file's name, and who feeds it chooses the file.
            found.add(Origin("unknown", f"{name} ({node.op})" if node is not None else name))

    def _follow_variable(self, read: Any, found: set[Origin]) -> Iterator[tuple[str, str]]:
        """TF2 keeps the path of an asset in a variable: what is assigned to it, if nothing else can reach it."""
        graph = self._meta_graph.graph
        handle = graph.by_name.get(split_name(read.input[0])) if read.input else None
        if handle is None or handle.op != "VarHandleOp":
            found.add(Origin("unknown", f"{read.name} ({read.op})"))
            return
        name = _shared_name(handle)
        same = [
            (scope.name, node.name)
            for scope in self._meta_graph.scopes()
            for node in scope.nodes
            if node.op == "VarHandleOp" and _shared_name(node) == name
        ]
        for node in graph.nodes:
            if handle.name not in map(split_name, node.input):
                continue
            if node.op == "AssignVariableOp" and len(node.input) > 1:
                yield "", split_name(node.input[1])
            elif node.op not in ("ReadVariableOp", "VarIsInitializedOp"):
                found.add(Origin("unknown", f"{node.name} ({node.op})"))
        if same != [("", handle.name)]:
            found.add(Origin("unknown", f"{handle.name} (several variables of one name)"))

    def _follow_argument(self, scope: Scope, argument: int, found: set[Origin]) -> Iterator[tuple[str, str]]:
        meta_graph = self._meta_graph
        callers = self._callers.get(scope.name, [])
        bound = meta_graph.concrete.get(scope.name)
        if bound is not None:
            position = argument - (len(scope.arguments) - len(bound))
            objects = meta_graph.objects
            asset = objects[bound[position]] if position >= 0 and 0 <= bound[position] < len(objects) else None
            if asset is not None and 0 <= asset < len(meta_graph.asset_names):
                found.add(Origin("asset", meta_graph.asset_names[asset]))
            else:
                found.add(Origin("unknown", f"argument {scope.arguments[argument]}"))
        for caller, node in callers:
            position_or_none = argument_position(node, argument, meta_graph.functions)
            inputs = [text for text in node.input if not text.startswith("^")]
            if node.op.endswith("Dataset") and inputs:
                # The function of a FlatMapDataset and its like takes the elements of what stands first.
                yield from ((caller, split_name(text)) for text in inputs)
            elif position_or_none is None or position_or_none >= len(inputs):
                found.add(Origin("unknown", f"{node.name} ({node.op})"))
            else:
                yield caller, split_name(inputs[position_or_none])
        # A function that nothing calls is never run: it takes no file.


def _shared_name(handle: Any) -> bytes:
    """The name under which the runtime keeps a variable."""
    given = bytes(handle.attr["shared_name"].s) if "shared_name" in handle.attr else b""
    return given or handle.name.encode()


def _find_callers(meta_graph: MetaGraph) -> Mapping[str, list[tuple[str, Any]]]:
    callers: dict[str, list[tuple[str, Any]]] = {}
    for scope in meta_graph.scopes():
        for node, names in scope.find_calls(meta_graph.functions):
            for function in names:
                callers.setdefault(function, []).append((scope.name, node))
    return callers


def find_foreign_files(meta_graph: MetaGraph) -> Iterator[tuple[Scope, Any, str, str]]:
    """Yields (scope, node, what it does, name) of savers, tables and caches that take a file of somebody else's.

    A saver that nothing runs but the initialiser of a variable (a warm start, which the exported values replace) and
    that reads only is let be, as is one that nothing runs at all.
    """
    interesting = [(scope, node) for scope in meta_graph.scopes() for node in scope.nodes if node.op in _CHECKED]
    if not interesting:
        return
    tracer = Tracer(meta_graph)
    run = meta_graph.reached
    saver = meta_graph.find_reached(filter(None, meta_graph.saver[1:]))
    for scope, node in interesting:
        place = (scope.name, node.name)
        # Of a graph alone it is not known which part is run, nor which saver is its own: what leads away is refused.
        strict = meta_graph.bare and place in run
        is_run, is_saver = (False, False) if meta_graph.bare else (place in run, place in saver)
        problem = _judge(scope, node, tracer, is_run=is_run, is_saver=is_saver, strict=strict)
        if problem:
            yield scope, node, *problem


def _judge(
    scope: Scope, node: Any, tracer: Tracer, *, is_run: bool, is_saver: bool, strict: bool
) -> tuple[str, str] | None:
    """(what it does, name of the file) where a node takes a file that it must not take."""
    op, inputs = node.op, [text for text in node.input if not text.startswith("^")]
    positions = ASSET_OPS.get(op) or ((CACHE_OPS[op],) if op in CACHE_OPS else (0, 1)[: 1 + (op == _MERGE)])
    origins = {origin for at in positions if at < len(inputs) for origin in tracer.find_origins(scope, inputs[at])}
    if op in ASSET_OPS:
        foreign = {origin for origin in origins if origin.kind != "asset"}
        return (READS, _show(foreign)) if foreign else None
    if op in CACHE_OPS:
        foreign = origins - {Origin("constant", "")}
        return (WRITES, _show(foreign)) if foreign else None
    does = READS if op in RESTORE_OPS else WRITES
    if is_run:
        return does, _show(origins)
    if is_saver:
        fed = any(origin.kind == "saver" for origin in origins)
        # What stands beside the name that is fed is a part of it: "_temp_", the number of a shard.
        foreign = {o for o in origins if o.kind == "asset" or not (o.kind == "saver" or (fed and _is_part(o)))}
        return (does, _show(foreign)) if foreign else None
    away = {origin for origin in origins if origin.kind == "constant" and not _is_part(origin)}
    return (does, _show(away)) if away and (strict or does == WRITES) else None


_MERGE = "MergeV2Checkpoints"


def _is_part(origin: Origin) -> bool:
    """Whether a constant is no absolute path, none with "..", and no address."""
    text = origin.text
    away = text.startswith(("/", "~")) or "://" in text or ".." in text.replace("\\", "/").split("/")
    return origin.kind == "joined" or (origin.kind == "constant" and not away)


def _show(origins: set[Origin]) -> str:
    named = {origin for origin in origins if origin.kind != "joined"} or origins
    shown = sorted(origin.text if origin.kind == "constant" else f"the name of {origin.text}" for origin in named)
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")
