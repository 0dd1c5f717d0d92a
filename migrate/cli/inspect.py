"""migrate-inspect: what a model holds, without executing it."""

from __future__ import annotations

import json

from absl import flags

from migrate import inspection
from migrate.cli import program


def define_flags() -> None:
    flags.DEFINE_string("source", None, "Path of the model.")
    program.define_reading_flags()
    flags.DEFINE_enum("format", "text", ("text", "json"), "How to print.")


def main() -> int:
    found = inspection.inspect_model(program.require_flag("source"), program.parse_reading_flags())
    if flags.FLAGS.format == "json":
        print(json.dumps(found.to_record(), indent=1))
    else:
        print(found.to_text())
    return program.OK


def run() -> None:
    define_flags()
    program.run_program(main)


if __name__ == "__main__":
    run()
