"""TensorFlow takes seconds to import: what does not need it does not load it."""

import pathlib
import subprocess
import sys

import pytest

ZOO = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "zoo"
_CHECK = (
    "import sys; heavy = [m for m in ('tensorflow', 'keras', 'tf_keras') if m in sys.modules]; assert not heavy, heavy"
)


def _run(code):
    return subprocess.run([sys.executable, "-c", f"{code}\n{_CHECK}"], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "module",
    [
        "migrate", "migrate.errors", "migrate.wire", "migrate.model", "migrate.detect", "migrate.options",
        "migrate.outcome", "migrate.inspection", "migrate.isolation", "migrate.scan", "migrate.report", "migrate.zoo",
        "migrate.pipeline", "migrate.verify.judging.values", "migrate.arrays", "migrate.verify.pair",
        "migrate.write.staging", "migrate.rebuild.plan", "migrate.cli.program", "migrate.cli.inspect",
        "migrate.cli.model", "migrate.cli.zoo", "migrate.cli.serve",
        "migrate.sources", "migrate.publish.example", "migrate.checkpoint.tensors", "migrate.schema.ops",
        "migrate.readers.saved_model",
    ],
)  # fmt: skip
def test_module_is_light(module):
    done = _run(f"import {module}")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_check_can_fail():
    assert _run("import migrate.rebuild.module").returncode != 0


def test_public_names_are_lazy():
    """Every public name that the zoo's front needs comes without TensorFlow."""
    names = [
        "MigrateOptions",
        "ZooOptions",
        "migrate_model",
        "migrate_zoo",
        "inspect_model",
        "detect_format",
        "Outcome",
    ]
    done = _run(f"import migrate\nfor name in {names}: getattr(migrate, name)")
    assert done.returncode == 0, done.stderr


def test_inspecting_what_is_not_read_loads_nothing(tmp_path, catalogue):
    """A TF2 SavedModel, an empty folder and a file of another format are told from their bytes."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "m.tflite").write_bytes(b"\0\0\0\0TFL3")
    paths = [str(catalogue.path("hub_dense_l2")), str(tmp_path / "empty"), str(tmp_path / "m.tflite")]
    code = f"import migrate\nprint([migrate.inspect_model(p).format.value for p in {paths}])"
    done = _run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['tf2_saved_model', 'empty_directory', 'tflite']"


def test_migrating_keeps_the_caller_light(tmp_path):
    """`migrate_model` does its work in processes of its own."""
    source, dest = ZOO / "frozen_constants" / "model", tmp_path / "out"
    code = (
        "import migrate\n"
        f"outcome = migrate.migrate_model({str(source)!r}, {str(dest)!r}, migrate.MigrateOptions(verify='none'))\n"
        "assert outcome.status.value == 'migrated', outcome"
    )
    done = _run(code)
    assert done.returncode == 0, done.stderr
