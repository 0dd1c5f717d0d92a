"""Judging in a process of its own says what judging here says."""

import pathlib

import pytest

import migrate
from migrate.verify import pair

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"


@pytest.mark.parametrize("slug", ["hub_dropout", pytest.param("hub_ragged", marks=pytest.mark.slow)])
def test_judged_elsewhere_it_is_the_same(slug, tmp_path, monkeypatch):
    here = migrate.migrate_model(ZOO / slug / "model", tmp_path / "here").verification
    asked = []
    run = pair.isolation.run_job

    def run_and_note(job, *arguments, **options):
        asked.append(job.target)
        return run(job, *arguments, **options)

    monkeypatch.setattr(pair.isolation, "run_job", run_and_note)
    monkeypatch.setattr(pair, "_LARGE", -1)
    there = migrate.migrate_model(ZOO / slug / "model", tmp_path / "there").verification
    assert "migrate.verify.judging.job:judge" in asked
    assert here.verdict is there.verdict
    if slug == "hub_ragged":  # nothing random
        assert here == there
    else:

        def summary(found):
            return [(diff.where, diff.route, diff.output, diff.equal, diff.random) for diff in found.diffs]

        assert summary(here) == summary(there)
