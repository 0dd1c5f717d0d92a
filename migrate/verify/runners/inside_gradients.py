"""Gradients inside a model, by the names of its nodes: how an output depends on each tensor on the way to it.

A SavedModel of TF2 computes inside functions, whose tensors nothing can be differentiated by from outside. What the
signature needs is imported once more, its calls replaced by their bodies, into the graph of a session that has the
variables. Loops and branches stay what they are: functions, seen from outside.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import tensorflow as tf

from migrate import arrays
from migrate.graph import describing, inlining, observable
from migrate.graph import index as graph_index
from migrate.graph.subgraph import Subgraph
from migrate.inputs import calls as call_files
from migrate.readers import protos
from migrate.verify.runners.baseline import name_parts
from migrate.verify.runners.gradients import make_weights
from migrate.verify.runners.intermediates import LISTING, VALUES
from migrate.verify.runners.process import prepare_process
from migrate.verify.runners.request import InsideRequest
from migrate.verify.signature_defs import read_variants

_SCOPE = "inside"
_HANDLES = ("resource", "variant", "")


def run(request: InsideRequest) -> None:
    """Job: the gradient of one output of a SavedModel's signature by each float tensor that it is computed from.

    Writes the gradients by node name, and a listing from the output on backwards: [{"node", "op", "inputs"}].
    """
    subject, names = request.subject, request.subject.names
    prepare_process(subject.op_library)
    tf.compat.v1.disable_eager_execution()
    call = next(call for call in call_files.load_calls(subject.calls) if call.id == subject.call)
    meta_graph = protos.parse_saved_model(subject.path).meta_graphs[0]
    signature = next(s for v in read_variants(subject.path) for s in v.signatures.values() if s.key == names.signature)
    target = signature.outputs[request.gradient].name
    flat, resolved = _flatten(meta_graph.graph_def, target)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.compat.v1.saved_model.load(session, list(meta_graph.meta_info_def.tags), subject.path)
        _import(graph, flat)
        feeds = name_parts(signature.inputs, {names.inputs.get(key, key): v for key, v in call.inputs.items()})
        index = graph_index.GraphIndex(flat)
        order = _order_backwards(index, graph_index.parse_tensor_name(resolved).node)
        found = _differentiate(session, graph, index, resolved, order, feeds)
    bare = _find_bare_names(meta_graph.graph_def, [node.name for node in flat.node])
    listing = [
        {"node": bare[name], "op": index.nodes[name].op, "inputs": _find_inputs(index, bare, name)}
        for name in order
        if name in bare
    ]
    about = describing.describe_nodes(meta_graph.graph_def)
    os.makedirs(request.results, exist_ok=True)
    values = {bare[name]: value for name, value in found.items() if name in bare}
    arrays.save_arrays(os.path.join(request.results, VALUES), values)
    with open(os.path.join(request.results, LISTING), "w", encoding="utf-8") as file:
        json.dump({"nodes": listing, "needed": {}, "about": about}, file)


def _flatten(graph_def: Any, target: str) -> tuple[Any, str]:
    """What `target` needs, without calls, and the tensor that it is there."""
    whole = Subgraph(graph_def=graph_def, feeds={}, fetches={target: target})
    flat, _ = inlining.inline_functions(whole, lower=False)
    resolved = flat.fetches[target]
    node = graph_index.parse_tensor_name(resolved).node
    pruned = tf.compat.v1.graph_util.extract_sub_graph(flat.graph_def, [node])
    pruned.library.CopyFrom(graph_def.library)
    return pruned, str(graph_index.parse_tensor_name(resolved))


def _import(graph: tf.Graph, flat: Any) -> None:
    """Adds the nodes, with what is loaded already, inputs and handles, in place of their like."""
    index = graph_index.GraphIndex(flat)
    loaded = {}
    for node in flat.node:
        is_handle = not node.input and index.dtype(f"{node.name}:0") == "resource"
        if is_handle or node.op in ("Placeholder", "PlaceholderWithDefault"):
            loaded[f"{node.name}:0"] = graph.get_tensor_by_name(f"{node.name}:0")
    for node in flat.node:
        # An edge that only waits is not led elsewhere, and nothing need wait for what is there. To a loop or branch the
        # gradient adds inputs, which must not come after such an edge (TF 2.21).
        is_free = node.op in ("While", "StatelessWhile", "If", "StatelessIf")
        kept = [text for text in node.input if not (text.startswith("^") and (is_free or f"{text[1:]}:0" in loaded))]
        del node.input[:]
        node.input.extend(kept)
    tf.import_graph_def(flat, input_map=loaded, name=_SCOPE)


def _order_backwards(index: graph_index.GraphIndex, root: str) -> list[str]:
    """What a node is computed from, itself first."""
    order = observable.order_nodes(index, [root, *sorted(index.nodes)])
    # What comes after the root, it does not take but waits for.
    return order[order.index(root) :: -1]


def _differentiate(
    session: tf.compat.v1.Session,
    graph: tf.Graph,
    index: graph_index.GraphIndex,
    target: str,
    order: list[str],
    feeds: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Node -> gradient of the output's weighted sum by its first result, of those in `order` that are floats."""

    def find_tensor(name: str) -> Any:
        node = index.nodes[name]
        scope = "" if node.op in ("Placeholder", "PlaceholderWithDefault") else f"{_SCOPE}/"
        return graph.get_tensor_by_name(f"{scope}{name}:0")

    output = graph.get_tensor_by_name(f"{_SCOPE}/{target}")
    names = [name for name in order if index.dtype(f"{name}:0") not in _HANDLES]
    tensors = {name: tensor for name in names if (tensor := find_tensor(name)).dtype.is_floating}
    # Built before anything here runs: the gradient of a While gives it more outputs, which a session that has run it
    # does not get to know (TF 2.21).
    weights = tf.compat.v1.placeholder(output.dtype, None)
    gradients = tf.gradients(output, list(tensors.values()), grad_ys=tf.reshape(weights, tf.shape(output)))
    dense = {
        name: tf.zeros_like(tensor) if gradient is None else tf.convert_to_tensor(gradient)
        for (name, tensor), gradient in zip(tensors.items(), gradients, strict=True)
    }
    given = make_weights(np.shape(session.run(output, feeds)))
    return {name: np.asarray(value) for name, value in session.run(dense, {**feeds, weights: given}).items()}


def _find_bare_names(graph_def: Any, names: list[str]) -> dict[str, str]:
    """The nodes' names in the functions that they were in: what the other side has, too, wherever it is called from.
    What inlining has added has none."""
    known = {node.name for function in graph_def.library.function for node in function.node_def}
    known |= {node.name for node in graph_def.node}
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        parts = name.split("/")
        endings = ["/".join(parts[start:]) for start in range(len(parts))]
        bare = next((ending for ending in endings if ending in known), "")
        if bare:
            found[name] = name if bare in taken else bare  # a function that is called twice
            taken.add(bare)
    return found


def _find_inputs(index: graph_index.GraphIndex, bare: dict[str, str], name: str) -> list[str]:
    """Bare names of what a node takes, seen through what inlining has added."""
    found = []
    pending = [ref.node for ref in index.inputs(name) if not ref.is_control]
    while pending:
        taken = pending.pop(0)
        if taken in bare:
            found.append(bare[taken])
        elif taken in index.nodes:
            pending.extend(ref.node for ref in index.inputs(taken) if not ref.is_control)
    return found
