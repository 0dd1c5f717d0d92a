"""What a model holds, read from its files alone: nothing of the model is executed, no weight is loaded."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
from collections.abc import Collection
from typing import Any

from migrate import detect, errors, scan, sources
from migrate.model import KERAS, READABLE, Finding, Format, GraphVariant, Source
from migrate.options import ReadOptions
from migrate.outcome import describe_finding

_ITEM_SIZES = {"string": 0, "resource": 0, "variant": 0, "bool": 1, "complex64": 8, "complex128": 16}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VariantInspection:
    """One tag set. Signatures map input and output keys to readable tensor descriptions."""

    tags: tuple[str, ...]
    signatures: dict[str, dict[str, Any]]
    variables: int
    variable_bytes: int
    trainable: int
    collections: dict[str, int]
    tables: int
    assets: tuple[str, ...]
    attachments: tuple[str, ...]
    init_ops: tuple[str, ...]
    nodes: int
    missing_ops: tuple[dict[str, str], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What `inspect_model` found.

    Attributes:
      path, format, evidence: where the model is, what it is, why.
      tensorflow_version: of the writer.
      variants: one for each MetaGraph; empty for formats that are only recognised.
      findings: what a person should know.
    """

    path: str
    format: Format
    evidence: tuple[str, ...]
    tensorflow_version: str = ""
    variants: tuple[VariantInspection, ...] = ()
    findings: tuple[Finding, ...] = ()

    def to_record(self) -> dict[str, Any]:
        record = dataclasses.asdict(self)
        record["format"] = self.format.value
        record["findings"] = [describe_finding(finding) for finding in self.findings]
        return record

    def to_text(self) -> str:
        """A page for a terminal."""
        lines = [f"{self.path}", f"  format      {self.format.value}", f"  evidence    {'; '.join(self.evidence)}"]
        if self.tensorflow_version:
            lines.append(f"  written by  TensorFlow {self.tensorflow_version}")
        for variant in self.variants:
            lines.extend(_variant_lines(variant))
        lines.extend(f"  {f.severity.value}: {f.where}: {f.message}" for f in self.findings)
        return "\n".join(errors.escape_control(line, keep="\t") for line in lines)


def inspect_model(source: str | os.PathLike[str], options: ReadOptions | None = None) -> Inspection:
    """Inspects a model.

    Args:
      source: its path, or a handle (https://, gs://, s3://), whose model is downloaded for the time being.
      options: what the reader is told.

    Raises:
      SourceNotFoundError: there is nothing at the path.
      CorruptModelError: a file is missing, truncated, or contradicts another.
      UnsafeModelError: a link leaves the model's folder, or something in it is neither file nor folder.
    """
    with (
        tempfile.TemporaryDirectory(prefix="migrate-inspect-") as scratch,
        sources.spell_places(source, os.path.join(scratch, "source")),
    ):
        found = sources.acquire_source(source, os.path.join(scratch, "source"))
        found = detect.choose_reading(found, options or ReadOptions())
        # What was unpacked is gone afterwards: the path is what was asked for.
        path = sources.spell_location(source) if found.path.startswith(scratch) else found.path
        if found.format not in READABLE:
            return _inspect_unread(found, path)
        from migrate import readers  # loads TensorFlow's protos; the formats above need none

        model = readers.read_model(found, options, scratch)
        with readers.guard_reading(found.path):
            variants = tuple(_inspect_variant(variant) for variant in model.variants)
        return Inspection(
            path=path,
            format=found.format,
            evidence=found.evidence,
            tensorflow_version=model.producer,
            variants=variants,
            findings=model.findings,
        )


def scan_source(
    source: str | os.PathLike[str], allowed: Collection[str] = (), options: ReadOptions | None = None
) -> tuple[Finding, ...]:
    """All that is unsafe or invalid in a model, of whatever format that is migrated; nothing of it runs.

    Args:
      source: its path, or a handle; an archive is unpacked for the time being.
      allowed: names of ops that may do what they do.
      options: what the reader is told: the config of a Keras model given for weights is looked through with them.

    Raises:
      UsageError: the config given for weights is none.
      SourceNotFoundError: there is nothing at the path.
      UnknownFormatError: it is nothing that can be looked through.
      CorruptModelError: it cannot be parsed.
      UnsafeModelError: an archive that is not to be unpacked.
    """
    path = os.fspath(source)
    if not sources.is_handle(path) and (found := scan.find_file_findings(path) if os.path.exists(path) else ()):
        # Nothing is opened in a folder that is not what it seems.
        return found
    with (
        tempfile.TemporaryDirectory(prefix="migrate-scan-") as scratch,
        sources.spell_places(source, os.path.join(scratch, "source")),
    ):
        acquired = sources.acquire_source(source, os.path.join(scratch, "source"))
        acquired = detect.choose_reading(acquired, options or ReadOptions())
        if acquired.format not in (*READABLE, Format.TF2_SAVED_MODEL):
            raise errors.UnknownFormatError(
                f"{acquired.format.value}: {'; '.join(acquired.evidence)}: nothing in it was looked through",
                where=path,
                hint=detect.suggest_model(acquired.path),
            )
        findings = scan.scan_model(acquired.path, allowed)
        if acquired.format in KERAS:
            from migrate.readers.keras import scanning  # needs h5py

            findings += scanning.find_unsafe(acquired, options)
        # What was unpacked is gone afterwards: places are told as they lie in the archive.
        return tuple(
            dataclasses.replace(finding, where=finding.where.replace(acquired.path, path)) for finding in findings
        )


def _inspect_unread(found: Source, path: str) -> Inspection:
    version = ""
    binary = os.path.join(found.path, "saved_model.pb")
    if found.format is Format.TF2_SAVED_MODEL and os.path.isfile(binary):
        version = detect.parse_saved_model_header(binary).tensorflow_version
    meant = detect.suggest_model(found.path) if found.format is Format.UNKNOWN else ""
    evidence = (*found.evidence, meant) if meant else found.evidence
    return Inspection(path=path, format=found.format, evidence=evidence, tensorflow_version=version)


def _inspect_variant(variant: GraphVariant) -> VariantInspection:
    from migrate.graph import availability, table_nodes
    from migrate.graph import index as graph_index

    return VariantInspection(
        tags=variant.tags,
        signatures={
            key: {
                "method": signature.method,
                "inputs": {name: tensor.to_record() for name, tensor in signature.inputs.items()},
                "outputs": {name: tensor.to_record() for name, tensor in signature.outputs.items()},
            }
            for key, signature in variant.signatures.items()
        },
        variables=len(variant.variables),
        variable_bytes=sum(_count_bytes(spec.dtype, spec.shape) for spec in variant.variables),
        trainable=sum(spec.trainable for spec in variant.variables),
        collections={name: len(values) for name, values in variant.collections.items()},
        tables=sum(table_nodes.is_table(node) for node in variant.graph_def.node),
        assets=tuple(asset.filename for asset in variant.assets),
        attachments=tuple(variant.attachments),
        init_ops=variant.init_ops,
        nodes=len(graph_index.GraphIndex(variant.graph_def).nodes),
        missing_ops=tuple(dataclasses.asdict(op) for op in availability.find_irreplaceable_ops(variant.graph_def)),
    )


def _count_bytes(dtype: str, shape: Any) -> int:
    if shape is None or None in shape:
        return 0
    digits = "".join(c for c in dtype if c.isdigit())
    size = _ITEM_SIZES.get(dtype, int(digits) // 8 if digits else 4)
    return int(math.prod(shape)) * size


def _variant_lines(variant: VariantInspection) -> list[str]:
    lines = [f"  tags        {','.join(variant.tags) or '(none)'}"]
    for key, signature in variant.signatures.items():
        lines.append(f"    signature {key!r}{'  ' + signature['method'] if signature['method'] else ''}")
        for side, arrow in (("inputs", "in "), ("outputs", "out")):
            lines.extend(f"      {arrow} {name}: {_text(tensor)}" for name, tensor in signature[side].items())
    lines.append(
        f"    variables {variant.variables} ({variant.trainable} trainable, {variant.variable_bytes:,} bytes), "
        f"{variant.nodes} nodes, {variant.tables} tables"
    )
    if variant.collections:
        lines.append(f"    collections {', '.join(f'{k} ({n})' for k, n in variant.collections.items())}")
    for label, names in (("assets", variant.assets), ("attachments", variant.attachments), ("init", variant.init_ops)):
        if names:
            lines.append(f"    {label} {', '.join(names)}")
    lines.extend(
        f"    cannot run here: {op['op']}: {op['reason']}{'; from ' + op['provider'] if op['provider'] else ''}"
        for op in variant.missing_ops
    )
    return lines


def _text(tensor: dict[str, Any]) -> str:
    shape = (
        "?" if tensor["shape"] is None else "[" + ", ".join("?" if d is None else str(d) for d in tensor["shape"]) + "]"
    )
    extras = [
        e for e in (tensor["encoding"] if tensor["encoding"] != "dense" else "", "optional" * tensor["optional"]) if e
    ]
    return f"{tensor['dtype']} {shape}{' (' + ', '.join(extras) + ')' if extras else ''}"
