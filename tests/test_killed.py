"""`migrate-model` killed at random moments: the destination is whole or not there, the source is as it was."""

import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

ZOO = pathlib.Path(__file__).resolve().parents[1] / "testdata" / "zoo"
# What two migrations of one model do not share: a random number.
_RANDOM = "fingerprint.pb"


def _digest(folder):
    """Relative path -> digest of every file, None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
    }


def _start(source, dest, temp, weights):
    command = [
        sys.executable, "-m", "migrate.cli.model", f"--source={source}", f"--dest={dest}", "--verify=none",
        f"--weights={weights}",
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(temp)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _find_processes(temp):
    """All processes of a migration know its folder for temporary files."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={temp}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _await_none(temp, seconds=60):
    deadline = time.monotonic() + seconds
    while found := _find_processes(temp):
        assert time.monotonic() < deadline, f"still running: {found}"
        time.sleep(0.02)


def _is_staging(parent):
    return any(path.name.endswith(".partial") for path in parent.iterdir())


@pytest.mark.parametrize(
    ("kills", "weights"),
    [
        pytest.param(1, "copy", id="one-copy", marks=pytest.mark.slow),
        pytest.param(200, "copy", id="many-copy", marks=pytest.mark.slow),
        pytest.param(200, "link", id="many-link", marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments(tmp_path, weights, kills):
    """Half of the moments are spread over the whole call, half over the time in which something is written."""
    source, out, temp = tmp_path / "model", tmp_path / "out", tmp_path / "temp"
    shutil.copytree(ZOO / "hub_dense_l2" / "model", source)
    out.mkdir()
    temp.mkdir()
    untouched = _digest(source)
    started = time.monotonic()
    dest = out / "model"
    process = _start(source, dest, temp, weights)
    while process.poll() is None and not _is_staging(out):
        time.sleep(0.002)
    staged = time.monotonic()
    while process.poll() is None and _is_staging(out):
        time.sleep(0.002)
    writing = time.monotonic() - staged
    assert process.wait(timeout=300) == 0, process.stderr.read()
    whole_span = time.monotonic() - started
    whole = _digest(dest)
    shutil.rmtree(dest)
    chance = random.Random(kills)
    killed = complete = partly = begun = 0
    # A busy machine may let the writing pass between two looks: such a moment counts, and another is taken for it.
    while killed < kills or not partly:
        assert begun < 2 * kills + 20, "no moment in which anything was written"
        begun += 1
        process = _start(source, dest, temp, weights)
        if begun % 2 == 0:
            moment = time.monotonic() + chance.uniform(0, whole_span)
        else:
            while process.poll() is None and not _is_staging(out):
                time.sleep(0.002)
            moment = time.monotonic() + chance.uniform(0, writing)
        while process.poll() is None and time.monotonic() < moment:
            time.sleep(0.001)
        was_staged = _is_staging(out)
        process.send_signal(signal.SIGKILL)
        done = process.wait(timeout=60)
        process.stderr.close()
        assert done in (0, -signal.SIGKILL)
        killed += done != 0
        partly += done != 0 and was_staged
        _await_none(temp)
        if dest.exists():
            assert {**_digest(dest), _RANDOM: ""} == {**whole, _RANDOM: ""}, "half a model"
            complete += done != 0
            shutil.rmtree(dest)
        assert list(out.iterdir()) == [] and os.listdir(temp) == [], "what was left behind"
        assert _digest(source) == untouched
    print(f"\n{weights}: {killed} kills, {partly} while something was staged, {complete} after it stood")
