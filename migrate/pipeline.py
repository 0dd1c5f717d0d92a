"""path -detect-> Source -read-> LegacyModel -rebuild-> Rebuilt -write-> Written -verify-> Verification.

The only module that knows all stages. `migrate_model` itself loads no TensorFlow: what needs it runs in
processes of its own, so that a crash is a record, equal sources give equal files, and the caller stays clean.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from migrate import detect, errors, isolation, keras3, records, scan, sources
from migrate.model import KERAS, READABLE, Finding, Format, Source
from migrate.options import MigrateOptions, ReadOptions, RebuildOptions
from migrate.outcome import Outcome, Status
from migrate.publish import archive, card, example
from migrate.verdict import EMPTY_BATCH, Verdict, Verification
from migrate.verify.extras import Extras
from migrate.verify.migration import run_original, verify_migration
from migrate.verify.original import check_original
from migrate.verify.results import Results
from migrate.verify.runners.side import MIGRATED, RUNNERS, SESSION
from migrate.write import copying, provenance, staging

if TYPE_CHECKING:
    from migrate.inputs.calls import Call
    from migrate.rebuild.module import Rebuilt


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
    "migrate.pipeline:build",
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """A model that is copied as it is."""

    path: str
    allow_unsafe_ops: tuple[str, ...]


CHECK = isolation.Job("migrate.pipeline:check", CheckRequest, type(None))
_STAGE_FILE = "stage"
_SCRATCH = "scratch"
_CALLS = "calls"
_PLANNED = "planned.json"
_POLL_SECONDS = 0.02
_SOURCE = "source"


@dataclasses.dataclass(slots=True)
class Progress:
    """What is known of a model while it moves through the stages; another thread may look at it."""

    stage: str = "detect"
    format: str = ""
    findings: tuple[Finding, ...] = ()
    verification: Verification | None = None
    peak_rss_bytes: int = 0
    digest: str = ""
    quarantine: str = ""
    work: str = ""

    def find_stage(self) -> str:
        """The stage right now: the process that builds says it in a file."""
        with contextlib.suppress(OSError), open(os.path.join(self.work, _STAGE_FILE), encoding="utf-8") as file:
            return self.stage if self.stage == "verify" else file.read() or self.stage
        return self.stage


# Called with the outcome and the finished folder just before that takes its place.
ReadyCallback = Callable[[Outcome, str], None]


def migrate_model(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    options: MigrateOptions | None = None,
    *,
    progress: Progress | None = None,
    on_ready: ReadyCallback | None = None,
) -> Outcome:
    """Migrates one model and proves it.

    Args:
      source: the legacy model: its folder, file or archive, or a handle (https://, gs://, s3://).
      dest: folder to write; it appears complete or not at all.
      options: see MigrateOptions.
      progress: is kept up to date.
      on_ready: called with the outcome and the finished folder before that is published, in quarantine or at `dest`.

    Returns:
      The outcome: whatever is wrong with the model is a status and an error text, not an exception.

    Raises:
      UsageError: the call is wrong: no such source, a destination that exists or cannot be written, an
        unknown signature or tag set.
    """
    options = options or MigrateOptions()
    source, dest = sources.spell_location(source), os.path.abspath(dest)
    started = time.monotonic()
    progress = progress or Progress()

    def describe(status: Status, error: str, published: str) -> Outcome:
        return Outcome(
            source=source,
            dest=published,
            format=progress.format,
            status=status,
            stage="done" if status in (Status.MIGRATED, Status.ALREADY_TF2) else progress.stage,
            findings=progress.findings,
            verification=progress.verification,
            error=error,
            seconds=round(time.monotonic() - started, 3),
            peak_rss_bytes=progress.peak_rss_bytes,
            quarantine=progress.quarantine,
        )

    try:
        return _migrate(source, dest, options, progress, describe, on_ready)
    except errors.UsageError:
        raise
    except isolation.JobError as failure:
        states = {"timed_out": Status.TIMED_OUT, "died": Status.CRASHED}
        status, error = states.get(failure.state, Status.FAILED), str(failure)
    except (errors.BlockedError, errors.SourceError) as failure:
        # Nothing that this toolkit could do better: the model, or today's TensorFlow, lacks something.
        status, error = Status.BLOCKED, str(failure)
    except errors.MigrateError as failure:
        status, error = Status.FAILED, str(failure)
    except OSError as failure:
        status, error = Status.FAILED, f"{failure.filename or dest}: {failure.strerror or failure}"
    return describe(status, error, "")


def _migrate(
    source: str,
    dest: str,
    options: MigrateOptions,
    progress: Progress,
    describe: Callable[[Status, str, str], Outcome],
    on_ready: ReadyCallback | None,
) -> Outcome:
    if sources.is_handle(source):
        _check_destination(dest, options)
    else:
        _check_apart(source, dest)
    with isolation.shared_server().scratch_folder() as work:
        scratch = os.path.join(work, _SOURCE)
        with sources.spell_places(source, scratch):
            found = sources.acquire_source(source, scratch, timeout=options.limits.timeout)
            found = detect.choose_reading(found, options.read)
            return _migrate_found(found, dest, work, options, progress, describe, on_ready)


def _migrate_found(
    found: Source,
    dest: str,
    work: str,
    options: MigrateOptions,
    progress: Progress,
    describe: Callable[[Status, str, str], Outcome],
    on_ready: ReadyCallback | None,
) -> Outcome:
    progress.format = found.format.value
    if found.format is Format.TF2_SAVED_MODEL and options.already_tf2 == "skip":
        return describe(Status.ALREADY_TF2, "", "")
    if found.format not in (*READABLE, Format.TF2_SAVED_MODEL):
        raise errors.UnknownFormatError(
            f"{found.format.value}: {'; '.join(found.evidence)}",
            where=found.path,
            hint=detect.suggest_model(found.path)
            or f"formats that are migrated: {', '.join(kind.value for kind in READABLE)}",
        )
    _check_destination(dest, options)
    with staging.prepare_publication(dest) as publication:
        progress.work = work
        status, error, place = Status.MIGRATED, "", dest
        if found.format is Format.TF2_SAVED_MODEL:
            _copy(found, publication.staged, options, progress)
            status = Status.ALREADY_TF2
        else:
            _make(found, publication.staged, work, dest, options, progress)
        if progress.verification and progress.verification.verdict is Verdict.FAIL:
            status, error = Status.REGRESSED, _describe_failure(progress.verification)
            place = dest if options.publish == "all" else options.quarantine
            progress.quarantine = place if place != dest else ""
        if "keras" in options.also and place == dest:
            with isolation.protect(publication.staged):
                _write_keras3(found, dest, work, options, progress)
        outcome = describe(status, error, place if place == dest else "")
        if place:
            if on_ready is not None:
                on_ready(outcome, publication.staged)
            if options.archive and place == dest:
                archive.write_archive(publication.staged, dest + archive.ENDING)
            publication.publish(place)
        return outcome


def _check_apart(source: str, dest: str) -> None:
    """A migration replaces its destination, never its source."""
    old, new = os.path.realpath(source), os.path.realpath(dest)
    if old == new or old.startswith(new.rstrip(os.sep) + os.sep):
        raise errors.DestinationError(
            "the source lies there, and would be replaced", where=dest, hint="choose another --dest"
        )


def _copy(found: Source, staged: str, options: MigrateOptions, progress: Progress) -> None:
    """What is published under this name is no less safe for having been TF2 before."""
    progress.stage = "read"
    request = CheckRequest(path=found.path, allow_unsafe_ops=options.allow_unsafe_ops)
    isolation.run_job(CHECK, request, limits=options.limits, where=found.path, read_only=(found.path,))
    progress.stage = "write"
    copying.copy_model(found.path, staged)


def check(request: CheckRequest) -> None:
    """Job: refuses a model that would do more than compute."""
    scan.check_model(request.path, request.allow_unsafe_ops)


def _check_destination(dest: str, options: MigrateOptions) -> None:
    staging.check_destination(dest, overwrite=options.overwrite)
    if options.archive:
        staging.check_destination(dest + archive.ENDING, overwrite=options.overwrite)
    if "keras" in options.also:
        staging.check_destination(dest + keras3.ENDING, overwrite=options.overwrite)


def _write_keras3(found: Source, dest: str, work: str, options: MigrateOptions, progress: Progress) -> None:
    """Beside the model, complete or not at all; why not is a finding, for the model itself is whole."""
    path, scratch = dest + keras3.ENDING, os.path.join(work, "keras3")
    if progress.format not in {kind.value for kind in KERAS}:
        answer = keras3.Keras3Answer(compared="", refusal="the source holds no architecture of Keras")
    else:
        os.makedirs(scratch)
        calls = os.path.join(work, _CALLS)
        request = keras3.Keras3Request(
            source=found,
            read=options.reading,
            calls=calls if os.path.isdir(calls) else "",
            path=os.path.join(scratch, os.path.basename(path)),
            scratch=scratch,
            tolerance=options.tolerance,
        )
        try:
            answer = isolation.run_job(
                keras3.JOB,
                request,
                limits=options.limits,
                where=found.path,
                folders=(work,),
                read_only=(found.path,),
            ).value
        except errors.MigrateError as error:
            answer = keras3.Keras3Answer(compared="", refusal=str(error))
        if not answer.refusal:
            staging.place_file(request.path, path)
    progress.findings = (*progress.findings, keras3.describe(answer, path))


def _make(found: Source, staged: str, work: str, dest: str, options: MigrateOptions, progress: Progress) -> None:
    """Builds the migrated model, judges it, and writes its page."""
    with contextlib.ExitStack() as beside:
        begun = None
        if _runs_beside(options):
            with isolation.protect(found.path, os.path.dirname(staged), os.path.join(work, _SCRATCH)):
                begun = beside.enter_context(isolation.Aside(functools.partial(_run_original, found, work, options)))
        built = _build(found, staged, work, options, progress)
        found = dataclasses.replace(found, format=built.planned.format)
        progress.format = found.format.value
        if options.verify != "none":
            progress.stage = "verify"
            # A graph that was let write files may write what it likes: neither the original nor what is published.
            with isolation.protect(found.path, staged):
                progress.verification = verify_migration(
                    found, staged, work, built.planned.extras, options, begun.get if begun else None
                )
            check_original(progress.verification, found.path)
    record = _complete_record(staged, progress.verification)
    with open(os.path.join(staged, card.FILE), "w", encoding="utf-8") as file:
        file.write(card.write_card(os.path.basename(dest), record, built.example))
    if not progress.verification or progress.verification.verdict is not Verdict.FAIL:
        progress.stage = "write"


def _runs_beside(options: MigrateOptions) -> bool:
    """Whether the original runs while the migrated model is written: not where limits say what a model may take, nor
    where the search for inputs that reach more has yet to begin."""
    is_limited = options.limits.memory_limit or options.limits.disk_limit
    return options.verify != "none" and options.side_by_side and not is_limited and not options.coverage


def _run_original(found: Source, work: str, options: MigrateOptions, interrupt: isolation.Interrupt) -> Results:
    """As soon as the process that builds has said what is asked."""
    path = os.path.join(work, _PLANNED)
    while not os.path.exists(path):
        if interrupt.wait(_POLL_SECONDS):
            raise isolation.JobError("stopped", state="cancelled", where=found.path)
    planned = _load_planned(path)
    return run_original(dataclasses.replace(found, format=planned.format), work, planned.extras, options)


def _load_planned(path: str) -> Planned:
    with open(path, encoding="utf-8") as file:
        return records.from_json(Planned, json.load(file))


def _build(source: Source, staged: str, work: str, options: MigrateOptions, progress: Progress) -> Built:
    """read, rebuild and write, in one isolated process."""
    progress.stage = "read"
    request = BuildRequest(
        source=source,
        staged=staged,
        work=work,
        read=options.reading,
        rebuild=options.rebuild,
        op_library=options.op_library,
        allow_unsafe_ops=options.allow_unsafe_ops,
        verify=options.verify != "none",
        seed=options.seed,
        target_tensorflow=options.target_tensorflow,
        weights=options.weights,
        check_weights=options.check_weights,
        dump_graphs=os.path.abspath(options.dump_graphs) if options.dump_graphs else "",
    )
    soon = tuple(name for kind in (SESSION, MIGRATED) for name in RUNNERS[kind].needs) if request.verify else ()
    # A path that is bound over itself is another file system to link(2) and to clones of blocks.
    read_only = () if options.weights in ("link", "reflink") else (source.path,)
    try:
        result = isolation.run_job(
            BUILD,
            request,
            limits=options.limits,
            where=source.path,
            folders=(work, os.path.dirname(staged)),
            read_only=read_only,
            soon=soon,
        )
    finally:
        with contextlib.suppress(OSError), open(os.path.join(work, _STAGE_FILE), encoding="utf-8") as file:
            progress.stage = file.read() or progress.stage
    progress.peak_rss_bytes = result.peak_rss_bytes
    progress.findings = result.value.findings
    progress.digest = result.value.digest
    return result.value


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

    def enter(stage: str) -> None:
        with open(os.path.join(request.work, _STAGE_FILE), "w", encoding="utf-8") as file:
            file.write(stage)

    for left in (request.staged, os.path.join(request.work, _SCRATCH)):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed, for which this one makes up
    enter("read")
    # Before anything of the model runs, and before any part of it is believed.
    scan.check_model(request.source.path, request.allow_unsafe_ops)
    for path in request.op_library:
        _load_op_library(path)
    scratch = os.path.join(request.work, _SCRATCH)
    os.makedirs(scratch, exist_ok=True)
    model = readers.read_model(request.source, request.read, scratch)
    digest = provenance.digest_source(request.source.path)
    enter("rebuild")
    dumps = request.dump_graphs
    observer = functools.partial(dumping.make_observer, dumps) if dumps else None
    try:
        rebuilt = module.rebuild_model(model, request.rebuild, digest, observer)
    except errors.MigrateError:
        raise
    except Exception as failure:  # a graph that TensorFlow refuses, too, is none; all else is the toolkit's fault
        explained = validity.explain_failure(model, failure)
        if explained is None:
            raise
        raise explained from failure
    enter("write")
    # Before writing takes its time: what was planned can be asked of the original meanwhile.
    planned = _plan(request, rebuilt) if request.verify else Planned(format=model.source.format)
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
    code = _write_example(record, planning.plan_example(rebuilt, seed=request.seed))
    return Built(findings=findings, planned=planned, digest=digest, example=code)


def _plan(request: BuildRequest, rebuilt: Rebuilt) -> Planned:
    """Saves calls, then says so; what a process has said that was killed is what this one would say."""
    from migrate.inputs import calls
    from migrate.verify import planning

    path = os.path.join(request.work, _PLANNED)
    if os.path.exists(path):
        return _load_planned(path)
    folder = os.path.join(request.work, _CALLS)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    made = planning.plan_calls(rebuilt, seed=request.seed)
    calls.save_calls(folder, made)
    planned = Planned(format=rebuilt.state.model.source.format, extras=planning.plan_extras(rebuilt, made))
    with open(f"{path}.partial", "w", encoding="utf-8") as file:
        json.dump(records.to_json(planned), file)
    os.rename(file.name, path)
    return planned


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


def _complete_record(staged: str, verification: Verification | None) -> dict[str, Any]:
    """Puts the verdict into the provenance of what is published."""
    record = provenance.read_record(staged)
    assert record is not None
    record["verification"] = (
        None
        if verification is None
        else {
            "verdict": verification.verdict.value,
            "outputs_compared": verification.outputs_compared,
            "max_absolute": verification.max_absolute,
            "max_relative": verification.max_relative,
            "not_compared": list(verification.not_compared),
        }
    )
    provenance.write_record(staged, record)
    return record


def _describe_failure(verification: Verification) -> str:
    lines = verification.failures
    more = f" (+{len(lines) - 1} more)" if len(lines) > 1 else ""
    return (lines[0] if lines else "signatures were not compared: " + "; ".join(verification.not_compared[:2])) + more
