"""Every hostile model is refused in a second with the place of the fault, and nothing of it has run."""

import time

import pytest

from migrate import errors, scan
from tests.scan.hostile import HOSTILE

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


@pytest.mark.parametrize("name", BY_NAME)
def test_scan_refuses(made, name):
    case = BY_NAME[name]
    folder, outside = made(name)
    started = time.monotonic()
    with pytest.raises(errors.SourceError) as failure:
        scan.check_files(str(folder))
        scan.check_model(str(folder))
    assert time.monotonic() - started < 5
    text = str(failure.value)
    assert "\n" not in text and str(folder) in text, text
    for word in case.words:
        assert word in text, text
    assert not (outside / "written").exists()
    if case.allow:
        scan.check_model(str(folder), case.allow)
