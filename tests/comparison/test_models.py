"""compare_models over real models: levels, recordings, crashes, bisection, the command."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorflow as tf

import migrate
from migrate import errors
from migrate.arrays import load_arrays, save_arrays
from migrate.comparison import benchmark, bisection
from migrate.verdict import OutputDiff

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"
MODEL = ZOO / "hub_image_batch_norm"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("migrated") / "model"
    outcome = migrate.migrate_model(MODEL / "model", folder, migrate.MigrateOptions(verify="none"))
    assert outcome.status.value == "migrated", outcome.error
    return folder


def run_command(*flags):
    command = [sys.executable, "-m", "migrate.cli.compare", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rewrite(folder, change):
    """A copy's checkpoint with `change(key, value)` in place of each float value."""
    prefix = str(folder / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    dtypes = reader.get_variable_to_dtype_map()
    values = {key: reader.get_tensor(key) for key in sorted(dtypes)}
    values = {k: change(k, v) if dtypes[k] == tf.float32 else v for k, v in values.items()}
    tensors = [tf.constant(value, dtypes[key]) for key, value in values.items()]
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=tensors)


def test_all_levels_of_a_migrated_hub_module(migrated):
    found = migrate.compare_models(MODEL / "model", migrated, migrate.CompareOptions(level="gradients"))
    assert found.verdict.value == "PASS", found.failures
    by_level = {diff.level for diff in found.diffs}
    assert by_level == {"inference", "training", "gradients"}
    assert any(diff.where == "update" for diff in found.diffs), "moving averages were not compared"
    assert any(" / d input " in d.output for d in found.diffs) and any("kernel" in d.output for d in found.diffs)
    assert any(item["image"] for item in found.inputs), "an image is shown as numbers"


def test_recorded_truth_of_tf1_and_one_wrong_weight(migrated, tmp_path):
    inputs = str(MODEL / "inputs.npz")
    options = migrate.CompareOptions(level="training", inputs=inputs, save_to=str(tmp_path / "kept"))
    good = migrate.compare_models(MODEL / "outputs.npz", migrated, options)
    assert good.verdict.value == "PASS", good.failures
    broken = tmp_path / "broken"
    shutil.copytree(migrated, broken)
    rewrite(broken, lambda key, value: value * np.float32(1.001) if value.ndim == 4 else value)
    bad = migrate.compare_models(MODEL / "outputs.npz", broken, options)
    assert bad.verdict.value == "FAIL"
    assert "elements differ" in bad.failures[0]
    # The kept answers are a recording themselves.
    again = migrate.compare_models(tmp_path / "kept" / "candidate.npz", broken, options)
    assert again.is_bit_identical


def test_recordings_need_no_model(tmp_path):
    save_arrays(tmp_path / "old.npz", {"f|y": np.arange(3)})
    save_arrays(tmp_path / "new.npz", {"f|y": np.array([0, 1, 3])})
    found = migrate.compare_models(tmp_path / "old.npz", tmp_path / "new.npz")
    assert "first at [2]: 2 became 3" in found.failures[0]


class Chain(tf.Module):
    """x -> scaled -> rooted -> summed; `fault` replaces the middle of three named ops."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)], autograph=False)
    def call(self, x):
        scaled = tf.multiply(tf.abs(x) + 1, 3.0, name="scaled")
        rooted = tf.sqrt(scaled, name="rooted") if not self.fault else tf.math.rsqrt(scaled, name="rooted")
        return {"y": tf.reduce_sum(rooted, 1, name="summed"), "other": tf.negative(scaled, name="negated")}


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chains")
    for name, fault in (("old", False), ("new", True)):
        module = Chain(fault)
        tf.saved_model.save(module, str(folder / name), signatures={"f": module.call})
    return folder


def test_command_bisects_and_reports(main, chains, tmp_path, capsys):
    report = tmp_path / "r" / "report.json"
    code = main(f"--baseline={chains / 'old'}", f"--candidate={chains / 'new'}", "--bisect", f"--report={report}")
    printed = capsys.readouterr().out
    assert code == 1
    assert "departs at Sqrt 'rooted'" in printed
    record = json.loads(report.read_text())
    assert record["verdict"] == "FAIL" and record["schema_version"] == 4
    assert {item["output"]: item["node"] for item in record["bisection"]} == {"y": "rooted"}
    suite = ElementTree.parse(report.with_suffix(".xml")).getroot()
    assert int(suite.get("failures")) == sum(not diff["equal"] for diff in record["diffs"]) > 0
    assert "<svg" in report.with_suffix(".html").read_text()
    # The command that the report prints makes the same comparison from the kept inputs.
    name, *again = shlex.split(record["reproduce"])
    assert name == "migrate-compare" and any(flag.endswith("inputs.npz") for flag in again)
    kept = load_arrays(tmp_path / "r" / "report.files" / "inputs.npz")
    assert all(key.startswith("serve|") for key in kept)
    assert main(*(flag for flag in again if flag != "--bisect")) == 1
    failures = [line for line in printed.splitlines() if "FAIL serve" in line]
    assert failures and failures == [line for line in capsys.readouterr().out.splitlines() if "FAIL serve" in line]


@pytest.mark.slow
def test_benchmark(chains):
    found = migrate.compare_models(chains / "old", chains / "old", migrate.CompareOptions(benchmark=True)).benchmark
    assert found["ratio_low"] <= found["ratio"] <= found["ratio_high"] or found["rounds"] > 1
    assert found["baseline"]["peak_rss_bytes"] > 0 and found["candidate"]["median_seconds"] > 0
    assert "times the baseline's time" in found["message"]


def test_benchmark_summary():
    found = benchmark.summarize_rounds("c", [[1.0, 2.0, 3.0], [2.0, 2.0, 9.0]], [100, 150])
    assert (found["ratio"], found["ratio_low"], found["ratio_high"]) == (1.0, 1.0, 3.0)
    assert "1.50 times its peak memory" in found["message"]


def test_command_tolerates_one_output(main, chains, tmp_path, capsys):
    sides = [f"--baseline={chains / 'old'}", f"--candidate={chains / 'new'}"]
    assert main(*sides, "--tolerance=f/y=0,1000") == 0
    assert "equal within tolerance, not bit-identical" in capsys.readouterr().out
    (tmp_path / "t.json").write_text('{"y": [0, 1000]}')
    assert main(*sides, f"--tolerances={tmp_path / 't.json'}", "--signatures=f") == 0
    with pytest.raises(errors.UsageError, match="no output 'z'"):
        main(*sides, "--tolerance=z=0,100")
    for wrong in ("--tolerance=y", "--tolerance=y=1", "--tolerance=y=a,b", "--tolerances=absent.json"):
        with pytest.raises(errors.UsageError):
            main(*sides, wrong)


def test_tolerances_beside_a_model(main, chains, tmp_path, capsys):
    for side in ("old", "new"):
        shutil.copytree(chains / side, tmp_path / side)
    sides = [f"--baseline={tmp_path / 'old'}", f"--candidate={tmp_path / 'new'}"]
    (tmp_path / "new" / "migrate_tolerances.json").write_text('{"f/*": [0, 1e9]}')
    assert main(*sides) == 1, "what is judged does not say how strictly"
    assert "held to what the baseline and the command allow" in capsys.readouterr().out
    sides.append("--trust_candidate_tolerances")
    assert main(*sides, f"--report={tmp_path / 'r.json'}") == 0
    assert "tolerance of f/*: 0 relative + 1e+09 absolute" in capsys.readouterr().out
    (stated,) = json.loads((tmp_path / "r.json").read_text())["tolerances"]
    assert stated["source"] == str(tmp_path / "new" / "migrate_tolerances.json")
    assert "Tolerances of single outputs" in (tmp_path / "r.html").read_text()
    # The baseline's comes first, the command line before both, and --atol speaks for all outputs.
    (tmp_path / "old" / "migrate_tolerances.json").write_text('{"y": {"ulp": 1}}')
    assert main(*sides) == 1
    assert main(*sides, "--tolerance=y=0,1e9") == 0
    assert main(*sides, "--tolerance=y=0,1e9", "--atol=1e-7", "--signatures=f") == 0
    assert main(*sides, "--atol=1e-7") == 1 and main(*sides, "--notolerance_files") == 1
    (tmp_path / "old" / "migrate_tolerances.json").write_text('{"z": [0, 1]}')
    with pytest.raises(errors.UsageError, match=r"migrate_tolerances\.json: no output 'z'"):
        main(*sides)
    (tmp_path / "old" / "migrate_tolerances.json").write_text('{"y": [0]}')
    with pytest.raises(errors.CorruptModelError, match="is no tolerance"):
        main(*sides)


class Picky(tf.Module):
    """x -> x + 1; one that is picky takes no batch without rows."""

    def __init__(self, picky):
        super().__init__()
        self.picky = picky

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)], autograph=False)
    def call(self, x):
        guards = [tf.debugging.assert_positive(tf.shape(x)[0])] if self.picky else []
        with tf.control_dependencies(guards):
            return {"y": x + 1}


def test_batches_without_rows_where_the_baseline_takes_them(tmp_path):
    for name in ("picky", "open"):
        module = Picky(name == "picky")
        tf.saved_model.save(module, str(tmp_path / name), signatures={"f": module.call})
    found = migrate.compare_models(tmp_path / "picky", tmp_path / "open")
    assert found.verdict.value == "PASS" and not found.not_compared
    found = migrate.compare_models(tmp_path / "open", tmp_path / "open", migrate.CompareOptions(nonfinite=True))
    assert {"serve/f/batch_0", "serve/f/nonfinite"} < {diff.where for diff in found.diffs}
    found = migrate.compare_models(tmp_path / "open", tmp_path / "picky")
    assert found.verdict.value == "FAIL" and "serve/f/batch_0" in found.failures[0]
    with pytest.raises(errors.UsageError, match="batch sizes"):
        migrate.CompareOptions(batch_sizes=(1, 1))


@pytest.mark.parametrize("kind", ["file", pytest.param("constants", marks=pytest.mark.slow)])
def test_stale_vocabulary_of_a_tf2_model(tmp_path, kind):
    """Only words of the model's own table show it: none that anyone would make up."""

    def save(name, words):
        module = tf.Module()
        if kind == "file":
            (tmp_path / "words.txt").write_text("\n".join(words))
            lines = tf.lookup.TextFileIndex
            initializer = tf.lookup.TextFileInitializer(
                str(tmp_path / "words.txt"), tf.string, lines.WHOLE_LINE, tf.int64, lines.LINE_NUMBER
            )
        else:
            initializer = tf.lookup.KeyValueTensorInitializer(words, tf.range(len(words), dtype=tf.int64))
        module.table = tf.lookup.StaticHashTable(initializer, -1)
        spec = tf.TensorSpec([None], tf.string)
        call = tf.function(lambda x: {"ids": module.table.lookup(x)}, input_signature=[spec])
        tf.saved_model.save(module, str(tmp_path / name), signatures=call.get_concrete_function())
        return tmp_path / name

    old, same, stale = (
        save(name, words) for name, words in (("old", ["qat", "xu"]), ("same", ["qat", "xu"]), ("stale", ["qat", "xv"]))
    )
    assert migrate.compare_models(old, same).verdict.value == "PASS"
    found = migrate.compare_models(old, stale)
    assert found.verdict.value == "FAIL" and "1 became -1" in " ".join(found.failures)


def test_usage(chains, tmp_path):
    assert run_command("--baseline=x").returncode == 2
    for options in (
        {"baseline": tmp_path / "absent", "candidate": chains / "new"},
        {"baseline": chains / "old", "candidate": tmp_path / "absent"},
    ):
        with pytest.raises(errors.UsageError):
            migrate.compare_models(**options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.UnknownFormatError, match="cannot be compared"):
        migrate.compare_models(chains / "old", tmp_path / "empty")
    with pytest.raises(errors.UsageError, match="no signature absent"):
        migrate.compare_models(chains / "old", chains / "new", migrate.CompareOptions(signatures=("absent",)))
    with pytest.raises(errors.UsageError, match="level"):
        migrate.CompareOptions(level="deep")


def test_interface_level_runs_nothing(chains, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(chains / "new", copy)
    shutil.rmtree(copy / "variables")  # what cannot be loaded has an interface all the same
    found = migrate.compare_models(chains / "old", copy, migrate.CompareOptions(level="interface"))
    assert found.verdict.value == "PASS" and found.outputs_compared == 0


def test_candidate_that_does_not_load_is_a_result(chains, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(chains / "old", copy)
    os.remove(copy / "variables" / "variables.index")
    found = migrate.compare_models(chains / "old", copy)
    assert found.verdict.value == "FAIL" and "does not load" in found.failures[0]


@pytest.mark.slow
def test_candidate_that_hangs_is_a_result(chains, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "x")], autograph=False)
    def turn(x):
        return {"y": tf.while_loop(lambda y: y[0, 0] < np.inf, lambda y: (0.5 * y,), (x,))[0][:, 0]}

    module = tf.Module()
    module.call = turn
    tf.saved_model.save(module, str(tmp_path / "endless"), signatures={"f": turn})
    options = migrate.CompareOptions(limits=migrate.Limits(timeout=3))
    with pytest.raises(migrate.MigrateError, match="did not finish"):  # here it is the baseline that hangs
        migrate.compare_models(tmp_path / "endless", chains / "new", options)
    save_arrays(tmp_path / "recorded.npz", {"given|f|y": np.ones(1, np.float32)})
    save_arrays(tmp_path / "in.npz", {"given|f|x": np.ones((1, 4), np.float32)})
    options = migrate.CompareOptions(limits=options.limits, inputs=str(tmp_path / "in.npz"))
    found = migrate.compare_models(tmp_path / "recorded.npz", tmp_path / "endless", options)
    assert found.verdict.value == "FAIL" and "did not finish" in found.failures[0]


def inside(**values):
    nodes = tuple((name, "Op") for name in values)
    return bisection.Intermediates(nodes=nodes, values={k: np.asarray(v) for k, v in values.items()}, needed={})


def test_bisection_picks_the_first_in_order():
    diff = OutputDiff(where="serve/f/0", route="", output="y", equal=False)
    options = migrate.CompareOptions()
    found = bisection.find_departure(diff, inside(a=1, b=2, c=3), inside(c=9, b=8, a=1), options)
    assert found["node"] == "b" and found["compared"] == 2 and "1 tensors before it agree" in found["message"]
    same = bisection.find_departure(diff, inside(a=1), inside(a=1), options)
    assert same["node"] == "" and "departs after" in same["message"]
    none = bisection.find_departure(diff, inside(a=1), inside(z=1), options)
    assert none["node"] == "" and "has the same name" in none["message"]
