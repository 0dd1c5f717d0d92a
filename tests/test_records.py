"""Typed values survive JSON unchanged; what is no such value is refused with its place."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from migrate import records
from migrate.model import Severity
from migrate.options import RebuildOptions, Tolerance


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    nothing: None = None
    flag: bool = True
    count: int = 3
    ratio: float = 0.5
    severity: Severity = Severity.WARNING
    tags: tuple[str, ...] | None = ("a", "b")
    pair: tuple[str, int] = ("x", 1)
    pairs: tuple[tuple[str, str], ...] = (("a", "b"),)
    listed: list[float] = dataclasses.field(default_factory=lambda: [1.0, 2.0])
    by_name: Mapping[str, Tolerance] = dataclasses.field(default_factory=lambda: {"y": Tolerance(ulp=4)})
    rebuild: RebuildOptions = dataclasses.field(default_factory=lambda: RebuildOptions(training_tags=()))
    anything: Any = dataclasses.field(default_factory=lambda: {"a": [1, None]})


def test_there_and_back():
    value = Everything()
    again = records.from_json(Everything, json.loads(json.dumps(records.to_json(value))))
    assert again == value
    assert type(again.tags) is tuple and type(again.pairs[0]) is tuple and again.rebuild.training_tags == ()


def test_none_is_not_the_empty_tuple():
    again = records.from_json(Everything, records.to_json(Everything(tags=None)))
    assert again.tags is None


def test_whole_number_is_a_float():
    assert type(records.from_json(Everything, {"ratio": 1}).ratio) is float


def test_absent_fields_keep_their_defaults():
    assert records.from_json(Everything, {}) == Everything()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"unknown": 1}, "Everything has no field unknown"),
        ({"count": "3"}, r"Everything\.count is '3', not int"),
        ({"count": 0.5}, r"Everything\.count is 0\.5, not int"),
        ({"count": True}, r"Everything\.count is True, not int"),
        ({"flag": 1}, r"Everything\.flag is 1, not bool"),
        ({"nothing": 0}, r"Everything\.nothing is 0, not null"),
        ({"tags": "ab"}, r"Everything\.tags is 'ab', not a list"),
        ({"tags": ["a", 1]}, r"Everything\.tags\[1\] is 1, not str"),
        ({"pair": ["x"]}, r"Everything\.pair is \['x'\], not a list of 2"),
        ({"by_name": []}, r"Everything\.by_name is \[\], not an object"),
        ({"by_name": {"y": {"ulp": "1"}}}, r"Everything\.by_name\['y'\]\.ulp is '1', not int"),
        ({"rebuild": 1}, r"Everything\.rebuild is 1, not an object"),
    ],
)
def test_what_is_refused(value, message):
    with pytest.raises(TypeError, match=message):
        records.from_json(Everything, value)


def test_value_of_an_enum_that_does_not_exist():
    with pytest.raises(ValueError, match="loud"):
        records.from_json(Everything, {"severity": "loud"})


@pytest.mark.parametrize("value", [{1: 2}, {"a": object()}, [b"bytes"], {"a": {3}}])
def test_what_has_no_spelling(value):
    with pytest.raises(TypeError, match=r"no spelling|no string"):
        records.to_json(value)


def test_ambiguous_and_foreign_types():
    with pytest.raises(TypeError, match="does not tell which"):
        records.from_json(int | str, 1)
    with pytest.raises(TypeError, match="do not cross"):
        records.from_json(set[str], [])
