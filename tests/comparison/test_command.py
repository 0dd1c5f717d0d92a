"""Every form of given inputs, end to end: from the file to the report, and from the report back by its command."""

import json
import pathlib
import shlex
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from migrate.arrays import load_arrays, make_bytes_array, save_arrays
from tests.inputs.test_forms import field

# What the given inputs hold multiples of, and made up ones do not: they look for thresholds, not for divisors.
RARE = 7919


def is_rare(x):
    return (tf.math.floormod(x, float(RARE)) == 0) & (x != 0)


class Model(tf.Module):
    """`double`: x [batch, 2] and word [batch]; `classify`: serialized Examples with a feature `n`."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.float32, "x"), tf.TensorSpec([None], tf.string, "word")],
        autograph=False,
    )
    def double(self, x, word):
        return {"y": x * 2 + tf.where(is_rare(x), self.fault, 0.0), "text": tf.strings.join([word, "!"])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")], autograph=False)
    def classify(self, examples):
        parsed = tf.io.parse_example(examples, {"n": tf.io.FixedLenFeature([1], tf.float32)})
        return {"score": parsed["n"] + tf.where(is_rare(parsed["n"]), self.fault, 0.0)}


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Two models that differ only at multiples of RARE: made up inputs do not show it, given ones do."""
    folder = tmp_path_factory.mktemp("command")
    for name, fault in (("old", 0.0), ("new", 70.0)):
        module = Model(fault)
        signatures = {"double": module.double, "classify": module.classify}
        tf.saved_model.save(module, str(folder / name), signatures=signatures)
    return [f"--baseline={folder / 'old'}", f"--candidate={folder / 'new'}"]


def make_example(number):
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[number]))
    return tf.train.Example(features=tf.train.Features(feature={"n": feature})).SerializeToString()


def write_records(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def write_lines(folder):
    lines = [
        {"signature_name": "double", "inputs": {"x": [[1, 2], [3, 4]], "word": ["a", {"b64": "/w=="}]}},
        {"signature_name": "double", "instances": [{"x": [RARE, 1], "word": "b"}]},
    ]
    path = folder / "inputs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def write_examples(folder):
    return write_records(folder / "examples.tfrecord", [make_example(1.0), make_example(5.0 * RARE)])


def write_warmup(folder):
    """As in a model's assets.extra (tensorflow_serving/apis/prediction_log.proto)."""
    spec = field(1, field(1, b"model") + field(3, b"double"))
    x, word = (tf.make_tensor_proto(v).SerializeToString() for v in (np.float32([[3 * RARE, 1]]), np.array([b"c"])))
    entries = [field(2, field(1, key) + field(2, value)) for key, value in ((b"x", x), (b"word", word))]
    predict = field(6, field(1, spec + b"".join(entries)))
    spec = field(1, field(1, b"model") + field(3, b"classify"))
    classify = field(2, field(1, spec + field(2, field(1, field(1, make_example(4.0 * RARE))))))
    return write_records(folder / "tf_serving_warmup_requests", [predict, classify])


def write_function(folder):
    (folder / "given_inputs.py").write_text(
        "def make(signature, inputs):\n"
        "    assert signature in ('double', 'classify') and inputs\n"
        "    if signature == 'double':\n"
        f"        yield {{'x': [[1.0, {6 * RARE}]], 'word': ['d']}}\n"
    )
    return "given_inputs:make"


def write_arrays(folder):
    path = folder / "inputs.npz"
    save_arrays(path, {"double|x": np.float32([[1, 7 * RARE]]), "double|word": make_bytes_array(["e"])})
    return path


# How inputs are written, and what the report says of each call.
FORMS = {
    "lines": (write_lines, {"serve/double/line_1": True, "serve/double/line_2": False}),
    "examples": (write_examples, {"serve/classify/examples_0": False}),
    "warmup": (write_warmup, {"serve/double/warmup_0": False, "serve/classify/warmup_1": False}),
    "function": (write_function, {"serve/double/0": False}),
    "arrays": (write_arrays, {"serve/double/given": False}),
}


@pytest.mark.parametrize("form", FORMS)
def test_given_inputs_reach_both_models(main, sides, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    write, expected = FORMS[form]
    report = tmp_path / "r.json"
    assert main(*sides, f"--inputs={write(tmp_path)}", f"--report={report}") == 1
    found = json.loads(report.read_text())
    verdicts = {}
    for diff in found["diffs"]:
        verdicts[diff["where"]] = verdicts.get(diff["where"], True) and diff["equal"]
    assert verdicts == expected
    # What was fed is kept, so that the command asks for the file no more.
    kept = tmp_path / "r.files" / "inputs.npz"
    assert f"--inputs={kept}" in shlex.split(found["reproduce"])
    (tmp_path / "given_inputs.py").unlink(missing_ok=True)
    assert main(*shlex.split(found["reproduce"])[1:], f"--report={tmp_path / 'again.json'}") == 1
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["diffs"] == found["diffs"]
    assert load_arrays(tmp_path / "again.files" / "inputs.npz").keys() == load_arrays(kept).keys()


def test_made_up_inputs_do_not_show_it(main, sides, capsys):
    """Or the tests above would prove nothing; and the command without --report says how to make them again."""
    assert main(*sides, "--seed=4", "--batch_sizes=2") == 0
    command = next(line for line in capsys.readouterr().out.splitlines() if "again: " in line)
    assert "--seed=4 --batch_sizes=2" in command


@pytest.mark.slow
def test_the_printed_command_in_a_shell(sides, tmp_path):
    """In a process of its own, from another folder: exit code, text, files."""
    inputs = write_examples(tmp_path)
    command = [sys.executable, "-m", "migrate.cli.compare", *sides, f"--inputs={inputs}", "--report=sub/r.json"]
    first = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert first.returncode == 1, first.stderr
    assert sorted(p.name for p in (tmp_path / "sub").iterdir()) == ["r.files", "r.html", "r.json", "r.xml"]
    line = next(line for line in first.stdout.splitlines() if "again: " in line).partition("again: ")[2]
    program = pathlib.Path(sys.executable).with_name("migrate-compare")
    again = subprocess.run(
        line.replace("migrate-compare", shlex.quote(str(program)), 1),
        shell=True, capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert again.returncode == 1, again.stderr
    failures = [[text for text in done.stdout.splitlines() if "FAIL serve" in text] for done in (first, again)]
    assert failures[0] and failures[0] == failures[1]
    assert "39595 became 39665" in failures[0][0]
