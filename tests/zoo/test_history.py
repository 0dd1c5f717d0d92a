"""Reports rebuilt from results, merged, and two runs compared."""

import dataclasses
import json

import pytest

from migrate import errors
from migrate.outcome import Outcome, Status
from migrate.verdict import Verdict, Verification
from migrate.zoo import history
from migrate.zoo.journal import Journal, Record


def _write(path, **statuses):
    path.mkdir()
    journal = Journal(str(path / "results.jsonl"))
    for name, status in statuses.items():
        verdict = None
        if status == "nothing":
            status, verdict = "migrated", Verification(verdict=Verdict.NOTHING_COMPARED)
        elif status == "migrated":
            verdict = Verification(verdict=Verdict.PASS)
        outcome = Outcome(
            source=f"/zoo/{name}", dest="", format="x", status=Status(status), stage="done", verification=verdict,
            error="" if status == "migrated" else f"{name} is bad",
        )  # fmt: skip
        journal.append(Record(outcome=outcome, relative=name))
    return path


def _models(folder):
    return {
        model["source"]: model["status"]
        for model in json.loads((folder / "report.json").read_text(encoding="utf-8"))["models"]
    }


def test_rebuild_in_place(tmp_path):
    folder = _write(tmp_path / "r", a="migrated", b="blocked")
    assert history.rebuild_report([str(folder)], str(folder)) == {"blocked": 1, "migrated": 1}
    assert _models(folder) == {"/zoo/a": "migrated", "/zoo/b": "blocked"}
    assert sorted(path.name for path in folder.iterdir()) == [
        "junit.xml", "models", "report.html", "report.json", "results.jsonl",
    ]  # fmt: skip


def test_merge(tmp_path):
    """Two halves of a zoo; a later word on a model replaces an earlier one."""
    one = _write(tmp_path / "one", a="migrated", b="crashed")
    two = _write(tmp_path / "two", b="migrated", c="failed")
    counts = history.rebuild_report([str(one), str(two / "results.jsonl")], str(tmp_path / "all"))
    assert counts == {"failed": 1, "migrated": 2}
    assert _models(tmp_path / "all") == {"/zoo/a": "migrated", "/zoo/b": "migrated", "/zoo/c": "failed"}


def test_compare(tmp_path):
    old = _write(tmp_path / "old", a="migrated", b="blocked", c="failed", d="migrated", e="nothing", gone="migrated")
    new = _write(tmp_path / "new", a="regressed", b="migrated", c="failed", d="nothing", e="migrated", more="migrated")
    found = history.compare_runs(str(old), str(new))
    assert {change.relative: change.better for change in found.changes} == {
        "a": False, "b": True, "d": False, "e": True,
    }  # fmt: skip
    assert (found.added, found.removed, found.is_good) == (("more",), ("gone",), False)
    text = found.to_text()
    assert "worse      a: migrated (PASS) -> regressed: a is bad" in text
    assert text.endswith("7 models: 2 worse, 2 better, 0 otherwise, 1 added, 1 removed")
    assert history.compare_runs(str(old), str(old)).is_good


def test_no_results(tmp_path):
    with pytest.raises(errors.SourceNotFoundError, match=r"results\.jsonl"):
        history.find_results(str(tmp_path))


def test_damaged_line_is_left_out(tmp_path):
    folder = _write(tmp_path / "r", a="migrated")
    with open(folder / "results.jsonl", "a", encoding="utf-8") as file:
        file.write('{"source": 1}\nnothing\n')
    assert history.rebuild_report([str(folder)], str(tmp_path / "x")) == {"migrated": 1}


def test_command(tmp_path, run_command):
    old = _write(tmp_path / "old", a="migrated")
    new = _write(tmp_path / "new", a="crashed")
    done = run_command("report", f"--results={new}", f"--baseline={old}")
    assert done.returncode == 1 and "1 worse" in done.stdout
    assert run_command("report", f"--results={old}", f"--baseline={old}").returncode == 0
    merged = run_command("report", f"--results={old}", f"--results={new}", f"--report_dir={tmp_path / 'm'}")
    assert merged.returncode == 0 and "1 models: 1 crashed" in merged.stdout
    assert run_command("report").returncode == 2
    assert run_command("report", f"--results={tmp_path / 'none'}").returncode == 2


def test_change_is_frozen():
    change = history.Change(relative="a", before="x", after="y", better=None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        change.before = "z"
