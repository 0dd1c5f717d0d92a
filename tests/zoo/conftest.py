"""Small zoos."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"


def copy_model(slug, target):
    shutil.copytree(ZOO / slug / "model", target)
    return target


def make_different(model, text):
    """A model with the same values and other bytes: it is nobody's duplicate."""
    (model / "assets.extra").mkdir(exist_ok=True)
    (model / "assets.extra" / "note").write_text(text, encoding="utf-8")
    return model


@pytest.fixture
def small(tmp_path):
    """Three models that are migrated in a moment."""
    root = tmp_path / "zoo"
    for slug in ("frozen_constants", "hub_dense_l2", "saved_model_pbtxt"):
        copy_model(slug, root / slug)
    return root


@pytest.fixture
def run_command():
    """Runs a command of the toolkit: `run_command("zoo", "--source=...")`."""

    def run(name, *arguments):
        command = [sys.executable, "-m", f"migrate.cli.{name}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run
