"""migrate-compare: did anything change between two models?"""

from __future__ import annotations

import os

from absl import flags

from migrate import errors
from migrate.cli import program
from migrate.options import BATCH_SIZES, LEVELS, CompareOptions, Tolerance


def define_flags() -> None:
    flags.DEFINE_string("baseline", None, "The model that is right: a folder, Keras file, or recorded outputs (.npz).")
    flags.DEFINE_string("candidate", None, "The model in question: a folder, Keras file, or recorded outputs (.npz).")
    flags.DEFINE_enum("level", "inference", LEVELS, "How deep to compare; each level holds those before it.")
    flags.DEFINE_string(
        "inputs",
        "",
        "Inputs: .npz, .jsonl, TFRecord of tf.Examples, TF Serving warm-up records, or module:function, which is "
        "called as function(signature_key, {input_key: {'dtype', 'shape', 'encoding', 'optional'}}) for each "
        "signature and gives an iterable of {input_key: value}, one a call, or None for a signature that it does not "
        "know; the module is looked for in the working directory first (default: made up from the baseline's graph).",
    )
    program.define_reading_flags(prefix="graph_")
    flags.DEFINE_list("signatures", [], "Keys of the signatures to compare (default: all).")
    flags.DEFINE_string("report", "", "JSON file to write; the HTML page, JUnit XML and the inputs come beside it.")
    flags.DEFINE_multi_string("tolerance", [], "KEY=RTOL,ATOL[,ULP] of one output (wildcards allowed); repeatable.")
    flags.DEFINE_string("tolerances", "", 'JSON file of tolerances: {KEY: [RTOL, ATOL]} or {KEY: {"ulp": N, ...}}.')
    flags.DEFINE_bool(
        "tolerance_files",
        True,
        "Read migrate_tolerances.json beside the models, the baseline's first; what the command line says comes "
        "before it, and --rtol or --atol turns it off.",
    )
    flags.DEFINE_bool(
        "trust_candidate_tolerances",
        False,
        "Let the candidate's migrate_tolerances.json loosen tolerances; otherwise it may only tighten them.",
    )
    flags.DEFINE_float("rtol", Tolerance().relative, "Relative tolerance of floats.")
    flags.DEFINE_float("atol", Tolerance().absolute, "Absolute tolerance of floats.")
    flags.DEFINE_bool("require_same_argmax", False, "Fail where a row (last axis) has another largest element.")
    flags.DEFINE_list("batch_sizes", list(map(str, BATCH_SIZES)), "Batch sizes of made up inputs.")
    flags.DEFINE_bool("nonfinite", False, "Also feed NaN and Inf, where inputs are made up.")
    flags.DEFINE_bool("strict", False, "Fail on what the baseline itself could not run.")
    flags.DEFINE_float("error_rate", 1e-3, "Chance that an unchanged random output is called different.")
    flags.DEFINE_integer(
        "draws",
        100,
        "Calls on each side for a random output at first; more are made where the stated power asks for them.",
    )
    flags.DEFINE_integer("steps", 5, "Training steps of each optimizer (--level=trajectory).")
    flags.DEFINE_bool("bisect", False, "Where an output differs, find the first op that does.")
    flags.DEFINE_bool("benchmark", False, "Measure speed and memory of both.")
    flags.DEFINE_multi_string("op_library", [], "Shared library with custom ops; may be given several times.")
    program.define_safety_flags()
    program.define_limit_flags("each side")
    flags.DEFINE_integer("seed", 0, "Seed of the synthesised inputs.")
    program.define_coverage_flag()


def main() -> int:
    # Not before the flags are known to be right: --help and a usage error take a third of the time so.
    from migrate import comparison
    from migrate.report import comparison as reports
    from migrate.verdict import Verdict

    baseline, candidate = program.require_flag("baseline"), program.require_flag("candidate")
    values = flags.FLAGS
    if values.report:
        reports.check_report(values.report, keep=(baseline, candidate, values.inputs))
    options = CompareOptions(
        level=values.level,
        inputs=values.inputs,
        read=program.parse_reading_flags(prefix="graph_"),
        signatures=tuple(key for key in values.signatures if key),
        tolerance=Tolerance(relative=values.rtol, absolute=values.atol),
        tolerances=_parse_tolerances(values.tolerance, values.tolerances),
        tolerance_files=values.tolerance_files and not (values["rtol"].present or values["atol"].present),
        trust_candidate_tolerances=values.trust_candidate_tolerances,
        same_argmax=values.require_same_argmax,
        batch_sizes=_parse_sizes(values.batch_sizes),
        nonfinite=values.nonfinite,
        strict=values.strict,
        error_rate=values.error_rate,
        draws=values.draws,
        steps=values.steps,
        bisect=values.bisect,
        benchmark=values.benchmark,
        op_library=tuple(values.op_library),
        allow_unsafe_ops=program.parse_unsafe_ops(),
        limits=program.parse_limits(),
        seed=values.seed,
        coverage=values.coverage,
        save_to=reports.find_folder(values.report) if values.report else "",
    )
    verification = comparison.compare_models(baseline, candidate, options)
    for line in reports.format_text(baseline, candidate, verification).split("\n"):
        program.show(line)
    if values.report:
        reports.write_report(values.report, baseline, candidate, verification)
        print(f"report: {os.path.splitext(values.report)[0]}.html")
    return program.OK if verification.verdict is Verdict.PASS else program.FAILED


def _parse_tolerances(given: list[str], path: str) -> dict[str, Tolerance]:
    """What the command line says counts before what the file says."""
    from migrate.verify.judging import tolerances

    found = {}
    for text in given:
        key, equals, numbers = text.rpartition("=")
        if not equals or not key:
            raise errors.UsageError(f"{text!r} is no KEY=RTOL,ATOL", where="--tolerance")
        found[key] = tolerances.parse_tolerance(numbers.split(","), f"--tolerance={text}")
    if path:
        for key, tolerance in tolerances.load_tolerances(path).items():
            found.setdefault(key, tolerance)
    return found


def _parse_sizes(texts: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in texts)
    except ValueError as error:
        raise errors.UsageError(f"{','.join(texts)} are no numbers", where="--batch_sizes") from error


def run() -> None:
    define_flags()
    program.run_program(main, unable=program.USAGE)


if __name__ == "__main__":
    run()
