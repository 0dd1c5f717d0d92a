"""What scripts rely on: 2 where no comparison could be made, 1 for a difference only, and words that say what to do."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import migrate
from migrate import errors
from migrate.arrays import save_arrays

ROOT = pathlib.Path(__file__).resolve().parents[2]


def save(path, function, spec):
    module = tf.Module()
    module.f = tf.function(function, input_signature=spec, autograph=False)
    tf.saved_model.save(module, str(path), signatures={"f": module.f})
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """`old` doubles; `new` doubles; `off` is off; `other` asks for another input and gives another output."""
    folder = tmp_path_factory.mktemp("exit")
    x = tf.TensorSpec([None, 2], tf.float32, "x")
    for name, factor in (("old", 2.0), ("new", 2.0), ("off", 2.5)):
        save(folder / name, lambda x, factor=factor: {"y": x * factor}, [x])
    spec = [tf.TensorSpec([None, 3], tf.float32, "x"), tf.TensorSpec([], tf.float32, "scale")]
    save(folder / "other", lambda x, scale: {"z": x * scale}, spec)
    (folder / "empty").mkdir()
    (folder / "damaged").mkdir()
    (folder / "damaged" / "saved_model.pb").write_bytes(b"\xff" * 20)
    save(folder / "above" / "model", lambda x: {"y": x * 2.0}, [x])
    (folder / "above" / "notes.txt").write_text("the model lies in model/", encoding="utf-8")
    (folder / "generators.py").write_text(
        "def raises(key, inputs):\n    raise ZeroDivisionError('my own mistake')\n\n"
        "def late(key, inputs):\n    yield {'x': [[1.0, 2.0]]}\n    {}['absent']\n\n"
        "def loose(key, inputs):\n    return [[1.0, 2.0]]\n\nnumber = 3\n",
        encoding="utf-8",
    )
    (folder / "broken.py").write_text("def make(:\n", encoding="utf-8")
    (folder / "bad.npz").write_bytes(b"no archive")
    (folder / "bad.jsonl").write_text("{", encoding="utf-8")
    (folder / "tf_serving_warmup_requests").write_bytes(b"\x10\0\0\0\0\0\0\0\0\0\0\0" + b"\xff" * 20)
    (folder / "file").write_text("", encoding="utf-8")
    save_arrays(folder / "fit.npz", {"f|x": np.ones((1, 2), np.float32)})
    return folder


def run(folder, *flags):
    """Within a shell's process, from the models' folder."""
    command = [sys.executable, "-m", "migrate.cli.compare", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done


# What is wrong with the call, and words of the one line that says so. The first ones stop before TensorFlow is loaded.
USAGE = {
    "no model in the folder": (("old", "empty"), (), ("empty_directory cannot be compared",)),
    "no model, on the left": (("empty", "new"), (), ("empty_directory cannot be compared",)),
    "the folder above a model": (("old", "above"), (), ("did you mean", os.path.join("above", "model"))),
    "a damaged model": (("damaged", "new"), (), ("saved_model.pb",)),
    "unwritable report": (("old", "off"), ("--report=file/below/r.json",), ("--report", "cannot be written")),
    "report over the page": (("old", "off"), ("--report=r.html",), ("--report", "would replace")),
    "report over the inputs": (("old", "off"), ("--inputs=fit.npz", "--report=fit.npz"), ("would replace",)),
    "report is a folder": (("old", "off"), ("--report=empty",), ("is a folder",)),
    "no such inputs": (("old", "new"), ("--inputs=absent.npz",), ("there are no such inputs",)),
}
# Those that ask a process with TensorFlow.
FUNCTIONS = {
    "bad.npz": ("not an .npz archive",),
    "bad.jsonl": ("bad.jsonl:1", "no JSON"),
    "tf_serving_warmup_requests": ("tf_serving_warmup_requests",),
    "generators:raises": ("the function raised ZeroDivisionError: my own mistake (generators.py:2)", "'f'"),
    "generators:late": ("the function raised KeyError: 'absent' (generators.py:6)",),
    "generators:loose": ("the function gave list", "not a dict"),
    "generators:number": ("is no function",),
    "generators:absent": ("cannot be imported: AttributeError",),
    "broken:make": ("cannot be imported: SyntaxError",),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_call_exits_with_2(models, name):
    sides, flags, words = USAGE[name]
    done = run(models, f"--baseline={sides[0]}", f"--candidate={sides[1]}", *flags)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and all(word in line for word in words), done.stderr


@pytest.mark.parametrize("inputs", FUNCTIONS)
def test_inputs_that_cannot_be_fed_are_the_callers(models, inputs, monkeypatch):
    monkeypatch.chdir(models)
    with pytest.raises(errors.MigrateError) as failure:
        migrate.compare_models(models / "old", models / "new", migrate.CompareOptions(inputs=inputs))
    assert all(word in str(failure.value) for word in FUNCTIONS[inputs]), str(failure.value)
    assert "\n" not in str(failure.value).strip()


@pytest.mark.slow
def test_generator_that_raises_exits_with_2_and_a_difference_with_1(models):
    sides = ("--baseline=old", "--candidate=off")
    done = run(models, *sides, "--inputs=generators:raises")
    assert done.returncode == 2 and "error: generators:raises: the function raised ZeroDivisionError" in done.stderr
    done = run(models, *sides, "--inputs=fit.npz", "--report=made/r.json")
    assert done.returncode == 1 and (models / "made" / "r.json").is_file(), done.stderr


def test_report_is_tried_before_any_work(models):
    """The call is wrong in two ways: the one that costs nothing to find is told."""
    done = run(models, "--baseline=absent", "--candidate=absent", "--report=file/r.json")
    assert done.returncode == 2 and "--report" in done.stderr and "no such file or folder" not in done.stderr


def test_differences_of_the_interface_come_first_and_spare_the_calls(models):
    found = migrate.compare_models(models / "old", models / "other")
    assert found.verdict.value == "FAIL"
    assert {diff.level for diff in found.diffs} == {"interface"}
    assert "output" in found.failures[0] or "input" in found.failures[0]
    assert "(interface)" in found.failures[0]
    (line,) = found.not_compared
    assert "no call is made" in line and "shape of the input x: [?, 2] became [?, 3]" in line
    assert not [problem for problem in found.problems if "did not answer" in problem]


@pytest.mark.slow
def test_folder_called_migrate_is_no_toolkit(models):
    """A Django project has such a folder; the process that runs the models must not import it."""
    (models / "migrate").mkdir(exist_ok=True)
    (models / "migrate" / "__init__.py").write_text("raise SystemExit('not the toolkit')\n", encoding="utf-8")
    program = f"import sys; sys.path[0] = {str(ROOT)!r}; from migrate.cli import compare; compare.run()"
    command = [sys.executable, "-c", program, "--baseline=old", "--candidate=new", "--inputs=fit.npz"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=models, env=environment)
    assert done.returncode == 0 and "PASS" in done.stdout, done.stderr


def test_inspect_says_what_was_meant(models):
    assert f"did you mean {models / 'above' / 'model'}?" in migrate.inspect_model(models / "above").to_text()
