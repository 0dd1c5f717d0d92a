"""On what both sides are trained: which signatures, and which of the planned calls give the batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from migrate.comparison.naming import Reading
from migrate.comparison.plan import TrainingPlan
from migrate.inputs.calls import Call
from migrate.verdict import EMPTY_BATCH

# No rows, an input left out, NaN and Inf: what a model does with them is told at other levels.
_NO_BATCHES = frozenset({EMPTY_BATCH, "defaults_omitted", "nonfinite"})
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


def plan_training(baseline: Reading, planned: Sequence[Call]) -> TrainingPlan:
    """Each signature of the variant that trains; of two that compute the same of the same inputs, the first.

    Args:
      baseline: whose training variant it is.
      planned: the calls that both sides can make.
    """
    labels: dict[str, list[Call]] = {}
    for call in planned:
        if call.tags == baseline.training_tags and call.case not in _NO_BATCHES:
            labels.setdefault(call.id.rpartition("/")[0], []).append(call)
    batches: dict[str, tuple[str, ...]] = {}
    skipped = [] if labels else ["trajectory: both sides have no call in common of the variant that trains"]
    same: set[tuple[Any, ...]] = set()
    for label, calls in labels.items():
        # Made up inputs are ordinary ones; extremes would only drive the weights away.
        ordinary = [call for call in calls if call.case.startswith("batch_")] or calls
        tensors = _list_tensors(baseline, ordinary[0])
        if tensors and tensors in same:
            continue
        same.add(tensors)
        batches[label] = tuple(call.id for call in ordinary)
    return TrainingPlan(batches=batches, skipped=tuple(skipped))


def _list_tensors(baseline: Reading, call: Call) -> tuple[Any, ...]:
    """What a signature computes of what; () where its graph is not known."""
    place = call.tags, call.signature
    if place not in baseline.graphs or place in baseline.unseen:
        return ()
    _, signature = baseline.graphs[place]
    outputs = [tensor.tensor_names for tensor in signature.outputs.values() if tensor.dtype in _FLOATS]
    inputs = [tensor.tensor_names for tensor in signature.inputs.values()]
    return tuple(sorted(inputs)), tuple(sorted(set(outputs)))
