"""The README's table of sources: each row has a command, and each, as it stands there, does what the row says."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests import source_kinds
from tests.readers.keras.pretrainer import build_pretrainer
from tests.sources.stores import serving_s3, upload

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
_COMMAND = re.compile(r"`((?:[A-Z_0-9]+=\S+ )?migrate-[^`]+)`")


def read_rows():
    """[(what a row is about, its commands)] of the table."""
    text = README.read_text(encoding="utf-8")
    table = text[text.index("| input | state |") :].partition("\n\n")[0]
    return [(row.split("|")[1].strip(), _COMMAND.findall(row)) for row in table.splitlines()[2:]]


COMMANDS = [command for _, commands in read_rows() for command in commands]


def test_every_row_has_a_command():
    rows = read_rows()
    assert len(rows) >= 20
    assert [name for name, commands in rows if not commands] == []


def write_models(folder):
    """What the rows name beside the kinds of sources."""
    models = folder / "models"
    source_kinds.write_kinds(models)
    source_kinds.write_code(models / "code.h5")
    build_pretrainer().save(models / "pretrainer.h5")
    (models / "m.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    (folder / "my_models.py").write_text(
        "import pathlib, tf_keras\n\ndef build():\n"
        "    config = pathlib.Path(__file__).parent / 'models' / 'm.json'\n"
        "    return tf_keras.models.model_from_json(config.read_text())\n"
    )


def test_every_source_is_there(tmp_path):
    """A command that names none of the models would fail for another reason than it should."""
    write_models(tmp_path)
    named = {place for command in COMMANDS for place in re.findall(r"--source=(models/\S+)", command)}
    assert sorted(place for place in named if not (tmp_path / place).exists()) == []


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    write_models(folder)
    with serving_s3("zoo"):
        upload(folder / "models" / "module", "s3://zoo/module")
        yield folder


def list_files(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[-60:])
def test_command(command, place, tmp_path):
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    before = list_files(place / "models")
    command = command.replace("--dest=", f"--dest={tmp_path}/")
    done = subprocess.run(
        ["bash", "-c", command], cwd=place, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list_files(place / "models") == before, "a source was written to"
    if "migrate-inspect" in command:
        assert "tflite" in done.stdout
    elif "--already_tf2" in command:
        assert list(tmp_path.rglob("keras_metadata.pb")), done.stdout
    else:
        assert ", PASS:" in done.stdout and list(tmp_path.rglob("saved_model.pb")), done.stdout
