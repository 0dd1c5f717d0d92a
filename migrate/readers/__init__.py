"""Source -> LegacyModel. A new format is one file, one line in READERS, and its name in `migrate.model.READABLE`.

A reader takes the source, the user's ReadOptions and a scratch folder, in which it may write what the model is then
made of (a checkpoint, an unpacked archive); the folder lives as long as the model. It loads no weights if it can.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Callable, Iterator, Mapping

from migrate import detect, errors
from migrate.model import KERAS, Format, LegacyModel, Source
from migrate.options import ReadOptions, is_signature_spec
from migrate.readers import inference, large_constants, learning_phase, signature_map, tokenization

Reader = Callable[[Source, ReadOptions, str], LegacyModel]

# By name: some readers need TensorFlow, or Keras, and inspecting what another reads must not load them.
READERS: Mapping[Format, str] = {
    Format.TF1_HUB_MODULE: "migrate.readers.saved_model:read_saved_model",
    Format.ESTIMATOR_EXPORT: "migrate.readers.saved_model:read_saved_model",
    Format.TF1_SAVED_MODEL: "migrate.readers.saved_model:read_saved_model",
    Format.KERAS_H5: "migrate.readers.keras.reader:read_keras",
    Format.KERAS_V3: "migrate.readers.keras.reader:read_keras",
    Format.KERAS_WEIGHTS: "migrate.readers.keras.reader:read_keras",
    Format.KERAS_SAVED_MODEL: "migrate.readers.keras.reader:read_keras_saved_model",
    Format.FROZEN_GRAPH: "migrate.readers.frozen_graph:read_frozen_graph",
    Format.CHECKPOINT: "migrate.readers.training_checkpoint:read_training_checkpoint",
}


def find_reader(name: Format) -> Reader | None:
    """The function of a format's reader, None where there is none."""
    if name not in READERS:
        return None
    module, _, function = READERS[name].partition(":")
    reader: Reader = getattr(importlib.import_module(module), function)
    return reader


def read_model(
    source: Source | str | os.PathLike[str], options: ReadOptions | None = None, scratch: str = ""
) -> LegacyModel:
    """Reads a detected model, or detects and reads a path.

    Args:
      source: what to read.
      options: what the reader is told.
      scratch: folder for what a reader has to write; "" where the format is known to need none.

    Raises:
      SourceNotFoundError, UnknownFormatError, CorruptModelError.
      UsageError: an option cannot be parsed, or names what the model does not have.
    """
    options = options or ReadOptions()
    found = source if isinstance(source, Source) else detect.detect_format(source)
    found = detect.choose_reading(found, options)
    reader = find_reader(found.format)
    if reader is None:
        readable = ", ".join(kind.value for kind in READERS)
        raise errors.UnknownFormatError(
            f"{found.format.value} is not read ({'; '.join(found.evidence)})",
            where=found.path,
            hint=f"formats that are read: {readable}",
        )
    if options.thaw or options.xai:
        # Both hand graphs to TensorFlow, which takes messages of its own classes only: those that are read after this.
        importlib.import_module("tensorflow")
    with guard_reading(found.path):
        model = tokenization.add_tokenization(reader(found, options, scratch), options)
        return _finish(large_constants.move_constants(model, scratch), options)


def _finish(model: LegacyModel, options: ReadOptions) -> LegacyModel:
    """What is done to a model of any format; parts of a Keras model its reader has made of layers."""
    if model.source.format in KERAS:
        if is_signature_spec(options.signature):
            model = inference.add_signature(model, options.signature)
        return learning_phase.split_phases(signature_map.map_signatures(model, options.signature_map), options)
    if options.preprocessing:
        raise errors.UsageError(
            "only a Keras model gets preprocessing", where="--preprocessing", hint="--xai alone cuts a graph"
        )
    for text, flag in ((options.signature, "--signature"), *((piece, "--piece") for piece in options.pieces)):
        # A signature may be named only; a part has to be described.
        if is_signature_spec(text) or flag == "--piece":
            model = inference.add_signature(model, text, flag)
    if options.core:
        model = _choose_core(model, options.core)
    model = signature_map.map_signatures(model, options.signature_map)
    if options.xai:
        from migrate.readers import explanation  # asks TensorFlow which ops have a gradient

        model = explanation.add_explanation(model, options.signature)
    return learning_phase.split_phases(model, options)


def _choose_core(model: LegacyModel, key: str) -> LegacyModel:
    """A graph has no submodels: its core is a signature, or a part that `--piece` makes.

    Raises:
      UsageError: there is no such signature.
    """
    known = sorted({key for variant in model.variants for key in variant.signatures})
    if key not in known:
        raise errors.UsageError(
            f"the graph has no signature {key!r}",
            where="--core",
            hint=f"it has: {', '.join(known) or 'none'}; --piece='{key}(x=in:0)->(y=out:0)' makes one",
        )
    return dataclasses.replace(model, core=key)


@contextlib.contextmanager
def guard_reading(path: str) -> Iterator[None]:
    """What no reader foresaw in a file that a stranger wrote is the file's fault, said in a line.

    Raises:
      CorruptModelError: in the place of an error that is none of the toolkit's.
    """
    try:
        yield
    except (errors.MigrateError, MemoryError, OSError):
        raise
    except Exception as failure:
        kind = "nested too deeply" if isinstance(failure, RecursionError) else "its parts contradict each other"
        lines = str(failure).strip().splitlines()
        raise errors.CorruptModelError(
            f"{kind} ({type(failure).__name__}: {lines[0] if lines else ''})",
            where=path,
            hint="export the model again; if TensorFlow loads it, please report it",
        ) from failure
