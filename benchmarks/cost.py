"""What migrating costs beside what a user could run instead: processes in turn, as ratios.

    python benchmarks/cost.py [--megabytes=N] [--nodes=A,B] [--variables=A,B] [--models=N] [--rounds=N]
        [--replicas=DIR] [--exports=DIR] [--only=ROW,...] [--write]

Every side is a process of its own, from start to end; its memory is that of its whole tree (pages that several
processes share count once). Sides of a row run in turn, so that other load hits them alike; a ratio is the median over
rounds. Beside wall time stands the ratio of CPU time (user and system, of the whole tree), which other load changes
less, and which does not tell what ran at the same time. --replicas holds folders that testdata/generate/famous.py made,
--exports Estimator exports; without them their rows are left out. --write puts the table into benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = ROOT / "benchmarks" / "README.md"
_BEGIN, _END = "<!-- cost: begin -->", "<!-- cost: end -->"
_SAMPLE_SECONDS = 0.05
_ENVIRONMENT = {
    **os.environ,
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONPATH": str(ROOT),
}
IMPORT = [sys.executable, "-c", "import tensorflow"]
_NAIVE = (
    "import sys, tensorflow as tf\n"
    "m = tf.saved_model.load(sys.argv[1], tags=sys.argv[3].split(',') if sys.argv[3] else [])\n"
    "tf.saved_model.save(m, sys.argv[2], signatures=m.signatures)"
)


class Run:
    """What a process took: wall seconds, CPU seconds of its tree, and peak bytes of its tree and of itself."""

    def __init__(self, command: Sequence[str], *, may_fail: bool = False) -> None:
        self.tree = self.own = 0
        started = time.perf_counter()
        process = subprocess.Popen(command, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        done = threading.Event()
        sampler = threading.Thread(target=self._sample, args=(process.pid, done))
        sampler.start()
        assert process.stdout is not None
        with process.stdout:
            output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = time.perf_counter() - started
        self.cpu = usage.ru_utime + usage.ru_stime
        done.set()
        sampler.join()
        if process.returncode and not may_fail:
            raise RuntimeError(f"{' '.join(map(str, command))}\n{output.decode(errors='replace')[-2000:]}")

    def _sample(self, root: int, done: threading.Event) -> None:
        while not done.wait(_SAMPLE_SECONDS):
            sizes = {pid: _measure(pid) for pid in _list_tree(root)}
            self.tree = max(self.tree, sum(sizes.values()))
            self.own = max(self.own, sizes.get(root, 0))


def _list_tree(root: int) -> list[int]:
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                    pending.extend(map(int, file.read().split()))
    return found


def _measure(pid: int) -> int:
    """Anonymous memory in proportion to those who share it; files that are mapped are the page cache's."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
    return 0


class Bench:
    """The rows that were measured; `work` is scratch on the file system of the models."""

    def __init__(self, arguments: argparse.Namespace, work: str) -> None:
        self.arguments = arguments
        self.work = work
        self.rows: list[tuple[str, str, str]] = []

    def add(self, work: str, result: str, goal: str) -> None:
        self.rows.append((work, result, goal))
        print(f"{work}: {result} (goal: {goal})", flush=True)

    def fresh(self, name: str) -> str:
        path = os.path.join(self.work, name)
        shutil.rmtree(path, ignore_errors=True)
        return path

    def migrate(self, source: str, *flags: str, name: str = "migrated") -> list[str]:
        dest = self.fresh(name)
        return [sys.executable, "-m", "migrate.cli.model", f"--source={source}", f"--dest={dest}", *flags]

    def naive(self, source: str, tags: str = "serve") -> list[str]:
        return [sys.executable, "-c", _NAIVE, source, self.fresh("naive"), tags]

    def in_turn(self, sides: dict[str, Callable[[], Run]]) -> dict[str, list[Run]]:
        found: dict[str, list[Run]] = {name: [] for name in sides}
        for _ in range(self.arguments.rounds):
            for name, side in sides.items():
                found[name].append(side())
        return found


def _ratio(found: dict[str, list[Run]], side: str, *others: str) -> str:
    """Of wall and of CPU time, in words."""
    pairs = list(zip(found[side], *(found[other] for other in others), strict=True))
    wall = statistics.median(one.seconds / sum(run.seconds for run in rest) for one, *rest in pairs)
    cpu = statistics.median(one.cpu / sum(run.cpu for run in rest) for one, *rest in pairs)
    return f"{wall:.2f}x (CPU {cpu:.2f}x)"


def _seconds(runs: list[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def measure_large(bench: Bench) -> None:
    """One large model, unverified and verified."""
    from benchmarks import cost_models

    source = cost_models.write_large(bench.fresh("large"), bench.arguments.megabytes)
    size = f"{bench.arguments.megabytes:g} MB model"

    def copy() -> Run:
        return Run(["cp", "-r", source, bench.fresh("copied")])

    found = bench.in_turn(
        {
            "import": lambda: Run(IMPORT),
            "cp": copy,
            "link": lambda: Run(bench.migrate(source, "--verify=none", "--weights=link")),
            "copy": lambda: Run(bench.migrate(source, "--verify=none")),
            "naive": lambda: Run(bench.naive(source)),
            "verified": lambda: Run(bench.migrate(source)),
            "inspect": lambda: Run([sys.executable, "-m", "migrate.cli.inspect", f"--source={source}"]),
        }
    )
    imported, extra = _seconds(found["import"]), max(run.tree for run in found["link"])
    base = max(run.tree for run in found["import"])
    bench.add(
        f"{size}, `--weights=link --verify=none`, beside `import tensorflow` ({imported:.1f} s)",
        f"{_ratio(found, 'link', 'import')}, {(extra - base) / 2**20:+.0f} MB",
        "1.3x, +80 MB",
    )
    bench.add(
        f"{size}, `--weights=copy --verify=none`, beside import + `cp` ({_seconds(found['cp']):.1f} s)",
        f"{_ratio(found, 'copy', 'import', 'cp')}, {(max(run.tree for run in found['copy']) - base) / 2**20:+.0f} MB",
        "1.15x, +80 MB",
    )
    bench.add(
        f"{size}, verified, beside naive load + save ({_seconds(found['naive']):.1f} s)",
        _ratio(found, "verified", "naive"),
        "1.5x",
    )
    inspected = found["inspect"]
    bench.add(
        f"`migrate-inspect` of the {size}",
        f"{_seconds(inspected):.2f} s, {max(run.tree for run in inspected) / 2**20:.0f} MB",
        "0.4 s, 60 MB",
    )


def measure_growth(bench: Bench) -> None:
    """Seconds beyond the import for two sizes of graph, as the exponent between them."""
    from benchmarks import cost_models

    for what, sizes, write in (
        ("nodes", bench.arguments.nodes, cost_models.write_deep),
        ("variables", bench.arguments.variables, cost_models.write_wide),
    ):
        sources = {size: write(bench.fresh(f"{what}_{size}"), size) for size in sizes}
        sides: dict[str, Callable[[], Run]] = {"import": lambda: Run(IMPORT)}
        for size, source in sources.items():
            sides[str(size)] = lambda source=source: Run(bench.migrate(source, "--verify=none"))
        found = bench.in_turn(sides)
        small, large = sizes[0], sizes[-1]
        base = _seconds(found["import"])
        costs = [max(_seconds(found[str(size)]) - base, 0.01) for size in (small, large)]
        exponent = math.log(costs[1] / costs[0]) / math.log(large / small)
        bench.add(
            f"{small:,} -> {large:,} {what}", f"{costs[0]:.1f} -> {costs[1]:.1f} s, exponent {exponent:.2f}", "1.1"
        )


def measure_zoo(bench: Bench) -> None:
    """A zoo of small modules, verified, beside a script that loads and saves one model in each process."""
    root = pathlib.Path(bench.fresh("zoo"))
    source = ROOT / "testdata" / "zoo" / "hub_dense_l2" / "model"
    for i in range(bench.arguments.models):
        shutil.copytree(source, root / f"model_{i}")

    def naive() -> Run:
        # What one process takes is what each takes: a sample of them is enough.
        return Run(bench.naive(str(source), ""), may_fail=True)

    def zoo() -> Run:
        dest = bench.fresh("zoo_out")
        return Run([sys.executable, "-m", "migrate.cli.zoo", f"--source={root}", f"--dest={dest}", "--jobs=2"])

    found = bench.in_turn({"naive": naive, "zoo": zoo})
    rates = [1 / _seconds(found["naive"]), bench.arguments.models / _seconds(found["zoo"])]
    bench.add(
        f"zoo of {bench.arguments.models} small modules, verified, beside naive load + save in a process each",
        f"{rates[1] / rates[0]:.1f}x as many a minute ({60 * rates[1]:.0f})",
        "8x",
    )


def measure_replicas(bench: Bench) -> None:
    """Famous modules at full size, and Estimator exports, verified."""
    for folder in _list_models(bench.arguments.replicas):
        found = bench.in_turn(
            {
                "naive": lambda folder=folder: Run(bench.naive(folder, ""), may_fail=True),
                "ours": lambda folder=folder: Run(bench.migrate(folder)),
            }
        )
        driver = max(run.own for run in found["ours"]) / 2**20
        cpu = statistics.median(run.cpu for run in found["ours"])
        bench.add(
            f"replica of {os.path.basename(folder)}, verified, beside one naive load + save",
            f"{_seconds(found['ours']):.0f} s ({cpu:.0f} s of CPU), {_ratio(found, 'ours', 'naive')}, "
            f"driver {driver:.0f} MB",
            "60 s, 4x, 200 MB",
        )
    for folder in _list_models(bench.arguments.exports):
        found = bench.in_turn({"ours": lambda folder=folder: Run(bench.migrate(folder))})
        bench.add(f"export {os.path.basename(folder)}, verified", f"{_seconds(found['ours']):.1f} s", "4 s")


def _list_models(folder: str) -> list[str]:
    if not folder:
        return []
    return [str(path) for path in sorted(pathlib.Path(folder).iterdir()) if path.is_dir()]


def measure_start(bench: Bench) -> None:
    """Any command until it prints its help."""
    found = bench.in_turn(
        {
            name: lambda name=name: Run([sys.executable, "-m", f"migrate.cli.{name}", "--help"], may_fail=True)
            for name in ("inspect", "model", "compare", "zoo")
        }
    )
    slowest = max(_seconds(runs) for runs in found.values())
    bench.add("start of a command until `--help`, the slowest", f"{slowest:.2f} s", "0.2 s")


ROWS = {
    "large": measure_large,
    "growth": measure_growth,
    "zoo": measure_zoo,
    "replicas": measure_replicas,
    "start": measure_start,
}


def render(rows: Sequence[tuple[str, str, str]]) -> str:
    lines = ["| work | measured | goal |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([_BEGIN, *lines, _END])


def write_readme(rows: Sequence[tuple[str, str, str]]) -> None:
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.S)
    README.write_text(pattern.sub(lambda _: render(rows), text), encoding="utf-8")


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def main(argv: Sequence[str] | None = None) -> list[tuple[str, str, str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=2048)
    parser.add_argument("--nodes", type=_sizes, default=(1_000, 100_000))
    parser.add_argument("--variables", type=_sizes, default=(500, 10_000))
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replicas", default="")
    parser.add_argument("--exports", default="")
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="cost-") as work:
        bench = Bench(arguments, work)
        for name in arguments.only.split(","):
            ROWS[name](bench)
    if arguments.write:
        write_readme(bench.rows)
    return bench.rows


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
