"""Migrates a folder of real models and holds the result against the last accepted one.

    python benchmarks/corpus.py --corpus=DIR[,DIR...] [--every=N] [--accepted=benchmarks/corpus.json] [--update]
    python benchmarks/corpus.py --corpus=DIR --levels=benchmarks/levels.json [--models=NAME,NAME]

Prints one line a model and the totals. Exits with 1 when a model that passed no longer does, or when one failed,
crashed or timed out that the accepted table does not list so. The table holds models of all kinds, SavedModels, frozen
graphs and Keras files, each folder of which is a corpus; `--update` writes the rows of what was run. `--every=3` runs
each third model of each folder, by name.
`--levels` compares each migrated model with its original at the level "trajectory" instead: what each level could
compare, or why not.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from typing import Any

from absl import app, flags

import migrate
from migrate.outcome import Outcome
from migrate.zoo import discovery as zoo

_CORPUS = flags.DEFINE_list("corpus", None, "Folders with the models.", required=True)
_EVERY = flags.DEFINE_integer("every", 1, "Run each N-th model of a folder.", lower_bound=1)
_ACCEPTED = flags.DEFINE_string(
    "accepted", os.path.join(os.path.dirname(__file__), "corpus.json"), "Table of accepted results."
)
_UPDATE = flags.DEFINE_bool("update", False, "Write the table instead of checking against it.")
_JOBS = flags.DEFINE_integer("jobs", 2, "Models at a time.")
_DEST = flags.DEFINE_string("dest", "", "Keep the migrated models there (default: a temporary folder).")

_LEVELS = flags.DEFINE_string("levels", "", "JSON file for the verdict of each level and what stood in the way.")
_MODELS = flags.DEFINE_list("models", [], "With --levels: only these models.")

_DEEP = ("gradients", "trajectory")
_BAD = ("failed", "crashed", "timed_out", "regressed")


def describe(outcome: Outcome) -> dict[str, str]:
    """What the table keeps of a model: nothing that varies between machines."""
    verdict = outcome.verification.verdict.value if outcome.verification else ""
    return {"status": outcome.status.value, "verdict": verdict, "reason": _reason(outcome)}


def _reason(outcome: Outcome) -> str:
    text = outcome.error.replace(outcome.source, "<model>").replace(os.path.dirname(outcome.source), "<corpus>")
    return text[:300]


def find_regressions(accepted: dict[str, dict[str, str]], found: dict[str, dict[str, str]]) -> dict[str, str]:
    """Models that are worse than the table says, with what is worse."""
    worse = {}
    for name, new in found.items():
        old = accepted.get(name, {})
        if old.get("verdict") == "PASS" and new["verdict"] != "PASS":
            worse[name] = f"passed before, now {new['status']} {new['verdict']}: {new['reason']}"
        elif new["status"] in _BAD and old.get("status") != new["status"]:
            worse[name] = f"{new['status']}: {new['reason']}"
    return worse


def count_formats(outcomes: Iterable[Outcome]) -> dict[str, tuple[int, int]]:
    """How many of each format passed, of how many."""
    counts: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        passed, total = counts.get(outcome.format, (0, 0))
        counts[outcome.format] = passed + (describe(outcome)["verdict"] == "PASS"), total + 1
    return dict(sorted(counts.items()))


def find_models(roots: Iterable[str]) -> dict[str, str]:
    """Name (its path below its folder) -> path of all models that are asked for."""
    found = {}
    for root in map(os.path.abspath, roots):
        paths = sorted(os.path.abspath(entry.path) for entry in zoo.discover_models(root))
        own = {os.path.relpath(path, root): path for path in paths[:: _EVERY.value]}
        if twice := sorted(own.keys() & found):
            raise app.UsageError(f"{root}: another folder has a model of this name, too: {', '.join(twice)}")
        found |= own
    return found


def look_again(paths: Iterable[str]) -> dict[str, dict[str, str]]:
    """Migrates some models once more: what only comes out worse now and then is said to be unsteady."""
    with tempfile.TemporaryDirectory() as scratch:
        return {
            path: describe(migrate.migrate_model(path, os.path.join(scratch, str(number))))
            for number, path in enumerate(paths)
        }


def migrate_all(models: dict[str, str], dest: str, list_file: str) -> list[Outcome]:
    rows = [json.dumps({"source": path, "dest": name}) for name, path in models.items()]
    with open(list_file, "w", encoding="utf-8") as file:
        file.write("\n".join(rows))
    options = migrate.ZooOptions(jobs=_JOBS.value, migrate=migrate.MigrateOptions(overwrite=True))
    return list(migrate.migrate_zoo(list_file, dest, options).outcomes)


def compare_levels(models: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Verdict of each level, and the reasons of what was not compared, for each model that can be migrated."""
    found = {}
    options = migrate.CompareOptions(
        level="trajectory", batch_sizes=(1, 3), steps=2, limits=migrate.Limits(timeout=1800)
    )
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, source) in enumerate(models.items()):
            dest = os.path.join(scratch, str(number))
            outcome = migrate.migrate_model(source, dest, migrate.MigrateOptions(verify="none"))
            if outcome.status.value != "migrated":
                continue
            try:
                verification = migrate.compare_models(source, dest, options)
            except migrate.MigrateError as error:
                found[name] = {"levels": {}, "reasons": [str(error).replace(source, "<model>")[:300]]}
                continue
            finally:
                shutil.rmtree(dest, ignore_errors=True)
            reasons = [line for item in verification.coverage for line in item.missed if item.level in _DEEP]
            reasons += [line for line in verification.not_compared if "gradients" in line or "trajectory" in line]
            found[name] = {
                "levels": {level: verdict.value for level, verdict in verification.levels.items()},
                "reasons": [line.replace(source, "<model>")[:300] for line in dict.fromkeys(reasons)][:6],
            }
            print(f"{name}: {found[name]['levels']} {found[name]['reasons'][:2]}", flush=True)
    return found


def print_shares(found: dict[str, dict[str, Any]]) -> None:
    for level in _DEEP:
        verdicts = [row["levels"].get(level, "NOTHING_COMPARED") for row in found.values()]
        counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
        compared = len(verdicts) - counts.get("NOTHING_COMPARED", 0)
        print(f"{level}: {compared} of {len(verdicts)} can be compared; {counts}")


def main(_: list[str]) -> int:
    models = find_models(_CORPUS.value)
    if _LEVELS.value:
        found = compare_levels({name: models[name] for name in _MODELS.value or models})
        with open(_LEVELS.value, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1, sort_keys=True)
            file.write("\n")
        print_shares(found)
        return 0
    with open(_ACCEPTED.value, encoding="utf-8") as file:
        accepted = json.load(file)
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = migrate_all(models, _DEST.value or os.path.join(scratch, "out"), os.path.join(scratch, "zoo.jsonl"))
    by_path = {outcome.source: describe(outcome) for outcome in outcomes}
    found = {name: by_path[path] for name, path in models.items()}
    for name, row in found.items():
        print(f"{row['status']:12} {row['verdict']:17} {name}  {row['reason']}")
    for root in map(os.path.abspath, _CORPUS.value):
        rows = [row for path, row in by_path.items() if path.startswith(root + os.sep)]
        statuses = Counter(row["status"] for row in rows)
        passed = sum(row["verdict"] == "PASS" for row in rows)
        print(f"{os.path.basename(root)}: {len(rows)} models: {dict(sorted(statuses.items()))}; PASS {passed}")
    for kind, (passed, total) in count_formats(outcomes).items():
        print(f"  {kind}: PASS {passed} of {total}")
    if _UPDATE.value:
        with open(_ACCEPTED.value, "w", encoding="utf-8") as file:
            json.dump(accepted | found, file, indent=1, sort_keys=True)
            file.write("\n")
        return 0
    worse = find_regressions(accepted, found)
    again = look_again([models[name] for name in worse])
    steadily = find_regressions(accepted, {name: again[models[name]] for name in worse})
    for name, text in worse.items():
        print(f"{'worse' if name in steadily else 'unsteady'}: {name}: {text}")
    return 1 if steadily else 0


if __name__ == "__main__":
    app.run(main)
