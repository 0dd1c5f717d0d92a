"""migrate-model: migrates one model and proves it."""

from __future__ import annotations

import sys

from absl import flags

from migrate import pipeline
from migrate.cli import program as common
from migrate.outcome import Outcome


def define_flags() -> None:
    flags.DEFINE_string("source", None, "Path of the legacy model.")
    flags.DEFINE_string("dest", None, "Folder to write.")
    common.define_migration_flags()


def main() -> int:
    source, dest = common.require_flag("source"), common.require_flag("dest")
    outcome = pipeline.migrate_model(source, dest, common.parse_migration_flags())
    print_outcome(outcome)
    return common.OK if outcome.status.is_good else common.FAILED


def print_outcome(outcome: Outcome) -> None:
    """One line for the status, one for each finding, the error on standard error."""
    verification = outcome.verification
    compared = ""
    if verification is not None:
        compared = f", {verification.verdict.value}: {len(verification.diffs)} outputs compared"
        if verification.max_absolute is not None:
            compared += f", largest difference {verification.max_absolute:.3g}"
    print(f"{outcome.status.value}{compared} ({outcome.seconds:.1f} s)  {outcome.source}")
    if outcome.dest:
        print(f"  written to {outcome.dest}")
    for finding in outcome.findings:
        hint = f" [{finding.hint}]" if finding.hint else ""
        print(f"  {finding.severity.value}: {finding.where}: {finding.message}{hint}")
    for line in verification.not_compared if verification else ():
        print(f"  not compared: {line}")
    if outcome.error:
        print(f"error: {outcome.error}", file=sys.stderr)


def run() -> None:
    define_flags()
    common.run_program(main)


if __name__ == "__main__":
    run()
