"""migrate-report: rebuilds and merges the reports of zoo runs, and compares two runs."""

from __future__ import annotations

import os

from absl import flags

from migrate import errors
from migrate.cli import program


def define_flags() -> None:
    flags.DEFINE_multi_string(
        "results",
        [],
        "results.jsonl, report folder or --dest of a run; several are merged, the last word counts.",
    )
    flags.DEFINE_string("report_dir", "", "Folder to write (default: where the only --results lies).")
    flags.DEFINE_string("baseline", "", "Results of an earlier run: print what got better and worse since.")


def main() -> int:
    # Not before the flags are known to be right.
    from migrate.cli.display import escape
    from migrate.zoo import history

    values = flags.FLAGS
    if not values.results:
        raise errors.UsageError("--results is missing", hint="--help lists the flags")
    if values.baseline:
        if len(values.results) > 1 or values.report_dir:
            raise errors.UsageError("--baseline is compared with one --results, and writes no reports")
        comparison = history.compare_runs(values.baseline, values.results[0])
        print("\n".join(escape(line) for line in comparison.to_text().splitlines()))
        return program.OK if comparison.is_good else program.FAILED
    if len(values.results) > 1 and not values.report_dir:
        raise errors.UsageError("--report_dir is missing", hint="several results are merged into a folder of their own")
    folder = values.report_dir or os.path.dirname(os.path.abspath(history.find_results(values.results[0])))
    counts = history.rebuild_report(values.results, folder)
    print(f"{sum(counts.values())} models: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    print(f"report: {os.path.join(folder, 'report.html')}")
    return program.OK


def run() -> None:
    define_flags()
    program.run_program(main)


if __name__ == "__main__":
    run()
