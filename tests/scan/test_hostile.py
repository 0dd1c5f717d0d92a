"""Every hostile model is refused in a second with the place of the fault, and nothing of it has run."""

import sys
import time

import pytest

import migrate
from migrate import errors, scan
from tests.scan.hostile import HOSTILE
from tests.scan.hostile.invalid import LATE

BY_NAME = {case.name: case for case in HOSTILE}


@pytest.fixture
def made(tmp_path):
    """Writes a case; (model, folder outside of it)."""

    def make(name):
        folder, outside = tmp_path / "model", tmp_path / "outside"
        outside.mkdir()
        (outside / "secret.txt").write_text("root:x:0\n", encoding="utf-8")
        BY_NAME[name].write(folder, outside)
        return folder, outside

    return make


def test_there_are_many():
    assert len(BY_NAME) == len(HOSTILE) >= 60


# Coverage's tracing alone makes the largest of them take half again as long.
CPU_SECONDS = 5 if sys.gettrace() is None else 20


@pytest.mark.parametrize("name", BY_NAME)
def test_scan_refuses(made, name):
    case = BY_NAME[name]
    folder, outside = made(name)
    started = time.process_time()
    with pytest.raises(errors.SourceError) as failure:
        scan.check_files(str(folder))
        scan.check_model(str(folder))
    assert time.process_time() - started < CPU_SECONDS
    text = str(failure.value)
    assert "\n" not in text and str(folder) in text, text
    for word in case.words:
        assert word in text, text
    assert not (outside / "written").exists()
    if case.allow:
        scan.check_model(str(folder), case.allow)


# One of each kind by default: what runs a model is the same for all.
_QUICK = (
    "write_in_legacy_init_op",
    "read_into_variable",
    "pipe_proto",
    "doubled_tensors",
    "mutual_recursion",
    "op_twice",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in _QUICK else pytest.mark.slow) for name in BY_NAME]
)
def test_migration_is_blocked(made, name, tmp_path):
    """Nothing of it runs, nothing is written, within or without."""
    folder, outside = made(name)
    before = sorted(outside.rglob("*"))
    outcome = migrate.migrate_model(folder, tmp_path / "out" / "migrated")
    assert outcome.status.value == "blocked", outcome.error
    assert "\n" not in outcome.error
    assert sorted(outside.rglob("*")) == before
    assert not list((tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else True


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=pytest.mark.slow) for case in LATE[1:]]
    + [pytest.param(LATE[0], id=LATE[0].name)],
)
def test_what_tensorflow_refuses_is_blocked(case, tmp_path):
    case.write(tmp_path / "model", tmp_path)
    outcome = migrate.migrate_model(tmp_path / "model", tmp_path / "migrated")
    assert outcome.status.value == "blocked" and not (tmp_path / "migrated").exists()
    assert "\n" not in outcome.error and all(word in outcome.error for word in case.words), outcome.error


def test_an_op_that_is_allowed_runs(made, tmp_path):
    folder, _ = made("write_in_signature")
    options = migrate.MigrateOptions(allow_unsafe_ops=("WriteFile",), verify="none")
    outcome = migrate.migrate_model(folder, tmp_path / "migrated", options)
    assert outcome.status.value == "migrated", outcome.error
    allowed = migrate.MigrateOptions(allow_unsafe_ops=("ReadFile",), verify="none")
    assert migrate.migrate_model(folder, tmp_path / "other", allowed).status.value == "blocked"


def test_comparison_refuses(made):
    folder, outside = made("write_in_function")
    with pytest.raises(errors.UnsafeModelError, match="WriteFile"):
        migrate.compare_models(folder, folder)
    assert not (outside / "written").exists()
