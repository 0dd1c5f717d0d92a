"""Signatures for explainers: `xai_model`, numbers in and differentiable, and `xai_preprocess`, which gives the numbers.

What parses, decodes or looks up has no gradient. The graph behind a signature is cut where numbers begin that every
op from there on can be differentiated by; the tensors at the cut are what one gives and the other takes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf

from migrate import errors, tensorflow_private
from migrate.graph import index as graph_index
from migrate.graph import observable, subgraph
from migrate.model import Finding, GraphVariant, LegacyModel, Severity, Shape, Signature, SignatureTensor
from migrate.options import signature_key
from migrate.readers.signatures import parse_dense_tensor

MODEL, PREPROCESS = "xai_model", "xai_preprocess"
_DEFAULTS = ("serving_default", "default")
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_METHOD = "tensorflow/serving/predict"
_SHAPES = ("Shape", "ShapeN", "Size", "Rank")


def add_explanation(model: LegacyModel, signature: str) -> LegacyModel:
    """The model with the two signatures in every variant that has the one they explain.

    Args:
      model: what a reader gave.
      signature: key (or description) of what is explained; "" for the default signature.

    Raises:
      UsageError: there is no such signature, or nothing in it has a gradient.
    """
    key = signature_key(signature) or next(
        (k for k in _DEFAULTS if any(k in v.signatures for v in model.variants)),
        next((k for v in model.variants for k in v.signatures), ""),
    )
    variants, findings = [], []
    for variant in model.variants:
        if key not in variant.signatures:
            variants.append(variant)
            continue
        added, found = _explain(variant, variant.signatures[key])
        variants.append(dataclasses.replace(variant, signatures={**variant.signatures, **added}))
        findings += found
    if not findings:
        raise errors.UsageError(f"the model has no signature {key!r} to explain", where="--xai")
    return dataclasses.replace(model, variants=tuple(variants), findings=(*model.findings, *dict.fromkeys(findings)))


def _explain(variant: GraphVariant, signature: Signature) -> tuple[dict[str, Signature], list[Finding]]:
    index = graph_index.GraphIndex(variant.graph_def)
    raw = [name for tensor in signature.inputs.values() for name in tensor.tensor_names]
    results = {key: tensor for key, tensor in signature.outputs.items() if tensor.dtype in _FLOATS}
    wanted = [name for tensor in results.values() for name in tensor.tensor_names]
    # A number that is only a shape mostly comes from behind the cut; where it does not, it counts like any other.
    for shapes_count in (False, True):
        cut = _Cut(index, raw, shapes_count)
        for name in wanted:
            cut.add(graph_index.parse_tensor_name(name))
        places = [str(ref) for ref in cut.places]
        if all(_is_computed(index, tensor, places, raw) for tensor in results.values()):
            break
    outputs = {key: t for key, t in signature.outputs.items() if _is_computed(index, t, places, raw)}
    trivial = [key for key, t in results.items() if set(t.tensor_names) & set(places)]
    if not places or not set(outputs) & set(results) or len(trivial) == len(results):
        raise errors.UsageError(
            f"no output of {signature.key!r} has a gradient by numbers that come before it", where="--xai"
        )
    where = f"{variant.label}/{signature.key}"
    if set(places) == set(raw):
        return {MODEL: dataclasses.replace(signature, key=MODEL, outputs=outputs)}, [
            _tell(where, f"{MODEL} takes its inputs as they are: {', '.join(signature.inputs)}", signature, outputs)
        ]
    keyed = _name_places(index, signature, cut.places)
    added = {
        MODEL: Signature(key=MODEL, method=_METHOD, inputs=keyed, outputs=outputs),
        PREPROCESS: Signature(key=PREPROCESS, method=_METHOD, inputs=signature.inputs, outputs=keyed),
    }
    message = f"{PREPROCESS} gives, and {MODEL} takes, {', '.join(f'{k} ({t.name})' for k, t in keyed.items())}"
    return added, [_tell(where, message, signature, outputs)]


def _tell(where: str, message: str, signature: Signature, outputs: Mapping[str, SignatureTensor]) -> Finding:
    lost = [key for key in signature.outputs if key not in outputs]
    more = f"; it leaves out {', '.join(lost)}, which need more than that" if lost else ""
    return Finding(code="explanation-added", severity=Severity.INFO, where=where, message=message + more)


def _is_computed(
    index: graph_index.GraphIndex, tensor: SignatureTensor, places: Sequence[str], raw: Sequence[str]
) -> bool:
    """Whether the cut is all that the tensor needs of the inputs."""
    needed = index.ancestors(tensor.tensor_names, stop=places)
    given = {graph_index.parse_tensor_name(name).node for name in places}
    return not needed & ({graph_index.parse_tensor_name(name).node for name in raw} - given)


class _Cut:
    """The tensors at which numbers begin, in the order in which they are met."""

    def __init__(self, index: graph_index.GraphIndex, raw: Sequence[str], shapes_count: bool) -> None:
        self._index = index
        self._passing = () if shapes_count else _SHAPES
        self._raw = {graph_index.parse_tensor_name(name) for name in raw}
        names = [node.name for node in index.graph_def.node]
        order = observable.order_nodes(index, names)
        frames = observable.find_hidden(index, order) | {n for n in names if index.nodes[n].op in observable.ENDS}
        self._inside = frames
        self._depends = self._find_dependents(index)
        self._seen: set[graph_index.TensorRef] = set()
        self.places: dict[graph_index.TensorRef, None] = {}

    def _find_dependents(self, index: graph_index.GraphIndex) -> set[str]:
        """Nodes that need an input, by data."""
        consumers = index.consumers()
        found, pending = set(), [ref.node for ref in self._raw]
        while pending:
            name = pending.pop()
            if name not in found and index.nodes[name].op not in self._passing:
                found.add(name)
                users = consumers.get(name, ())
                pending += [node.name for node, at in users if not node.input[at].startswith("^")]
        return found

    def add(self, ref: graph_index.TensorRef) -> None:
        """Walks back from a float tensor to where its numbers begin."""
        pending = [ref]
        while pending:
            here = pending.pop()
            if here in self._seen or here.node not in self._depends:
                continue
            self._seen.add(here)
            before = [] if here in self._raw else self._differentiable_inputs(here.node)
            if before:
                pending += reversed(before)
            else:
                self.places[here] = None

    def _differentiable_inputs(self, name: str) -> list[graph_index.TensorRef]:
        """The inputs of a node that depend on the signature's, if all are floats and the op has a gradient."""
        node = self._index.nodes[name]
        if name in self._inside or not tensorflow_private.has_op_gradient(node.op):
            return []
        inputs = [r for r in self._index.inputs(name) if not r.is_control and r.node in self._depends]
        floats = all(self._index.dtype(str(ref)) in _FLOATS for ref in inputs)
        outside = not any(ref.node in self._inside and not self._is_end(ref.node) for ref in inputs)
        return inputs if floats and outside else []

    def _is_end(self, name: str) -> bool:
        return self._index.nodes[name].op in observable.ENDS


def _name_places(
    index: graph_index.GraphIndex, signature: Signature, places: Mapping[graph_index.TensorRef, None]
) -> dict[str, SignatureTensor]:
    """Keys for the tensors at the cut: the input's own where it is one, else the node's name."""
    own = {tensor.name: key for key, tensor in signature.inputs.items()}
    shapes = _infer_shapes(index, signature, [str(ref) for ref in places])
    # The scope that they share says nothing.
    made = [ref.spelled for ref in places if str(ref) not in own]
    shared = f"{os.path.commonpath(made)}/" if len(made) > 1 else ""
    shared = shared if len(shared) > 1 else ""
    found: dict[str, SignatureTensor] = {}
    for ref in places:
        name = str(ref)
        plain = ref.spelled[len(shared) :].replace("/", "_").replace(":", "_")
        key = graph_index.make_unique(own.get(name) or plain, found)
        tensor = parse_dense_tensor(name, index)
        found[key] = dataclasses.replace(
            tensor, shape=shapes[name] if tensor.shape is None else tensor.shape, default=None
        )
    return found


def _infer_shapes(index: graph_index.GraphIndex, signature: Signature, names: Sequence[str]) -> dict[str, Shape]:
    """What TensorFlow infers of the tensors' shapes; None of those that it cannot import here."""
    feeds = [
        subgraph.Feed(tensor=tensor.name, dtype=tensor.dtype, shape=tensor.shape)
        for tensor in signature.inputs.values()
        if not tensor.components
    ]
    cut = subgraph.extract_subgraph(index, feeds=feeds, fetches=names)
    for node in cut.graph_def.node:
        for attribute in ("_class", "_output_shapes"):
            if attribute in node.attr:
                del node.attr[attribute]
    try:
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(cut.graph_def, name="")
            shapes = [graph.get_tensor_by_name(cut.fetches[name]).shape for name in names]
    except (ValueError, tf.errors.OpError):
        return dict.fromkeys(names)
    return {n: None if s.rank is None else tuple(s.as_list()) for n, s in zip(names, shapes, strict=True)}
