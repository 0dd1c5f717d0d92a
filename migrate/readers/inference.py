"""A signature for a graph that has none: what the user states, else placeholders in, loose ends out.

TF1 let a caller feed and fetch any tensor by name; a graph without SignatureDefs can still be used so. What its author
fetched was, in all likelihood, what nothing else in the graph consumes; what he fed, placeholders and what an iterator
or a queue gave.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from typing import Any

from migrate import errors
from migrate.graph import index as graph_index
from migrate.graph import observable
from migrate.model import Finding, LegacyModel, Severity, Signature, SignatureTensor
from migrate.options import ReadOptions
from migrate.readers import learning_phase
from migrate.readers.signatures import parse_dense_tensor

KEY = "serving_default"
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
# Ops that give a batch from a pipeline, which a caller's batch takes the place of.
_PIPELINES = re.compile(r"IteratorGetNext(Sync)?|QueueDequeue(UpTo|Many)?(V2)?|ReaderRead(UpTo)?(V2)?")
# What trains, saves, initialises and reports: what hangs on it is nobody's result.
_TRAINING = re.compile(
    r"(Resource)?(Sparse)?Apply\w+|Assign\w*|(Resource)?Scatter(Add|Sub|Update|Nd\w+)|(Sharded)?Save\w*|Restore\w*"
    r"|MergeV2Checkpoints|\w*Summary(V2)?|IsVariableInitialized|VarIsInitializedOp|ReportUninitialized\w*"
)
_GRADIENTS = re.compile(r"(.*/)?gradients(_\d+)?/.*")
_SHAPES = ("Shape", "ShapeN", "Size", "Rank")
_NO_VALUE = ("resource", "variant")
_METHOD = "tensorflow/serving/predict"


def make_signature(
    index: graph_index.GraphIndex,
    label: str,
    internal: Sequence[str],
    filename: str,
    options: ReadOptions,
    losses: Sequence[str] = (),
) -> tuple[dict[str, Signature], tuple[Finding, ...]]:
    """The signature of a graph without any: the user's, completed by what can be inferred.

    Args:
      index: of the graph.
      label: of the tag set.
      internal: ops of saving, loading and training: what they need is no output.
      filename: the saver's file name tensor: what depends on it is no output either.
      options: `inputs` and `outputs`.
      losses: tensors that are minimised, which are nobody's results.

    Raises:
      UsageError: they name tensors that the graph does not have.
    """
    given_inputs = _find_tensors(index, options.inputs, "--inputs")
    given_outputs = _find_tensors(index, options.outputs, "--outputs")
    feeds = [tensor.name for tensor in given_inputs.values()]
    outputs = (
        given_outputs
        or _infer_outputs(index, _find_training(index, losses), internal, filename, feeds)
        or _infer_outputs(index, set(), internal, filename, feeds)
    )
    phases = learning_phase.find_phases(index.graph_def, options)
    inputs = given_inputs or _infer_inputs(index, [tensor.name for tensor in outputs.values()], phases)
    if not outputs:
        return {}, ()
    signature = Signature(key=KEY, method=_METHOD, inputs=inputs, outputs=outputs)
    if given_inputs and given_outputs:
        return {KEY: signature}, ()
    spelled = [
        f"--{name}=" + ",".join(f"{key}={tensor.name}" for key, tensor in side.items())
        for name, side in (("inputs", inputs), ("outputs", outputs))
    ]
    finding = Finding(
        code="signature-inferred",
        severity=Severity.WARNING,
        where=label,
        message=f"the model has no signature; {KEY!r} is made from its placeholders ({', '.join(inputs) or 'none'}) "
        f"and loose ends ({', '.join(outputs)}): {' '.join(spelled)}",
        hint="check that these are the tensors that you used",
    )
    return {KEY: signature}, (finding,)


def _find_tensors(index: graph_index.GraphIndex, texts: Sequence[str], flag: str) -> dict[str, SignatureTensor]:
    """ "key=tensor" or "tensor" -> tensors by key."""
    found = _parse_side(",".join(texts))
    lost = [name for name in found.values() if not index.has_tensor(name)]
    if lost:
        raise errors.UsageError(
            f"the graph has no tensors {', '.join(lost)}", where=flag, hint=f"it has: {_suggest(index, lost[0])}"
        )
    return {key: parse_dense_tensor(name, index) for key, name in found.items()}


def _suggest(index: graph_index.GraphIndex, name: str) -> str:
    """Some names that are like it, or the graph's ends."""
    node = graph_index.parse_tensor_name(name).node
    close = difflib.get_close_matches(node, index.nodes, n=4)
    inputs = [other.name for other in index.graph_def.node if other.op in _PLACEHOLDERS]
    return ", ".join(dict.fromkeys((*close, *inputs[:4], *_loose_ends(index, _find_training(index, ()))[-4:])))


def _loose_ends(index: graph_index.GraphIndex, training: set[str]) -> list[str]:
    """Nodes of the forward graph that nothing in it consumes."""
    forward = [node.name for node in index.graph_def.node if node.name not in training]
    consumed = {ref.node for name in forward for ref in index.inputs(name) if not ref.is_control}
    return [name for name in forward if name not in consumed]


def _find_training(index: graph_index.GraphIndex, losses: Sequence[str]) -> set[str]:
    """Nodes that train, save or report, the losses, and all that takes what they give."""
    names = [node.name for node in index.graph_def.node]
    starts = {name for name in names if _TRAINING.fullmatch(index.nodes[name].op) or _GRADIENTS.fullmatch(name)}
    scopes = tuple(f"{name.rpartition('/')[0]}/" for name in losses if "/" in name)  # all that a loss is made of
    starts |= {name for name in names if scopes and name.startswith(scopes)}
    return _find_reached(index, starts | {graph_index.parse_tensor_name(name).node for name in losses})


def _find_reached(index: graph_index.GraphIndex, starts: set[str]) -> set[str]:
    """The nodes `starts`, and all that depends on them by data; around a loop's back edge too."""
    consumers = index.consumers()
    found, pending = set(), list(starts)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        for node, position in consumers.get(name, ()):
            if not node.input[position].startswith("^"):
                pending.append(node.name)
    return found


def _infer_outputs(
    index: graph_index.GraphIndex, training: set[str], internal: Sequence[str], filename: str, feeds: Sequence[str]
) -> dict[str, SignatureTensor]:
    """Values that nothing consumes and that depend on `feeds`, or, where there are none, on what feeds the graph; of a
    graph that only hands its placeholders on, these themselves. What is in `training` does not count."""
    hidden = index.ancestors([f"^{name}" for name in internal if name])
    names = [node.name for node in index.graph_def.node]
    # What stands in a loop or branch cannot be fetched; an Exit is loose where the author had no use for it.
    inside = observable.find_hidden(index, observable.order_nodes(index, names)) if _has_frames(index) else set()
    sources = {graph_index.parse_tensor_name(name).node for name in feeds} or {
        node.name for node in index.graph_def.node if _is_source(node)
    }
    reached = _find_reached(index, sources)
    outputs: dict[str, SignatureTensor] = {}
    for name in _loose_ends(index, training):
        node = index.nodes[name]
        if name in hidden or name in inside or node.op in (*_PLACEHOLDERS, *observable.ENDS, *_SHAPES):
            continue
        saves = bool(filename) and graph_index.parse_tensor_name(filename).node in index.ancestors([name])
        if saves or (sources and name not in reached):
            continue
        for position, tensor in enumerate(_value_tensors(index, node)):
            outputs[name if position == 0 else f"{name}_{position}"] = parse_dense_tensor(tensor, index)
    if not outputs:
        outputs = {
            name: parse_dense_tensor(f"{name}:0", index)
            for name in _loose_ends(index, training)
            if index.nodes[name].op in _PLACEHOLDERS and name not in hidden and name != filename.partition(":")[0]
        }
    return outputs


def _has_frames(index: graph_index.GraphIndex) -> bool:
    return any(node.op in ("Enter", "RefEnter", "Switch", "RefSwitch") for node in index.graph_def.node)


def _is_source(node: Any) -> bool:
    return node.op in _PLACEHOLDERS or _PIPELINES.fullmatch(node.op) is not None


def _infer_inputs(
    index: graph_index.GraphIndex, outputs: Sequence[str], phases: Sequence[str]
) -> dict[str, SignatureTensor]:
    """What feeds `outputs`: placeholders, and the outputs of what a pipeline gives."""
    pipelines = [node.name for node in index.graph_def.node if _PIPELINES.fullmatch(node.op)]
    used: dict[str, None] = {}
    for node in index.graph_def.node:
        taken = [ref for ref in index.inputs(node.name) if ref.node in pipelines and not ref.is_control]
        used |= dict.fromkeys(map(str, taken))
    behind = index.ancestors(outputs, stop=used)
    open_ends = [name for name in sorted(behind) if index.nodes[name].op in _PLACEHOLDERS and name not in phases]
    inputs = {name: f"{name}:0" for name in open_ends}
    needed = index.ancestors(outputs)
    for ref in map(graph_index.parse_tensor_name, sorted(used)):
        if ref.node in needed:
            inputs[ref.spelled.replace(":", "_")] = str(ref)
    return {key: parse_dense_tensor(name, index) for key, name in inputs.items()}


def _value_tensors(index: graph_index.GraphIndex, node: Any) -> list[str]:
    """Outputs that hold values; an op unknown to this TensorFlow is taken to have one."""
    if not graph_index.is_registered(node.op):
        return [f"{node.name}:0"]
    dtypes = graph_index.output_dtypes(node)
    if any(graph_index.is_ref(dtype) or graph_index.dtype_name(dtype) in _NO_VALUE for dtype in dtypes):
        return []
    return [f"{node.name}:{position}" for position in range(len(dtypes))]


_SPEC = re.compile(r"^(?P<key>[^()]+)\((?P<inputs>[^()]*)\)->\((?P<outputs>[^()]+)\)$")


def add_signature(model: LegacyModel, text: str, flag: str = "--signature") -> LegacyModel:
    """The model with the described signature in every variant that has its tensors.

    Args:
      model: what a reader gave.
      flag: that gave the text.
      text: "KEY(x=in:0,y=other:0)->(z=out:0)"; a tensor without "name=" is keyed by its node's name.

    Raises:
      UsageError: the text cannot be parsed, or no variant has all the tensors.
    """
    match = _SPEC.match(text.replace(" ", ""))
    if match is None:
        raise errors.UsageError(f"{text!r} describes no signature", where=flag, hint="write KEY(x=in:0)->(y=out:0)")
    sides = [_parse_side(match["inputs"]), _parse_side(match["outputs"])]
    variants = []
    lost: dict[str, None] = {}
    for variant in model.variants:
        index = graph_index.GraphIndex(variant.graph_def)
        missing = [tensor for side in sides for tensor in side.values() if not index.has_tensor(tensor)]
        lost |= dict.fromkeys(missing)
        if missing:
            variants.append(variant)
            continue
        inputs, outputs = ({key: parse_dense_tensor(t, index) for key, t in side.items()} for side in sides)
        signature = Signature(key=match["key"], method=_METHOD, inputs=inputs, outputs=outputs)
        variants.append(dataclasses.replace(variant, signatures={**variant.signatures, match["key"]: signature}))
    if all(new is old for new, old in zip(variants, model.variants, strict=True)):
        raise errors.UsageError(
            f"the graph has no tensors {', '.join(lost)}", where=flag, hint="migrate-inspect lists what it has"
        )
    return dataclasses.replace(model, variants=tuple(variants))


def _parse_side(text: str) -> dict[str, str]:
    tensors = {}
    for item in filter(None, text.split(",")):
        key, equals, tensor = item.strip().rpartition("=")
        ref = graph_index.parse_tensor_name(tensor)
        tensors[key if equals else ref.spelled.replace(":", "_")] = str(ref)
    return tensors
