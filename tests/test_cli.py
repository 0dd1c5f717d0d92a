"""The commands: thin, scriptable, with the exit codes of the design."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
ZOO = ROOT / "testdata" / "zoo"
COMMANDS = {
    "inspect": ["source", "format"],
    "model": ["source", "dest", "overwrite", "verify", "signature", "trainable", "partial", "op_library", "timeout"],
    "compare": ["baseline", "candidate", "inputs", "report"],
    "zoo": ["source", "dest", "jobs", "resume", "report_dir", "overwrite", "verify"],
}


def run(command, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"migrate.cli.{command}", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    """--help lists the flags of the design (absl prints it to stdout and exits with 0 or 1)."""
    done = run(command, "--help")
    assert done.returncode in (0, 1)
    for flag in COMMANDS[command]:
        assert f"--{flag}" in done.stdout or f"--[no]{flag}" in done.stdout, f"--{flag}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_and_unknown_flags(command):
    for arguments in ([], ["--no_such_flag=1"], ["stray"]):
        done = run(command, *arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert "error: " in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_console_script_is_declared(command):
    assert f'migrate-{command} = "migrate.cli.{command}:run"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_inspect_text():
    done = run("inspect", f"--source={ZOO / 'hub_image_batch_norm' / 'model'}")
    assert done.returncode == 0, done.stderr
    for text in (
        "tf1_hub_module", "TensorFlow 1.15.5", "'image_feature_vector'", "float32 [?, ", "trainable",
        "regularization_losses (3)", "update_ops (4)", "image_module_info",
    ):  # fmt: skip
        assert text in done.stdout, text


def test_inspect_json():
    done = run("inspect", f"--source={ZOO / 'saved_model_methods' / 'model'}", "--format=json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["format"] == "tf1_saved_model"
    (variant,) = record["variants"]
    assert variant["tags"] == ["serve"] and variant["missing_ops"] == []
    assert variant["signatures"]["regress"]["method"] == "tensorflow/serving/regress"
    assert variant["signatures"]["predict"]["inputs"]["x"]["dtype"] == "float32"
    assert variant["tables"] >= 1 and variant["variables"] >= 1 and variant["variable_bytes"] > 0


def test_inspect_names_ops_that_cannot_run():
    done = run("inspect", f"--source={ROOT / 'testdata' / 'blocked' / 'contrib_op' / 'model'}", "--format=json")
    assert done.returncode == 0, done.stderr
    (variant,) = json.loads(done.stdout)["variants"]
    assert variant["missing_ops"] and all(op["op"] and op["reason"] for op in variant["missing_ops"])


def test_inspect_missing_and_damaged(tmp_path):
    assert run("inspect", f"--source={tmp_path / 'nowhere'}").returncode == 2
    (tmp_path / "saved_model.pb").write_bytes(b"\xff")
    done = run("inspect", f"--source={tmp_path}")
    assert done.returncode == 1 and done.stderr.count("error: ") == 1


@pytest.mark.slow
def test_model_with_flagfile(tmp_path):
    """All flags may stand in a file; the choice of what trains reaches the record."""
    flagfile = tmp_path / "flags"
    flagfile.write_text(
        f"--source={ZOO / 'hub_dense_l2' / 'model'}\n--dest={tmp_path / 'out'}\n--verify=none\n--trainable=^top/\n",
        encoding="utf-8",
    )
    done = run("model", f"--flagfile={flagfile}")
    assert done.returncode == 0, done.stderr
    assert "migrated" in done.stdout and str(tmp_path / "out") in done.stdout
    record = json.loads((tmp_path / "out" / "assets.extra" / "migration.json").read_text(encoding="utf-8"))
    assert sorted(record["trainable_variables"]) == ["top/bias", "top/kernel"]
    assert record["options"]["trainable"] == "^top/"


@pytest.mark.slow
def test_model_overwrite(tmp_path):
    dest = tmp_path / "out"
    arguments = [f"--source={ZOO / 'frozen_constants' / 'model'}", f"--dest={dest}", "--verify=none"]
    assert run("model", *arguments).returncode == 0
    assert run("model", *arguments).returncode == 2
    (dest / "stale").write_text("x", encoding="utf-8")
    assert run("model", *arguments, "--overwrite").returncode == 0
    assert not (dest / "stale").exists()


def test_model_already_tf2(catalogue, tmp_path):
    done = run("model", f"--source={catalogue.path('frozen_constants')}", f"--dest={tmp_path / 'out'}")
    assert done.returncode == 0 and "already_tf2" in done.stdout
    assert not (tmp_path / "out").exists()


def test_blocked_model_exits_with_1(tmp_path):
    source = ROOT / "testdata" / "blocked" / "contrib_op" / "model"
    done = run("model", f"--source={source}", f"--dest={tmp_path / 'out'}")
    assert done.returncode == 1 and "blocked" in done.stdout
    assert "cannot run" in done.stderr
    assert not (tmp_path / "out").exists()


def test_zoo_exit_codes(tmp_path):
    assert run("zoo", f"--source={tmp_path / 'nowhere'}", f"--dest={tmp_path / 'out'}").returncode == 2
    (tmp_path / "zoo" / "bad").mkdir(parents=True)
    (tmp_path / "zoo" / "bad" / "saved_model.pb").write_bytes(b"")
    done = run("zoo", f"--source={tmp_path / 'zoo'}", f"--dest={tmp_path / 'out'}")
    assert done.returncode == 1
    assert "1 models: 1 " in done.stdout and "report.html" in done.stdout
