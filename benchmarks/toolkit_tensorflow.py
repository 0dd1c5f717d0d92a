"""In which TensorFlows the toolkit itself runs: the sample zoo is migrated in each, and the results held against TF1.

    python benchmarks/toolkit_tensorflow.py --environments=FOLDER [--versions=2.16,2.21] [--readme] [--relock]

Makes a virtual environment for each version below FOLDER, where there is none yet, from its lock in
benchmarks/toolkit_locks (`--relock` resolves it anew: that TensorFlow, its tf-keras, and what pyproject.toml asks for).
There migrate-zoo migrates testdata/zoo and proves each model against its original, and
tests/old_tensorflow/check_models.py holds the results against what TF1 recorded. Prints the table, and what failed with
its reason; `--readme` writes it into README.md.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from old_tensorflow import CHECKS, ROOT, check_zoo, find_python, list_failures, write_readme

LOCKS = ROOT / "benchmarks" / "toolkit_locks"
PYTHON = "3.11"
VERSIONS = ("2.16", "2.17", "2.18", "2.19", "2.20", "2.21")
MARKER = "toolkit_tensorflow"


def list_requirements(version: str) -> list[str]:
    """What pip installs: TensorFlow and tf-keras of the version, and the toolkit's other dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    others = [line for line in project["dependencies"] if not line.startswith(("tensorflow>", "tf-keras"))]
    return [f"tensorflow=={version}.*", f"tf-keras=={version}.*", *others]


def make_environment(folder: pathlib.Path, version: str, *, relock: bool) -> pathlib.Path | None:
    """The environment's Python; None where the machine lacks the Python that it is made with."""
    target, lock = folder / f"toolkit-{version}", LOCKS / f"tensorflow-{version}.txt"
    python = target / "bin" / "python"
    if (target / "complete").exists() and lock.exists() and not relock:
        return python
    base = find_python(PYTHON)
    if base is None:
        return None
    if not python.exists():
        subprocess.run([base, "-m", "venv", str(target)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if relock or not lock.exists():
        subprocess.run([*install, *list_requirements(version)], check=True)
        frozen = subprocess.run(
            [str(python), "-m", "pip", "freeze", "--all"], check=True, stdout=subprocess.PIPE, text=True
        )
        lines = [line for line in frozen.stdout.splitlines() if not line.startswith("pip==")]
        lock.parent.mkdir(exist_ok=True)
        lock.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        subprocess.run([*install, "-r", str(lock)], check=True)
    (target / "complete").touch()
    return python


def migrate_zoo(python: pathlib.Path, dest: str) -> dict[str, Any]:
    """The report of the sample zoo, migrated by this tree's toolkit in an environment."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run(
        [str(python), "-m", "migrate.cli.zoo", f"--source={ROOT / 'testdata' / 'zoo'}", f"--dest={dest}", "--jobs=2"],
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=sys.stderr,
        stderr=subprocess.DEVNULL,
        check=False,  # a model that fails is a line of the report
    )
    with open(os.path.join(dest, "_migration", "report.json"), encoding="utf-8") as file:
        report: dict[str, Any] = json.load(file)
    return report


def tell_verdict(model: Mapping[str, Any]) -> str:
    """ "" where the model is migrated and proven unchanged, else what became of it."""
    verification = model["verification"]
    if model["status"] == "migrated" and verification and verification["verdict"] == "PASS":
        return ""
    reason = model["error"] or "; ".join((verification or {}).get("not_compared", ())[:1])
    return f"{model['status']}: {reason}"


def find_slug(model: Mapping[str, Any]) -> str:
    return pathlib.Path(model["source"]).relative_to(ROOT / "testdata" / "zoo").parts[0]


def format_table(results: Mapping[str, tuple[dict[str, Any], dict[str, Any]]]) -> str:
    lines = [
        "| TensorFlow | old and new | " + " | ".join(name.replace("_", " ") for name in CHECKS) + " | what differs |",
        "|---" * (len(CHECKS) + 3) + "|",
    ]
    for report, found in results.values():
        verdicts = {find_slug(model): tell_verdict(model) for model in report["models"]}
        cells = [f"{list(verdicts.values()).count('')} of {len(verdicts)} PASS"]
        for check in CHECKS:
            told = [model[check] for model in found["models"].values() if model[check] is not None]
            cells.append(f"{told.count('')} of {len(told)}")
        failing = {slug for slug, text in verdicts.items() if text}
        failing |= {slug for slug, model in found["models"].items() if any(model.values())}
        named = ", ".join(f"`{slug}`" for slug in sorted(failing)) or "nothing"
        lines.append(f"| {found['tensorflow']} | {' | '.join(cells)} | {named} |")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    values = flags.FLAGS
    folder = pathlib.Path(values.environments).absolute()
    results: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for version in values.versions:
        python = make_environment(folder, version, relock=values.relock)
        if python is None:
            print(f"no Python {PYTHON} on this machine", file=sys.stderr)
            return 2
        if values.only_environments:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            report = migrate_zoo(python, f"{scratch}/zoo")
            found = check_zoo(python, f"{scratch}/zoo")
        results[version] = report, found
        print(f"{version}: {dict(Counter(model['status'] for model in report['models']))}")
        for model in report["models"]:
            if tell_verdict(model):
                print(f"{version}: {find_slug(model)}: {tell_verdict(model)}")
        for line in list_failures(found):
            print(f"{version}: {line}", flush=True)
    table = format_table(results)
    print(table)
    if values.readme:
        write_readme(table, MARKER)
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("environments", None, "Folder for the virtual environments.", required=True)
    flags.DEFINE_list("versions", list(VERSIONS), "Versions to try.")
    flags.DEFINE_bool("readme", False, "Write the table into README.md.")
    flags.DEFINE_bool("relock", False, "Resolve the environments anew and write their locks.")
    flags.DEFINE_bool("only_environments", False, "Make the environments, run nothing.")
    app.run(main)
