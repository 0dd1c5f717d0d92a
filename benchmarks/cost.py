"""What migrating costs beside what a user could run instead: processes in turn, as ratios.

    python benchmarks/cost.py [--megabytes=N,N] [--module=N,M] [--nodes=A,B,C] [--variables=A,B,C] [--models=N]
        [--rounds=N] [--replicas=DIR] [--exports=DIR] [--only=ROW,...] [--write]

Every side is a process of its own, from start to end; its memory is that of its whole tree (pages that several
processes share count once). Sides of a row run in turn, so that other load hits them alike; a ratio is the median over
rounds. Beside wall time stands the ratio of CPU time (user and system, of the whole tree), which other load changes
less, and which does not tell what ran at the same time. An exponent is that of what the two largest sizes cost beyond
the smallest. --replicas holds folders that testdata/generate/famous.py made, --exports Estimator exports; without them
their rows are left out. --write puts the rows into the table of benchmarks/README.md, missed goals included.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
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
# Of the time, sampling may take this share: the kernel walks through all pages of a process.
_SAMPLE_SHARE = 0.03
# With PYTHONDONTWRITEBYTECODE, Python sources would be compiled anew by each process.
_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONPATH": str(ROOT),
}
# Keras loads matplotlib where it is, as it is here for the docs: half a second that most users' scripts do not pay.
_BARE = "import sys\nsys.modules['matplotlib'] = None\n"
IMPORT = [sys.executable, "-c", f"{_BARE}import tensorflow"]
_NAIVE = _BARE + (
    "import tensorflow as tf\n"
    "m = tf.saved_model.load(sys.argv[1], tags=sys.argv[3].split(',') if sys.argv[3] else [])\n"
    "tf.saved_model.save(m, sys.argv[2], signatures=m.signatures)"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A measured value and what it must not exceed (`least`: fall below; None: told, with no goal)."""

    value: float
    form: str
    limit: float | None = None
    least: bool = False
    note: str = ""

    @property
    def is_met(self) -> bool:
        if self.limit is None:
            return True
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def measured(self) -> str:
        return self.form.format(self.value) + (f" ({self.note})" if self.note else "")

    @property
    def goal(self) -> str:
        return "" if self.limit is None else f"{'≥' if self.least else '≤'} {self.form.format(self.limit)}"


# What was worked on, and what it took.
Row = tuple[str, Sequence[Figure]]


class Run:
    """What a process took: wall seconds, CPU seconds of its tree, and peak bytes of its tree, of itself and of any one
    process of its tree. `failed`: it ended with an error, as only one that `may_fail` does here."""

    def __init__(self, command: Sequence[str], *, may_fail: bool = False) -> None:
        self.tree = self.own = self.most = 0
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
        self.failed = process.returncode != 0
        if self.failed and not may_fail:
            raise RuntimeError(f"{' '.join(map(str, command))}\n{output.decode(errors='replace')[-2000:]}")

    def _sample(self, root: int, done: threading.Event) -> None:
        pause = _SAMPLE_SECONDS
        while not done.wait(pause):
            started = time.perf_counter()
            sizes = {pid: _measure(pid) for pid in _list_tree(root)}
            self.tree = max(self.tree, sum(sizes.values()))
            self.own = max(self.own, sizes.get(root, 0))
            self.most = max(self.most, *sizes.values())
            pause = max(_SAMPLE_SECONDS, (time.perf_counter() - started) / _SAMPLE_SHARE)


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
        self.rows: list[Row] = []

    def add(self, work: str, *figures: Figure) -> None:
        self.rows.append((work, figures))
        print(" | ".join(_cells(self.rows[-1])), flush=True)

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


def _ratio(found: dict[str, list[Run]], limit: float, side: str, *others: str) -> Figure:
    """Of wall time; that of CPU time beside it."""
    pairs = list(zip(found[side], *(found[other] for other in others), strict=True))
    wall = statistics.median(one.seconds / sum(run.seconds for run in rest) for one, *rest in pairs)
    cpu = statistics.median(one.cpu / sum(run.cpu for run in rest) for one, *rest in pairs)
    return Figure(wall, "{:.2f}x", limit, note=f"CPU {cpu:.2f}x")


def _seconds(runs: list[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def _megabytes(runs: list[Run], kind: str = "tree") -> float:
    return max(getattr(run, kind) for run in runs) / 2**20


def measure_large(bench: Bench) -> None:
    """Large models, unverified and verified."""
    from benchmarks import cost_models

    for megabytes in bench.arguments.megabytes:
        source = cost_models.write_large(bench.fresh("large"), megabytes)
        _measure_large(bench, source, f"{megabytes:g} MB model")
        bench.fresh("large")


def _measure_large(bench: Bench, source: str, size: str) -> None:
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
    base = _megabytes(found["import"])
    bench.add(
        f"{size}, `--weights=link --verify=none`, beside `import tensorflow` ({_seconds(found['import']):.1f} s)",
        _ratio(found, 1.3, "link", "import"),
        Figure(_megabytes(found["link"]) - base, "{:+.0f} MB", 80),
    )
    bench.add(
        f"{size}, `--weights=copy --verify=none`, beside import + `cp` ({_seconds(found['cp']):.1f} s)",
        _ratio(found, 1.15, "copy", "import", "cp"),
        Figure(_megabytes(found["copy"]) - base, "{:+.0f} MB", 80),
    )
    bench.add(
        f"{size}, verified, beside naive load + save ({_seconds(found['naive']):.1f} s)",
        _ratio(found, 1.5, "verified", "naive"),
    )
    bench.add(
        f"`migrate-inspect` of the {size}",
        Figure(_seconds(found["inspect"]), "{:.2f} s", 0.4),
        Figure(_megabytes(found["inspect"]), "{:.0f} MB", 60),
    )


def measure_module(bench: Bench) -> None:
    """A module of two variants beside naive load and save of one; of both, what they cost beyond a tiny module: a
    migration loads less than `import tensorflow`, which would count in its favour."""
    from benchmarks import cost_models

    nodes, variables = bench.arguments.module
    source = cost_models.write_variants(bench.fresh("module"), nodes, variables)
    tiny = cost_models.write_variants(bench.fresh("tiny"), 10, 1)
    found = bench.in_turn(
        {
            "tiny, naive": lambda: Run(bench.naive(tiny, "")),
            "naive": lambda: Run(bench.naive(source, "")),
            "tiny, ours": lambda: Run(bench.migrate(tiny, "--verify=none")),
            "ours": lambda: Run(bench.migrate(source, "--verify=none")),
            # What cannot be left out: writing the result, and importing what was written.
            "least": lambda: Run(bench.naive(os.path.join(bench.work, "migrated"))),
        }
    )
    rounds = zip(*(found[name] for name in ("ours", "tiny, ours", "naive", "tiny, naive")), strict=True)
    ratios = [(ours.seconds - less.seconds) / (naive.seconds - least.seconds) for ours, less, naive, least in rounds]
    bench.add(
        f"module of {nodes:,} nodes, {variables:,} variables and two variants, beyond a tiny one, beside naive load "
        f"+ save of one variant ({_seconds(found['naive']) - _seconds(found['tiny, naive']):.1f} s)",
        Figure(statistics.median(ratios), "{:.2f}x", 0.5),
        Figure(
            (_seconds(found["least"]) - _seconds(found["tiny, naive"]))
            / (_seconds(found["naive"]) - _seconds(found["tiny, naive"])),
            "{:.2f}x of TensorFlow alone, to load and save the result",
        ),
    )


def measure_growth(bench: Bench) -> None:
    """Seconds for growing graphs, and the exponent by which they grow beyond those of the smallest.

    Not beyond `import tensorflow`: a migration loads less than that, so that what is left would be too little, and most
    of all for small graphs.
    """
    from benchmarks import cost_models

    for what, sizes, write in (
        ("nodes", bench.arguments.nodes, cost_models.write_deep),
        ("variables", bench.arguments.variables, cost_models.write_wide),
    ):
        sources = {size: write(bench.fresh(f"{what}_{size}"), size) for size in sizes}
        sides: dict[str, Callable[[], Run]] = {}
        for size, source in sources.items():
            sides[str(size)] = lambda source=source: Run(bench.migrate(source, "--verify=none"))
        found = bench.in_turn(sides)
        costs = [_seconds(found[str(size)]) for size in sizes]
        grown, growth = (max(cost - costs[0], 0.01) for cost in costs[-2:])
        exponent = math.log(growth / grown) / math.log((sizes[-1] - sizes[0]) / (sizes[-2] - sizes[0]))
        spelled = " -> ".join(f"{size:,}" for size in sizes)
        seconds = " -> ".join(f"{cost:.1f}" for cost in costs)
        bench.add(f"{spelled} {what}: {seconds} s", Figure(exponent, "exponent {:.2f}", 1.1))


def measure_zoo(bench: Bench) -> None:
    """A zoo of small modules, verified, beside a script that loads and saves one model in each process."""
    from benchmarks import cost_models

    root = bench.fresh("zoo")
    source = ROOT / "testdata" / "zoo" / "hub_dense_l2" / "model"
    cost_models.write_copies(str(source), root, bench.arguments.models)

    def naive() -> Run:
        # What one process takes is what each takes: a sample of them is enough.
        return Run(bench.naive(str(source), ""))

    def zoo() -> Run:
        dest = bench.fresh("zoo_out")
        return Run(
            [sys.executable, "-m", "migrate.cli.zoo", f"--source={root}", f"--dest={dest}", "--jobs=2"],
        )

    found = bench.in_turn({"naive": naive, "zoo": zoo})
    rates = [1 / _seconds(found["naive"]), bench.arguments.models / _seconds(found["zoo"])]
    bench.add(
        f"zoo of {bench.arguments.models} small modules, verified, beside naive load + save in a process each",
        Figure(rates[1] / rates[0], "{:.1f}x as many a minute", 8, least=True, note=f"{60 * rates[1]:.0f}"),
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
        cpu = statistics.median(run.cpu for run in found["ours"])
        fails = any(run.failed for run in found["naive"])
        bench.add(
            f"replica of {os.path.basename(folder)}, verified, beside one naive load + save"
            + (", which fails" if fails else ""),
            Figure(_seconds(found["ours"]), "{:.0f} s", 60, note=f"{cpu:.0f} s of CPU"),
            *(() if fails else (_ratio(found, 4, "ours", "naive"),)),
            Figure(_megabytes(found["ours"], "own"), "driver {:.0f} MB", 200),
            Figure(_megabytes(found["ours"], "most"), "any process {:,.0f} MB", 2048),
        )
    for folder in _list_models(bench.arguments.exports):
        found = bench.in_turn(
            {
                "ours": lambda folder=folder: Run(bench.migrate(folder)),
                # What cannot be left out: writing the result, and loading what was written.
                "least": lambda: Run(bench.naive(os.path.join(bench.work, "migrated"))),
            }
        )
        cpu = statistics.median(run.cpu for run in found["ours"])
        bench.add(
            f"export {os.path.basename(folder)}, verified",
            Figure(_seconds(found["ours"]), "{:.1f} s", 4, note=f"{cpu:.0f} s of CPU"),
            Figure(_seconds(found["least"]), "{:.1f} s of TensorFlow alone, to load and save the result"),
        )


def measure_inference(bench: Bench) -> None:
    """Calls of migrated recurrent modules beside the originals in a v1 session, all in this process."""
    from benchmarks import inference

    found = inference.measure_modules(**bench.arguments.inference)
    served = [module.served for module in found]
    longer = [module.called for module in found if module.milliseconds > 1]
    bench.add(
        f"inference of {len(found)} recurrent modules, served by a v1 session, beside the originals there",
        Figure(statistics.median(served), "median {:.2f}x", 1.0),
        Figure(max(served), "most {:.2f}x", 1.1),
    )
    if longer:
        bench.add(
            f"the same, called from Python, {len(longer)} modules that take over 1 ms",
            Figure(statistics.median(longer), "median {:.2f}x"),
            Figure(max(longer), "most {:.2f}x", 1.1),
        )


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
    bench.add("start of a command until `--help`, the slowest", Figure(slowest, "{:.2f} s", 0.2))


ROWS = {
    "large": measure_large,
    "module": measure_module,
    "growth": measure_growth,
    "zoo": measure_zoo,
    "replicas": measure_replicas,
    "inference": measure_inference,
    "start": measure_start,
}


def _cells(row: Row) -> tuple[str, str, str, str]:
    work, figures = row
    missed = [figure.form.format(figure.value) for figure in figures if not figure.is_met]
    goals = [figure.goal for figure in figures if figure.goal]
    measured = ", ".join(figure.measured for figure in figures)
    return work, measured, ", ".join(goals), f"**no**: {', '.join(missed)}" if missed else "yes"


def render(rows: Sequence[Row], known: Sequence[str] = ()) -> str:
    """The table: `known` lines of it, each in its place, but for those that were measured anew."""
    lines = {_find_subject(line): line for line in known}
    lines |= {_find_subject(line): line for line in (f"| {' | '.join(_cells(row))} |" for row in rows)}
    return "\n".join([_BEGIN, "| work | measured | goal | met |", "|---|---|---|---|", *lines.values(), _END])


def _find_subject(line: str) -> str:
    """What a line is of: its first cell without the seconds of the other side, or of each size, which are measured."""
    return re.sub(r" \([^)]*\)|: [\d.]+ -> [\d.> -]+ s", "", line.split("|")[1])


def write_readme(rows: Sequence[Row]) -> None:
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(_BEGIN)}\n(.*?){re.escape(_END)}", re.S)
    table = pattern.search(text)
    known = table.group(1).splitlines()[2:] if table else []
    README.write_text(pattern.sub(lambda _: render(rows, known), text), encoding="utf-8")


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _inference(text: str) -> dict[str, int]:
    return dict(zip(("rounds", "calls"), _sizes(text), strict=True))


def main(argv: Sequence[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=_sizes, default=(2048,))
    parser.add_argument("--module", type=_sizes, default=(10_000, 800), help="nodes of a variant, variables")
    parser.add_argument("--nodes", type=_sizes, default=(1_000, 10_000, 100_000))
    parser.add_argument("--variables", type=_sizes, default=(10, 5_000, 50_000))
    parser.add_argument("--inference", type=_inference, default="21,5", help="rounds, calls in a round")
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
