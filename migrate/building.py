"""Source -read-> LegacyModel -rebuild-> Rebuilt -write-> folder: one job, which says early what to ask the original.

The job's own imports are inside it: only its process loads TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from migrate import errors, isolation, records, scan
from migrate.model import Finding, Format, Source
from migrate.options import ReadOptions, RebuildOptions
from migrate.publish import example
from migrate.verdict import EMPTY_BATCH
from migrate.verify.extras import Extras
from migrate.verify.migration import CALLS
from migrate.write import provenance

if TYPE_CHECKING:
    from migrate.inputs.calls import Call
    from migrate.rebuild.module import PreparedModel

# Of the scratch folder: the stage that was entered, what was planned, what readers write for this model.
STAGE, PLANNED, SCRATCH = "stage", "planned.json", "scratch"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What the process that reads, rebuilds and writes is asked.

    Attributes:
      source: the legacy model, on this machine.
      staged: folder that receives the migrated model.
      work: scratch folder, which receives the stage that was entered and the planned calls.
      read, rebuild, op_library, allow_unsafe_ops, seed, target_tensorflow, weights, check_weights, dump_graphs: as in
        MigrateOptions; paths are absolute.
      verify: whether calls are planned.
    """

    source: Source
    staged: str
    work: str
    read: ReadOptions
    rebuild: RebuildOptions
    op_library: tuple[str, ...] = ()
    allow_unsafe_ops: tuple[str, ...] = ()
    verify: bool = True
    seed: int = 0
    target_tensorflow: str = ""
    weights: str = "copy"
    check_weights: bool = False
    dump_graphs: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """As what the source was read (a Keras SavedModel perhaps by its graph), and what to verify beside the calls."""

    format: Format
    extras: Extras = dataclasses.field(default_factory=Extras)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of it: findings of all three stages, what was planned, the source's digest, and Python that calls the
    model ("" where no inputs could be made up)."""

    findings: tuple[Finding, ...]
    planned: Planned
    digest: str
    example: str = ""


BUILD = isolation.Job(
    "migrate.building:build",
    BuildRequest,
    Built,
    needs=(
        "migrate.graph.dumping",
        "migrate.inputs.preview",
        "migrate.readers.saved_model",
        "migrate.rebuild.module",
        "migrate.tensorflow_private:list_cpu_kernels",
        "migrate.verify.planning",
        "migrate.write.writer",
    ),
)


def build(request: BuildRequest) -> Built:
    """Job: writes the migrated model into `staged`, and the calls that verify it into `work`/calls."""
    import tensorflow as tf  # only the isolated process loads TensorFlow

    from migrate import readers
    from migrate.graph import dumping, removed_ops
    from migrate.readers import validity
    from migrate.rebuild import module
    from migrate.verify import planning
    from migrate.write import oldest, writer

    tf.get_logger().setLevel("ERROR")
    # Objects of a graph live as long as this process does: to look through all of them again and again is a tenth of
    # the time of one of 100,000 nodes, and finds nothing. The young ones are collected as ever.
    gc.set_threshold(10_000, 10, 1_000)

    def enter(stage: str) -> None:
        with open(os.path.join(request.work, STAGE), "w", encoding="utf-8") as file:
            file.write(stage)

    for left in (request.staged, os.path.join(request.work, SCRATCH)):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed, for which this one makes up
    enter("read")
    # Before anything of the model runs, and before any part of it is believed.
    scan.check_model(request.source.path, request.allow_unsafe_ops)
    for path in request.op_library:
        _load_op_library(path)
    scratch = os.path.join(request.work, SCRATCH)
    os.makedirs(scratch, exist_ok=True)
    model = readers.read_model(request.source, request.read, scratch)
    digest = provenance.digest_source(request.source.path)
    enter("rebuild")
    dumps = request.dump_graphs
    observer = functools.partial(dumping.make_observer, dumps) if dumps else None
    unplanned: Exception | None = None
    try:
        prepared = module.prepare_model(model, request.rebuild, digest, observer)
        # Before tracing and writing take their time: what was planned can be asked of the original meanwhile.
        try:
            planned, made = _plan(request, prepared)
        except Exception as failure:  # Raised below: whether TensorFlow takes the graph at all is said first.
            unplanned = failure
        rebuilt = module.trace_model(prepared)
    except errors.MigrateError:
        raise
    except Exception as failure:  # a graph that TensorFlow refuses, too, is none; all else is the toolkit's fault
        explained = validity.explain_failure(model, failure)
        if explained is None:
            raise
        raise explained from failure
    enter("write")
    if unplanned is not None:
        raise unplanned
    written = writer.write_model(
        rebuilt, request.staged, request.weights, check_weights=request.check_weights, scratch=scratch
    )
    oldest.check_target(written.oldest, request.target_tensorflow, request.source.path)
    findings = (*rebuilt.findings, *written.findings)
    if request.verify:
        findings += removed_ops.describe_baseline(findings)
    record = provenance.describe_migration(
        model, rebuilt, request.rebuild, digest, tf.__version__, findings, written.oldest
    )
    record["options"]["read"] = request.read.describe()
    record["options"]["allow_unsafe_ops"] = list(request.allow_unsafe_ops)
    record["options"]["op_library"] = [os.path.basename(path) for path in request.op_library]
    provenance.write_record(request.staged, record)
    return Built(
        findings=findings,
        planned=planned,
        digest=digest,
        example=_write_example(record, planning.list_shown(prepared, made)),
    )


def _plan(request: BuildRequest, prepared: PreparedModel) -> tuple[Planned, Sequence[Call]]:
    """Saves calls, then says so; what a process has said that was killed is what this one would say."""
    from migrate.inputs import calls
    from migrate.verify import planning

    kind = prepared.state.model.source.format
    if not request.verify:
        return Planned(format=kind), planning.plan_example(prepared, seed=request.seed)
    path, folder = os.path.join(request.work, PLANNED), os.path.join(request.work, CALLS)
    if os.path.exists(path):
        return load_planned(path), calls.load_calls(folder)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    made = planning.plan_calls(prepared, seed=request.seed)
    calls.save_calls(folder, made)
    planned = Planned(format=kind, extras=planning.plan_extras(prepared, made))
    with open(f"{path}.partial", "w", encoding="utf-8") as file:
        json.dump(records.to_json(planned), file)
    os.rename(file.name, path)
    return planned, made


def _write_example(record: dict[str, Any], planned: Sequence[Call]) -> str:
    """The first call that can be spelled in a few lines, one with a row if there is one."""
    key = record["callable"] or record["pieces"][0]["signature_def"]
    piece = next(piece for piece in record["pieces"] if piece["signature_def"] == key)
    tags = tuple(piece["modes"][0]["tags"])
    calls = [call for call in planned if call.tags == tags and call.case != EMPTY_BATCH]
    return next(filter(None, (example.write_example(piece, call.inputs) for call in calls)), "")


def _load_op_library(path: str) -> None:
    import tensorflow as tf

    try:
        tf.load_op_library(path)
    except (tf.errors.OpError, OSError) as error:
        raise errors.UsageError(
            f"the op library cannot be loaded: {str(error).splitlines()[0]}", where=path, hint="check --op_library"
        ) from error


def load_planned(path: str) -> Planned:
    """What a building process has left word of."""
    with open(path, encoding="utf-8") as file:
        return records.from_json(Planned, json.load(file))
