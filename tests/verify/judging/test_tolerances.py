"""Tolerance files: what they say, and what is wrong with those that say nothing."""

import json

import pytest

from migrate import errors
from migrate.options import Tolerance
from migrate.verify.judging import tolerances


def write(folder, text):
    path = folder / tolerances.FILE_NAME
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return str(path)


def test_forms(tmp_path):
    path = write(tmp_path, {"a": [1e-3, 0], "f/b*": [0, 1, 4], "c": {"ulp": 2}, "d": {"relative": 0.5}})
    assert tolerances.load_tolerances(path) == {
        "a": Tolerance(relative=1e-3, absolute=0),
        "f/b*": Tolerance(relative=0, absolute=1, ulp=4),
        "c": Tolerance(relative=0, absolute=0, ulp=2),
        "d": Tolerance(relative=0.5, absolute=0),
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "no JSON"),
        ("[]", "not a JSON object"),
        ({"a": [1]}, r"\['a'\].* is no tolerance"),
        ({"a": 1}, "is no tolerance"),
        ({"a": {}}, "is no tolerance"),
        ({"a": {"rel": 1}}, "is no tolerance"),
        ({"a": ["x", 1]}, "is no tolerance"),
        ({"a": [0, 0, 1.5]}, "is no tolerance"),
        ({"a": [-1, 0]}, "cannot be negative"),
        ({"a": [float("nan"), 0]}, "cannot be negative"),
    ],
)
def test_bad_files(tmp_path, text, complaint):
    with pytest.raises(errors.CorruptModelError, match=complaint):
        tolerances.load_tolerances(write(tmp_path, text))


def test_absent_file(tmp_path):
    with pytest.raises(errors.SourceNotFoundError):
        tolerances.load_tolerances(str(tmp_path / "absent.json"))


def test_where_it_is_looked_for(tmp_path):
    assert tolerances.find_file(str(tmp_path)) == ""
    path = write(tmp_path, {})
    (tmp_path / "model.h5").write_bytes(b"")
    assert tolerances.find_file(str(tmp_path)) == tolerances.find_file(str(tmp_path / "model.h5")) == path
