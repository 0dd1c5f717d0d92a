"""The interface level: signature keys, method names, dtypes, shapes and encodings, before anything runs.

A signature is described as `verify/signature_defs.py` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from migrate.verdict import INTERFACE, OutputDiff

_PREDICT = "tensorflow/serving/predict"
Entry = Mapping[str, Any]


def match_signatures(baseline: Sequence[Entry], candidate: Sequence[Entry]) -> list[tuple[Entry, Entry | None]]:
    """Each signature of the baseline with the candidate's of the same key and tag set, None where there is none.

    Where the candidate has no such tag set, its signature of that key stands for it, as long as both are for
    training or both are not.
    """
    exact = {(tuple(entry["tags"]), entry["signature"]): entry for entry in candidate}
    known = {tuple(entry["tags"]) for entry in candidate}
    pairs = []
    for entry in baseline:
        tags = tuple(entry["tags"])
        found = exact.get((tags, entry["signature"]))
        if found is None and tags not in known:
            found = next(
                (c for c in candidate if c["signature"] == entry["signature"] and _purpose(c) == _purpose(entry)),
                None,
            )
        pairs.append((entry, found))
    return pairs


def _purpose(entry: Entry) -> tuple[bool, bool]:
    return "train" in entry["tags"], "eval" in entry["tags"]


def is_training(entry: Entry) -> bool:
    return any(_purpose(entry))


def compare_interfaces(baseline: Sequence[Entry], candidate: Sequence[Entry]) -> list[OutputDiff]:
    """One OutputDiff for each signature, input and output, and for each that only one side has."""
    pairs = match_signatures(baseline, candidate)
    diffs: list[OutputDiff] = []
    for old, new in pairs:
        where = _spell_place(old)
        if new is None:
            diffs.append(_differ(where, "signature", _explain_lack(old, candidate)))
        elif "left_out" in new:
            continue
        elif new["inputs"] is None or old["inputs"] is None:
            diffs.append(_agree(where, "signature"))
        else:
            diffs.extend(_compare_signature(where, old, new))
    met = {id(new) for _, new in pairs}
    diffs.extend(
        _differ(_spell_place(entry), "signature", "the baseline does not have this signature")
        for entry in candidate
        if id(entry) not in met and entry["inputs"] is not None
    )
    return diffs


def _explain_lack(old: Entry, candidate: Sequence[Entry]) -> str:
    if is_training(old) and any(entry["signature"] == old["signature"] for entry in candidate):
        return "the candidate has no training mode of this signature"
    known = ", ".join(sorted({repr(entry["signature"]) for entry in candidate})) or "none"
    return f"the candidate lacks the signature (it has {known})"


def _spell_place(entry: Entry) -> str:
    return f"{','.join(entry['tags']) or '(no tags)'}/{entry['signature']}"


def _differ(where: str, what: str, message: str) -> OutputDiff:
    return OutputDiff(where=where, route=INTERFACE, output=what, equal=False, message=message, level=INTERFACE)


def _agree(where: str, what: str) -> OutputDiff:
    return OutputDiff(where=where, route=INTERFACE, output=what, equal=True, level=INTERFACE)


def _compare_signature(where: str, old: Entry, new: Entry) -> Iterable[OutputDiff]:
    # A hub module names no methods; TF2 writes its own for it.
    methods = old["method"] or _PREDICT, new["method"] or _PREDICT
    if methods[0] != methods[1]:
        yield _differ(where, "method name", f"{methods[0]} became {methods[1]}")
    else:
        yield _agree(where, "method name")
    for side in ("inputs", "outputs"):
        for key in dict.fromkeys((*old[side], *new[side])):
            what = f"{side[:-1]} {key}"
            if key not in new[side]:
                yield _differ(where, what, "the candidate lacks it")
            elif key not in old[side]:
                yield _differ(where, what, "the baseline does not have it")
            else:
                message = _explain_tensor(old[side][key], new[side][key], side)
                yield _differ(where, what, message) if message else _agree(where, what)


def _explain_tensor(old: Entry, new: Entry, side: str) -> str:
    for name in ("encoding", "dtype"):
        if old[name] and new[name] and old[name] != new[name]:
            return f"{name} {old[name]} became {new[name]}"
    if side == "inputs" and old.get("optional") and not new.get("optional"):
        return "it was optional and is no longer"
    if old.get("default") and new.get("default") and old["default"] != new["default"]:
        return f"default {old['default']} became {new['default']}"
    if old.get("default") and old.get("served_default", True) and not new.get("served_default", True):
        return f"the SignatureDef no longer gives its default {old['default']}"
    # An input may be freer than it was, an output may promise more than it did; not the other way.
    promised, found = (old["shape"], new["shape"]) if side == "outputs" else (new["shape"], old["shape"])
    if not is_refined(promised, found):
        return f"shape {_spell_shape(old['shape'])} became {_spell_shape(new['shape'])}"
    return ""


def is_refined(promised: Sequence[int | None] | None, found: Sequence[int | None] | None) -> bool:
    """Whether `found` keeps every dimension that was promised; an unknown one may have become known."""
    if promised is None:
        return True
    return (
        found is not None
        and len(promised) == len(found)
        and all(a is None or a == b for a, b in zip(promised, found, strict=True))
    )


def explain_impossible(old: Entry, new: Entry) -> str:
    """Why no call of the baseline's signature can be made of the candidate's, "" where one can.

    A call hands over the baseline's inputs: each must be there, of its dtype and encoding, in a shape that can be fed;
    and the candidate must not ask for one that is not handed over. Outputs forbid no call.
    """
    if old["inputs"] is None or new["inputs"] is None:
        return ""
    for key, tensor in old["inputs"].items():
        if key not in new["inputs"]:
            return f"the candidate lacks the input {key}"
        for name in ("encoding", "dtype"):
            found = new["inputs"][key][name]
            if tensor[name] and found and tensor[name] != found:
                return f"{name} of the input {key}: {tensor[name]} became {found}"
        if not _can_meet(tensor["shape"], new["inputs"][key]["shape"]):
            return (
                f"shape of the input {key}: {_spell_shape(tensor['shape'])} became "
                f"{_spell_shape(new['inputs'][key]['shape'])}"
            )
    asked = [key for key, tensor in new["inputs"].items() if key not in old["inputs"] and not tensor["optional"]]
    return f"the candidate asks for the input {asked[0]}, which the baseline does not have" if asked else ""


def _can_meet(old: Sequence[int | None] | None, new: Sequence[int | None] | None) -> bool:
    if old is None or new is None:
        return True
    return len(old) == len(new) and all(a is None or b is None or a == b for a, b in zip(old, new, strict=True))


def _spell_shape(shape: Sequence[int | None] | None) -> str:
    return "?" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
