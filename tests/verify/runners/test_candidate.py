"""What the runner of migrated models is asked, and what it is not."""

import dataclasses
import pathlib

import numpy as np
import pytest

import migrate
from migrate.inputs.calls import Call, save_calls
from migrate.isolation import Aside, JobError
from migrate.options import Limits
from migrate.verdict import CALLABLE, LAYER, PLAIN, SESSION, SIGNATURE
from migrate.verify.results import Results
from migrate.verify.runners import side as side_module
from migrate.verify.runners.request import COPIES, OBJECT, RunRequest
from migrate.verify.runners.side import MIGRATED, Side, begin_side, run_side

run = side_module._run
MODEL = pathlib.Path(__file__).resolve().parents[3] / "testdata" / "zoo" / "hub_dense_l2" / "model"


@pytest.fixture(scope="module")
def request_of_two_calls(tmp_path_factory):
    """With two rows, and with none."""
    folder = tmp_path_factory.mktemp("candidate")
    assert migrate.migrate_model(MODEL, folder / "migrated").status.value == "migrated"
    calls = [
        Call(tags=(), signature="default", case=f"batch_{rows}", inputs={"default": np.ones([rows, 3], np.float32)})
        for rows in (2, 0)
    ]
    (folder / "calls").mkdir()
    save_calls(str(folder / "calls"), calls)
    return RunRequest(
        path=str(folder / "migrated"), calls=str(folder / "calls"), results=str(folder / "all"), losses=True
    ), [call.id for call in calls]


def test_what_the_original_refuses_is_not_asked(request_of_two_calls):
    request, (some, none) = request_of_two_calls
    every = run_side(Side(kind=MIGRATED, request=request, label="every"), Limits())
    assert {call for _, call in every.outputs} == {some, none}
    fewer = dataclasses.replace(request, refused=(none,), results=request.results.replace("all", "fewer"))
    run_side(Side(kind=MIGRATED, request=fewer, label="fewer"), Limits())
    found = Results.load(fewer.results)  # all that was answered
    assert {call for _, call in found.outputs} == {some}
    assert not found.refusals


def test_what_was_begun_is_asked_all_and_forgets_what_is_refused(request_of_two_calls, monkeypatch):
    """The object is asked before the original has refused anything; its own process ran once."""
    request, (some, none) = request_of_two_calls
    side = Side(kind=MIGRATED, request=dataclasses.replace(request, results=f"{request.results}_begun"), label="begun")
    asked = []
    monkeypatch.setattr(side_module, "_run", lambda part, limits: asked.append(part.request) or run(part, limits))
    with begin_side(side, Limits()) as begun:
        known = dataclasses.replace(side, request=dataclasses.replace(side.request, refused=(none,)))
        found = run_side(known, Limits(), side_by_side=True, begun=begun)
    assert sorted((part.part, part.refused) for part in asked) == [(COPIES, (none,)), (OBJECT, ())]
    assert {call for _, call in found.outputs} == {some}
    assert {route for route, _ in found.outputs} == {CALLABLE, PLAIN, SIGNATURE, SESSION, LAYER}


@pytest.mark.parametrize("state", ["died", "timed_out"])
def test_what_died_of_a_refused_input_is_asked_the_others(request_of_two_calls, state):
    request, (some, none) = request_of_two_calls
    request = dataclasses.replace(request, results=f"{request.results}_{state}")

    def fail(interrupt):
        raise JobError("it ended", state=state)

    def finish(**told):
        side = Side(kind=MIGRATED, request=dataclasses.replace(request, **told), label="again")
        with Aside(fail) as begun:
            return run_side(side, Limits(), side_by_side=True, begun=begun)

    with pytest.raises(JobError, match="it ended"):
        finish()
    if state == "died":
        assert {call for _, call in finish(refused=(none,)).outputs} == {some}
    else:
        with pytest.raises(JobError, match="it ended"):
            finish(refused=(none,))


def test_nothing_is_begun_of_what_hangs_on_the_other_side(request_of_two_calls):
    request, (some, _) = request_of_two_calls
    for change in (
        {"repeat": True},
        {"draw_calls": {some: 2}},
        {"reweigh_calls": (some,)},
        {"gradient_calls": (some,)},
    ):
        side = Side(kind=MIGRATED, request=dataclasses.replace(request, **change), label="")
        assert begin_side(side, Limits()) is None
    assert begin_side(Results(), Limits()) is None


def test_what_is_read_before_the_model_is_given_up_is_there(request_of_two_calls):
    request, (some, _) = request_of_two_calls
    found = run_side(Side(kind=MIGRATED, request=request, label="every"), Limits())
    assert len(found.losses) == 2
    assert len(found.trainable) == 4
    routes = {route for route, call in found.outputs if call == some}
    assert routes == {CALLABLE, PLAIN, SIGNATURE, SESSION, LAYER}
