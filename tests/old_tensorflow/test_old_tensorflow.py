"""The migrated sample zoo in older TensorFlows, against the recorded truth.

Needs environments that are made from the package index: OLD_TENSORFLOW_ENVIRONMENTS=FOLDER asks for it, and
OLD_TENSORFLOW_VERSIONS=2.4,2.15 chooses.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = os.environ.get("OLD_TENSORFLOW_ENVIRONMENTS", "")
VERSIONS = os.environ.get("OLD_TENSORFLOW_VERSIONS", "2.4,2.8,2.10,2.15").split(",")


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


old_tensorflow = _load(ROOT / "benchmarks" / "old_tensorflow.py")
# (first version that has it, models that use it): below it they fail, and `oldest_tensorflow` of the model says so.
NEED = {
    "2.6": {"functions_own_gradients", "hub_functions"},
    "2.10": {"tables_imported", "tables_mutable"},
    "2.15": {"saved_model_odd_keys"},
}
# TF 2.4's own While loses what a handle stands for, loaded or not.
BROKEN_THERE = {"2.4": {"hub_control_flow"}}


def order(version):
    return [int(part) for part in version.split(".")]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    dest = tmp_path_factory.mktemp("zoo")
    command = [sys.executable, "-m", "migrate.cli.zoo", f"--source={ROOT / 'testdata' / 'zoo'}", f"--dest={dest}"]
    subprocess.run([*command, "--jobs=2"], check=True, capture_output=True)
    return str(dest)


@pytest.mark.skipif(not FOLDER, reason="OLD_TENSORFLOW_ENVIRONMENTS names no folder")
@pytest.mark.parametrize("version", VERSIONS)
def test_models_load_and_compute_the_same(migrated, version):
    python = old_tensorflow.make_environment(pathlib.Path(FOLDER), version)
    assert python is not None, f"no Python {old_tensorflow.ENVIRONMENTS[version][0]} on this machine"
    found = old_tensorflow.check_zoo(python, migrated)
    assert len(found["models"]) > 60 and found["tensorflow"].startswith(f"{version}.")
    expected = set(BROKEN_THERE.get(version, ()))
    for first, slugs in NEED.items():
        expected |= slugs if order(version) < order(first) else set()
    failing = {slug for slug, model in found["models"].items() if any(model.values())}
    assert failing == expected, old_tensorflow.list_failures(found)
