"""A learning phase that was left open becomes two variants: inference and training.

Keras on TF1 builds dropout and batch norm over a placeholder `keras_learning_phase`
(keras/backend/tensorflow_backend.py of Keras 1.0 to 2.2), which `model.predict` and `model.fit` feed. A SavedModel or
frozen graph of such a model has signatures that do not feed it, so that not even TF1 could serve them.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from migrate import errors
from migrate.graph import index as graph_index
from migrate.model import Finding, GraphVariant, LegacyModel, Severity
from migrate.options import ReadOptions

_NAME = re.compile(r"(.*/)?keras_learning_phase(_\d+)?")
_OPEN = ("Placeholder", "PlaceholderV2")
_TRAIN = "train"
# Where a TensorProto holds a number of these types; of the other integers in `int_val`.
_FIELDS = {"bool": "bool_val", "int64": "int64_val", "float32": "float_val", "float64": "double_val"}


def find_phases(graph_def: Any, options: ReadOptions) -> list[str]:
    """Placeholders that say whether the model trains: the one that the user names, else those that Keras left open."""
    if options.training_input:
        wanted = graph_index.parse_tensor_name(options.training_input).node
        return [node.name for node in graph_def.node if node.name == wanted]
    return [node.name for node in graph_def.node if node.op in _OPEN and _NAME.fullmatch(node.name)]


def split_phases(model: LegacyModel, options: ReadOptions) -> LegacyModel:
    """The model with a variant for each phase, where signatures depend on one that nobody feeds.

    A model that has a variant for training already gets no further one: there the phase is 1, elsewhere 0.

    Raises:
      UsageError: `options.training_input` names no node.
    """
    has_training = any(_TRAIN in variant.tags for variant in model.variants)
    variants: list[GraphVariant] = []
    found: dict[str, None] = {}
    known = False
    for variant in model.variants:
        phases = find_phases(variant.graph_def, options)
        known = known or bool(phases)
        open_phases = _find_unfed(variant, phases)
        found |= dict.fromkeys(open_phases)
        if not open_phases:
            variants.append(variant)
            continue
        trains = _TRAIN in variant.tags
        variants.append(_set_phase(variant, open_phases, trains, variant.tags))
        if not has_training:
            tags = tuple(sorted({*variant.tags, _TRAIN}))
            variants.append(_set_phase(variant, open_phases, True, tags))
    if options.training_input and not known:
        raise errors.UsageError(
            f"the graph has no node {options.training_input!r}", where="--training_input", hint="name a placeholder"
        )
    if not found:
        return model
    finding = Finding(
        code="learning-phase-open",
        severity=Severity.INFO if options.training_input else Severity.WARNING,
        where=", ".join(found),
        message="no signature feeds it, so TF1 itself had to be told by name whether the model trains: it became "
        "`training=`; the baseline is the original with 0 and with 1 fed to it",
    )
    return dataclasses.replace(model, variants=tuple(variants), findings=(*model.findings, finding))


def _find_unfed(variant: GraphVariant, phases: list[str]) -> list[str]:
    """The phases that some signature needs and that none feeds."""
    if not phases:
        return []
    index = graph_index.GraphIndex(variant.graph_def)
    tensors = [t for s in variant.signatures.values() for t in s.inputs.values()]
    fed = {graph_index.parse_tensor_name(name).node for tensor in tensors for name in tensor.tensor_names}
    outputs = [n for s in variant.signatures.values() for t in s.outputs.values() for n in t.tensor_names]
    needed = index.ancestors(outputs, stop=[name for tensor in tensors for name in tensor.tensor_names])
    return [name for name in phases if name in needed and name not in fed]


def _set_phase(variant: GraphVariant, phases: list[str], trains: bool, tags: tuple[str, ...]) -> GraphVariant:
    graph_def = type(variant.graph_def)()
    graph_def.CopyFrom(variant.graph_def)
    for node in graph_def.node:
        if node.name in phases:
            dtype = node.attr["dtype"].type
            node.op = "Const"
            del node.input[:]
            node.attr.clear()
            node.attr["dtype"].type = dtype
            value = node.attr["value"].tensor
            value.dtype = dtype
            value.tensor_shape.SetInParent()
            field = getattr(value, _FIELDS.get(graph_index.dtype_name(dtype), "int_val"))
            field.append(int(trains))
    return dataclasses.replace(
        variant,
        graph_def=graph_def,
        tags=tags,
        origin_tags=variant.tags,
        phase=tuple((f"{name}:0", trains) for name in phases),
    )
