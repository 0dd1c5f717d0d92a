"""A zoo run: one bad model never stops the rest, a killed run goes on, every record is kept."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from migrate import errors, zoo
from migrate.options import Limits, MigrateOptions, ZooOptions

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"
UNVERIFIED = MigrateOptions(verify="none")
GOOD = ("frozen_constants", "hub_dense_l2", "saved_model_pbtxt")


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "zoo"
    for slug in GOOD:
        shutil.copytree(ZOO / slug / "model", root / "good" / slug)
    return root


def _report(folder):
    return json.loads((folder / "_migration" / "report.json").read_text(encoding="utf-8"))


def _lines(folder):
    text = (folder / "_migration" / "results.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_bad_models_stop_nobody(source, tmp_path):
    """Damaged, already TF2, of another format, blocked: each has its status, all others are migrated."""
    (source / "damaged").mkdir()
    (source / "damaged" / "saved_model.pb").write_bytes(b"\x0a\xff")
    shutil.copytree(ZOO.parent / "blocked" / "contrib_op" / "model", source / "blocked")
    (source / "mobile.tflite").write_bytes(b"\x1c\0\0\0TFL3....")
    (source / "new").mkdir()
    (source / "new" / "saved_model.cpb").write_bytes(b"")
    (source / "new" / "saved_model.pb").write_bytes(b"")
    seen, started = [], []
    dest = tmp_path / "out"
    report = zoo.migrate_zoo(
        source,
        dest,
        ZooOptions(jobs=2, migrate=UNVERIFIED),
        on_outcome=lambda outcome, total: seen.append((outcome.source, total)),
        on_start=started.append,
    )
    statuses = {os.path.relpath(o.source, source): o.status.value for o in report.outcomes}
    assert statuses.pop("damaged") in ("failed", "blocked")
    assert statuses == {
        "blocked": "blocked",
        "good/frozen_constants": "migrated",
        "good/hub_dense_l2": "migrated",
        "good/saved_model_pbtxt": "migrated",
        "mobile.tflite": "skipped",
        "new": "already_tf2",
    }
    assert not report.is_good and sum(report.summary.values()) == 7
    assert started == [7] and sorted(path for path, _ in seen) == sorted(o.source for o in report.outcomes)
    assert {total for _, total in seen} == {7}
    for slug in GOOD:
        assert (dest / "good" / slug / "saved_model.pb").exists()
    assert sorted(path.name for path in dest.iterdir()) == ["_migration", "good"]


def test_report_fields(source, tmp_path):
    dest = tmp_path / "out"
    zoo.migrate_zoo(source, dest, ZooOptions(migrate=UNVERIFIED))
    report = _report(dest)
    assert report["summary"] == {"migrated": 3}
    for model in report["models"]:
        assert model["dest"] == str(dest / os.path.relpath(model["source"], source))
        assert model["format"] in ("tf1_saved_model", "tf1_hub_module")
        assert (model["status"], model["stage"], model["error"]) == ("migrated", "done", "")
        assert model["verification"] is None and isinstance(model["findings"], list)
        assert model["seconds"] > 0 and model["peak_rss_bytes"] > 2**20
    assert sorted(line["source"] for line in _lines(dest)) == sorted(model["source"] for model in report["models"])
    assert {path.name for path in (dest / "_migration").iterdir()} == {
        "report.json", "report.html", "junit.xml", "results.jsonl", "models",
    }  # fmt: skip


def test_report_dir(source, tmp_path):
    dest, reports = tmp_path / "out", tmp_path / "reports" / "today"
    report = zoo.migrate_zoo(source, dest, ZooOptions(report_dir=str(reports), migrate=UNVERIFIED))
    assert report.report_dir == str(reports) and (reports / "report.json").exists()
    assert not (dest / "_migration").exists()


def test_manifest(source, tmp_path):
    manifest = source / "list.txt"
    manifest.write_text("good/hub_dense_l2\n", encoding="utf-8")
    report = zoo.migrate_zoo(manifest, tmp_path / "out", ZooOptions(migrate=UNVERIFIED))
    assert report.summary == {"migrated": 1}
    assert (tmp_path / "out" / "good" / "hub_dense_l2" / "saved_model.pb").exists()


def test_time_is_up(source, tmp_path):
    """A model that takes too long is one record; the run ends."""
    options = MigrateOptions(verify="none", limits=Limits(timeout=0.001))
    report = zoo.migrate_zoo(source, tmp_path / "out", ZooOptions(migrate=options))
    assert report.summary == {"timed_out": 3}
    assert all("--timeout" in outcome.error for outcome in report.outcomes)
    assert [path.name for path in (tmp_path / "out").rglob("*.partial")] == []


def test_destination_in_use(source, tmp_path):
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "mine").write_text("x", encoding="utf-8")
    with pytest.raises(errors.DestinationError, match="--resume"):
        zoo.migrate_zoo(source, dest, ZooOptions(migrate=UNVERIFIED))
    assert [path.name for path in dest.iterdir()] == ["mine"]


def test_nothing_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.SourceNotFoundError, match="no model was found"):
        zoo.migrate_zoo(tmp_path / "empty", tmp_path / "out", ZooOptions())
    assert not (tmp_path / "out").exists()


def test_resume_does_only_what_is_left(source, tmp_path):
    """What was settled is not done again, even if the last line of the journal was cut off."""
    dest = tmp_path / "out"
    zoo.migrate_zoo(source, dest, ZooOptions(migrate=UNVERIFIED))
    journal = dest / "_migration" / "results.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    journal.write_text("".join(lines[:2]) + lines[2][: len(lines[2]) // 2], encoding="utf-8")
    cut = json.loads(lines[2])
    before = {path: path.stat().st_mtime_ns for path in dest.glob("good/*/saved_model.pb")}
    report = zoo.migrate_zoo(source, dest, ZooOptions(resume=True, migrate=UNVERIFIED))
    assert report.summary == {"migrated": 3}
    after = {path: path.stat().st_mtime_ns for path in dest.glob("good/*/saved_model.pb")}
    changed = [path.parent.name for path in after if after[path] != before[path]]
    assert changed == [pathlib.Path(cut["source"]).name]
    again = zoo.migrate_zoo(source, dest, ZooOptions(resume=True, migrate=UNVERIFIED))
    assert again.summary == {"migrated": 3}


def test_resume_makes_a_lost_destination_again(source, tmp_path):
    dest = tmp_path / "out"
    zoo.migrate_zoo(source, dest, ZooOptions(migrate=UNVERIFIED))
    shutil.rmtree(dest / "good" / "hub_dense_l2")
    zoo.migrate_zoo(source, dest, ZooOptions(resume=True, migrate=UNVERIFIED))
    assert (dest / "good" / "hub_dense_l2" / "saved_model.pb").exists()


@pytest.mark.slow
def test_resume_after_a_kill(source, tmp_path):
    """SIGKILL in the middle of a run; the second run ends with every model whole and nothing left over."""
    for number in range(3):
        shutil.copytree(ZOO / "hub_image_batch_norm" / "model", source / "more" / str(number))
    dest = tmp_path / "out"
    command = [sys.executable, "-m", "migrate.cli.zoo", f"--source={source}", f"--dest={dest}", "--verify=none"]
    journal = dest / "_migration" / "results.jsonl"
    process = subprocess.Popen([*command, "--jobs=1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_text(encoding="utf-8").count("\n") >= 2:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    settled = len(_lines(dest))
    assert 2 <= settled < 6, "the run was over before it was killed"
    done = subprocess.run([*command, "--resume", "--jobs=1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert _report(dest)["summary"] == {"migrated": 6}
    assert [str(path) for path in dest.rglob("*.partial")] == []
