"""Which ways lead to a piece of a migrated model, and which of them answered. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from migrate.inputs.calls import Call
from migrate.verdict import CALLABLE, EMPTY_BATCH, INFERENCE, PLAIN, SESSION, SIGNATURE, Coverage
from migrate.verify.results import Results


def find_piece(record: Mapping[str, Any], call: Call) -> tuple[Mapping[str, Any] | None, bool]:
    """The piece, and its `training` value, that stands for a signature of a variant."""
    for piece in record["pieces"]:
        for mode in piece["modes"]:
            if piece["signature"] == call.signature and mode["tags"] == list(call.tags):
                return piece, mode["training"]
    return None, False


def has_signature(piece: Mapping[str, Any], call: Call) -> bool:
    """Whether `signatures[...]` can make the call: it stands for the first mode, and `tf.saved_model.load`
    gives it no defaults, so every input must be there."""
    return list(call.tags) == piece["modes"][0]["tags"] and set(piece["arguments"]) <= set(call.inputs)


def has_plain_call(piece: Mapping[str, Any], training: bool) -> bool:
    """Whether the plain call is another one than the full one: it leaves out `return_endpoints` or `training`."""
    return bool(piece["has_endpoints"] or (piece["has_training"] and not training))


def is_way(route: str, piece: Mapping[str, Any], call: Call, training: bool) -> bool:
    """Whether the route is one of its own for this call."""
    if route == SIGNATURE:
        return has_signature(piece, call)
    return route == CALLABLE or has_plain_call(piece, training)


def find_coverage(record: Mapping[str, Any], planned: Sequence[Call], found: Results) -> list[Coverage]:
    """Whether each piece answered as most users call it, and each SignatureDef in both of its ways."""
    plain: dict[str, bool] = {}
    served: dict[str, bool] = {}
    for call in planned:
        piece, training = find_piece(record, call)
        if piece is None or call.case == EMPTY_BATCH:
            continue
        route = PLAIN if has_plain_call(piece, training) else CALLABLE
        name = f"{piece['attribute'] or 'the root'}{', training' if training else ''}"
        plain[name] = plain.get(name, False) or (route, call.id) in found.outputs
        if list(call.tags) == piece["modes"][0]["tags"]:
            key = piece["signature_def"]
            by_session = (SESSION, call.id) in found.outputs
            by_object = (SIGNATURE, call.id) in found.outputs or not has_signature(piece, call)
            served[key] = served.get(key, False) or (by_session and by_object)
    lost = tuple(f"{name} was not called" for name, reached in plain.items() if not reached)
    silent = tuple(f"{key} was not answered" for key, reached in served.items() if not reached)
    is_called = int(not lost)
    return [
        Coverage(name=PLAIN, level=INFERENCE, reached=is_called, total=min(1, len(plain)), is_flag=True, missed=lost),
        Coverage(name="signatures", level=INFERENCE, reached=sum(served.values()), total=len(served), missed=silent),
    ]
