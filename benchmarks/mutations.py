"""Mutates migrated models at random, one op, value or list entry each, and asks whether the comparison notices.

    python benchmarks/mutations.py --corpus=DIR [--count=500] [--seed=0] [--most=40] [--models=NAME,NAME]
                                   [--migrated=DIR] [--survivors=DIR] [--write]

Models are drawn by seed, migrated once, and compared unchanged first, which must pass; what has more than
`--nodes` nodes is left out and said so. Then each mutant is compared with the original at level `training`, and,
if it passes, at `gradients`. One that passes there too is either an equivalent, by a reason that its graph proves
(`equivalence.py`), or missed. Prints a line a mutant and the share caught of the rest; `--write` puts the table into
`benchmarks/README.md`. Exits with 1 where the share caught is below 98 % or an unchanged model does not pass.
"""

from __future__ import annotations

import collections
import os
import random
import shutil
import sys
import tempfile
import time

from absl import app, flags

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import migrate
from benchmarks import equivalence, mutants
from migrate.verdict import Verification
from migrate.zoo import discovery
from tests.faults import planting

_CORPUS = flags.DEFINE_string("corpus", None, "Folder with the models.", required=True)
_MIGRATED = flags.DEFINE_string("migrated", "", "Keep the migrated models there, or find them there.")
_COUNT = flags.DEFINE_integer("count", 500, "Mutants.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the choice of models and mutants.")
_MOST = flags.DEFINE_integer("most", 40, "Models, drawn by the seed.")
_MODELS = flags.DEFINE_list("models", [], "Names of the models, instead of drawing.")
_NODES = flags.DEFINE_integer("nodes", 1500, "A migrated model of more nodes is left out: it takes too long.")
_MINUTES = flags.DEFINE_float("minutes", 0, "No further mutants after so long, 0 for no limit.")
_SURVIVORS = flags.DEFINE_string("survivors", "", "Keep the mutants that were missed there.")
_WRITE = flags.DEFINE_bool("write", False, "Write the table into benchmarks/README.md.")
_README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")
_BEGIN, _END = "<!-- mutations: begin -->", "<!-- mutations: end -->"
_LEAST = 0.98
# A weight of zero hides what is done with it until it is differentiated: what passes at the first level gets the next.
_LEVELS = ("training", "gradients")

Row = tuple[str, mutants.Mutant, str, str]


def prepare(root: str, kept: str, choice: random.Random) -> tuple[dict[str, str], dict[str, str]]:
    """(model -> folder of its migration, model -> why it is left out)."""
    names = sorted(os.path.relpath(entry.path, root) for entry in discovery.discover_models(root))
    unknown = sorted(set(_MODELS.value) - set(names))
    if unknown:
        raise app.UsageError(f"no such model: {', '.join(unknown)}")
    names = _MODELS.value or choice.sample(names, len(names))
    nodes = _NODES.value
    chosen: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in names:
        if not _MODELS.value and len(chosen) >= _MOST.value:
            break
        source, folder = os.path.join(root, name), os.path.join(kept, name)
        if not os.path.isdir(folder):
            outcome = migrate.migrate_model(source, folder, migrate.MigrateOptions(verify="none"))
            if outcome.status.value != "migrated":
                left_out[name] = outcome.status.value
                continue
        if sum(len(function.node_def) for function in planting.read_meta(folder).graph_def.library.function) > nodes:
            left_out[name] = f"of more than {nodes} nodes"
            continue
        try:
            verdict = compare(source, folder, _LEVELS[0]).verdict.value
        except migrate.MigrateError as error:
            verdict = f"not compared: {str(error)[:100]}"
        if verdict != "PASS":
            left_out[name] = f"unchanged it does not pass: {verdict}"
        else:
            chosen[name] = folder
    return chosen, left_out


def compare(source: str, candidate: str, level: str) -> Verification:
    # A loop that no longer ends is told by the time it takes.
    options = migrate.CompareOptions(level=level, draws=40, limits=migrate.Limits(timeout=60))
    return migrate.compare_models(source, candidate, options)


def judge(source: str, folder: str, scratch: str, choice: random.Random) -> tuple[mutants.Mutant, str, str] | None:
    """(mutant, level that caught it or "equivalent" or "missed", first failure or reason); None where the choice fell
    on nothing."""
    changed = os.path.join(scratch, "mutant")
    shutil.rmtree(changed, ignore_errors=True)
    shutil.copytree(folder, changed)
    try:
        mutant = mutants.mutate(changed, choice)
    except planting.NothingPlanted:
        return None
    for level in _LEVELS:
        try:
            found = compare(source, changed, level)
        except migrate.MigrateError as error:
            return mutant, level, f"refused: {str(error)[:200]}"
        if found.verdict.value == "FAIL":
            return mutant, level, found.failures[0][:200] if found.failures else ""
    reason = equivalence.find_reason(folder, mutant)
    return mutant, "equivalent" if reason else "missed", reason


def run(root: str, chosen: dict[str, str], scratch: str, choice: random.Random) -> list[Row]:
    rows: list[Row] = []
    start = time.monotonic()
    for _ in range(4 * _COUNT.value):
        if len(rows) >= _COUNT.value or 0 < _MINUTES.value * 60 < time.monotonic() - start:
            break
        name = choice.choice(sorted(chosen))
        found = judge(os.path.join(root, name), chosen[name], scratch, choice)
        if found is None:
            continue
        rows.append((name, *found))
        print(f"{found[1]:11} {name}  {found[0]}  {found[2]}", flush=True)
        if found[1] == "missed" and _SURVIVORS.value:
            kept = os.path.join(_SURVIVORS.value, f"{len(rows)}")
            shutil.copytree(os.path.join(scratch, "mutant"), kept, dirs_exist_ok=True)
    return rows


def find_share(rows: list[Row]) -> float:
    counts = collections.Counter(result for _, _, result, _ in rows)
    caught = sum(counts[level] for level in _LEVELS)
    return caught / max(1, caught + counts["missed"])


def spell_table(rows: list[Row], chosen: dict[str, str], left_out: dict[str, str]) -> str:
    kinds = sorted({mutant.kind for _, mutant, _, _ in rows})
    lines = [
        f"`mutations.py --corpus=DIR --count={_COUNT.value} --seed={_SEED.value} --most={_MOST.value} --write`: "
        f"{len(rows)} mutants of {len(chosen)} models, {find_share(rows):.1%} caught of those that are no equivalents.",
        "",
        "| kind | mutants | caught at `training` | at `gradients` only | equivalent | missed |",
        "|---|---|---|---|---|---|",
    ]
    for kind in (*kinds, ""):
        counts = collections.Counter(result for _, mutant, result, _ in rows if kind in ("", mutant.kind))
        numbers = (sum(counts.values()), *(counts[result] for result in (*_LEVELS, "equivalent", "missed")))
        lines.append(f"| {kind or 'all'} | {' | '.join(map(str, numbers))} |")
    reasons = collections.Counter(why for _, _, result, why in rows if result == "equivalent")
    lines += ["", "Equivalents, by the reason that the graph proves:", "", "| reason | mutants |", "|---|---|"]
    lines += [f"| {reason} | {number} |" for reason, number in sorted(reasons.items())]
    missed = [f"- {name}: {mutant}" for name, mutant, result, _ in rows if result == "missed"]
    lines += ["", "Missed:" if missed else "Missed: none.", *([""] if missed else []), *missed]
    if left_out:
        reasons = collections.Counter(left_out.values())
        listed = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
        lines += ["", f"Drawn and left out: {listed}."]
    return "\n".join(lines)


def write_table(text: str) -> None:
    with open(_README, encoding="utf-8") as file:
        before, _, rest = file.read().partition(_BEGIN)
        after = rest.partition(_END)[2]
    with open(_README, "w", encoding="utf-8") as file:
        file.write(f"{before}{_BEGIN}\n{text}\n{_END}{after}")


def main(_: list[str]) -> int:
    choice = random.Random(_SEED.value)
    root = os.path.abspath(_CORPUS.value)
    with tempfile.TemporaryDirectory() as scratch:
        kept = _MIGRATED.value or os.path.join(scratch, "migrated")
        start = time.monotonic()
        chosen, left_out = prepare(root, kept, choice)
        for name, reason in left_out.items():
            print(f"left out    {name}  {reason}", flush=True)
        prepared = time.monotonic() - start
        rows = run(root, chosen, scratch, choice)
    seconds = time.monotonic() - start
    counts = collections.Counter(result for _, _, result, _ in rows)
    print(
        f"{len(rows)} mutants of {len(chosen)} models: {dict(counts)}; {find_share(rows):.1%} caught of those that are"
    )
    print(f"no equivalents; {seconds:.0f} s, {prepared:.0f} s of them for migrating and the unchanged models")
    if _WRITE.value:
        write_table(spell_table(rows, chosen, left_out))
    sound = not any("unchanged" in reason for reason in left_out.values())
    return 0 if sound and find_share(rows) >= _LEAST else 1


if __name__ == "__main__":
    app.run(main)
