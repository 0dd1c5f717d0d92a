"""How a side is described, and how a Keras file comes by the other side's names.

A Keras file names its inputs and outputs by its layers (`dense_1_input`), which nobody chose and another export of
the same model need not keep. So it answers to the other side's names, by one rule: its signature stands for the other
side's `serving_default`, else `default`, else its only one for inference; of inputs and of outputs, equal keys belong
together, and then the one that is left with the one that is left, if it is one on each side. Everything else differs,
and the interface says so. Of two Keras files the candidate answers to the baseline's names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from migrate.model import GraphVariant, Signature
from migrate.verify.judging.interface import is_training
from migrate.verify.runners.request import Names
from migrate.verify.runners.side import KERAS

_DEFAULTS = ("serving_default", "default")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A side as its files describe it.

    Attributes:
      signatures: entries as `verify.signature_defs` describes them.
      graphs: (tags, key) -> the variant and signature that inputs are made up for.
      unseen: (tags, key) of training calls that no SignatureDef stands for: their graph is not known, so any output
        of theirs may be random.
      moving: (tags, key) of calls that run update ops when they are made in training mode, though not of their own.
      training_tags: tag set whose losses and updates count, None where there is none to run.
    """

    signatures: list[dict[str, Any]]
    graphs: Mapping[tuple[tuple[str, ...], str], tuple[GraphVariant, Signature]]
    training_tags: tuple[str, ...] | None = None
    unseen: frozenset[tuple[tuple[str, ...], str]] = frozenset()
    moving: frozenset[tuple[tuple[str, ...], str]] = frozenset()


def adopt_names(
    baseline_kind: str, candidate_kind: str, baseline: Reading, candidate: Reading
) -> tuple[Reading, Reading, tuple[Names, Names], list[str]]:
    """Both sides, a Keras file under the other's names; what either answers to; and what was renamed."""
    old, new = Names(), Names()
    if candidate_kind == KERAS:
        candidate, new = _adopt(candidate, baseline)
    elif baseline_kind == KERAS:
        baseline, old = _adopt(baseline, candidate)
    notes = [_describe(side, names) for side, names in (("baseline", old), ("candidate", new)) if names.signature]
    return baseline, candidate, (old, new), notes


def _describe(side: str, names: Names) -> str:
    changed = [("input", own, other) for other, own in names.inputs.items()]
    changed += [("output", own, other) for own, other in names.outputs.items()]
    listed = ", ".join(f"{what} {own!r} as {other!r}" for what, own, other in changed if own != other)
    return f"the {side}'s Keras file answers to the other side's names: {listed or 'its signature'}"


def _adopt(keras: Reading, other: Reading) -> tuple[Reading, Names]:
    own = next(entry for entry in keras.signatures if not is_training(entry))
    listed = [entry for entry in other.signatures if not is_training(entry)] or list(other.signatures)
    keys = list(dict.fromkeys(entry["signature"] for entry in listed))
    chosen = next((key for key in _DEFAULTS if key in keys), keys[0] if len(keys) == 1 else "")
    entry = next((entry for entry in listed if entry["signature"] == chosen), None)
    if entry is None:
        return keras, Names()
    # A recording has no inputs, and its output keys are the baseline's own or nobody's.
    inputs = pair_keys(own["inputs"], entry["inputs"] or own["inputs"])
    outputs = pair_keys(own["outputs"], entry["outputs"] or own["outputs"])
    if chosen == own["signature"] and all(a == b for pairs in (inputs, outputs) for a, b in pairs.items()):
        return keras, Names()
    signatures = [_rename_entry(old, chosen, inputs, outputs) for old in keras.signatures]
    graphs = {
        (tags, chosen): (variant, _rename_signature(signature, chosen, inputs, outputs))
        for (tags, _), (variant, signature) in keras.graphs.items()
    }
    unseen = frozenset((tags, chosen) for tags, _ in keras.unseen)
    names = Names(signature=own["signature"], inputs={new: old for old, new in inputs.items()}, outputs=outputs)
    return dataclasses.replace(keras, signatures=signatures, graphs=graphs, unseen=unseen), names


def pair_keys(own: Iterable[str], other: Iterable[str]) -> dict[str, str]:
    """Own key -> the other side's."""
    own, other = list(own), list(other)
    left = [key for key in own if key not in other], [key for key in other if key not in own]
    pairs = {key: key for key in own}
    if len(left[0]) == len(left[1]) == 1:
        pairs[left[0][0]] = left[1][0]
    return pairs


def _rename_entry(
    entry: Mapping[str, Any], key: str, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> dict[str, Any]:
    renamed = dict(entry) | {"signature": key}
    for side, names in (("inputs", inputs), ("outputs", outputs)):
        if entry[side] is not None:
            renamed[side] = {names[old]: tensor for old, tensor in entry[side].items()}
    return renamed


def _rename_signature(
    signature: Signature, key: str, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> Signature:
    return dataclasses.replace(
        signature,
        key=key,
        inputs={inputs[old]: tensor for old, tensor in signature.inputs.items()},
        outputs={outputs[old]: tensor for old, tensor in signature.outputs.items()},
    )
