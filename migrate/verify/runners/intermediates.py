"""Values inside a model, by the names of its nodes: what `--bisect` compares.

A TF1 graph is fetched from directly, the nodes of a branch that was taken too; what is inside its loops stays out of
sight. A TF2 SavedModel computes inside functions, out of which nothing can be fetched: a copy of its saved_model.pb is
made by `exposure`, in which each function also returns its inner tensors.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from migrate import arrays
from migrate.graph import describing, exposure, observable
from migrate.graph import index as graph_index
from migrate.inputs import calls as call_files
from migrate.options import ReadOptions
from migrate.readers import protos, read_model
from migrate.verify.runners.altered import write_altered
from migrate.verify.runners.baseline import LoadedVariant, as_array, name_parts
from migrate.verify.runners.process import prepare_process
from migrate.verify.runners.request import InsideRequest
from migrate.verify.runners.side import MIGRATED, SESSION
from migrate.verify.signature_defs import read_variants
from migrate.write import provenance

VALUES, LISTING = "intermediates.npz", "intermediates.json"
_NO_VALUE = exposure.NO_VALUE
_BRANCH_SECONDS = 20.0
# What is added to a node's name: the iteration of a loop, or which of its outputs.
_PLACE = re.compile(r" \(iteration \d+\)$|:\d+$")


def run(request: InsideRequest) -> None:
    """Job.

    Writes the values by node name, and a listing in an order in which inputs come first: [{"node", "op"}], with
    "needed": output key -> the nodes it needs (a TF1 session only).
    """
    subject, names = request.subject, request.subject.names
    prepare_process(subject.op_library)
    tf.compat.v1.disable_eager_execution()
    call = next(call for call in call_files.load_calls(subject.calls) if call.id == subject.call)
    if names.signature:
        inputs = {names.inputs.get(key, key): value for key, value in call.inputs.items()}
        call = dataclasses.replace(call, signature=names.signature, inputs=inputs)
    if subject.kind == SESSION:
        listing, values, needed, graph_def = _run_session(subject.path, subject.read.of_original, call)
    else:
        listing, values = _run_functions(subject.path, subject.kind, request.results, call)
        needed, graph_def = {}, protos.parse_saved_model(subject.path).meta_graphs[0].graph_def
    described = describing.describe_nodes(graph_def)
    bare = {node["node"]: _PLACE.sub("", node["node"]) for node in listing}
    about = {name: described[base] for name, base in bare.items() if base in described}
    # What writes gives no value that could be looked at.
    about |= {name: found for name, found in described.items() if observable.is_write(found["op"])}
    os.makedirs(request.results, exist_ok=True)
    arrays.save_arrays(os.path.join(request.results, VALUES), values)
    with open(os.path.join(request.results, LISTING), "w", encoding="utf-8") as file:
        json.dump({"nodes": listing, "needed": needed, "about": about}, file)


# --- TF1 graphs ------------------------------------------------------------------------------------------


def _run_session(
    path: str, read: ReadOptions, call: call_files.Call
) -> tuple[list[dict[str, str]], dict[str, Any], dict[str, list[str]], Any]:
    model = read_model(path, read)
    variant = next(variant for variant in model.variants if variant.tags == call.tags)
    signature = variant.signatures[call.signature]
    loaded = LoadedVariant(model, variant)
    index = graph_index.GraphIndex(loaded.graph.as_graph_def())
    feeds = loaded.make_feeds(signature.inputs, call.inputs)
    needed = {
        key: sorted(index.ancestors(tensor.tensor_names, stop=list(feeds))) for key, tensor in signature.outputs.items()
    }
    order = observable.order_nodes(index, [name for names in needed.values() for name in names])
    try:
        values = _fetch(loaded, index, order, observable.find_hidden(index, order), feeds)
        values |= _fetch_branches(loaded, index, order, feeds)
    except tf.errors.OpError:
        # Control flow in control flow: nothing after the first branch is looked at.
        values = _fetch(loaded, index, order, observable.find_hidden(index, order, ends=()), feeds)
    loaded.close()
    values = {name: values[name] for name in order if name in values}
    return [{"node": name, "op": index.nodes[name].op} for name in values], values, needed, index.graph_def


def _fetch(
    loaded: LoadedVariant,
    index: graph_index.GraphIndex,
    order: Sequence[str],
    hidden: set[str],
    feeds: Mapping[str, Any],
) -> dict[str, Any]:
    fetches: dict[str, Any] = {}
    for name in order:
        if index.nodes[name].op in observable.SILENT or name in hidden or index.dtype(f"{name}:0") in _NO_VALUE:
            continue
        tensor = loaded.graph.get_tensor_by_name(f"{name}:0")
        if loaded.graph.is_fetchable(tensor):
            fetches[name] = tensor
    return {name: as_array(value) for name, value in loaded.session.run(fetches, feeds).items()}


def _fetch_branches(
    loaded: LoadedVariant, index: graph_index.GraphIndex, order: Sequence[str], feeds: Mapping[str, Any]
) -> dict[str, Any]:
    """Values of the nodes in branches that were taken. One without a value fails the fetch of all with it: the nodes
    are halved until what is left has values, as long as there is time."""
    loops, hidden = observable.find_loops(index, order), observable.find_hidden(index, order)
    tensors = {}
    for name in order:
        if name not in hidden or name in loops or index.nodes[name].op in observable.SILENT:
            continue
        tensor = loaded.graph.get_tensor_by_name(f"{name}:0")
        if index.dtype(f"{name}:0") not in _NO_VALUE and loaded.graph.is_fetchable(tensor):
            tensors[name] = tensor
    found: dict[str, Any] = {}
    pending = [list(tensors)]
    deadline = time.monotonic() + _BRANCH_SECONDS
    while pending and time.monotonic() < deadline:
        names = pending.pop(0)
        try:
            values = loaded.session.run({name: tensors[name] for name in names}, feeds)
            found |= {name: as_array(value) for name, value in values.items()}
        except tf.errors.OpError:
            middle = len(names) // 2
            pending.extend(half for half in (names[:middle], names[middle:]) if middle)
    return found


# --- functions of TF2 SavedModels ------------------------------------------------------------------------


def _run_functions(
    path: str, kind: str, results: str, call: call_files.Call
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    key = _find_definition(path, kind, call)
    try:
        return _run_exposed(path, key, os.path.join(results, "exposed"), call, with_bodies=True)
    except (tf.errors.OpError, ValueError):
        # What a loop or branch holds cannot be had out of it: they are looked at from outside.
        return _run_exposed(path, key, os.path.join(results, "exposed_outside"), call, with_bodies=False)


def _run_exposed(
    path: str, key: str, folder: str, call: call_files.Call, *, with_bodies: bool
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    saved_model = protos.parse_saved_model(path)
    meta_graph = saved_model.meta_graphs[0]
    signature = next(s for v in read_variants(path) for s in v.signatures.values() if s.key == key)
    exposed = exposure.expose_signature(meta_graph.graph_def, signature, with_bodies=with_bodies)
    write_altered(saved_model, path, folder)
    feeds = name_parts(signature.inputs, call.inputs)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.load(session, list(meta_graph.meta_info_def.tags), folder)
        fetched = session.run({name: tensor for name, (tensor, _) in exposed.items()}, feeds)
    listing = [{"node": name, "op": op} for name, (_, op) in exposed.items()]
    return listing, {name: as_array(value) for name, value in fetched.items()}


def _find_definition(path: str, kind: str, call: call_files.Call) -> str:
    """The SignatureDef that makes the call."""
    if kind != MIGRATED:
        return call.signature
    record = provenance.read_record(path)
    assert record is not None
    for piece in record["pieces"]:
        if piece["signature"] == call.signature and piece["modes"][0]["tags"] == list(call.tags):
            return str(piece["signature_def"])
    raise ValueError(f"{call.id} is a training call, which has no SignatureDef to look into")
