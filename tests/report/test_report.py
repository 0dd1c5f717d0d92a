"""The reports say what the outcomes say, whatever text a model puts into them."""

import json
from xml.etree import ElementTree

import pytest

from migrate.model import Finding, Severity
from migrate.outcome import Outcome, Status
from migrate.report import format_summary, write_reports
from migrate.verdict import OutputDiff, Verdict, Verification

NASTY = "<script>alert('x')</script> & \"quoted\" \x00\x1b[31m ä\nsecond line"


def _outcome(status, name="zoo/a", **fields):
    return Outcome(source=name, dest="", format="tf1_saved_model", status=status, stage="done", seconds=1.25, **fields)


@pytest.fixture
def outcomes():
    passed = Verification(
        verdict=Verdict.PASS,
        diffs=(OutputDiff(where="serve/f/0", route="callable", output="y", equal=True, max_absolute=2e-7),),
        not_compared=("serve/g/0: needs a placeholder",),
    )
    finding = Finding(code="signature-key-renamed", severity=Severity.WARNING, where="serve/f", message=NASTY)
    return (
        _outcome(Status.MIGRATED, "zoo/a", verification=passed, findings=(finding,)),
        _outcome(Status.BLOCKED, "zoo/b", error=NASTY),
        _outcome(Status.SKIPPED, "zoo/c", error="keras_h5 is recognised, not migrated"),
        _outcome(Status.CRASHED, "zoo/d", error="signal 11"),
    )


@pytest.fixture
def folder(tmp_path, outcomes):
    write_reports(str(tmp_path / "r"), outcomes, {"blocked": 1, "crashed": 1, "migrated": 1, "skipped": 1})
    return tmp_path / "r"


def test_json(folder, outcomes):
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert set(report) == {"summary", "models"}
    assert report["summary"] == {"blocked": 1, "crashed": 1, "migrated": 1, "skipped": 1}
    wanted = {
        "source", "dest", "format", "status", "stage", "findings", "verification", "error", "seconds", "peak_rss_bytes",
    }  # fmt: skip
    assert all(wanted <= set(model) for model in report["models"])
    assert [Outcome.from_record(model) for model in report["models"]] == list(outcomes)
    assert report["models"][0]["verification"]["verdict"] == "PASS"
    assert report["models"][0]["verification"]["outputs_compared"] == 1


def test_junit(folder):
    suite = ElementTree.parse(folder / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "1")
    by_name = {case.get("name"): case for case in suite}
    assert by_name["zoo/a"].find("failure") is None
    assert by_name["zoo/b"].find("failure").get("type") == "blocked"
    assert "<script>" in by_name["zoo/b"].find("failure").get("message")
    assert by_name["zoo/c"].find("skipped") is not None
    assert by_name["zoo/d"].find("failure").get("message") == "signal 11"


def test_html_is_whole_and_escapes(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "alert('x')" not in page, "a model's text runs as a script"
    assert "&lt;script&gt;" in page
    assert page.count("<tr") == 1 + 4
    assert "PASS" in page and "2e-07" in page and "not compared: serve/g/0" in page
    assert "http://" not in page and "https://" not in page, "the page needs the network"


def test_nothing_half_written(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["junit.xml", "models", "report.html", "report.json"]


def test_reports_of_nothing(tmp_path):
    write_reports(str(tmp_path), (), {})
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == {"summary": {}, "models": []}


def test_summary_line():
    text = format_summary({"blocked": 1, "migrated": 56, "failed": 1}, 83.4)
    assert text == "58 models: 1 blocked, 56 migrated, 1 failed in 83 s"
