"""Which models a root or a manifest holds."""

import pytest

from migrate import errors
from migrate.zoo import discover_models, parse_manifest


def _touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _relative(root):
    return [entry.relative for entry in discover_models(str(root))]


def test_models_keep_their_path(tmp_path):
    _touch(tmp_path / "b" / "saved_model.pb", tmp_path / "a" / "x" / "saved_model.pbtxt", tmp_path / "c" / "readme.md")
    assert _relative(tmp_path) == ["a/x", "b"]


def test_no_model_inside_a_model(tmp_path):
    _touch(
        tmp_path / "outer" / "saved_model.pb",
        tmp_path / "outer" / "assets.extra" / "inner" / "saved_model.pb",
        tmp_path / "module" / "tfhub_module.pb",
        tmp_path / "module" / "variables" / "saved_model.pb",
    )
    assert _relative(tmp_path) == ["module", "outer"]


def test_dot_folders_are_left_out(tmp_path):
    _touch(tmp_path / ".cache" / "saved_model.pb", tmp_path / "a" / ".git" / "m" / "saved_model.pb")
    _touch(tmp_path / ".m.abc.partial" / "model" / "saved_model.pb", tmp_path / "a" / "m" / "saved_model.pb")
    assert _relative(tmp_path) == ["a/m"]


def test_every_version_is_a_model(tmp_path):
    _touch(tmp_path / "m" / "1580000000" / "saved_model.pb", tmp_path / "m" / "1580000001" / "saved_model.pb")
    assert _relative(tmp_path) == ["m/1580000000", "m/1580000001"]


def test_root_that_is_a_model(tmp_path):
    _touch(tmp_path / "m" / "saved_model.pb")
    (entry,) = discover_models(str(tmp_path / "m"))
    assert entry.relative == "m" and entry.path == str(tmp_path / "m")


def test_exports_below_a_checkpoint(tmp_path):
    """An Estimator's model_dir: neither is lost, and neither is written into the other."""
    kept = tmp_path / "zoo" / "model_dir"
    _touch(
        kept / "m.index",
        kept / "m.data-00000-of-00001",
        kept / "checkpoint",
        kept / "eval" / "events.out",
        kept / "m.meta",
    )
    assert _relative(tmp_path / "zoo") == ["model_dir"] and _relative(kept) == ["model_dir"]
    _touch(kept / "export" / "best" / "1580000000" / "saved_model.pb")
    assert _relative(tmp_path / "zoo") == ["model_dir/checkpoint", "model_dir/export/best/1580000000"]
    assert _relative(kept) == ["checkpoint", "export/best/1580000000"]


def test_links_are_not_followed(tmp_path):
    """A link to its own parent would never end."""
    _touch(tmp_path / "m" / "saved_model.pb")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert _relative(tmp_path) == ["m"]


def test_model_files(tmp_path):
    """A file counts by its content: a .pb that holds no graph is somebody's data."""
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n....")
    (tmp_path / "data.h5").write_bytes(b"nothing of the kind")
    (tmp_path / "graph.pb").write_bytes(b"\x0a\x03\x0a\x01x")
    (tmp_path / "labels.pb").write_bytes(b"\xff\xff")
    (tmp_path / "notes.txt").write_bytes(b"hello")
    assert _relative(tmp_path) == ["graph.pb", "m.h5"]


def test_missing_root(tmp_path):
    with pytest.raises(errors.SourceNotFoundError, match="no such folder"):
        discover_models(str(tmp_path / "nowhere"))


def test_manifest(tmp_path):
    _touch(tmp_path / "a" / "saved_model.pb", tmp_path / "deep" / "b" / "saved_model.pb")
    manifest = tmp_path / "list.txt"
    manifest.write_text("# ours\n\na\ndeep/b   # the second\n", encoding="utf-8")
    found = parse_manifest(str(manifest))
    assert [(entry.path, entry.relative) for entry in found] == [
        (str(tmp_path / "a"), "a"),
        (str(tmp_path / "deep" / "b"), "deep/b"),
    ]


def test_manifest_paths_outside_keep_their_name(tmp_path):
    _touch(tmp_path / "elsewhere" / "m" / "saved_model.pb")
    manifest = tmp_path / "lists" / "list.txt"
    _touch(manifest)
    manifest.write_text(f"../elsewhere/m\n{tmp_path / 'elsewhere'}\n", encoding="utf-8")
    assert [entry.relative for entry in parse_manifest(str(manifest))] == ["m", "elsewhere"]


def test_manifest_names_all_that_is_missing(tmp_path):
    manifest = tmp_path / "list.txt"
    manifest.write_text("one\n\ntwo\n", encoding="utf-8")
    with pytest.raises(errors.SourceNotFoundError, match=r"line 1: one; line 3: two"):
        parse_manifest(str(manifest))


def test_manifest_refuses_two_models_of_one_destination(tmp_path):
    _touch(tmp_path / "x" / "m" / "saved_model.pb", tmp_path / "y" / "m" / "saved_model.pb")
    manifest = tmp_path / "z" / "list.txt"
    _touch(manifest)
    manifest.write_text("../x/m\n../y/m\n", encoding="utf-8")
    with pytest.raises(errors.UsageError, match="line 2 would be written over"):
        parse_manifest(str(manifest))
