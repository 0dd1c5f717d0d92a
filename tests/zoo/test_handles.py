"""Models that come as archives or by handles; archives of something else are no models."""

import hashlib
import json
import shutil
import tarfile
import zipfile

import pytest

from migrate import errors, zoo
from migrate.options import MigrateOptions, ZooOptions
from tests.sources.servers import send, serving
from tests.zoo.conftest import ZOO, copy_model

UNVERIFIED = ZooOptions(migrate=MigrateOptions(verify="none"))
RESUMED = ZooOptions(migrate=MigrateOptions(verify="none"), resume=True)


def _pack(path, *slugs):
    with tarfile.open(path, "w:gz") as tar:
        for slug in slugs:
            tar.add(ZOO / slug / "model", arcname=slug if len(slugs) > 1 else ".")
    return path


def test_manifest_of_handles(tmp_path, monkeypatch):
    """A server's model, one of tensorflow_hub's cache, an archive and a folder: each at its place, and once only."""
    cached = "https://example.org/publisher/cached/1"
    cache = tmp_path / "cache"
    copy_model("frozen_constants", cache / hashlib.sha1(f"{cached}?tf-hub-format=compressed".encode()).hexdigest())
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(cache))
    served = _pack(tmp_path / "served.tar.gz", "hub_dense_l2").read_bytes()
    _pack(tmp_path / "packed.tgz", "frozen_constants")
    dest = tmp_path / "out"
    with serving(send(served)) as (address, asked):
        place = f"{address.removeprefix('http://')}/publisher/model/1"
        lines = [f"{address}/publisher/model/1?tf-hub-format=compressed", cached, "packed.tgz"]
        (tmp_path / "list.txt").write_text("\n".join(lines), encoding="utf-8")
        report = zoo.migrate_zoo(tmp_path / "list.txt", dest, UNVERIFIED)
        assert [(o.status.value, o.error) for o in report.outcomes] == [("migrated", "")] * 3
        assert [o.source for o in report.outcomes][:2] == lines[:2]
        for folder in (place, "example.org/publisher/cached/1", "packed.tgz"):
            assert (dest / folder / "saved_model.pb").is_file(), folder
        zoo.migrate_zoo(tmp_path / "list.txt", dest, RESUMED)
    assert asked == ["/publisher/model/1?tf-hub-format=compressed"]


@pytest.mark.parametrize("handle", ["https://example.org", "https://example.org/a/../../b", "s3://bucket/%2e%2e/m"])
def test_handle_that_names_no_place(tmp_path, handle):
    (tmp_path / "list.txt").write_text(handle, encoding="utf-8")
    with pytest.raises(errors.UsageError, match="names no model"):
        zoo.parse_manifest(str(tmp_path / "list.txt"))


def test_handles_of_one_place(tmp_path):
    """Two spellings of one handle would be written over each other."""
    lines = ["https://user:secret@example.org/m/1", "https://EXAMPLE.org/m/1/?tf-hub-format=compressed"]
    (tmp_path / "list.txt").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(errors.UsageError, match=r"example\.org/m/1 and example\.org/m/1 are one place"):
        zoo.parse_manifest(str(tmp_path / "list.txt"))


def test_archives_below_a_zoo(tmp_path):
    """Those of one model are migrated; those of data are skipped, whatever they are named; damage is told."""
    root = tmp_path / "zoo"
    root.mkdir()
    _pack(root / "module.tar.gz", "hub_dense_l2")
    shutil.make_archive(str(root / "export"), "zip", ZOO / "frozen_constants", "model")
    _pack(root / "two.tgz", "hub_dense_l2", "frozen_constants")
    with zipfile.ZipFile(root / "images.zip", "w") as archive:
        archive.writestr("images/1.png", b"\x89PNG")
    with zipfile.ZipFile(root / "labels.zip", "w") as archive:
        archive.writestr("labels.pbtxt", 'item { id: 1 name: "cat" }')
    with zipfile.ZipFile(root / "mobile.zip", "w") as archive:
        archive.writestr("m.tflite", b"\x1c\0\0\0TFL3....")
    (root / "cut.tar.gz").write_bytes((root / "module.tar.gz").read_bytes()[:200])
    plan = {row.relative: row.action for row in zoo.plan_zoo(root, tmp_path / "out", UNVERIFIED).rows}
    assert (plan["images.zip"], plan["module.tar.gz"], plan["export.zip"]) == ("skip", "migrate", "migrate")
    zoo.migrate_zoo(root, tmp_path / "out", UNVERIFIED)
    report = json.loads((tmp_path / "out" / "_migration" / "report.json").read_text(encoding="utf-8"))
    found = {model["source"].rpartition("/")[2]: (model["status"], model["error"] or "") for model in report["models"]}
    assert {name: status for name, (status, _) in found.items()} == {
        "module.tar.gz": "migrated", "export.zip": "migrated", "two.tgz": "blocked", "cut.tar.gz": "blocked",
        "images.zip": "skipped", "labels.zip": "skipped", "mobile.zip": "skipped",
    }  # fmt: skip
    assert "holds 2 models" in found["two.tgz"][1] and "cannot be unpacked" in found["cut.tar.gz"][1]
