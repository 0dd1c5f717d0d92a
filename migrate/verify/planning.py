"""What verifying a migration runs: inputs for each signature that was rebuilt, and what else is compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from migrate import errors
from migrate.graph import races, randomness
from migrate.inputs.calls import Call
from migrate.inputs.cases import Case
from migrate.inputs.preview import preview_calls
from migrate.inputs.synthesis import synthesize_cases
from migrate.model import GraphVariant, Signature
from migrate.options import BATCH_SIZES
from migrate.rebuild.module import PreparedModel
from migrate.rebuild.pieces import PreparedPiece
from migrate.rebuild.plan import Mode
from migrate.verify.extras import Extras

_LARGE_ROW = 2**15  # elements
# As many rows as inputs of unusual values have: each further size is a trace and an optimized graph on every route.
_FEW = (3, 0)


def plan_example(prepared: PreparedModel, *, seed: int = 0) -> list[Call]:
    """Calls of the main signature alone, as it is served, which show how it is used; none where its inputs cannot be
    made up."""
    try:
        return plan_calls(prepared, _find_shown(prepared), seed=seed)
    except errors.MigrateError:
        return []


def list_shown(prepared: PreparedModel, calls: Sequence[Call]) -> list[Call]:
    """Those of `calls` that `plan_example` makes."""
    shown = {(mode.variant.tags, piece.plan.key) for piece, mode in _find_shown(prepared)}
    return [call for call in calls if (call.tags, call.signature) in shown]


def _find_shown(prepared: PreparedModel) -> list[tuple[PreparedPiece, Mode]]:
    piece = prepared.main or prepared.pieces[0]
    return [(piece, piece.plan.modes[0])]


def plan_calls(
    prepared: PreparedModel, chosen: Sequence[tuple[PreparedPiece, Mode]] | None = None, *, seed: int = 0
) -> list[Call]:
    """Calls for every signature of every variant that is rebuilt, or of the `chosen` ones.

    Signatures that are fed the same large tensors get the same values: what they compute alike is then the same to the
    bit, and is kept and compared once.
    """
    calls = []
    own = {tags: _copy_graph(graph.variant) for tags, graph in prepared.graphs.items()}
    fed: dict[tuple[Any, ...], list[Call]] = {}
    everything = [(piece, mode) for piece in prepared.pieces for mode in piece.plan.variant_modes]
    for piece, mode in everything if chosen is None else chosen:
        signature = mode.variant.signatures[piece.plan.key]
        # By position: keys may differ, as `images` and `default` do.
        feeds = (mode.variant.tags, *(dataclasses.astuple(tensor) for tensor in signature.inputs.values()))
        if feeds in fed:
            for call in fed[feeds]:
                inputs = dict(zip(signature.inputs, call.inputs.values(), strict=True))
                calls.append(dataclasses.replace(call, signature=signature.key, inputs=inputs))
            continue
        sizes, cases = _make_cases(own[mode.variant.tags], signature, seed)
        made = [
            Call(
                tags=mode.variant.tags,
                signature=signature.key,
                case=case.name,
                inputs=share_tensors(signature, case),
            )
            for case in cases
        ]
        calls.extend(made)
        if sizes == _FEW and all(len(call.inputs) == len(signature.inputs) for call in made):
            fed[feeds] = made
    return calls


def _copy_graph(variant: GraphVariant) -> GraphVariant:
    """To look through: who asks a node for an attribute that it does not have gives it an empty one (protobuf's maps
    of messages), and what is traced afterwards would be another graph."""
    graph_def = type(variant.graph_def)()
    graph_def.CopyFrom(variant.graph_def)
    return dataclasses.replace(variant, graph_def=graph_def)


def _make_cases(variant: GraphVariant, signature: Signature, seed: int) -> tuple[tuple[int, ...], tuple[Case, ...]]:
    """(batch sizes, cases): few rows of what is large (images, volumes), as a network over them costs seconds a row on
    each route. How large it is stands in the signature or, where that leaves dimensions open, in what was made up."""
    stated = (tensor.shape[1:] for tensor in signature.inputs.values() if tensor.shape)
    if max((math.prod(size for size in row if size is not None) for row in stated), default=0) <= _LARGE_ROW:
        cases = synthesize_cases(variant, signature, seed=seed, batch_sizes=BATCH_SIZES)
        made = (value.shape[1:] for case in cases for value in case.inputs.values() if isinstance(value, np.ndarray))
        if max(map(math.prod, made), default=0) <= _LARGE_ROW:
            return BATCH_SIZES, cases
    return _FEW, synthesize_cases(variant, signature, seed=seed, batch_sizes=_FEW)


def share_tensors(signature: Signature, case: Case) -> dict[str, Any]:
    """Two keys of one tensor must carry one value."""
    chosen: dict[tuple[str, ...], Any] = {}
    inputs = {}
    for key, tensor in signature.inputs.items():
        if key in case.inputs:
            inputs[key] = chosen.setdefault(tensor.tensor_names, case.inputs[key])
    return inputs


def plan_extras(prepared: PreparedModel, calls: Sequence[Call]) -> Extras:
    """What is compared beyond the outputs of `calls`, and which of those may be random or racy."""
    variant = prepared.plan.training or prepared.plan.inference
    has_losses = bool(prepared.losses)
    update_call = ""
    main = prepared.main
    if main is not None and main.has_training:
        tags = main.plan.modes[1].variant.tags
        call = next((c for c in calls if c.tags == tags and c.signature == main.plan.key), None)
        update_call = call.id if call else ""
    return Extras(
        losses=variant.tags if has_losses else None,
        update_call=update_call,
        random=tuple(find_random_outputs(prepared)),
        racy=tuple(find_racy_outputs(prepared)),
        inputs=preview_calls(calls),
    )


def find_racy_outputs(prepared: PreparedModel) -> list[tuple[str, str]]:
    """(tags/signature, output key) of outputs that TF1 computed before or after a write, as it happened."""
    found: list[tuple[str, str]] = []
    for piece in prepared.pieces:
        for mode in piece.plan.variant_modes if piece.racy else ():
            outputs = mode.variant.signatures[piece.plan.key].outputs
            names = {key: tensor.tensor_names for key, tensor in outputs.items()}
            racing = races.find_racing_outputs(prepared.graphs[mode.variant.tags].index, names)
            found.extend((f"{mode.variant.label}/{piece.plan.key}", key) for key in sorted(racing))
    return found


def find_random_outputs(prepared: PreparedModel) -> list[tuple[str, str]]:
    """(tags/signature, output key) of outputs that a random number generator reaches."""
    found: list[tuple[str, str]] = []
    for piece in prepared.pieces:
        for mode in piece.plan.variant_modes:
            index = prepared.graphs[mode.variant.tags].index
            signature = mode.variant.signatures[piece.plan.key]
            feeds = [name for tensor in signature.inputs.values() for name in tensor.tensor_names]
            drawn = randomness.find_random_nodes(index, feeds)
            found.extend(
                (f"{mode.variant.label}/{signature.key}", key)
                for key, tensor in signature.outputs.items()
                if randomness.is_among(drawn, tensor.tensor_names, feeds)
            )
    return found
