"""A zoo with faults, killed at random moments and resumed: the result is that of a run that nobody disturbed."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from migrate import publishing
from tests.zoo.faulty import make_runaways, make_zoo

# What differs between two runs of anything.
_MEASURED = ("seconds", "peak_rss_bytes", "log")


def _run(source, dest, temp, *flags):
    command = [
        sys.executable, "-m", "migrate.cli.zoo", f"--source={source}", f"--dest={dest}", "--jobs=2",
        *flags,
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(temp)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _load(dest):
    report = json.loads((dest / "_migration" / "report.json").read_text(encoding="utf-8"))
    for model in report["models"]:
        for name in _MEASURED:
            del model[name]
    return json.loads(json.dumps(report).replace(str(dest), "DEST"))


def _find_processes(temp):
    """All processes of a run know its folder for temporary files."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={temp}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _kill_somebody(process, temp, chance):
    """The driver, or the server, a watcher, a child: whoever is there. The id of who was killed, 0 for nobody."""
    others = [pid for pid in _find_processes(temp) if pid != process.pid]
    victim = process.pid if not others or chance.random() < 0.5 else chance.choice(others)
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return victim


def _await_moment(process, dest, spacing, chance):
    """A moment to kill somebody: soon, or when some more models are done, so that the kills spread over the whole run.

    Args:
      process: the driver; when it has ended there is nothing to wait for.
      dest: where it writes.
      spacing: how many models are to be done between two kills, in the mean.
      chance: decides.
    """
    awaited = _count_results(dest) + round(chance.uniform(0, 2.5 * spacing))
    soon = time.monotonic() + (chance.uniform(0.1, 4.0) if chance.random() < 0.3 else 60.0)
    while process.poll() is None and time.monotonic() < soon and _count_results(dest) < awaited:
        time.sleep(0.02)
    time.sleep(chance.uniform(0.0, 0.5))


def _count_results(dest):
    try:
        return (dest / "_migration" / "results.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def _await_none(temp, seconds=30):
    deadline = time.monotonic() + seconds
    while found := _find_processes(temp):
        assert time.monotonic() < deadline, f"still running: {found}"
        time.sleep(0.05)


UNVERIFIED = ("--verify=none", "--timeout=60")
VERIFIED = ("--verify=auto", "--timeout=40", "--memory_limit=2GB", "--allow_unsafe_ops=Abort")


@pytest.mark.parametrize(
    ("models", "kills", "flags"),
    [
        pytest.param(4, 1, UNVERIFIED, id="one", marks=pytest.mark.slow),
        pytest.param(290, 100, UNVERIFIED, id="many", marks=pytest.mark.slow),
        pytest.param(6, 10, VERIFIED, id="runaways", marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments(tmp_path, models, kills, flags):
    source, calm, wild = tmp_path / "zoo", tmp_path / "calm", tmp_path / "wild"
    expected = make_zoo(source, models)
    if flags is VERIFIED:
        expected |= make_runaways(source)
    temp = tmp_path / "temp"
    temp.mkdir()
    process = _run(source, calm, temp, *flags)
    process.communicate(timeout=3600)
    assert process.returncode == 1  # some are not well
    undisturbed = _load(calm)
    statuses = {os.path.relpath(m["source"], source): m["status"] for m in undisturbed["models"]}
    assert statuses.keys() == expected.keys()
    assert all(statuses[name] in allowed for name, allowed in expected.items()), statuses
    chance = random.Random(models)
    published = {}
    killed = 0
    while killed < kills:
        process = _run(source, wild, temp, "--resume", *flags)
        while process.poll() is None and killed < kills:
            _await_moment(process, wild, max(len(expected) - len(published), 0) / (kills - killed), chance)
            if process.poll() is None and (victim := _kill_somebody(process, temp, chance)):
                killed += 1
                if victim == process.pid:
                    break
        _, printed = process.communicate(timeout=3600)
        _await_none(temp)
        assert process.returncode in (0, 1, -signal.SIGKILL), printed
        _check_published(wild, published, flags)
    process = _run(source, wild, temp, "--resume", *flags)
    process.communicate(timeout=3600)
    _await_none(temp)
    assert _load(wild) == undisturbed
    _check_published(wild, published, flags)
    assert os.listdir(temp) == []
    assert [str(path) for path in wild.rglob(".*")] == [] and list(wild.rglob("*.partial")) == []
    assert {p.relative_to(wild) for p in wild.rglob("*") if p.is_dir() and "_migration" not in p.parts} == {
        p.relative_to(calm) for p in calm.rglob("*") if p.is_dir() and "_migration" not in p.parts
    }


def _check_published(dest, published, flags):
    """What stands is whole, and what stood at the last look still stands: nothing was migrated twice."""
    for path in dest.rglob("assets.extra/migration.json") if dest.exists() else ():
        model = path.parents[1]
        if any(part.endswith(".partial") for part in model.parts):
            continue
        record = json.loads(path.read_text(encoding="utf-8"))
        assert (model / "saved_model.pb").exists() and (record["verification"] is None) == (flags is UNVERIFIED)
        inode = published.setdefault(str(model.relative_to(dest)), model.stat().st_ino)
        assert inode == model.stat().st_ino, f"{model} was published twice"


def test_abandoned_folders_are_recognised(tmp_path):
    """A staging folder that is empty was killed before its owner's mark; one that another process holds is in use."""
    (tmp_path / ".a.x.partial").mkdir()
    (tmp_path / ".b.x.partial").mkdir()
    (tmp_path / ".b.x.partial" / "model").mkdir()
    publishing.remove_stale_staging(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [".b.x.partial"]
