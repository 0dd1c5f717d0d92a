"""A training checkpoint of TF1 (`model.ckpt-*` with its meta graph, an Estimator's model_dir) -> LegacyModel.

The saver (tensorflow/python/training/saver.py) writes `<prefix>.meta`, the graph that was trained, beside the values:
`<prefix>.index` and `.data-*` in format V2, the file `<prefix>` itself or `<prefix>-00000-of-00001` in format V1. Which
is the newest stands in the text file `checkpoint` (checkpoint_state.proto), under the paths of the writing machine.
"""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

from migrate import errors
from migrate.graph import index as graph_index
from migrate.model import Asset, Finding, GraphVariant, LegacyModel, Severity, Source, VariableSpec
from migrate.options import ReadOptions
from migrate.readers import checkpoint, frozen_graph, metagraph, protos, recorded_signatures

# The file is a CheckpointState in text form.
_NEWEST = re.compile(r'^model_checkpoint_path:\s*"(?P<path>[^"]+)"', re.MULTILINE)
_ASSETS = "asset_filepaths"
_GRAPH = "graph.pbtxt"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a checkpoint lies: `prefix` of its values, `graph` the file with its graph ("" where there is none)."""

    prefix: str
    graph: str
    findings: tuple[Finding, ...] = ()


def find_place(source: Source, options: ReadOptions) -> Place:
    """Chooses one checkpoint, and the graph that belongs to it.

    Raises:
      UsageError: `options.checkpoint` names none.
      CorruptModelError: there are no values, or no graph.
    """
    folder = source.path if os.path.isdir(source.path) else os.path.dirname(source.path)
    prefixes = list_prefixes(folder)
    if not prefixes:
        raise errors.CorruptModelError(
            "the folder has no checkpoint: neither an .index file nor one of format V1",
            where=folder,
            hint="copy the .index and .data files, not only the .meta",
        )
    findings: tuple[Finding, ...] = ()
    if os.path.isfile(source.path):
        chosen = _match(os.path.basename(source.path), prefixes)
    elif options.checkpoint:
        chosen = _match(os.path.basename(options.checkpoint), prefixes)
        if chosen is None:
            raise errors.UsageError(
                f"there is no checkpoint {options.checkpoint!r}",
                where="--checkpoint",
                hint=f"there are: {', '.join(prefixes)}",
            )
    else:
        chosen = _read_newest(folder, prefixes)
        if len(prefixes) > 1:
            others = ", ".join(name for name in prefixes if name != chosen)
            message = f"{chosen} is the newest; left aside: {others}"
            findings = (_say("checkpoint-chosen", folder, message, "--checkpoint", Severity.INFO),)
    assert chosen is not None, "the file is one of the folder's"
    graph, found = _find_graph(folder, chosen)
    return Place(prefix=os.path.join(folder, chosen), graph=graph, findings=(*findings, *found))


def find_graph_of(prefix: str) -> Place:
    """The place of a checkpoint that was chosen already."""
    folder, name = os.path.split(prefix)
    graph, findings = _find_graph(folder, name)
    return Place(prefix=prefix, graph=graph, findings=findings)


def list_prefixes(folder: str) -> list[str]:
    """Checkpoints in a folder, by name, the oldest (by step) first; V1 in shards as TF spells them, with `?????`."""
    names = sorted(os.listdir(folder))
    found = {name.removesuffix(".index") for name in names if name.endswith(".index")}
    for name in names:
        shard = checkpoint.SHARD.fullmatch(name)
        if shard and ".data-" not in name:
            found.add(f"{shard['stem']}-?????-of-{shard['count']}")
        elif f"{name}.meta" in names and os.path.isfile(os.path.join(folder, name)):
            found.add(name)
    return sorted(found, key=_order)


def _order(prefix: str) -> tuple[int, str]:
    numbers = re.findall(r"\d+", checkpoint.SHARD.sub(r"\g<stem>", prefix))
    return (int(numbers[-1]) if numbers else -1, prefix)


def _stem(prefix: str) -> str:
    """The name that the .meta bears."""
    shard = checkpoint.SHARD.fullmatch(prefix)
    return shard["stem"] if shard else prefix


def _match(name: str, prefixes: list[str]) -> str | None:
    """The prefix that a file's name, a prefix, its stem or its step stands for."""
    bare = re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", name)
    shard = checkpoint.SHARD.fullmatch(bare)
    bare = f"{shard['stem']}-?????-of-{shard['count']}" if shard else bare
    for prefix in reversed(prefixes):
        if bare in (prefix, _stem(prefix)) or _stem(prefix).endswith(f"-{bare}"):
            return prefix
    return None


def _read_newest(folder: str, prefixes: list[str]) -> str:
    """What `checkpoint` names, if it is there; else the highest step."""
    try:
        with open(os.path.join(folder, "checkpoint"), encoding="utf-8", errors="replace") as file:
            stated = _NEWEST.search(file.read(2**20))
    except OSError:
        stated = None
    named = stated["path"].replace("\\", "/").rpartition("/")[2] if stated else ""
    return _match(named, prefixes) or prefixes[-1]


def _find_graph(folder: str, prefix: str) -> tuple[str, tuple[Finding, ...]]:
    own = os.path.join(folder, f"{_stem(prefix)}.meta")
    if os.path.isfile(own):
        return own, ()
    metas = sorted((name for name in os.listdir(folder) if name.endswith(".meta")), key=_order)
    if metas:
        message = f"{prefix} has no .meta of its own; the graph is that of {metas[-1]}"
        return os.path.join(folder, metas[-1]), (_say("graph-of-other-checkpoint", folder, message),)
    if os.path.isfile(os.path.join(folder, _GRAPH)):
        message = f"there is no .meta; the graph is {_GRAPH}, which does not say what trains"
        return os.path.join(folder, _GRAPH), (_say("graph-without-collections", folder, message, "--trainable"),)
    return "", ()


def _say(code: str, where: str, message: str, flag: str = "", severity: Severity = Severity.WARNING) -> Finding:
    hint = f"choose with {flag}" if flag else ""
    return Finding(code=code, severity=severity, where=os.path.basename(where), message=message, hint=hint)


def load_graph(place: Place) -> Any:
    """The graph as its file has it.

    Raises:
      CorruptModelError: there is none, or it cannot be parsed.
    """
    if not place.graph:
        raise errors.CorruptModelError(
            "the checkpoint holds values only: there is no .meta with the graph",
            where=place.prefix,
            hint="copy the .meta file too; of a Keras model, say what it is with --builder or --architecture",
        )
    if place.graph.endswith(".pbtxt"):
        return frozen_graph.wrap_graph(protos.parse_graph_def(place.graph))
    meta_graph = protos.parse_meta_graph_def(place.graph)
    del meta_graph.meta_info_def.tags[:]
    meta_graph.meta_info_def.tags.extend(frozen_graph.TAGS)
    return meta_graph


def read_training_checkpoint(source: Source, options: ReadOptions, scratch: str) -> LegacyModel:
    """Reads the graph that was trained, and where its values lie; what only training needs is left behind.

    Raises:
      UsageError: an option names what is not there.
      CorruptModelError: a file is missing or truncated.
    """
    place = find_place(source, options)
    meta_graph = load_graph(place)
    entries = checkpoint.parse_entries(place.prefix)
    recorded_signatures.adopt_signatures(meta_graph)
    variant, findings = metagraph.parse_meta_graph(meta_graph, os.path.dirname(place.prefix), entries, options)
    variant = dataclasses.replace(variant, assets=(*variant.assets, *_find_assets(variant, place)))
    variant, left = leave_training_behind(variant)
    return LegacyModel(
        source=source,
        variants=(variant,),
        checkpoint=place.prefix,
        producer=variant.tensorflow_version,
        findings=(*place.findings, *findings, *left),
    )


def _find_assets(variant: GraphVariant, place: Place) -> list[Asset]:
    """Files that the graph names by the paths of another machine: they are looked for beside the checkpoint only."""
    folder = os.path.dirname(place.prefix)
    index = graph_index.GraphIndex(variant.graph_def)
    known = {asset.tensor for asset in variant.assets}
    found = []
    for tensor in map(str, variant.collections.get(_ASSETS, ())):
        ref = graph_index.parse_tensor_name(tensor)
        node = index.nodes.get(ref.node)
        if node is None or node.op != "Const" or str(ref) in known or not node.attr["value"].tensor.string_val:
            continue
        name = os.path.basename(node.attr["value"].tensor.string_val[0].decode(errors="replace"))
        places = [os.path.join(folder, *parts, name) for parts in ((), ("assets",))]
        path = next((path for path in places if os.path.isfile(path)), places[0])
        found.append(Asset(tensor=str(ref), filename=name, path=path))
    return found


def leave_training_behind(variant: GraphVariant) -> tuple[GraphVariant, tuple[Finding, ...]]:
    """The variant without variables that only training uses: optimizer slots, the global step, averages.

    What trains stays, and what a signature, a regularization loss or an update op needs.
    """
    index = graph_index.GraphIndex(variant.graph_def)
    feeds = [n for s in variant.signatures.values() for t in s.inputs.values() for n in t.tensor_names]
    roots = [n for s in variant.signatures.values() for t in s.outputs.values() for n in t.tensor_names]
    for collection in ("regularization_losses", "update_ops"):
        roots += map(str, variant.collections.get(collection, ()))
    used = index.ancestors(roots, stop=feeds)
    left = [spec for spec in variant.variables if spec.node not in used and not spec.trainable]
    if not left:
        return variant, ()
    kept = tuple(spec for spec in variant.variables if spec not in left)
    finding = Finding(
        code="training-state-left-behind",
        where=variant.label,
        message=f"{len(left)} variables that only training used are left behind: {', '.join(_names(left))}",
        hint="to go on training, start the optimizer anew",
    )
    return dataclasses.replace(variant, variables=kept), (finding,)


def _names(specs: list[VariableSpec]) -> list[str]:
    return sorted(spec.name for spec in specs)
