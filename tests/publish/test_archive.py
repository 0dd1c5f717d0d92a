"""The archive that hub hosting serves."""

import io
import os
import pathlib
import tarfile

import pytest

from migrate import errors
from migrate.publish import archive
from migrate.sources.archives import unpack_archive


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


def test_root_is_the_model_and_owner_is_nobody(model, tmp_path):
    path = archive.write_archive(str(model), str(tmp_path / "model.tar.gz"))
    with tarfile.open(path) as tar:
        assert tar.getnames() == [".", "./saved_model.pb", "./variables", "./variables/variables.index"]
        assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in tar} == {(0, 0, "", "", 0)}


def test_equal_models_give_equal_bytes(model, tmp_path):
    first = archive.write_archive(str(model), str(tmp_path / "a.tar.gz"))
    os.utime(model / "saved_model.pb", (1, 1))
    os.chmod(model / "saved_model.pb", 0o600)
    model.rename(tmp_path / "elsewhere")
    second = archive.write_archive(str(tmp_path / "elsewhere"), str(tmp_path / "b.tar.gz"))
    assert pathlib.Path(first).read_bytes() == pathlib.Path(second).read_bytes()


def test_unpacks_to_the_model(model, tmp_path):
    path = archive.write_archive(str(model), str(tmp_path / "model.tar.gz"))
    unpack_archive(path, str(tmp_path / "out"))
    assert (tmp_path / "out" / "variables" / "variables.index").read_bytes() == b"index"


def test_nothing_half_written(model, tmp_path, monkeypatch):
    def fail(folder, file):
        file.write(b"begun")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "pack", fail)
    with pytest.raises(errors.DestinationError, match="No space"):
        archive.write_archive(str(model), str(tmp_path / "model.tar.gz"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_packs_into_any_file(model):
    file = io.BytesIO()
    archive.pack(str(model), file)
    assert file.getvalue()[:2] == b"\x1f\x8b"
