"""Results of runs: merged into one report, and two of them compared."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from migrate import errors
from migrate.outcome import Outcome, Status
from migrate.report import write_reports
from migrate.verdict import Verdict
from migrate.zoo.journal import RESULTS, Journal, Outcomes


def find_results(path: str) -> str:
    """The results.jsonl that a path means: the file, the report folder, or the destination of a run.

    Raises:
      SourceNotFoundError: there is none.
    """
    for candidate in (path, os.path.join(path, RESULTS), os.path.join(path, "_migration", RESULTS)):
        if os.path.isfile(candidate):
            return candidate
    raise errors.SourceNotFoundError(
        f"there is no {RESULTS}", where=path, hint="name the file, a report folder, or the --dest of a run"
    )


def load_results(path: str) -> tuple[Journal, list[str]]:
    """A journal and the names of its models, in order."""
    journal = Journal(find_results(path))
    journal.load(repair=False)
    return journal, sorted(journal.known)


def rebuild_report(paths: Sequence[str], report_dir: str) -> dict[str, int]:
    """Merges results into one journal and writes all reports from it.

    Args:
      paths: of results; where two tell of one model, the later path's word counts.
      report_dir: folder to write; it may be that of the only path.

    Returns:
      Counts by status.

    Raises:
      UsageError: no results, or a folder that cannot be written.
    """
    try:
        os.makedirs(report_dir, exist_ok=True)
        target = os.path.join(report_dir, RESULTS)
        merged = _merge(paths, target)
        order = sorted(merged.known)
        outcomes = Outcomes(merged, order)
        counts: dict[str, int] = {}
        for status in outcomes.statuses:
            counts[status.value] = counts.get(status.value, 0) + 1
        counts = dict(sorted(counts.items()))
        write_reports(report_dir, outcomes, counts)
    except OSError as error:
        raise errors.DestinationError(
            f"the reports cannot be written: {error.strerror}", where=report_dir, hint="check --report_dir"
        ) from error
    return counts


def _merge(paths: Sequence[str], target: str) -> Journal:
    fresh = f"{target}.merged"
    if os.path.exists(fresh):
        os.remove(fresh)
    merged = Journal(fresh)
    with open(fresh, "wb"):
        pass
    for path in paths:
        journal, names = load_results(path)
        for name in names:
            merged.append(journal.read(name))
    merged.compact()
    os.replace(fresh, target)
    merged.path = target
    return merged


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became otherwise of one model. `better` is None where neither is good or both are."""

    relative: str
    before: str
    after: str
    better: bool | None
    error: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two runs: what changed, what is new, what is gone, by path below the root."""

    changes: tuple[Change, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    total: int

    @property
    def is_good(self) -> bool:
        """Whether nothing got worse and nothing that was good is gone."""
        return not self.removed and not any(change.better is False for change in self.changes)

    def to_text(self) -> str:
        lines = []
        for title, better in (("worse", False), ("better", True), ("otherwise", None)):
            for change in self.changes:
                if change.better is better:
                    reason = f": {change.error}" if change.error else ""
                    lines.append(f"{title:9}  {change.relative}: {change.before} -> {change.after}{reason}")
        lines += [f"added      {name}" for name in self.added]
        lines += [f"removed    {name}" for name in self.removed]
        counts = {better: sum(change.better is better for change in self.changes) for better in (False, True, None)}
        lines.append(
            f"{self.total} models: {counts[False]} worse, {counts[True]} better, {counts[None]} otherwise, "
            f"{len(self.added)} added, {len(self.removed)} removed"
        )
        return "\n".join(lines)


def compare_runs(before: str, after: str) -> RunComparison:
    """What got better and what got worse from one run to another; models are matched by their path below the root.

    Raises:
      SourceNotFoundError: a path holds no results.
    """
    old, new = _load_by_place(before), _load_by_place(after)
    changes = []
    for name in sorted(old[1].keys() & new[1].keys()):
        change = _compare(name, old[0].read(old[1][name]).outcome, new[0].read(new[1][name]).outcome)
        if change is not None:
            changes.append(change)
    return RunComparison(
        changes=tuple(changes),
        added=tuple(sorted(new[1].keys() - old[1].keys())),
        removed=tuple(sorted(old[1].keys() - new[1].keys())),
        total=len(old[1].keys() | new[1].keys()),
    )


def _load_by_place(path: str) -> tuple[Journal, Mapping[str, str]]:
    """A journal, and the path below the root of each model -> its name in the journal."""
    journal, names = load_results(path)
    # Lines of earlier versions have the whole path only.
    whole = [name for name in names if os.path.isabs(name)]
    root = os.path.commonpath([os.path.dirname(name) for name in whole]) if whole else ""
    return journal, {os.path.relpath(name, root) if name in whole else name: name for name in names}


# From worst to best.
_ORDER = (
    Status.CRASHED, Status.TIMED_OUT, Status.FAILED, Status.REGRESSED, Status.BLOCKED, Status.SKIPPED,
    Status.ALREADY_TF2, Status.MIGRATED,
)  # fmt: skip


def _compare(name: str, old: Outcome, new: Outcome) -> Change | None:
    before, after = _describe(old), _describe(new)
    if before == after:
        return None
    better: bool | None
    if old.status is not new.status:
        better = _ORDER.index(new.status) > _ORDER.index(old.status)
        if old.status.is_good and new.status.is_good:
            better = None
    else:
        better = True if new.verification and new.verification.verdict is Verdict.PASS else None
        if old.verification and old.verification.verdict is Verdict.PASS:
            better = False
    return Change(relative=name, before=before, after=after, better=better, error=new.error)


def _describe(outcome: Outcome) -> str:
    verdict = f" ({outcome.verification.verdict.value})" if outcome.verification else ""
    return outcome.status.value + verdict
