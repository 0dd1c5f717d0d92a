"""What the runner of migrated models is asked, and what it is not."""

import dataclasses
import pathlib

import numpy as np
import pytest

import migrate
from migrate.inputs.calls import Call, save_calls
from migrate.options import Limits
from migrate.verdict import CALLABLE, LAYER, PLAIN, SESSION, SIGNATURE
from migrate.verify.runners.request import RunRequest
from migrate.verify.runners.side import MIGRATED, Side, run_side

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
    found = run_side(Side(kind=MIGRATED, request=fewer, label="fewer"), Limits())
    assert {call for _, call in found.outputs} == {some}
    assert not found.refusals


def test_what_is_read_before_the_model_is_given_up_is_there(request_of_two_calls):
    request, (some, _) = request_of_two_calls
    found = run_side(Side(kind=MIGRATED, request=request, label="every"), Limits())
    assert len(found.losses) == 2
    assert len(found.trainable) == 4
    routes = {route for route, call in found.outputs if call == some}
    assert routes == {CALLABLE, PLAIN, SIGNATURE, SESSION, LAYER}
