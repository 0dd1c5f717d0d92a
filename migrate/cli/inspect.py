"""migrate-inspect: what a model holds, without executing it."""

from __future__ import annotations

import json

from absl import flags

from migrate.cli import program


def define_flags() -> None:
    flags.DEFINE_string("source", None, "Path of the model.")
    program.define_reading_flags()
    flags.DEFINE_bool("scan", False, "Say what in the model is unsafe or invalid, and nothing else; 1 if anything is.")
    program.define_safety_flags()
    flags.DEFINE_enum("format", "text", ("text", "json"), "How to print.")


def main() -> int:
    from migrate import inspection  # not before the flags are known to be right

    if flags.FLAGS.scan:
        return _scan(program.require_flag("source"))
    found = inspection.inspect_model(program.require_flag("source"), program.parse_reading_flags())
    if flags.FLAGS.format == "json":
        print(json.dumps(found.to_record(), indent=1))
    else:
        print(found.to_text())
    return program.OK


def _scan(source: str) -> int:
    from migrate import inspection
    from migrate.outcome import describe_finding

    findings = inspection.scan_source(source, program.parse_unsafe_ops(), program.parse_reading_flags())
    if flags.FLAGS.format == "json":
        print(json.dumps({"path": source, "findings": [describe_finding(finding) for finding in findings]}, indent=1))
    else:
        program.show(f"{source}: {f'{len(findings)} findings' if findings else 'nothing unsafe was found'}")
        for finding in findings:
            hint = f" [{finding.hint}]" if finding.hint else ""
            program.show(f"  {finding.code}: {finding.where}: {finding.message}{hint}")
    return program.FAILED if findings else program.OK


def run() -> None:
    define_flags()
    program.run_program(main)


if __name__ == "__main__":
    run()
