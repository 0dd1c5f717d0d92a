"""No false pass, no false alarm: each planted fault is found and named, each harmless rewrite passes."""

import shutil

import pytest

import migrate
from migrate.options import MigrateOptions

from ..conftest import ROOT
from .catalogue import FAULTS, HARMLESS

_SECONDS = 30.0


def source_of(model):
    folder, slug = model.split("/")
    return ROOT / "testdata" / folder / slug / "model"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """Model -> folder of its migration, made once."""
    known = {}
    base = tmp_path_factory.mktemp("migrated")

    def find(model):
        if model not in known:
            outcome = migrate.migrate_model(source_of(model), base / model, MigrateOptions(verify="none"))
            assert outcome.status.value == "migrated", outcome.error
            known[model] = outcome.dest
        return known[model]

    return find


def judge(planted, migrated, folder):
    shutil.copytree(migrated(planted.model), folder)
    planted.plant(folder)
    # A loop that no longer ends is told by the time it takes.
    options = migrate.CompareOptions(level=planted.level, seed=1, draws=40, limits=migrate.Limits(timeout=_SECONDS))
    return migrate.compare_models(source_of(planted.model), folder, options)


def choose(listed):
    return [pytest.param(x, id=x.name, marks=() if x.fast else pytest.mark.slow) for x in listed]


def test_there_are_enough():
    assert len({x.name for x in FAULTS}) == len(FAULTS) >= 100
    assert len({x.name for x in HARMLESS}) == len(HARMLESS) >= 40


@pytest.mark.parametrize("planted", choose(FAULTS))
def test_fault_is_found_and_named(planted, migrated, tmp_path):
    found = judge(planted, migrated, tmp_path / "candidate")
    assert found.verdict.value == "FAIL", "a false pass"
    assert any(planted.culprit in line for line in found.failures), found.failures[:5]


@pytest.mark.parametrize("planted", choose(HARMLESS))
def test_rewrite_passes(planted, migrated, tmp_path):
    found = judge(planted, migrated, tmp_path / "candidate")
    assert found.verdict.value == "PASS", found.failures[:5] or found.not_compared
