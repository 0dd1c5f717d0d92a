"""Source -> LegacyModel for what Keras saved."""

from __future__ import annotations

import dataclasses
import re

from migrate import errors
from migrate.model import Finding, Format, LegacyModel, Severity, Source
from migrate.options import ReadOptions
from migrate.readers import saved_model
from migrate.readers.keras import loading, models, parts, signatures, tracing

# Keras' own; that of TensorFlow ("2.2.4-tf") averaged as today's does.
_OTHER_AVERAGES = re.compile(r"Keras 2\.(0\.9|[12]\.\d+)")


def read_keras(source: Source, options: ReadOptions, scratch: str) -> LegacyModel:
    """Rebuilds the model with Keras and traces it; its values go into a checkpoint below `scratch`.

    Raises:
      CorruptModelError: the file is damaged, or Keras cannot rebuild the model.
      BlockedError: it holds code that is not to be run, or weights without a model.
      UsageError: an option names what cannot be imported, or what the model does not have.
    """
    loaded = loading.load_keras(source.path, options)
    findings = (*loaded.findings, *_find_input_losses(loaded), *_find_other_averages(loaded))
    losses = models.trace_losses(loaded.model)  # before anything else calls the model
    traced = tracing.trace_model(loaded, signatures.find_signatures(loaded, options), losses, scratch)
    return LegacyModel(
        source=source,
        variants=traced.variants,
        checkpoint=traced.checkpoint,
        producer=loaded.producer,
        findings=findings,
        core=parts.SIGNATURE if options.core else "",
    )


def read_keras_saved_model(source: Source, options: ReadOptions, scratch: str) -> LegacyModel:
    """As `read_keras`; where Keras cannot rebuild the model, its graph, which lies beside the config.

    Raises:
      CorruptModelError, BlockedError: neither can be read, or the options ask for what only Keras gives.
      UsageError: as for `read_keras`.
    """
    try:
        return read_keras(source, options, scratch)
    except (errors.BlockedError, errors.CorruptModelError) as error:
        if options.asks_keras:
            raise
        reason = error
    graph = dataclasses.replace(source, format=Format.TF1_SAVED_MODEL)
    model = saved_model.read_saved_model(graph, options, scratch)
    left = Finding(
        code="keras-structure-left-behind",
        severity=Severity.WARNING,
        where=source.path,
        message=f"Keras cannot rebuild the model, so its graph is migrated as it is: {reason}",
        hint="name what Keras lacks with --custom_objects; with it the model trains as it did",
    )
    return dataclasses.replace(model, findings=(*model.findings, left))


def _find_input_losses(loaded: loading.LoadedKeras) -> tuple[Finding, ...]:
    if not models.has_input_losses(loaded.model):
        return ()
    return (
        Finding(
            code="regularization-loss-needs-input",
            severity=Severity.WARNING,
            where=parts.SIGNATURE,
            message="losses of activations depend on an input, so they cannot be zero-argument functions; left out",
            hint="add them to the training loss by hand",
        ),
    )


def _find_other_averages(loaded: loading.LoadedKeras) -> tuple[Finding, ...]:
    """Recorded of 2.1.6 and 2.2.4: they corrected a moving average for its start (`zero_debias`), out of a sum and a
    count that no Keras file holds. So a loaded model began anew: its first step put the batch's own values in the place
    of what was learned. 2.0.8 did not (`old_layers`), nor did 2.3.1; those between 2.0.8 and 2.1.6 are unknown."""
    if not _OTHER_AVERAGES.fullmatch(loaded.producer):
        return ()
    layers = sorted(
        layer.name for layer in loaded.model.submodules if type(layer).__name__.startswith("BatchNormalization")
    )
    if not layers:
        return ()
    return (
        Finding(
            code="moving-averages-as-today",
            severity=Severity.WARNING,
            where=parts.SIGNATURE,
            message=f"Keras 2.1 and 2.2 forgot the averages of {', '.join(layers)} in the first step after loading, "
            "since what they corrected them with is in no file; here they move on from what the file holds",
            hint="nothing to do for inference; further training moves the averages as Keras 2.3 and later do",
        ),
    )
