"""Coverage by room: what CI prints after the tests.

    python -m coverage run -m pytest ... && python -m coverage combine
    python benchmarks/coverage_rooms.py [--least=92]

Lines and branches of each room, and the files below --least percent of lines; exits with 1 where one of ROOMS lies
below. A file that was never imported is in no figure, and is named. Processes that the fork server forks are measured,
too (`patch` in pyproject.toml's [tool.coverage.run]); what is killed, by a time limit or a signal, leaves no data. The
process of the tests itself is measured in those of ROOMS and their neighbours only (`tests/sharing.py`): other rooms'
figures are what these reach of them.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
from collections import Counter

from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What must not go unseen: what makes and proves the results.
ROOMS = ("migrate/graph", "migrate/inputs", "migrate/rebuild", "migrate/verify", "migrate/write")


def find_room(path: str) -> str:
    parts = pathlib.PurePosixPath(path).parts
    return "/".join(parts[:2]) if len(parts) > 2 else f"{parts[0]}/*.py"


def measure() -> dict[str, dict[str, int]]:
    """{file: counts} of the combined data, files relative to the project."""
    with tempfile.TemporaryDirectory() as folder:
        target = f"{folder}/coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", target], check=True, cwd=ROOT)
        with open(target, encoding="utf-8") as file:
            files = json.load(file)["files"]
    return {path: found["summary"] for path, found in files.items()}


def find_files() -> set[str]:
    """All that could be measured, relative to the project; what is empty has nothing to run."""
    found = (path for package in ("migrate", "compat") for path in (ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix() for path in found if path.stat().st_size}


def share(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 100.0


def main(argv: list[str]) -> int:
    files = measure()
    rooms: dict[str, Counter[str]] = {}
    for path, counts in files.items():
        for room in (find_room(path), "all"):
            rooms.setdefault(room, Counter()).update({k: v for k, v in counts.items() if isinstance(v, int)})
    shares = {room: share(c["covered_lines"], c["num_statements"]) for room, c in rooms.items()}
    for room in sorted(rooms, key=lambda room: (room == "all", room)):
        branches = share(rooms[room]["covered_branches"], rooms[room]["num_branches"])
        print(
            f"{room:24} {shares[room]:5.1f} % of {rooms[room]['num_statements']:6} lines, {branches:5.1f} % of branches"
        )
    least = flags.FLAGS.least
    for path, counts in sorted(files.items()):
        lines = share(counts["covered_lines"], counts["num_statements"])
        if lines < least and path.startswith(ROOMS):
            print(f"  {path}: {lines:.1f} %")
    for path in sorted(find_files() - files.keys()):
        print(f"  {path}: never imported")
    below = [room for room in ROOMS if shares.get(room, 100.0) < least]
    if below:
        print(f"below {least:g} % of lines: {', '.join(below)}")
    return 1 if below else 0


if __name__ == "__main__":
    flags.DEFINE_float("least", 92.0, "Percent of lines that each of the rooms that make and prove results must reach.")
    app.run(main)
