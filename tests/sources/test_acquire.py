"""Handles: servers, caches, stores; each thing that goes wrong is one clear error."""

import hashlib
import pathlib
import shutil
import tarfile

import pytest

import migrate
from migrate import errors
from migrate.model import Format
from migrate.sources import acquire_source, download, handles
from migrate.zoo import discovery, manifest

from .servers import drip, hang, send, serving

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"
MODULE = ZOO / "hub_dense_l2" / "model"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The module as a hub archive: its root is the archive's."""
    path = tmp_path_factory.mktemp("archive") / "module.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(MODULE, arcname=".")
    return path


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)


def test_handle_is_asked_for_as_hub_asks(archive, tmp_path):
    with serving(send(archive.read_bytes())) as (address, asked):
        found = acquire_source(f"{address}/publisher/model/1", str(tmp_path))
    assert asked == ["/publisher/model/1?tf-hub-format=compressed"]
    assert found.format is Format.TF1_HUB_MODULE
    assert found.origin == f"{address}/publisher/model/1"


@pytest.mark.parametrize("tail", ["/m.tar.gz", "/m/1?tf-hub-format=compressed"])
def test_url_that_says_what_it_is(archive, tmp_path, tail):
    with serving(send(archive.read_bytes())) as (address, asked):
        assert acquire_source(f"{address}{tail}", str(tmp_path)).format is Format.TF1_HUB_MODULE
    assert asked == [tail]


def test_migrated_from_a_server(archive, tmp_path):
    """All the way: the outcome is named by the handle, and its record keeps it."""
    with serving(send(archive.read_bytes())) as (address, _):
        handle = f"{address}/publisher/model/1"
        outcome = migrate.migrate_model(handle, tmp_path / "out", migrate.MigrateOptions(verify="none"))
    assert (outcome.status.value, outcome.source) == ("migrated", handle)
    assert handle in (tmp_path / "out" / "assets.extra" / "migration.json").read_text(encoding="utf-8")


FAULTS = {
    "refuses": (send(b"gone", status=404), "answers 404"),
    "closes early": (send(b"\x1f\x8b" + b"x" * 1000, length=5000), "broke off"),
    "says less than it sends": (send(b"\x1f\x8b" + b"x" * 5000, length=100), "cannot be unpacked"),
    "says nonsense of its length": (send(b"x", length="many"), "length of 'many'"),
    "sends nothing": (send(b""), "sent nothing"),
    "sends a page": (send(b"<html>welcome</html>"), "unknown"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_server_at_fault(name, tmp_path):
    """The model is blocked, and nothing is written."""
    answer, reason = FAULTS[name]
    with serving(answer) as (address, _):
        outcome = migrate.migrate_model(f"{address}/m/1", tmp_path / "out")
    assert outcome.status.value == "blocked" and reason in outcome.error, outcome
    assert list(tmp_path.iterdir()) == []


def test_server_that_hangs(tmp_path):
    with serving(hang) as (address, _), pytest.raises(errors.CorruptModelError, match="is silent"):
        download.download(f"{address}/m", str(tmp_path / "m"), stall=0.5)


def test_server_that_drips(tmp_path):
    """Never silent, never done: the limit on the whole ends it."""
    with serving(drip) as (address, _), pytest.raises(errors.CorruptModelError, match="takes longer"):
        download.download(f"{address}/m", str(tmp_path / "m"), timeout=0.5)


def test_server_that_sends_too_much(tmp_path):
    with serving(send(b"x" * 10_000)) as (address, _), pytest.raises(errors.CorruptModelError, match="more than 1,000"):
        download.download(f"{address}/m", str(tmp_path / "m"), max_bytes=1000)


def test_nobody_listens(tmp_path):
    outcome = migrate.migrate_model("http://127.0.0.1:9/m/1", tmp_path / "out")
    assert outcome.status.value == "blocked" and "cannot be reached" in outcome.error


def test_unknown_scheme(tmp_path):
    with pytest.raises(errors.UsageError, match="ftp://"):
        migrate.migrate_model("ftp://example.org/m", tmp_path / "out")


def test_cache_gives_handles_back(tmp_path, monkeypatch):
    """A folder of tensorflow_hub's cache is known by its descriptor, and found by its handle without a server."""
    handle = "https://example.org/publisher/model/1"
    folder = tmp_path / hashlib.sha1(f"{handle}?tf-hub-format=compressed".encode()).hexdigest()
    shutil.copytree(MODULE, folder)
    text = f"Module: {handle}?tf-hub-format=compressed\nDownload Time: 2019-01-01\n"
    folder.with_name(f"{folder.name}.descriptor.txt").write_text(text, encoding="utf-8")
    (entry,) = discovery.discover_models(str(tmp_path))
    assert acquire_source(entry.path, str(tmp_path / "scratch")).origin == handle
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    assert acquire_source(handle, str(tmp_path / "scratch")).path == str(folder)
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("TFHUB_CACHE_DIR", tmp_path.name)
    assert acquire_source(handle, str(tmp_path / "scratch")).path == str(folder)
    assert f"from {handle}" in migrate.inspect_model(folder).evidence


def test_folder_beside_other_text_is_no_cache(tmp_path):
    (tmp_path / "m.descriptor.txt").write_text("something else", encoding="utf-8")
    assert handles.read_descriptor(str(tmp_path / "m")) == ""


def test_archive_with_one_model_below(tmp_path):
    """A top folder, and what macOS adds, hide nothing."""
    with tarfile.open(tmp_path / "m.tgz", "w:gz") as tar:
        tar.add(MODULE, arcname="exports/best/model")
        tar.add(__file__, arcname="exports/README.md")
    assert acquire_source(str(tmp_path / "m.tgz"), str(tmp_path / "s")).format is Format.TF1_HUB_MODULE


def test_archive_with_two_models(tmp_path):
    with tarfile.open(tmp_path / "m.tgz", "w:gz") as tar:
        for name in ("a", "b"):
            tar.add(MODULE, arcname=f"{name}/model")
    outcome = migrate.migrate_model(tmp_path / "m.tgz", tmp_path / "out")
    assert outcome.status.value == "blocked" and "holds 2 models" in outcome.error


def test_manifest_with_handles(tmp_path):
    (tmp_path / "manifest.txt").write_text("https://example.org/p/m/1?tf-hub-format=compressed\n", encoding="utf-8")
    (entry,) = manifest.parse_manifest(str(tmp_path / "manifest.txt"))
    assert entry.relative == "example.org/p/m/1" and entry.path.startswith("https://")


def test_store_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(errors.CorruptModelError, match="needs the packages fsspec and s3fs"):
        acquire_source("s3://bucket/model", str(tmp_path))
