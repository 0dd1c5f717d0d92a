"""Source -> LegacyModel for what Keras saved."""

from __future__ import annotations

from migrate.model import Finding, LegacyModel, Severity, Source
from migrate.options import ReadOptions
from migrate.readers.keras import loading, models, parts, signatures, tracing


def read_keras(source: Source, options: ReadOptions, scratch: str) -> LegacyModel:
    """Rebuilds the model with Keras and traces it; its values go into a checkpoint below `scratch`.

    Raises:
      CorruptModelError: the file is damaged, or Keras cannot rebuild the model.
      BlockedError: it holds code that is not to be run, or weights without a model.
      UsageError: an option names what cannot be imported, or what the model does not have.
    """
    loaded = loading.load_keras(source.path, options)
    findings = (*loaded.findings, *_find_input_losses(loaded))
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
