"""Mutates migrated models at random, one op, value or list entry each, and asks whether the comparison notices.

    python benchmarks/mutations.py --corpus=DIR [--migrated=DIR] [--count=500] [--seed=0] [--update]

Each mutant is compared with the original at level `training`. One that passes is either an equivalent, by one of the
reasons below that can be shown from the graph, or missed. Prints a line a mutant and the share caught of the rest;
`--update` writes `benchmarks/mutations.json`. Exits with 1 where the share caught is below 98 %.
"""

from __future__ import annotations

import collections
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from absl import app, flags

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import tensorflow as tf

import migrate
from tests.faults import planting

_CORPUS = flags.DEFINE_string("corpus", None, "Folder with the models.", required=True)
_MIGRATED = flags.DEFINE_string("migrated", "", "Keep the migrated models there, or find them there.")
_COUNT = flags.DEFINE_integer("count", 500, "Mutants.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the choice of mutants.")
_MODELS = flags.DEFINE_list("models", [], "Names of the models (default: all that pass).")
_UPDATE = flags.DEFINE_bool("update", False, "Write the table.")
_TABLE = os.path.join(os.path.dirname(__file__), "mutations.json")
_LEAST = 0.98

_LOOKALIKES = {
    "Relu": "Elu", "Tanh": "Sigmoid", "Sigmoid": "Tanh", "Softmax": "LogSoftmax", "AddV2": "Sub", "Add": "Sub",
    "Sub": "AddV2", "Mul": "AddV2", "RealDiv": "Mul", "Maximum": "Minimum", "Minimum": "Maximum", "Max": "Min",
    "Min": "Max", "Sum": "Mean", "Mean": "Sum", "Greater": "Less", "Less": "Greater", "GreaterEqual": "Less",
    "Equal": "NotEqual", "NotEqual": "Equal", "ArgMax": "ArgMin", "Sqrt": "Rsqrt", "Rsqrt": "Sqrt", "Exp": "Neg",
    "MaxPool": "AvgPool", "SparseSegmentMean": "SparseSegmentSum", "LogicalAnd": "LogicalOr",
}  # fmt: skip
_BOOLEANS = ("transpose_a", "transpose_b", "keep_dims", "exclusive", "reverse", "half_pixel_centers", "align_corners")
# Ops that only check, shape or place: what they are given does not reach a value.
_SILENT = ("Assert", "NoOp", "EnsureShape", "PreventGradient", "StopGradient", "Print", "CheckNumerics")
_SWAPPABLE = ("Sub", "RealDiv", "MatMul", "Pow", "FloorDiv", "FloorMod", "Less", "Greater", "Select", "ConcatV2")


def find_places(folder: str) -> list[tuple[str, str, str, Callable[[Any], Any]]]:
    """(kind, function, node, change) of all that can be mutated."""
    found: list[tuple[str, str, str, Callable[[Any], Any]]] = []
    with planting.edited(folder) as meta:
        for function in planting.functions_of(meta):
            for node in function.node_def:
                place = function.signature.name, node.name
                if node.op in _LOOKALIKES:
                    found.append(("op", *place, planting.set_op(_LOOKALIKES[node.op])))
                found.extend(("attribute", *place, planting.flip_attr(name)) for name in _BOOLEANS if name in node.attr)
                if "epsilon" in node.attr:
                    found.append(("attribute", *place, _change_epsilon))
                if node.op == "Const" and node.attr["dtype"].type in (1, 2) and _has_values(node):
                    found.append(("constant", *place, planting.scale_const(1.5)))
                if node.op in _SWAPPABLE and len([i for i in node.input if not i.startswith("^")]) >= 2:
                    found.append(("wiring", *place, planting.swap_inputs))
                if node.op == "Cast" and node.attr["DstT"].type == 1 and node.attr["SrcT"].type in (3, 9, 10):
                    found.append(("dtype", *place, _through_half))
    return found


def _has_values(node: Any) -> bool:
    return bool(tf.make_ndarray(node.attr["value"].tensor).size)


def _change_epsilon(node: Any) -> bool:
    node.attr["epsilon"].f = node.attr["epsilon"].f * 10 + 1e-2
    return True


def _through_half(node: Any) -> bool:
    node.attr["Truncate"].b = not node.attr["Truncate"].b
    return True


def mutate(folder: str, choice: random.Random) -> str:
    """Changes one thing; says what."""
    places = find_places(folder)
    kinds = collections.defaultdict(list)
    for place in places:
        kinds[place[0]].append(place)
    others = ["variable"] if os.path.exists(os.path.join(folder, "variables", "variables.index")) else []
    others += ["table"] if os.path.isdir(os.path.join(folder, "assets")) and os.listdir(f"{folder}/assets") else []
    kind = choice.choice([*sorted(kinds), *others, *(["list"] if others else [])])
    if kind == "variable":
        planting.change_variable(folder, _bump(choice.random()), position=choice.randrange(1000))
        return "variable: one element"
    if kind == "table":
        line = choice.randrange(10_000)
        planting.change_asset(folder, planting.misspell(line))
        return f"table: line {line}"
    if kind == "list":
        holder = choice.choice(["trainable_variables", "regularization_losses"])
        planting.drop_child(folder, holder, choice.randrange(1000))
        return f"list: {holder}"
    _, function, name, change = choice.choice(kinds[kind])
    with planting.edited(folder) as meta:
        for body in meta.graph_def.library.function:
            for node in body.node_def:
                old = node.op
                if body.signature.name == function and node.name == name and change(node) is not False:
                    planting.rename_results(body, node, old)
                    return f"{kind}: {old} {name}"
    raise planting.NothingPlanted(name)


def _bump(share: float) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        at = int(share * value.size)
        value.flat[at] += abs(value.flat[at]) * 0.5 + 0.1
        return value

    return change


def find_equivalence(folder: str, text: str) -> str:
    """Why a mutant that passes computes what the model does, "" where no reason is known."""
    kind, _, rest = text.partition(": ")
    name = rest.partition(" ")[2]
    with planting.edited(folder) as meta:
        for function in planting.functions_of(meta):
            nodes = {node.name: node for node in function.node_def}
            if kind in ("variable", "table", "list") or name not in nodes:
                continue
            used = _find_used(function, name)
            if not used:
                return "dead: no result needs it"
            if all(nodes[user].op in _SILENT for user in used if user in nodes):
                return "silent: only checks take it"
    return ""


def _find_used(function: Any, name: str) -> set[str]:
    found = {node.name for node in function.node_def if any(_node(text) == name for text in node.input)}
    return found | {key for key, text in function.ret.items() if _node(text) == name}


def _node(text: str) -> str:
    return text.lstrip("^").partition(":")[0]


def run(name: str, folder: str, scratch: str, choice: random.Random) -> dict[str, str]:
    mutant = os.path.join(scratch, "mutant")
    shutil.rmtree(mutant, ignore_errors=True)
    shutil.copytree(folder, mutant)
    try:
        text = mutate(mutant, choice)
    except planting.NothingPlanted as error:
        return {"model": name, "mutation": f"none: {error}", "result": "none"}
    options = migrate.CompareOptions(level="training", draws=40)
    try:
        found = migrate.compare_models(os.path.join(_CORPUS.value, name), mutant, options)
    except migrate.MigrateError as error:
        return {"model": name, "mutation": text, "result": f"not compared: {str(error)[:100]}"}
    if found.verdict.value == "FAIL":
        return {"model": name, "mutation": text, "result": "caught"}
    reason = find_equivalence(mutant, text)
    return {"model": name, "mutation": text, "result": f"equivalent: {reason}" if reason else "missed"}


def main(_: list[str]) -> int:
    choice = random.Random(_SEED.value)
    rows: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        kept = _MIGRATED.value or os.path.join(scratch, "migrated")
        if not os.path.isdir(kept):
            migrate.migrate_zoo(_CORPUS.value, kept, migrate.ZooOptions(jobs=2))
        folders = {os.path.relpath(here, kept): here for here, _, names in os.walk(kept) if "saved_model.pb" in names}
        chosen = {name: path for name, path in folders.items() if not _MODELS.value or name in _MODELS.value}
        while sum(row["result"] != "none" for row in rows) < _COUNT.value and len(rows) < 4 * _COUNT.value:
            name = choice.choice(sorted(chosen))
            row = run(name, chosen[name], scratch, choice)
            rows.append(row)
            print(f"{row['result']:12} {row['model']}  {row['mutation']}", flush=True)
    rows = [row for row in rows if row["result"] != "none"]
    counts = collections.Counter(row["result"].partition(":")[0] for row in rows)
    share = counts["caught"] / max(1, counts["caught"] + counts["missed"])
    print(f"{len(rows)} mutants: {dict(counts)}; {share:.1%} of those that are no equivalents caught")
    if _UPDATE.value:
        with open(_TABLE, "w", encoding="utf-8") as file:
            json.dump(
                {"seed": _SEED.value, "counts": counts, "share": round(share, 4), "mutants": rows}, file, indent=1
            )
            file.write("\n")
    return 0 if share >= _LEAST else 1


if __name__ == "__main__":
    app.run(main)
