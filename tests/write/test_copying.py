"""Whole models are copied as what their links lead to, and nothing from outside of them."""

import os

import pytest

from migrate import errors
from migrate.write import copying


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"\0" * 70_000)
    return folder


def list_files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder(model, tmp_path):
    (model / "again").symlink_to("variables/data")
    copying.copy_model(str(model), str(tmp_path / "copy"))
    assert list_files(tmp_path / "copy") == list_files(model)
    assert not (tmp_path / "copy" / "again").is_symlink() and (tmp_path / "copy" / "empty").is_dir()
    assert (tmp_path / "copy" / "saved_model.pb").stat().st_ino != (model / "saved_model.pb").stat().st_ino


def test_a_file(model, tmp_path):
    copying.copy_model(str(model / "variables" / "data"), str(tmp_path / "copy.h5"))
    assert (tmp_path / "copy.h5").read_bytes() == b"\0" * 70_000


def test_a_model_behind_a_link(model, tmp_path):
    """The name may be a link; what lies in the folder is the model's."""
    (tmp_path / "name").symlink_to(model)
    copying.copy_model(str(tmp_path / "name"), str(tmp_path / "copy"))
    assert list_files(tmp_path / "copy") == list_files(model)


def link_out(model):
    (model.parent / "secret").write_text("mine", encoding="utf-8")
    (model / "asset").symlink_to(model.parent / "secret")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (link_out, "leads out"),
        (lambda model: (model / "asset").symlink_to("variables"), "link to a folder"),
        (lambda model: (model / "asset").symlink_to("absent"), "neither a file nor a folder"),
        (lambda model: os.mkfifo(model / "asset"), "neither a file nor a folder"),
    ],
)
def test_what_is_no_part_of_a_model(model, tmp_path, spoil, message):
    spoil(model)
    with pytest.raises(errors.CorruptModelError, match=message) as raised:
        copying.copy_model(str(model), str(tmp_path / "copy"))
    assert raised.value.where == str(model / "asset")


def test_hard_links(model, tmp_path):
    copying.link_model(str(model), str(tmp_path / "linked"))
    assert list_files(tmp_path / "linked") == list_files(model)
    assert (tmp_path / "linked" / "saved_model.pb").stat().st_ino == (model / "saved_model.pb").stat().st_ino
