"""Killed at any moment, a migration leaves no destination or a complete one, and the source as it was."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.write.test_weights import digest_files, find_model, read_values

_SCRIPT = os.path.join(os.path.dirname(__file__), "killed.py")


def _start(source, dest, mode):
    command = [sys.executable, _SCRIPT, str(source), str(dest), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)


def _kill_at_random(tmp_path, mode, moments, seed):
    source, dest = tmp_path / "source", tmp_path / "out"
    shutil.copytree(find_model("estimator_linear_regressor"), source)
    before = digest_files(source)
    # How long it takes, and what becomes of it when nothing happens.
    process = _start(source, dest, mode)
    assert process.stdout.readline() == b"started\n"
    began = time.monotonic()
    process.communicate()
    seconds = time.monotonic() - began
    expected = {os.path.relpath(path, dest) for path in digest_files(dest)}
    values = {key: value.tolist() for key, (_, value) in read_values(dest).items()}
    shutil.rmtree(dest)
    rng, ended = random.Random(seed), {"none": 0, "complete": 0}
    for _ in range(moments):
        process = _start(source, dest, mode)
        process.stdout.readline()
        # The last tenth, in which files are written and put in place, gets half of the moments.
        part = rng.uniform(0.8, 1.1) if rng.random() < 0.5 else rng.uniform(0, 1)
        time.sleep(seconds * part)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        time.sleep(0.1)  # the fork server sees that its client has gone, and ends
        if not dest.exists():
            ended["none"] += 1
        else:
            ended["complete"] += 1
            assert {os.path.relpath(path, dest) for path in digest_files(dest)} == expected
            assert {key: value.tolist() for key, (_, value) in read_values(dest).items()} == values
            shutil.rmtree(dest)
        assert digest_files(source) == before
    return ended


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_killed_now_and_then(tmp_path, mode):
    _kill_at_random(tmp_path, mode, 1, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["copy", "link"])
def test_killed_at_any_of_200_moments(tmp_path, mode):
    ended = _kill_at_random(tmp_path, mode, 100, seed=2)
    assert ended["none"] and ended["complete"], ended
