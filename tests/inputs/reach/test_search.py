"""The search makes what was planned, then what reaches more, within its budget, alike for the same seed."""

import numpy as np
import pytest

from migrate.inputs.calls import Call
from migrate.inputs.reach import search

_PLACE = (("serve",), "predict")


def _planned(**inputs):
    return [Call(tags=_PLACE[0], signature=_PLACE[1], case="batch_1", inputs=inputs)]


def _search(planned, attempt, goals=frozenset({0, 1, 2}), constants=(500.0,), **budget):
    return search.search_calls(planned, {_PLACE: goals}, attempt, constants, seed=0, **budget)


def _tell(call):
    total = float(call.inputs["x"].sum())
    return {0} | ({1} if total > 400 else set()) | ({2} if total < -400 else set())


def test_finds_both_sides():
    found = _search(_planned(x=np.ones([1, 2], np.float32)), _tell)

    assert found.reached == {0, 1, 2}
    assert [call.case for call in found.calls] == ["reached_0", "reached_1"]
    assert 0 < found.attempts <= search.MOST_CALLS


def test_is_alike_for_one_seed():
    first, second = (_search(_planned(x=np.ones([1, 2], np.float32)), _tell) for _ in range(2))

    assert first.attempts == second.attempts
    assert all(np.array_equal(a.inputs["x"], b.inputs["x"]) for a, b in zip(first.calls, second.calls, strict=True))


def test_stops_at_its_budget():
    calls = []
    found = _search(_planned(x=np.ones([1, 2], np.float32)), lambda call: calls.append(call) or {0}, most_calls=7)

    assert found.attempts == 7
    assert len(calls) == 8
    assert not found.calls


def test_makes_no_call_where_all_is_reached():
    assert _search(_planned(x=np.ones([1], np.float32)), lambda _: {0, 1, 2}).attempts == 0


def test_what_is_refused_is_not_kept():
    found = _search(
        _planned(x=np.ones([1, 2], np.float32)), lambda call: None if call.case.startswith("reached") else {0}
    )

    assert found.reached == {0}
    assert not found.calls


@pytest.mark.parametrize(
    "value",
    [
        np.ones([2, 3], np.float32),
        np.arange(4, dtype=np.int64),
        np.array([b"a", b"bc"], object),
        np.array([True, False]),
        np.array(3, np.uint8),
    ],
)
def test_changed_inputs_keep_their_dtype_and_rank(value):
    rng = np.random.default_rng(0)
    for _ in range(40):
        changed = search.mutate({"x": value}, (7, b"word", -2.5), [{"x": value}], rng)["x"]
        assert changed.dtype == value.dtype
        assert changed.ndim == value.ndim
