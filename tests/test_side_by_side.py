"""One model in several processes at once: which there are, and that what they find is what they find in turn."""

import dataclasses
import os
import threading

import pytest

import migrate
from migrate.isolation import client
from migrate.options import Limits, MigrateOptions
from migrate.verify.results import BESIDE
from migrate.verify.runners.request import RunRequest
from tests import sharing

MODELS = ("hub_image_batch_norm", pytest.param("tf18_dnn_classifier", marks=pytest.mark.slow))


@pytest.fixture
def jobs(monkeypatch):
    """(target, thread) of each job that is begun."""
    begun = []
    run = client.Server.run

    def note(server, job, *arguments, **options):
        begun.append((job.target.split(":")[0].rpartition(".")[2], threading.current_thread()))
        return run(server, job, *arguments, **options)

    monkeypatch.setattr(client.Server, "run", note)
    return begun


@pytest.fixture
def cores():
    with sharing.all_cores() as count:
        if count < 2:
            pytest.skip("one core")
        yield


@pytest.mark.parametrize("slug", MODELS)
def test_the_same_is_found(slug, zoo_path, tmp_path, jobs, cores):
    source = zoo_path / slug / "model"
    at_once = migrate.migrate_model(source, tmp_path / "at_once")
    mine = threading.current_thread()
    assert ("building", mine) in jobs and ("baseline", mine) not in jobs
    assert [name for name, _ in jobs].count("baseline") >= 1
    beside = [name for name, thread in jobs if thread is not mine]
    # What it is asked first is begun before the original's answers are awaited.
    assert beside.count("candidate") == 2 and ("candidate", mine) not in jobs
    jobs.clear()
    in_turn = migrate.migrate_model(source, tmp_path / "in_turn", MigrateOptions(side_by_side=False))
    assert {thread for _, thread in jobs} == {mine}
    assert at_once.verification.verdict.value == "PASS"
    assert describe(at_once) == describe(in_turn)


def test_neither_side_may_write_to_the_other(zoo_path, tmp_path, monkeypatch, cores):
    """Both run at once, and what one has answered, or is asked, lies where the other could reach it."""
    begun = []
    run = client.Server.run

    def note(server, job, request, **options):
        if isinstance(request, RunRequest):
            begun.append((job.target, request, set(options["read_only"])))
        return run(server, job, request, **options)

    monkeypatch.setattr(client.Server, "run", note)
    outcome = migrate.migrate_model(zoo_path / "hub_image_batch_norm" / "model", tmp_path / "out")
    assert outcome.status.value == "migrated"
    folders = {}
    for target, request, _ in begun:
        # What it answers lies in a folder of its side's own; of the candidate so does the copy that is run.
        folders.setdefault(target, set()).add(os.path.dirname(request.results.removesuffix(f"/{BESIDE}")))
    assert len(folders) == 2 and {len(own) for own in folders.values()} == {1}
    for target, request, read_only in begun:
        (other,) = set().union(*(own for kind, own in folders.items() if kind != target))
        assert {request.path, request.calls, other} <= read_only
        assert not {request.results, os.path.dirname(request.results)} & read_only
    candidates = next(iter(folders["migrate.verify.runners.candidate:run"]))
    assert {os.path.dirname(r.path) for target, r, _ in begun if "candidate" in target} == {candidates}


def describe(outcome):
    """All that was compared, without what differs from run to run."""
    verification = dataclasses.asdict(outcome.verification)
    return {**verification, "diffs": sorted(verification["diffs"], key=repr)}


@pytest.mark.parametrize("limits", [Limits(memory_limit=2**33), Limits(disk_limit=2**33)])
def test_what_a_limit_bounds_is_one_process(limits, cores):
    assert MigrateOptions().runs_side_by_side
    assert not MigrateOptions(limits=limits).runs_side_by_side


def test_one_core_is_not_shared(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    assert not MigrateOptions().runs_side_by_side
