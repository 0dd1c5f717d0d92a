"""Values inside a model, by the names of its nodes: what `--bisect` compares.

A TF1 graph is fetched from directly. A TF2 SavedModel computes inside functions, out of which nothing can be
fetched: a copy of its saved_model.pb is made in which each function also returns its inner tensors. What runs inside
loops and branches stays out of sight on both sides.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import function_pb2
from tensorflow.python.framework import op_def_registry

from migrate import arrays
from migrate.graph import index as graph_index
from migrate.graph import observable
from migrate.model import Signature
from migrate.readers import protos, read_model
from migrate.verify import calls as call_files
from migrate.verify.baseline import LoadedVariant, as_array, split_value
from migrate.verify.request import Names
from migrate.verify.run import MIGRATED, SESSION
from migrate.verify.signature_defs import read_variants
from migrate.write import provenance

VALUES, LISTING = "intermediates.npz", "intermediates.json"
_NO_VALUE = ("resource", "variant", "")


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Job: {"path", "kind", "calls": folder, "call": id, "results": folder, "op_library": [paths], "names": of a Keras
    file, whose `path` is that of its graph}.

    Writes the values by node name, and a listing in an order in which inputs come first: [{"node", "op"}], with
    "needed": output key -> the nodes it needs (a TF1 session only).
    """
    for path in request["op_library"]:
        tf.load_op_library(path)
    tf.compat.v1.disable_eager_execution()
    call = next(call for call in call_files.load_calls(request["calls"]) if call.id == request["call"])
    names = Names(**request["names"])
    if names.signature:
        inputs = {names.inputs.get(key, key): value for key, value in call.inputs.items()}
        call = dataclasses.replace(call, signature=names.signature, inputs=inputs)
    if request["kind"] == SESSION:
        listing, values, needed = _run_session(request["path"], call)
    else:
        listing, values = _run_functions(request["path"], request["kind"], request["results"], call)
        needed = {}
    os.makedirs(request["results"], exist_ok=True)
    arrays.save_arrays(os.path.join(request["results"], VALUES), values)
    with open(os.path.join(request["results"], LISTING), "w", encoding="utf-8") as file:
        json.dump({"nodes": listing, "needed": needed}, file)
    return {}


# --- TF1 graphs ------------------------------------------------------------------------------------------


def _run_session(path: str, call: call_files.Call) -> tuple[list[dict[str, str]], dict[str, Any], dict[str, list[str]]]:
    model = read_model(path)
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
    except tf.errors.OpError:
        # Control flow in control flow: nothing after the first branch is looked at.
        values = _fetch(loaded, index, order, observable.find_hidden(index, order, ends=()), feeds)
    loaded.close()
    return [{"node": name, "op": index.nodes[name].op} for name in values], values, needed


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


# --- functions of TF2 SavedModels ------------------------------------------------------------------------


def _run_functions(
    path: str, kind: str, results: str, call: call_files.Call
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    key = _find_definition(path, kind, call)
    saved_model = protos.parse_saved_model(path)
    meta_graph = saved_model.meta_graphs[0]
    signature = next(s for v in read_variants(path) for s in v.signatures.values() if s.key == key)
    exposed = _expose_main(meta_graph.graph_def, signature)
    folder = os.path.join(results, "exposed")
    os.makedirs(folder)
    with open(os.path.join(folder, "saved_model.pb"), "wb") as file:
        file.write(saved_model.SerializeToString())
    for name in ("variables", "assets"):
        if os.path.isdir(os.path.join(path, name)):
            os.symlink(os.path.join(os.path.abspath(path), name), os.path.join(folder, name))
    feeds = {
        name: part
        for input_key, value in call.inputs.items()
        for name, part in zip(signature.inputs[input_key].tensor_names, split_value(value), strict=True)
    }
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


def _expose_main(graph_def: Any, signature: Signature) -> dict[str, tuple[str, str]]:
    """Node name -> (tensor to fetch, op); edits `graph_def`: what the signature calls returns its inner tensors."""
    index = graph_index.GraphIndex(graph_def)
    library = {function.signature.name: function for function in graph_def.library.function}
    outputs = [name for tensor in signature.outputs.values() for name in tensor.tensor_names]
    exposed: dict[str, tuple[str, str]] = {}
    for name in observable.order_nodes(index, sorted(index.ancestors(outputs))):
        node = index.nodes[name]
        if node.op in observable.CALLS:
            first, inner = _expose_call(node, library, graph_def)
            for position, (inner_name, op, _) in enumerate(inner):
                exposed.setdefault(inner_name, (f"{name}:{first + position}", op))
        elif node.op not in observable.SILENT and index.dtype(f"{name}:0") not in _NO_VALUE:
            exposed.setdefault(name, (f"{name}:0", node.op))
    return exposed


_Inner = list[tuple[str, str, int]]  # (node name, op, DataType) of the outputs that were added


def _expose_call(node: Any, library: Mapping[str, Any], graph_def: Any) -> tuple[int, _Inner]:
    """Makes a call node call a copy that returns more; the number of its first new output, and what is new."""
    name = node.attr["f"].func.name
    copy, inner = _expose_function(library[name], library, graph_def)
    node.attr["f"].func.name = copy
    types = node.attr["Tout"].list.type
    first = len(types)
    types.extend(dtype for _, _, dtype in inner)
    if "_output_shapes" in node.attr:
        del node.attr["_output_shapes"]
    return first, inner


def _expose_function(function: Any, library: Mapping[str, Any], graph_def: Any) -> tuple[str, _Inner]:
    copy = function_pb2.FunctionDef()
    copy.CopyFrom(function)
    copy.signature.name = f"{function.signature.name}_exposed_{len(graph_def.library.function)}"
    added: _Inner = []
    for node in _order_body(copy):
        if node.op in observable.CALLS:
            first, inner = _expose_call(node, library, graph_def)
            found = [(item, f"{node.name}:output:{first + i}") for i, item in enumerate(inner)]
        else:
            found = _find_output(node)
        for (name, op, dtype), tensor in found:
            argument = copy.signature.output_arg.add()
            argument.name, argument.type = f"exposed_{len(added)}", dtype
            copy.ret[argument.name] = tensor
            added.append((name, op, dtype))
    graph_def.library.function.append(copy)
    return copy.signature.name, added


def _order_body(function: Any) -> list[Any]:
    """Nodes of a function with inputs first. Inputs are spelled "node:output argument:index" there."""
    nodes = {node.name: node for node in function.node_def}
    done: set[str] = set()
    found: list[Any] = []
    for root in nodes:
        pending = [(root, False)]
        while pending:
            name, ready = pending.pop()
            if ready:
                found.append(nodes[name])
            elif name in nodes and name not in done:
                done.add(name)
                pending.append((name, True))
                pending.extend((text.split(":")[0], False) for text in nodes[name].input if text[0] != "^")
    return found


def _find_output(node: Any) -> list[tuple[tuple[str, str, int], str]]:
    """The first output of a node, if it is one tensor that holds values."""
    op_def = op_def_registry.get(node.op)
    if node.op in observable.SILENT or op_def is None or not op_def.output_arg:
        return []
    argument = op_def.output_arg[0]
    dtypes = graph_index.output_dtypes(node)
    if argument.number_attr or argument.type_list_attr or not dtypes:
        return []
    if graph_index.is_ref(dtypes[0]) or graph_index.dtype_name(dtypes[0]) in _NO_VALUE:
        return []
    return [((node.name, node.op, dtypes[0]), f"{node.name}:{argument.name}:0")]
