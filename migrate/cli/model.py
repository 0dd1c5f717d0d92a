"""migrate-model: migrates one model and proves it."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

from absl import flags

from migrate.cli import program

if TYPE_CHECKING:
    from migrate.outcome import Outcome


def define_flags() -> None:
    flags.DEFINE_string("source", None, "Path of the legacy model.")
    flags.DEFINE_string("dest", None, "Folder to write.")
    flags.DEFINE_string("dump_graphs", "", "Folder for the graph of each call as each pass leaves it (for debugging).")
    program.define_migration_flags()


def main() -> int:
    from migrate import pipeline  # not before the flags are known to be right: --help takes a third of the time so

    source, dest = program.require_flag("source"), program.require_flag("dest")
    options = dataclasses.replace(program.parse_migration_flags(), dump_graphs=flags.FLAGS.dump_graphs)
    outcome = pipeline.migrate_model(source, dest, options)
    print_outcome(outcome)
    return program.OK if outcome.status.is_good else program.FAILED


def print_outcome(outcome: Outcome) -> None:
    """One line for the status, one for each finding, the error on standard error."""
    from migrate.report import comparison

    verification = outcome.verification
    compared = ""
    if verification is not None:
        compared = f", {verification.verdict.value}: {len(verification.diffs)} outputs compared"
        if verification.max_absolute is not None:
            compared += f", largest difference {verification.max_absolute:.3g}"
    program.show(f"{outcome.status.value}{compared} ({outcome.seconds:.1f} s)  {outcome.source}")
    if outcome.dest:
        program.show(f"  written to {outcome.dest}")
    for finding in outcome.findings:
        hint = f" [{finding.hint}]" if finding.hint else ""
        program.show(f"  {finding.severity.value}: {finding.where}: {finding.message}{hint}")
    if verification is not None and verification.coverage_line:
        program.show(f"  covered: {verification.coverage_line}")
    for line in comparison.list_unreached(verification) if verification else ():
        program.show(line)
    for line in verification.not_compared if verification else ():
        program.show(f"  not compared: {line}")
    if outcome.error:
        program.show(f"error: {outcome.error}", file=sys.stderr)


def run() -> None:
    define_flags()
    program.run_program(main)


if __name__ == "__main__":
    run()
