"""The benchmark of costs at sizes that take no time: every row is measured, the table is written."""

import importlib
import sys

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
    assert f"| {rows[0][0]} | {rows[0][1]} |" in text
    assert (ROOT / "benchmarks" / "README.md").read_text().count(cost._BEGIN) == 1


@pytest.mark.slow
def test_every_row_is_measured(cost):
    sizes = ["--megabytes=4", "--nodes=100,200", "--variables=2,4", "--models=2", "--rounds=1"]
    rows = cost.main(sizes)
    assert [row[2] for row in rows] == [
        "1.3x, +80 MB", "1.15x, +80 MB", "1.5x", "0.4 s, 60 MB", "1.1", "1.1", "8x", "0.2 s"
    ]  # fmt: skip
