"""path -detect-> Source -read-> LegacyModel -rebuild-> Rebuilt -write-> Written -verify-> Verification.

The only module that knows all stages. `migrate_model` itself loads no TensorFlow: what needs it runs in
processes of its own, so that a crash is a record, equal sources give equal files, and the caller stays clean.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable
from typing import Any

from migrate import detect, errors, isolation, keras3, scan, sources
from migrate.building import BUILD, PLANNED, SCRATCH, STAGE, BuildRequest, Built, load_planned
from migrate.model import KERAS, READABLE, Finding, Format, Source
from migrate.options import MigrateOptions
from migrate.outcome import Outcome, Status
from migrate.publish import archive, card
from migrate.verdict import Verdict, Verification
from migrate.verify.migration import CALLS, run_original, verify_migration
from migrate.verify.original import check_original
from migrate.verify.results import Results
from migrate.verify.runners.side import MIGRATED, RUNNERS, SESSION
from migrate.write import copying, provenance, staging


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """A model that is copied as it is."""

    path: str
    allow_unsafe_ops: tuple[str, ...]


CHECK = isolation.Job("migrate.pipeline:check", CheckRequest, type(None))
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
        with contextlib.suppress(OSError), open(os.path.join(self.work, STAGE), encoding="utf-8") as file:
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
        calls = os.path.join(work, CALLS)
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
        # The search for inputs that reach more comes before anything is asked.
        if options.verify != "none" and options.runs_side_by_side and not options.coverage:
            with isolation.protect(found.path, os.path.dirname(staged), os.path.join(work, SCRATCH)):
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


def _run_original(found: Source, work: str, options: MigrateOptions, interrupt: isolation.Interrupt) -> Results:
    """As soon as the process that builds has said what is asked."""
    path = os.path.join(work, PLANNED)
    while not os.path.exists(path):
        if interrupt.wait(_POLL_SECONDS):
            raise isolation.JobError("stopped", state="cancelled", where=found.path)
    planned = load_planned(path)
    return run_original(dataclasses.replace(found, format=planned.format), work, planned.extras, options)


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
        with contextlib.suppress(OSError), open(os.path.join(work, STAGE), encoding="utf-8") as file:
            progress.stage = file.read() or progress.stage
    progress.peak_rss_bytes = result.peak_rss_bytes
    progress.findings = result.value.findings
    progress.digest = result.value.digest
    return result.value


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
