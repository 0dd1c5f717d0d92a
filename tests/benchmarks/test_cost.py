"""The benchmark of costs at sizes that take no time: every row is measured, the table is written."""

import importlib
import shutil
import sys

import numpy as np
import pytest

from tests.conftest import ROOT


@pytest.fixture
def cost(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delitem(sys.modules, "benchmarks", raising=False)
    return importlib.import_module("benchmarks.cost")


def test_the_table_is_written_between_its_marks(cost, tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{cost._BEGIN}\nold\n{cost._END}\nafter\n")
    monkeypatch.setattr(cost, "README", readme)
    rows = cost.main(["--only=start", "--rounds=1", "--write"])
    text = readme.read_text()
    assert len(rows) == 1 and "old" not in text and text.startswith("before\n") and text.endswith("after\n")
    work, figures = rows[0]
    assert f"| {work} | {figures[0].measured} | ≤ 0.20 s |" in text
    assert (ROOT / "benchmarks" / "README.md").read_text().count(cost._BEGIN) == 1


def test_rows_that_were_not_measured_stay(cost, tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{cost._BEGIN}\n{cost._END}\nafter\n")
    monkeypatch.setattr(cost, "README", readme)
    figures = [[cost.Figure(value, "{:.1f} s")] for value in (1.0, 2.0, 3.0)]
    cost.write_readme([("one, beside import (3.4 s)", figures[0]), ("two", figures[1])])
    cost.write_readme([("three", figures[1]), ("one, beside import (6.8 s)", figures[2])])
    lines = readme.read_text().splitlines()
    assert [line.split("|")[1:3] for line in lines[4:7]] == [
        [" one, beside import (6.8 s) ", " 3.0 s "], [" two ", " 2.0 s "], [" three ", " 2.0 s "],
    ]  # fmt: skip
    assert (lines[0], lines[-1], len(lines)) == ("before", "after", 9)


def test_a_missed_goal_is_told(cost):
    """Below, at and beyond; the least that is asked for; and a figure without a goal."""
    figures = [
        cost.Figure(1.0, "{:.1f}x", 1.0),
        cost.Figure(1.1, "{:.1f}x", 1.0),
        cost.Figure(7.9, "{:.1f}x as many", 8, least=True),
        cost.Figure(9.0, "{:.0f} s"),
    ]
    assert [figure.is_met for figure in figures] == [True, False, False, True]
    line = cost.render([("work", figures)]).splitlines()[3]
    assert (
        line == "| work | 1.0x, 1.1x, 7.9x as many, 9 s | ≤ 1.0x, ≤ 1.0x, ≥ 8.0x as many | **no**: 1.1x, 7.9x as many |"
    )


def test_what_fails_is_seen(cost):
    with pytest.raises(RuntimeError, match="no such thing"):
        cost.Run([sys.executable, "-c", "raise SystemExit('no such thing')"])
    assert cost.Run([sys.executable, "-c", "raise SystemExit(1)"], may_fail=True).failed


@pytest.mark.slow
def test_every_row_is_measured(cost, tmp_path):
    """Sizes that take no time: what is measured are times and megabytes, of as many rows as there are."""
    for folder in ("replicas", "exports"):
        shutil.copytree(ROOT / "testdata" / "zoo" / "hub_dense_l2" / "model", tmp_path / folder / "model")
    sizes = ["--megabytes=4", "--module=200,4", "--nodes=50,100,200", "--variables=2,4,8", "--models=2", "--rounds=1"]
    more = ["--inference=2,1", f"--replicas={tmp_path / 'replicas'}", f"--exports={tmp_path / 'exports'}"]
    rows = cost.main([*sizes, *more])
    assert len(rows) in (12, 13)  # calls from Python have a row if any takes over 1 ms
    for work, figures in rows:
        assert figures, work
        for figure in figures:
            # Differences of what takes almost nothing.
            bound = figure.form.startswith(("exponent", "{:+")) or "beyond a tiny one" in work
            assert np.isfinite(figure.value) and (bound or figure.value > 0), (work, figure)
