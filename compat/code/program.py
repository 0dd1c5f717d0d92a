"""migrate-code: lists the removed names that code uses; with --write, makes their imports run."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from absl import flags

from migrate.cli import program

if TYPE_CHECKING:
    from compat.code import scan


def define_flags() -> None:
    flags.DEFINE_string("source", None, "Python file or notebook, or a folder with such.")
    flags.DEFINE_bool("write", False, "Rewrite imports to the stand-ins of `compat`, keeping everything else.")
    flags.DEFINE_enum("format", "text", ("text", "json"), "How to print.")


def main() -> int:
    """Exit codes: 0 all files were read, 1 one was not, 2 the call is wrong."""
    from compat.code import scan  # half a second, for the parser: not before the flags are known to be right

    reports = list(scan.scan_source(program.require_flag("source"), write=flags.FLAGS.write))
    if flags.FLAGS.format == "json":
        print(json.dumps([report.to_record() for report in reports if report.usages or report.error], indent=1))
    else:
        for report in reports:
            _print_report(report)
        _print_summary(reports)
    return program.FAILED if any(report.error for report in reports) else program.OK


def _print_report(report: scan.FileReport) -> None:
    if report.error:
        print(f"{report.path}: {report.error}", file=sys.stderr)
    for usage in report.usages:
        cell = "" if usage.cell is None else f"cell {usage.cell}:"
        print(f"{report.path}:{cell}{usage.line}:{usage.column}: {usage.name} -> {usage.replacement}")
        if usage.drop_in is not None:
            verdict = "a drop-in once the module is migrated" if usage.drop_in else f"no drop-in: {usage.reason}"
            print(f"    hub.KerasLayer: {verdict}")
    if report.changed:
        print(f"{report.path}: imports {'rewritten' if report.written else 'can be rewritten with --write'}")


def _print_summary(reports: list[scan.FileReport]) -> None:
    count = sum(len(report.usages) for report in reports)
    files = sum(bool(report.usages) for report in reports)
    drop_ins = sum(usage.drop_in is True for report in reports for usage in report.usages)
    print(f"{count} uses in {files} of {len(reports)} files; hub.KerasLayer is a drop-in for {drop_ins}")


def run() -> None:
    define_flags()
    program.run_program(main)
