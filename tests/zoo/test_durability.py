"""What stands after a run stands for good, whatever ended it; a second run does what is left and nothing else."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from migrate import errors, pipeline, zoo
from migrate.isolation import folders
from migrate.options import MigrateOptions, ZooOptions
from migrate.outcome import Outcome, Status
from migrate.zoo import journal as journals
from migrate.zoo import tasks
from migrate.zoo.lock import hold_lock
from migrate.zoo.stopping import Surroundings
from tests.zoo.conftest import copy_model, make_different

UNVERIFIED = MigrateOptions(verify="none")
RESUME = ZooOptions(resume=True, migrate=UNVERIFIED)


@pytest.fixture
def made(small, tmp_path):
    """A zoo that has been migrated: (source, dest)."""
    dest = tmp_path / "out"
    zoo.migrate_zoo(small, dest, ZooOptions(jobs=2, migrate=UNVERIFIED))
    return small, dest


def _times(dest):
    return {path.parent.name: path.stat().st_mtime_ns for path in dest.glob("*/saved_model.pb")}


def _changed(dest, before):
    return sorted(name for name, time_ns in _times(dest).items() if before.get(name) != time_ns)


def test_nothing_is_done_twice(made):
    source, dest = made
    before = _times(dest)
    report = zoo.migrate_zoo(source, dest, RESUME)
    assert report.summary == {"migrated": 3} and _changed(dest, before) == []


def test_changed_source_is_done_again(made):
    """Even where its size and its modification time are what they were; a mere touch changes nothing."""
    source, dest = made
    before = _times(dest)
    for folder, keep in (("hub_dense_l2", True), ("frozen_constants", False)):
        path = next((source / folder).glob("**/*.pb"))
        stamp = path.stat()
        if keep:
            data = bytearray(path.read_bytes())
            # The version of the writer is a text that nothing depends on.
            position = data.index(b"1.15")
            data[position + 3 : position + 4] = b"4"
            path.write_bytes(data)
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        else:
            os.utime(path)
    zoo.migrate_zoo(source, dest, RESUME)
    assert _changed(dest, before) == ["hub_dense_l2"]


@pytest.mark.slow
def test_damaged_result_is_made_again(made):
    source, dest = made
    before = _times(dest)
    (dest / "hub_dense_l2" / "variables" / "variables.index").write_bytes(b"")
    zoo.migrate_zoo(source, dest, RESUME)
    assert _changed(dest, before) == ["hub_dense_l2"]
    assert (dest / "hub_dense_l2" / "variables" / "variables.index").stat().st_size > 0


@pytest.mark.slow
def test_other_options_are_another_result(made):
    source, dest = made
    before = _times(dest)
    zoo.migrate_zoo(source, dest, ZooOptions(resume=True, migrate=MigrateOptions(verify="none", seed=7)))
    assert len(_changed(dest, before)) == 3


def test_published_but_not_journaled(made):
    """Killed between the rename and the journal's line: the receipt says what became of it."""
    source, dest = made
    report_dir = dest / "_migration"
    results = report_dir / "results.jsonl"
    lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
    lost = json.loads(lines[1])
    results.write_text(lines[0] + lines[2], encoding="utf-8")
    receipts = journals.Receipts(str(dest / ".migrate-zoo" / "receipts"))
    receipts.write(journals.Record.from_line(lines[1]), lost["dest"])
    before = _times(dest)
    report = zoo.migrate_zoo(source, dest, RESUME)
    assert report.summary == {"migrated": 3} and _changed(dest, before) == []
    assert not (dest / ".migrate-zoo").exists()


@pytest.mark.slow
def test_receipt_of_what_was_not_published(made):
    """Killed before the rename: what stands there is another folder, if any."""
    source, dest = made
    results = dest / "_migration" / "results.jsonl"
    lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
    record = journals.Record.from_line(lines[1])
    results.write_text(lines[0] + lines[2], encoding="utf-8")
    other = dest / "staged"
    other.mkdir()
    journals.Receipts(str(dest / ".migrate-zoo" / "receipts")).write(record, str(other))
    other.rmdir()
    before = _times(dest)
    zoo.migrate_zoo(source, dest, RESUME)
    assert _changed(dest, before) == [pathlib.Path(record.outcome.dest).name]


@pytest.mark.slow
def test_retry(small, tmp_path):
    """What failed is tried again by a resumed run, blocked models only when asked for."""
    shutil.copytree(pathlib.Path(__file__).parents[2] / "testdata/blocked/contrib_op/model", small / "blocked")
    dest = tmp_path / "out"
    first = zoo.migrate_zoo(small, dest, ZooOptions(jobs=2, migrate=UNVERIFIED))
    assert first.summary == {"blocked": 1, "migrated": 3}
    results = dest / "_migration" / "results.jsonl"
    records = [journals.Record.from_line(line) for line in results.read_text(encoding="utf-8").splitlines()]
    for number, record in enumerate(records):
        if record.outcome.status is Status.BLOCKED:
            crashed = dataclasses.replace(record.outcome, status=Status.CRASHED)
            records[number] = dataclasses.replace(record, outcome=crashed)
    results.write_text("".join(record.to_line() + "\n" for record in records), encoding="utf-8")
    kept = zoo.migrate_zoo(small, dest, ZooOptions(resume=True, retry=("failed",), migrate=UNVERIFIED))
    assert kept.summary == {"crashed": 1, "migrated": 3}
    assert zoo.migrate_zoo(small, dest, RESUME).summary == {"blocked": 1, "migrated": 3}
    with pytest.raises(errors.UsageError, match="--retry"):
        ZooOptions(retry=("migrated",))


def test_journal_repairs_itself(tmp_path):
    path = tmp_path / "results.jsonl"
    one = journals.Journal(str(path))
    one.append(_record("a"))
    one.append(_record("b"))
    with open(path, "ab") as file:
        file.write(b'{"source": "c", "sta')
    two = journals.Journal(str(path))
    two.load()
    assert sorted(two.known) == ["a", "b"]
    two.append(_record("c"))
    two.append(_record("a", Status.BLOCKED))
    three = journals.Journal(str(path))
    three.load()
    assert {name: known.status.value for name, known in three.known.items()} == {
        "a": "blocked", "b": "migrated", "c": "migrated",
    }  # fmt: skip
    three.compact()
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3
    assert three.read("a").outcome.status is Status.BLOCKED


_GARBLED = {
    "a number": lambda line: line.replace('"seconds": 0.0', '"seconds": 8.0'),
    "a type": lambda line: line.replace('"seconds": 0.0', '"seconds": {}'),
    "a letter": lambda line: line.replace("/zoo/b", "/zoo/c"),
    "zeros": lambda line: "\0" * len(line),
    "half": lambda line: line[: len(line) // 2],
    "two in one": lambda line: line * 2,
    "a list": lambda line: "[1]",
    "without end": lambda line: "[" * 100_000,
    "its check": lambda line: line.replace('"check": "', '"check": "0'),
    "no check": lambda line: line[: line.index('"check"')] + '"check": null}',
}


@pytest.mark.parametrize("name", _GARBLED)
def test_garbled_lines_count_for_nothing(tmp_path, name):
    """What a disk made of a line is not believed: its model is migrated again, the others are not."""
    path = tmp_path / "results.jsonl"
    line = _record("b").to_line()
    assert _GARBLED[name](line) != line and journals.Record.from_line(line) == _record("b")
    lines = [_record("a").to_line(), _GARBLED[name](line), _record("c").to_line()]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    journal = journals.Journal(str(path))
    journal.load()
    assert sorted(journal.known) == ["a", "c"]
    journal.append(_record("b"))
    journal.compact()
    assert [outcome.source for outcome in journals.Outcomes(journal, ["a", "b", "c"])] == ["/zoo/a", "/zoo/b", "/zoo/c"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link"])
def test_something_else_in_the_place_of_the_journal(small, tmp_path, kind):
    results = tmp_path / "out" / "_migration" / "results.jsonl"
    results.parent.mkdir(parents=True)
    {"folder": results.mkdir, "pipe": lambda: os.mkfifo(results)}.get(kind, lambda: results.symlink_to("/nowhere/x"))()
    with pytest.raises(errors.DestinationError, match="the journal of earlier runs cannot be used"):
        zoo.migrate_zoo(small, tmp_path / "out", RESUME)
    assert not (tmp_path / "out" / ".migrate-zoo").exists()


def test_lines_without_a_check_are_read(tmp_path):
    """Of earlier versions, and of a person who had a reason."""
    value = json.loads(_record("a").to_line())
    del value["check"]
    assert journals.Record.from_line(json.dumps(value)) == _record("a")


def test_a_line_is_told_by_its_values_however_they_are_spelled(tmp_path):
    value = json.loads(_record("ä").to_line())
    for spelled in (json.dumps(value, ensure_ascii=False), json.dumps(value, separators=(",", ":"))):
        assert journals.Record.from_line(spelled) == journals.Record.from_line(spelled.encode()) == _record("ä")
    with pytest.raises(ValueError, match="not what was written"):
        journals.Record.from_line(json.dumps(value | {"seconds": 1.5}))


def _record(name, status=Status.MIGRATED):
    outcome = Outcome(source=f"/zoo/{name}", dest="", format="x", status=status, stage="done")
    return journals.Record(outcome=outcome, relative=name)


def test_second_run_is_refused(small, tmp_path):
    dest = tmp_path / "out"
    state = dest / ".migrate-zoo"
    state.mkdir(parents=True)
    with hold_lock(str(state), str(dest)), pytest.raises(errors.DestinationError, match=f"process {os.getpid()} on"):
        zoo.migrate_zoo(small, dest, RESUME)
    # A lock whose owner has ended is none.
    (state / "lock").write_text('{"host": "elsewhere", "pid": 1, "started": "long ago", "command": "x"}')
    assert zoo.migrate_zoo(small, dest, RESUME).summary == {"migrated": 3}
    assert not state.exists()


def test_two_runs_on_one_report_folder(small, tmp_path):
    reports = tmp_path / "reports"
    reports.mkdir()
    options = ZooOptions(report_dir=str(reports), migrate=UNVERIFIED)
    with hold_lock(str(reports), "x"), pytest.raises(errors.DestinationError, match="another run is writing"):
        zoo.migrate_zoo(small, tmp_path / "out", options)


def test_model_in_the_place_of_the_reports(small, tmp_path):
    for name in ("_migration", "_quarantine/inner"):
        copy_model("frozen_constants", small / name)
    report = zoo.migrate_zoo(small, tmp_path / "out", ZooOptions(jobs=2, migrate=UNVERIFIED))
    bad = {outcome.source: outcome.error for outcome in report.outcomes if outcome.status is Status.BLOCKED}
    assert report.summary == {"blocked": 2, "migrated": 3}
    assert "--report_dir" in bad[str(small / "_migration")] and "_quarantine" in bad[str(small / "_quarantine/inner")]
    other = ZooOptions(jobs=2, resume=True, retry=("blocked",), report_dir=str(tmp_path / "r"), migrate=UNVERIFIED)
    assert zoo.migrate_zoo(small, tmp_path / "out2", other).summary == {"blocked": 1, "migrated": 4}


def test_names_that_are_hard(small, tmp_path):
    """Unicode, spaces, quotes, a line break, bytes that are no UTF-8, 255 bytes."""
    names = ["mit Leerzeichen", "模型", "line\nbreak", 'it\'s "quoted" <b>', "n" * 255, os.fsdecode(b"not\xffutf8")]
    for name in names:
        make_different(copy_model("frozen_constants", small / name), name.encode("utf-8", "replace").decode())
    dest = tmp_path / "out"
    report = zoo.migrate_zoo(small, dest, ZooOptions(jobs=2, migrate=UNVERIFIED))
    found = {os.path.relpath(o.source, small): (o.status.value, o.error) for o in report.outcomes}
    assert {name: found[name] for name in names[:5]} == dict.fromkeys(names[:5], ("migrated", ""))
    assert names[5] in found
    assert all((dest / name / "saved_model.pb").exists() for name in names[:5])
    again = zoo.migrate_zoo(small, dest, RESUME)
    assert again.summary == report.summary


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_signals(small, tmp_path, number):
    """SIGINT finishes what runs and reports; SIGTERM ends it at once. Both leave nothing but what can go on."""
    for position in range(4):
        make_different(copy_model("hub_image_batch_norm", small / f"more{position}"), str(position))
    dest, temp = tmp_path / "out", tmp_path / "temp"
    temp.mkdir()
    command = [sys.executable, "-m", "migrate.cli.zoo", f"--source={small}", f"--dest={dest}", "--verify=none"]
    environment = {**os.environ, "TMPDIR": str(temp)}
    process = subprocess.Popen([*command, "--jobs=1"], env=environment, stderr=subprocess.PIPE, text=True)
    _await_lines(dest / "_migration" / "results.jsonl", 1, process)
    process.send_signal(number)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 1 and signal.Signals(number).name in printed and "--resume" in printed
    assert os.listdir(temp) == [] and list(dest.rglob("*.partial")) == []
    done = json.loads((dest / "_migration" / "report.json").read_text(encoding="utf-8"))["models"]
    assert 1 <= len(done) < 7 and {model["status"] for model in done} == {"migrated"}
    before = {name: time_ns for name, time_ns in _times(dest).items() if str(small / name) in _sources(done)}
    again = subprocess.run([*command, "--jobs=2", "--resume"], env=environment, capture_output=True, check=False)
    assert again.returncode == 0
    assert {name: _times(dest)[name] for name in before} == before
    assert len(json.loads((dest / "_migration" / "report.json").read_text(encoding="utf-8"))["models"]) == 7


def _sources(models):
    return {model["source"] for model in models}


def _await_lines(path, count, process):
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_text(encoding="utf-8").count("\n") < count:
        assert process.poll() is None and time.monotonic() < deadline, "the run was over before it was ended"
        time.sleep(0.02)


def test_vanished_source(small, tmp_path):
    """The whole source, not one model: the run stops and nothing is blamed on the models."""
    moved = tmp_path / "moved"
    dest = tmp_path / "out"

    def take_away(outcome, total):
        if small.exists():
            small.rename(moved)

    report = zoo.migrate_zoo(small, dest, ZooOptions(migrate=UNVERIFIED), on_outcome=take_away)
    assert "the source is gone" in report.stopped and not report.is_good
    assert report.summary == {"migrated": 1} and report.total == 3
    moved.rename(small)
    assert zoo.migrate_zoo(small, dest, RESUME).summary == {"migrated": 3}


def test_vanished_model(small, tmp_path):
    def take_away(count):
        shutil.rmtree(small / "saved_model_pbtxt")

    report = zoo.migrate_zoo(small, tmp_path / "out", ZooOptions(migrate=UNVERIFIED), on_start=take_away)
    assert report.summary == {"blocked": 1, "migrated": 2} or report.summary == {"failed": 1, "migrated": 2}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB, where mounting is permitted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield disk
    while subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False).returncode == 0:
        pass


def test_full_disk(small, tmp_path, small_disk):
    dest = small_disk / "out"
    (small_disk / "ballast").write_bytes(b"x" * (24 * 2**20 - 48 * 2**10))
    report = zoo.migrate_zoo(small, dest, ZooOptions(migrate=UNVERIFIED))
    assert "the disk is full" in report.stopped and "--resume" in report.stopped
    assert "failed" not in report.summary
    (small_disk / "ballast").unlink()
    assert zoo.migrate_zoo(small, dest, RESUME).summary == {"migrated": 3}


def test_read_only_destination(small, small_disk):
    dest = small_disk / "out"

    def close(outcome, total):
        """As the kernel does after an error; a remount is refused while files are open."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(small_disk)], check=True)

    report = zoo.migrate_zoo(small, dest, ZooOptions(migrate=UNVERIFIED), on_outcome=close)
    assert "can no longer be written" in report.stopped and "--resume" in report.stopped
    with pytest.raises(errors.DestinationError, match="cannot be written"):
        zoo.migrate_zoo(small, dest, RESUME)
    subprocess.run(["umount", str(small_disk)], check=True)
    assert zoo.migrate_zoo(small, dest, RESUME).summary == {"migrated": 3}


def test_a_model_cannot_claim_a_full_disk(tmp_path):
    """The text of an error may come from a graph; the disk is asked, too."""
    outcome = Outcome(
        source="a", dest="", format="", status=Status.FAILED, stage="verify", error="x: No space left on device"
    )
    surroundings = Surroundings(source=str(tmp_path), folders=(str(tmp_path),))
    assert surroundings.find_trouble(outcome, 2**20) == ""
    assert "the disk is full" in surroundings.find_trouble(outcome, 2**60)


def test_ready_comes_before_the_place(small, tmp_path):
    seen = []

    def look(outcome, staged):
        seen.append((outcome.status.value, os.path.exists(os.path.join(staged, "saved_model.pb")), dest.exists()))

    dest = tmp_path / "model"
    pipeline.migrate_model(small / "frozen_constants", dest, UNVERIFIED, on_ready=look)
    assert seen == [("migrated", True, False)] and dest.exists()


def test_options_digest_knows_what_decides():
    base = tasks.digest_options(MigrateOptions())
    assert tasks.digest_options(MigrateOptions(overwrite=True)) == base
    assert tasks.digest_options(MigrateOptions(seed=1)) != base


def test_what_a_lost_node_left_while_the_zoo_ran_is_gone_at_the_end(small, tmp_path):
    """Its process may live on when the model is begun again elsewhere, where its folder is then still in use."""
    dest = tmp_path / "out"

    def leave(outcome, total):
        left = dest / ".frozen_constants.abc.partial"
        (left / "model").mkdir(parents=True, exist_ok=True)
        (left / folders.OWNER).touch()

    report = zoo.migrate_zoo(small, dest, dataclasses.replace(RESUME, resume=False), on_outcome=leave)
    assert set(report.summary) == {"migrated"} and not list(dest.rglob("*.partial"))
