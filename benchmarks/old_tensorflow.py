"""In which TensorFlows the migrated sample zoo loads and computes what TF1 recorded: a table for README.md.

    python benchmarks/old_tensorflow.py --environments=FOLDER [--versions=2.4,2.15] [--readme]

Makes a virtual environment for each version below FOLDER, where there is none yet, with the Python that the version
wants (found on PATH, or kept by pyenv); migrates testdata/zoo; runs tests/old_tensorflow/check_models.py in each;
prints the table, and what failed with its reason. `--readme` writes the table into README.md.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHECKER = ROOT / "tests" / "old_tensorflow" / "check_models.py"
CHECKS = ("load", "outputs", "gradients", "losses", "training_step")
# Version -> (Python, what pip installs).
ENVIRONMENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "2.4": ("3.8", ("tensorflow==2.4.4", "protobuf<3.20")),
    "2.6": ("3.9", ("tensorflow==2.6.5", "keras==2.6.0", "protobuf<3.20")),
    "2.8": ("3.10", ("tensorflow==2.8.4", "protobuf<3.20", "numpy<2")),
    "2.10": ("3.10", ("tensorflow==2.10.1", "protobuf<3.20", "numpy<2")),
    "2.12": ("3.11", ("tensorflow==2.12.1",)),
    "2.15": ("3.11", ("tensorflow==2.15.1",)),
}
MARKER = "old_tensorflow"


def find_python(version: str) -> str | None:
    """Path of a Python, None where there is none."""
    candidates = [shutil.which(f"python{version}")]
    if shutil.which("pyenv"):
        names = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False).stdout
        for name in names.split():
            if name.startswith(f"{version}."):
                prefix = subprocess.run(["pyenv", "prefix", name], capture_output=True, text=True, check=False)
                candidates.append(os.path.join(prefix.stdout.strip(), "bin", "python"))
    for path in candidates:
        if path and _tell_version(path) == version:
            return path
    return None


def _tell_version(path: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([path, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def make_environment(folder: pathlib.Path, version: str) -> pathlib.Path | None:
    """The environment's Python; None where the machine lacks the Python that it is made with."""
    wanted, packages = ENVIRONMENTS[version]
    target = folder / f"tensorflow-{version}"
    if not (target / "complete").exists():
        python = find_python(wanted)
        if python is None:
            return None
        subprocess.run([python, "-m", "venv", "--clear", str(target)], check=True)
        subprocess.run([str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages], check=True)
        (target / "complete").touch()
    return target / "bin" / "python"


def check_zoo(python: pathlib.Path, migrated: str) -> dict[str, Any]:
    """What check_models.py says in an environment; nothing of the toolkit is on its path."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(python), str(CHECKER), migrated, str(ROOT / "testdata")],
        env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def format_table(results: Mapping[str, dict[str, Any]]) -> str:
    lines = [
        "| TensorFlow | " + " | ".join(name.replace("_", " ") for name in CHECKS) + " | what fails there |",
        "|---" * (len(CHECKS) + 2) + "|",
    ]
    for version, found in results.items():
        cells = []
        for check in CHECKS:
            told = [model[check] for model in found["models"].values() if model[check] is not None]
            cells.append(f"{told.count('')} of {len(told)}")
        failing = sorted(slug for slug, model in found["models"].items() if any(model.values()))
        lines.append(f"| {version} | {' | '.join(cells)} | {', '.join(f'`{slug}`' for slug in failing) or 'nothing'} |")
    return "\n".join(lines)


def list_failures(found: Mapping[str, Any]) -> list[str]:
    return [
        f"{slug} {check}: {message}"
        for slug, model in found["models"].items()
        for check, message in model.items()
        if message
    ]


def write_readme(table: str, marker: str) -> None:
    """Puts the table between README.md's comments `marker: begin` and `marker: end`."""
    path = ROOT / "README.md"
    begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
    text = path.read_text(encoding="utf-8")
    before, after = text.partition(begin)[0], text.partition(end)[2]
    path.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def main(argv: list[str]) -> int:
    values = flags.FLAGS
    folder = pathlib.Path(values.environments).absolute()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        zoo = [
            sys.executable,
            "-m",
            "migrate.cli.zoo",
            f"--source={ROOT / 'testdata' / 'zoo'}",
            f"--dest={scratch}/zoo",
        ]
        subprocess.run([*zoo, "--jobs=2"], check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
        for version in values.versions:
            python = make_environment(folder, version)
            if python is None:
                print(f"TensorFlow {version}: no Python {ENVIRONMENTS[version][0]} on this machine", file=sys.stderr)
                continue
            results[version] = check_zoo(python, f"{scratch}/zoo")
            for line in list_failures(results[version]):
                print(f"{version}: {line}")
    table = format_table(results)
    print(table)
    if values.readme:
        write_readme(table, MARKER)
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("environments", None, "Folder for the virtual environments.", required=True)
    flags.DEFINE_list("versions", list(ENVIRONMENTS), "Versions to try.")
    flags.DEFINE_bool("readme", False, "Write the table into README.md.")
    app.run(main)
