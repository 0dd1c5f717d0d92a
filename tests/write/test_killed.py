"""Killed at any moment, a migration leaves no destination or a complete one, and the source as it was."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.conftest import ROOT
from tests.write.test_weights import digest_files, find_model, read_values

SLUG = "estimator_linear_regressor"


def _kill(python, tmp_path, mode, moments):
    source = shutil.copytree(find_model(SLUG), tmp_path / "source")
    dest = tmp_path / "out" / "model"
    dest.parent.mkdir()
    command = [python, "-m", "tests.write.killed", source, dest, mode, moments, 1]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["copy", "link"])
def test_killed_now_and_then(python, tmp_path, mode):
    assert sum(_kill(python, tmp_path, mode, 4).values()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["copy", "link"])
def test_killed_at_any_of_200_moments(python, tmp_path, mode):
    ended = _kill(python, tmp_path, mode, 100)
    assert ended["none"] and ended["complete"], ended


def test_the_command_is_killed(python, tmp_path):
    """With all its processes: none of them goes on to write."""
    source, dest = find_model(SLUG), tmp_path / "out" / "model"
    dest.parent.mkdir()
    before = digest_files(source)
    command = [python, "-m", "migrate.cli.model", f"--source={source}", f"--dest={dest}", "--verify=none"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(name.endswith(".partial") for name in os.listdir(dest.parent)):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1)
    if dest.exists():
        assert read_values(dest)
    assert digest_files(source) == before
