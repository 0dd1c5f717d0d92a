"""What stands on each side of a comparison. Loads no TensorFlow."""

from __future__ import annotations

import dataclasses
import os

from migrate import detect, errors, isolation, sources
from migrate.inputs import recorded
from migrate.model import Format, Source
from migrate.options import CompareOptions, ReadOptions
from migrate.scan import job as scan_job
from migrate.verify.runners.request import DESCRIBE, DescribeRequest
from migrate.verify.runners.side import KERAS, MIGRATED, ORIGINALS, SERVING
from migrate.write import provenance

RECORDED = "recorded"
_SCAN_SECONDS = 60.0
# Folders of the planned calls, as each side spells them.
BASELINE_CALLS, CANDIDATE_CALLS = "calls", "calls_candidate"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One side: a model that can be run, or what one answered.

    Attributes:
      path: of the model's folder, the Keras file or the recording.
      kind: SESSION, MIGRATED, SERVING, KERAS or RECORDED.
      format: as reports name it.
      recording: the answers of a recording, None for a model.
      graph: folder of a SavedModel with the graph of a Keras file, "" for all else.
      training: key of the signature that a SERVING or KERAS model offers in training mode, "" for none.
      read: what its reader is told.
    """

    path: str
    kind: str
    format: str
    recording: recorded.Recording | None = None
    graph: str = ""
    training: str = ""
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)

    @property
    def graph_path(self) -> str:
        """Folder of the SavedModel that says what the side computes."""
        return self.graph or self.path


def find_subject(path: str | os.PathLike[str], scratch: str, timeout: float | None = None) -> Subject:
    """Tells what a path or handle holds and how it is run; what is not here yet is brought into `scratch`.

    Raises:
      SourceNotFoundError: there is nothing at the path.
      UnknownFormatError: it is of a kind that cannot be compared.
      CorruptModelError: the file is damaged.
      UnsafeModelError: what lies in its folder is no model.
    """
    path = sources.spell_location(path)
    if os.path.isfile(path) and path.endswith(".npz"):
        return Subject(path=path, kind=RECORDED, format="recorded", recording=recorded.load_recording(path))
    with sources.spell_places(path, scratch):
        found = sources.acquire_source(path, scratch, timeout=timeout)
    if found.format is Format.TF2_SAVED_MODEL:
        migrated = provenance.read_record(found.path) is not None
        return Subject(path=found.path, kind=MIGRATED if migrated else SERVING, format=found.format.value)
    kind = ORIGINALS.get(found.format)
    if kind is None:
        raise errors.UnknownFormatError(
            f"{found.format.value} cannot be compared ({'; '.join(found.evidence)})",
            where=path,
            hint=detect.suggest_model(path)
            or "give a TF1 Hub module, a SavedModel of TF1 or TF2, an Estimator export, a frozen graph, a "
            "checkpoint, a Keras file, or recorded outputs (.npz)",
        )
    return Subject(path=found.path, kind=kind, format=found.format.value)


def tell_readers(subjects: tuple[Subject, Subject], given: ReadOptions) -> tuple[Subject, Subject]:
    """The subjects with what their readers are told: what the user gives, else what a migrated side's record says its
    own source was read with, so that both mean the same tensors."""
    told = given.placed
    records = [provenance.read_record(s.path) for s in subjects if s.kind == MIGRATED] if given == ReadOptions() else []
    for record in filter(None, records):
        told = ReadOptions.from_json(record["options"].get("read", {}))
    return _tell(subjects[0], told), _tell(subjects[1], told)


def _tell(subject: Subject, told: ReadOptions) -> Subject:
    if subject.format != Format.CHECKPOINT.value:
        return dataclasses.replace(subject, read=told)
    found = detect.choose_reading(Source(path=subject.path, format=Format.CHECKPOINT), told)
    return dataclasses.replace(subject, read=told, kind=ORIGINALS[found.format], format=found.format.value)


def explore_subject(subject: Subject, name: str, work: str, options: CompareOptions) -> Subject:
    """Asks what no file tells without being loaded: a Keras file's graph, and whether there is a training mode.

    Args:
      subject: from `find_subject`.
      name: "baseline" or "candidate".
      work: scratch folder.
      options: level, limits, custom ops.

    Raises:
      SourceError: Keras cannot load the file, or the scan refuses the model.
      JobError: loading crashed or hung.
    """
    where = f"{name} {subject.path}"
    if subject.kind != RECORDED:
        check = scan_job.CheckRequest(path=subject.path, allowed=options.allow_unsafe_ops)
        # Looking a model through is no run of a side: a short --timeout is meant for those.
        timeout = None if options.limits.timeout is None else max(options.limits.timeout, _SCAN_SECONDS)
        limits = dataclasses.replace(options.limits, timeout=timeout)
        isolation.run_job(scan_job.CHECK, check, limits=limits, where=where)
    is_deep = options.level in ("training", "gradients", "trajectory")
    if subject.kind != KERAS and not (subject.kind == SERVING and is_deep):
        return subject
    graph = os.path.join(work, f"{name}_graph") if subject.kind == KERAS else ""
    request = DescribeRequest(
        path=subject.path,
        is_keras_file=subject.kind == KERAS,
        exported=graph,
        op_library=options.op_library,
        read=subject.read,
    )
    try:
        told = isolation.run_job(DESCRIBE, request, limits=options.limits, where=where).value
    except (errors.BlockedError, errors.CorruptModelError):
        if subject.format != Format.KERAS_SAVED_MODEL.value or subject.read.asks_keras:
            raise
        # As its reader does: where Keras cannot rebuild it, the graph beside the config counts.
        graph_format = Format.TF1_SAVED_MODEL
        return dataclasses.replace(subject, kind=ORIGINALS[graph_format], format=graph_format.value)
    return dataclasses.replace(subject, graph=graph, training=told.training if is_deep else "")
