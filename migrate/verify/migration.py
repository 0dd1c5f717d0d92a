"""The verify stage: a migrated model against its original, on the calls that were planned while it was built."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable

from migrate.model import Source
from migrate.options import MigrateOptions
from migrate.verdict import Verification
from migrate.verify.exploring import add_coverage, explore_calls
from migrate.verify.extras import Extras
from migrate.verify.judging import tolerances
from migrate.verify.judging.judgement import Criteria
from migrate.verify.pair import Pair, compare_pair, prepare_baseline
from migrate.verify.results import Results
from migrate.verify.runners.request import Explored, ExploreRequest, RunRequest
from migrate.verify.runners.side import MIGRATED, ORIGINALS, SESSION, Side, make_places, run_side
from migrate.write import transfer

# Of the scratch folder: what is asked of both sides.
CALLS = "calls"


def verify_migration(
    source: Source,
    written: str,
    work: str,
    extras: Extras,
    options: MigrateOptions,
    begun: Callable[[], Results] | None = None,
) -> Verification:
    """Runs both sides on the calls saved in `work`/calls.

    Args:
      source: the original.
      written: the migrated model; a copy of it is run, from a folder from which no relative path leads back.
      work: scratch folder.
      extras: what was planned beside the calls.
      options: limits, tolerance, custom ops.
      begun: what gives the answers of `run_original`, where that runs already.

    Raises:
      JobError: a side crashed or hung.
    """
    pair = _plan_pair(source, work, extras, options)
    copy = make_places(work)[1].model
    transfer.share_tree(written, copy)
    beside = tolerances.find_file(source.path)
    criteria = Criteria(
        tolerance=options.tolerance,
        tolerances=tolerances.load_tolerances(beside) if beside else {},
        strict=options.verify == "strict",
        trainable=not options.rebuild.trainable,
    )
    explored = _explore(source, copy, work, options) if options.coverage else None
    verification, _, _ = compare_pair(
        pair, criteria, options.limits, begun=begun, side_by_side=options.runs_side_by_side
    )
    shutil.rmtree(copy, ignore_errors=True)
    listed = tuple(
        {"output": pattern, **dataclasses.asdict(tolerance), "source": beside}
        for pattern, tolerance in criteria.tolerances.items()
    )
    previews = tuple(preview.to_record() for preview in extras.inputs)
    verification = dataclasses.replace(verification, inputs=previews, tolerances=listed)
    return add_coverage(verification, explored) if explored else verification


def run_original(source: Source, work: str, extras: Extras, options: MigrateOptions) -> Results:
    """The original's answers, for which nothing need have been written yet: arguments and errors as above."""
    return run_side(prepare_baseline(_plan_pair(source, work, extras, options)).baseline, options.limits)


def _plan_pair(source: Source, work: str, extras: Extras, options: MigrateOptions) -> Pair:
    old, new = make_places(work)
    common = RunRequest(
        path=source.path,
        calls=os.path.join(work, CALLS),
        results=old.answers,
        op_library=options.op_library,
        losses=extras.losses is not None,
        loss_tags=extras.losses or (),
        update_call=extras.update_call,
        read=options.reading,
    )
    return Pair(
        baseline=Side(
            kind=ORIGINALS[source.format], request=common, label=f"baseline {source.path}", guarded=(new.folder,)
        ),
        candidate=Side(
            kind=MIGRATED,
            request=dataclasses.replace(common, path=new.model, results=new.answers, losses=True),
            label=f"candidate of {source.path}",
            guarded=(old.folder,),
        ),
        random=extras.random,
        racy=extras.racy,
    )


def _explore(source: Source, copy: str, work: str, options: MigrateOptions) -> Explored:
    """A Keras file has no graph before it is traced: the graph that is looked into is the migrated one."""
    kind = ORIGINALS[source.format]
    request = ExploreRequest(
        path=source.path if kind == SESSION else copy,
        kind=kind if kind == SESSION else MIGRATED,
        calls=os.path.join(work, CALLS),
        answering="",
        scratch=os.path.join(work, "explored"),
        seed=options.seed,
        op_library=options.op_library,
        read=options.reading,
    )
    return explore_calls(request, options.limits, f"coverage of {source.path}")
