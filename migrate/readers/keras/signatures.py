"""All signatures of a Keras model, as the options ask for them: for the reader, and for whoever runs the original."""

from __future__ import annotations

from collections.abc import Iterable

from migrate.options import ReadOptions
from migrate.readers import signature_map
from migrate.readers.keras import explaining
from migrate.readers.keras.loading import LoadedKeras
from migrate.readers.keras.parts import SIGNATURE, Part, find_parts


def find_signatures(loaded: LoadedKeras, options: ReadOptions) -> dict[str, Part]:
    """By key, the one that the root applies first.

    Raises:
      UsageError: an option names what the model does not have, or nothing in it can be explained.
    """
    found = find_parts(loaded, options)
    return found | explaining.find_explanation(loaded, found[SIGNATURE], options) if options.xai else found


def list_keys(parts: Iterable[str], options: ReadOptions) -> dict[str, str]:
    """Key after `--signature_map` -> key in `find_signatures`: the original is asked by the migrated model's keys."""
    return {new: old for old in parts for new in signature_map.find_new_keys(old, options.signature_map)}
