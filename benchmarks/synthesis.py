"""How many signatures of real models run on synthesised inputs.

    python benchmarks/synthesis.py --corpus=DIR [--only=SUBSTRING] [--timeout=SECONDS] [--verbose]
                                   [--accepted=benchmarks/synthesis.json] [--update]

Every directory below DIR that holds a SavedModel is loaded in a TF1 session (one process for each model), and
every case of every signature is run. A signature runs when all of its cases do, but for the batch without rows, which
no model must take and which is counted apart. Where this TensorFlow lacks ops of a model, they are replaced as the
verification replaces them. What can run on no input at all is listed with the reason and not counted. Exits with 1
when a signature that ran by the accepted table no longer does; `--update` writes the table anew.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import app, flags

_CORPUS = flags.DEFINE_string("corpus", None, "Directory below which the models lie.", required=True)
_ONLY = flags.DEFINE_string("only", "", "Only models whose path contains this.")
_TIMEOUT = flags.DEFINE_float("timeout", 120, "Seconds for one model.")
_ACCEPTED = flags.DEFINE_string(
    "accepted", os.path.join(os.path.dirname(__file__), "synthesis.json"), "Table of accepted results."
)
_UPDATE = flags.DEFINE_bool("update", False, "Write the table instead of checking against it.")
_VERBOSE = flags.DEFINE_bool("verbose", False, "Also list what runs.")

# The graph itself, not its inputs: what no input can mend.
_NO_KERNEL = re.compile(
    r"No OpKernel was registered|Op type not registered|[Uu]ninitialized value|not yet been initialized|"
    r"Could not find variable|FailedPrecondition.*ables? not initialized|Table not initialized|"
    r"Container .* does not exist|does not exist in container"
)


_EMPTY = "batch_0"
# An output hangs on a placeholder that the signature does not feed: no input can run it.
_UNFED = re.compile(r"You must feed a value for placeholder tensor")


def find_models(root: str) -> Iterator[str]:
    for directory, _, files in sorted(os.walk(root)):
        if {"saved_model.pb", "saved_model.pbtxt"} & set(files):
            yield directory


def load_variant(session: Any, path: str, variant: Any) -> None:
    """TF1's loader; for MetaGraphs without SaverDef (hub modules) what hub.Module did."""
    import tensorflow as tf

    from migrate.readers import protos

    for meta_graph in protos.parse_saved_model(path).meta_graphs:
        if set(meta_graph.meta_info_def.tags) != set(variant.tags):
            continue
        if meta_graph.HasField("saver_def") or not os.path.isfile(os.path.join(path, "tfhub_module.pb")):
            tf.compat.v1.saved_model.loader.load(session, list(variant.tags), path)
        else:
            tf.compat.v1.train.import_meta_graph(meta_graph)
            values = tf.compat.v1.global_variables()
            if values:
                saver = tf.compat.v1.train.Saver(values, sharded=True)
                saver.restore(session, os.path.join(path, "variables", "variables"))
        if not variant.init_ops:  # Hub and Transform initialise the tables of the MetaGraphs that they load.
            tables = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS)
            session.run(tables, {asset.tensor: asset.path for asset in variant.assets})


def make_feed(signature: Any, inputs: Any) -> dict[str, Any]:
    from migrate.arrays import RaggedValue, SparseValue

    feed = {}
    for key, value in inputs.items():
        tensor = signature.inputs[key]
        if isinstance(value, SparseValue):
            parts = (value.values, value.indices, value.dense_shape)
        elif isinstance(value, RaggedValue):
            parts = (value.flat_values, *value.row_splits)
        else:
            parts = (value,)
        feed.update(zip(tensor.tensor_names, parts, strict=True))
    return feed


def run_model(path: str, results: Any) -> None:
    """Puts (variant, signature, case, error or "", remark) for each case; case "" speaks of all."""
    import tensorflow as tf

    from migrate import errors, readers

    tf.get_logger().setLevel("ERROR")
    try:
        model = readers.read_model(path)
    except errors.MigrateError as error:
        results.put(("", "", "", f"unreadable: {str(error).replace(path, '<model>')}", ""))
        return
    for variant in model.variants:
        config = tf.compat.v1.ConfigProto(allow_soft_placement=True)  # Some graphs name a GPU.
        with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
            try:
                load_variant(session, path, variant)
            except Exception as error:  # Whatever TensorFlow raises, the model is one that it cannot load as it is.
                run_replaced(model, variant, first_line(error), results)
                continue
            for signature in variant.signatures.values():
                run_signature(session, variant, signature, "", results)


def run_replaced(model: Any, variant: Any, reason: str, results: Any) -> None:
    """Runs the signatures of a variant with the ops replaced that TensorFlow lost."""
    from migrate.verify.runners.baseline import LoadedVariant

    for signature in variant.signatures.values():
        try:
            loaded = LoadedVariant(model, variant, [signature.key])
        except Exception as error:  # As above: the reason goes into the table.
            text = f"cannot be loaded: {reason}; with ops replaced: {first_line(error)}"
            results.put((variant.label, signature.key, "", text.replace(model.source.path, "<model>"), ""))
            continue
        with loaded.graph.as_default():
            run_signature(loaded.session, variant, signature, "ops replaced, ", results)
        loaded.close()


def run_signature(session: Any, variant: Any, signature: Any, remark: str, results: Any) -> None:
    from migrate.inputs.synthesis import synthesize_cases
    from migrate.options import BATCH_SIZES

    begin = time.monotonic()
    cases = synthesize_cases(variant, signature, batch_sizes=BATCH_SIZES)
    results.put((variant.label, signature.key, "", "", f"{remark}{time.monotonic() - begin:.2f}s"))
    for case in cases:
        results.put((variant.label, signature.key, case.name, *run_case(session, signature, case)))


def run_case(session: Any, signature: Any, case: Any) -> tuple[str, str]:
    fetches = sorted({name for tensor in signature.outputs.values() for name in tensor.tensor_names})
    try:
        outputs = session.run(fetches, make_feed(signature, case.inputs))
    except Exception as error:  # Whatever the graph raises on these inputs is the finding.
        return first_line(error), ""
    floats = [output for output in outputs if isinstance(output, np.ndarray | np.generic) and output.dtype.kind == "f"]
    remarks = ["NaN"] if any(np.isnan(output).any() for output in floats) else []
    if case.name.startswith("batch_") and case.name != "batch_1" and outputs and all(map(is_constant, outputs)):
        remarks.append("constant rows")
    return "", ",".join(remarks)


def is_constant(output: Any) -> bool:
    """Whether all rows of a batch are the same."""
    return np.ndim(output) > 0 and len(output) > 1 and all(np.array_equal(row, output[0]) for row in output)


def first_line(error: Exception) -> str:
    """The line that says what is wrong: TensorFlow wraps it into the Python stack of the graph's making."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for marker, skip in (("Original error:", 2), ("Node:", 1), ("Restoring from checkpoint failed", 0)):
        places = [i for i, line in enumerate(lines) if line.startswith(marker)]
        if places and places[-1] + skip < len(lines):
            lines = lines[places[-1] + skip :]
            break
    return f"{type(error).__name__}: {(lines or [''])[0][:300]}"


def run_isolated(path: str) -> list[tuple[str, ...]]:
    """`run_model` in a process of its own (forked: TensorFlow is imported, but has not run)."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=run_model, args=(path, queue))
    process.start()
    records, deadline = [], time.monotonic() + _TIMEOUT.value
    while process.is_alive() and time.monotonic() < deadline:
        while not queue.empty():
            records.append(queue.get())
        time.sleep(0.02)
    while not queue.empty():
        records.append(queue.get())
    if process.is_alive():
        process.kill()
        records.append(("", "", "", f"killed after {_TIMEOUT.value:.0f} s", ""))
    process.join()
    if process.exitcode not in (0, -9):
        records.append(("", "", "", f"ended with exit code {process.exitcode}", ""))
    return records


def judge_signature(cases: list[tuple[str, str, str]]) -> tuple[str, str]:
    """("run", "fail" or "cannot run", reason) of the (case, error, remark) of a signature."""
    errors = [f"{case}: {error}" if case else error for case, error, _ in cases if error and case != _EMPTY]
    if not errors:
        return "run", ""
    none = cases[0][1] or any(_NO_KERNEL.search(e) or _UNFED.search(e) for e in errors)
    return "cannot run" if none else "fail", errors[0]


def main(_: list[str]) -> int:
    import tensorflow as tf

    tf.compat.v1.disable_eager_execution()
    verdicts: dict[str, str] = {}
    reasons: dict[str, str] = {}
    empty = {True: 0, False: 0}
    for path in find_models(_CORPUS.value):
        if _ONLY.value not in path:
            continue
        model = os.path.relpath(path, _CORPUS.value)
        signatures: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
        for tags, key, case, error, remark in run_isolated(path):
            signatures.setdefault((tags, key), []).append((case, error, remark))
        for (tags, key), cases in signatures.items():
            name = f"{model} [{tags}] {key}"
            verdicts[name], reason = judge_signature(cases)
            if verdicts[name] != "run":
                reasons[name] = reason
            for case, error, _ in cases:
                if case == _EMPTY:
                    empty[not error] += 1
            remarks = [f"{case}: {remark}" for case, _, remark in cases if remark and case]
            if reason or remarks or _VERBOSE.value:
                print(f"{verdicts[name]:10} {name}: {reason or cases[0][2]} {'; '.join(remarks)}", flush=True)
    table = summarize(verdicts, reasons)
    print(f"\n{table['run']} of {table['signatures']} signatures run on synthesised inputs: {table['share']:.1%}")
    print(f"{len(table['cannot_run'])} can run on no input at all")
    print(f"{empty[True]} take a batch without rows, {empty[False]} do not")
    if _UPDATE.value:
        with open(_ACCEPTED.value, "w", encoding="utf-8") as file:
            json.dump(table, file, indent=1, sort_keys=True)
            file.write("\n")
        return 0
    with open(_ACCEPTED.value, encoding="utf-8") as file:
        accepted = json.load(file)
    known = set(accepted["fail"]) | set(accepted["cannot_run"])
    worse = [name for name, verdict in verdicts.items() if verdict != "run" and name not in known]
    for name in worse:
        print(f"worse: {name}: {reasons[name]}")
    return 1 if worse else 0


def summarize(verdicts: dict[str, str], reasons: dict[str, str]) -> dict[str, Any]:
    """The table: how many of the signatures that any input can run do run, and the rest with the reason."""
    counts = {verdict: sum(found == verdict for found in verdicts.values()) for verdict in ("run", "fail")}
    total = sum(counts.values())
    return {
        "signatures": total,
        "run": counts["run"],
        "share": round(counts["run"] / total, 4) if total else 0.0,
        "fail": {name: reason for name, reason in reasons.items() if verdicts[name] == "fail"},
        "cannot_run": {name: reason for name, reason in reasons.items() if verdicts[name] == "cannot run"},
    }


if __name__ == "__main__":
    app.run(main)
