"""Signatures under other keys: `--signature_map=old=new`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from migrate import errors
from migrate.model import LegacyModel, Signature

_FLAG = "--signature_map"


def map_signatures(model: LegacyModel, pairs: Sequence[str]) -> LegacyModel:
    """The model with signatures renamed; `old=old` beside `old=new` keeps the old key too.

    Args:
      model: what a reader gave.
      pairs: "old=new".

    Raises:
      UsageError: a pair cannot be parsed, names no signature, or gives a key that another signature has.
    """
    parsed = [_parse(text) for text in pairs]
    known = {key for variant in model.variants for key in variant.signatures}
    lost = sorted({old for old, _ in parsed} - known)
    if lost:
        raise errors.UsageError(
            f"the model has no signature {', '.join(lost)}", where=_FLAG, hint=f"it has: {', '.join(sorted(known))}"
        )
    variants = []
    for variant in model.variants:
        mapped: dict[str, Signature] = {}
        for key, signature in variant.signatures.items():
            for new in _find_new(key, parsed):
                if new in mapped:
                    raise errors.UsageError(f"two signatures would be {new!r}", where=_FLAG, hint="choose another key")
                mapped[new] = dataclasses.replace(signature, key=new)
        variants.append(dataclasses.replace(variant, signatures=mapped))
    core = _find_new(model.core, parsed)[0]
    return dataclasses.replace(model, variants=tuple(variants), core=core)


def find_new_keys(key: str, pairs: Sequence[str]) -> list[str]:
    """What a signature is called then, one key or several."""
    return _find_new(key, [_parse(text) for text in pairs])


def _find_new(key: str, parsed: Sequence[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(new for old, new in parsed if old == key)) or [key]


def _parse(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise errors.UsageError(f"{text!r} is no old=new", where=_FLAG)
    return old, new
