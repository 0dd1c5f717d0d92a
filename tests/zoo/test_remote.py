"""A zoo in a bucket: a real S3 server on the loopback, and TensorFlow's own file systems."""

import json
import os
import time

import pytest

from migrate import errors, zoo
from migrate.options import MigrateOptions, ZooOptions
from migrate.zoo import remote, storage
from tests.sources.stores import serving_s3
from tests.zoo.conftest import copy_model

UNVERIFIED = MigrateOptions(verify="none")
_BUCKET = "s3://zoo"


@pytest.fixture
def bucket():
    """An empty bucket of a server of its own."""
    with serving_s3("zoo"):
        remote._get_store.cache_clear()
        yield remote.get_store(_BUCKET)
        remote._get_store.cache_clear()


def _upload(store, folder, url):
    for path in folder.rglob("*"):
        if path.is_file():
            store.upload(str(path), f"{url}/{path.relative_to(folder).as_posix()}")


def test_bucket_to_bucket(bucket, small, tmp_path):
    """Found, staged down, migrated, staged up with the marker last; a second run does nothing."""
    _upload(bucket, small, f"{_BUCKET}/old")
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    options = ZooOptions(report_dir=str(tmp_path / "reports"), migrate=UNVERIFIED)
    report = zoo.migrate_zoo(f"{_BUCKET}/old", f"{_BUCKET}/new", options)
    assert report.summary == {"migrated": 3}, [outcome.error for outcome in report.outcomes]
    names = bucket.list_items(f"{_BUCKET}/new")
    for slug in ("frozen_constants", "hub_dense_l2", "saved_model_pbtxt"):
        assert f"{slug}/saved_model.pb" in names and f"{slug}/{storage.MARKER}" in names
        times = {n: _modified(f"zoo/new/{n}") for n in names if n.startswith(f"{slug}/")}
        assert max(times.values()) == times[f"{slug}/{storage.MARKER}"]
    assert "_migration/report.json" in names and not any(".migrate-zoo" in name for name in names)
    sources = {outcome.source: outcome.dest for outcome in report.outcomes}
    assert sources[f"{_BUCKET}/old/hub_dense_l2"] == f"{_BUCKET}/new/hub_dense_l2"
    versions = {name: item for name, item in names.items() if not name.startswith("_migration")}
    resumed = ZooOptions(report_dir=str(tmp_path / "reports"), resume=True, migrate=UNVERIFIED)
    assert zoo.migrate_zoo(f"{_BUCKET}/old", f"{_BUCKET}/new", resumed).summary == {"migrated": 3}
    kept = {n: i for n, i in bucket.list_items(f"{_BUCKET}/new").items() if not n.startswith("_migration")}
    assert kept == versions


def _modified(path):
    import fsspec

    return fsspec.filesystem("s3").info(path)["LastModified"]


@pytest.mark.slow
def test_the_journal_is_lost_the_bucket_is_not(bucket, small, tmp_path):
    """Killed after the marker: the marker says what became of the model. A model without a marker is done again."""
    _upload(bucket, small, f"{_BUCKET}/old")
    first = ZooOptions(report_dir=str(tmp_path / "one"), migrate=UNVERIFIED)
    zoo.migrate_zoo(f"{_BUCKET}/old", f"{_BUCKET}/new", first)
    bucket.delete(f"{_BUCKET}/new/hub_dense_l2/{storage.MARKER}")
    before = bucket.list_items(f"{_BUCKET}/new")
    time.sleep(1.1)  # S3 knows whole seconds
    again = ZooOptions(report_dir=str(tmp_path / "two"), resume=True, migrate=UNVERIFIED)
    report = zoo.migrate_zoo(f"{_BUCKET}/old", f"{_BUCKET}/new", again)
    assert report.summary == {"migrated": 3}
    seconds = {outcome.source.rpartition("/")[2]: outcome.seconds for outcome in report.outcomes}
    first_seconds = {
        model["source"].rpartition("/")[2]: model["seconds"]
        for model in json.loads((tmp_path / "one" / "report.json").read_text(encoding="utf-8"))["models"]
    }
    assert {name: seconds[name] == first_seconds[name] for name in seconds} == {
        "frozen_constants": True, "hub_dense_l2": False, "saved_model_pbtxt": True,
    }  # fmt: skip
    assert before.keys() <= bucket.list_items(f"{_BUCKET}/new").keys()


@pytest.mark.slow
def test_disk_is_bounded(bucket, small, tmp_path):
    """With room for one model at a time, one lies there at a time."""
    _upload(bucket, small, f"{_BUCKET}/old")
    most = [0]

    def look(running):
        most[0] = max(most[0], len(running))

    options = ZooOptions(jobs=3, scratch_limit=1, migrate=UNVERIFIED)
    report = zoo.migrate_zoo(f"{_BUCKET}/old", tmp_path / "out", options, on_tick=look)
    assert report.summary == {"migrated": 3} and most[0] == 1
    assert (tmp_path / "out" / "hub_dense_l2" / "saved_model.pb").exists()


def test_refusals(bucket, small, tmp_path):
    with pytest.raises(errors.UsageError, match="--report_dir"):
        zoo.migrate_zoo(small, f"{_BUCKET}/new", ZooOptions())
    with pytest.raises(errors.SourceNotFoundError):
        zoo.migrate_zoo(f"{_BUCKET}/nothing", tmp_path / "out", ZooOptions())
    bucket.write(f"{_BUCKET}/new/mine", b"x")
    with pytest.raises(errors.DestinationError, match="not empty"):
        zoo.migrate_zoo(small, f"{_BUCKET}/new", ZooOptions(report_dir=str(tmp_path / "r")))


@pytest.mark.slow
def test_plan_of_a_bucket(bucket, small, tmp_path):
    _upload(bucket, small, f"{_BUCKET}/old")
    plan = zoo.plan_zoo(f"{_BUCKET}/old", tmp_path / "out", ZooOptions())
    assert [row.action for row in plan.rows] == ["migrate"] * 3 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("gfile", [True, False])
def test_stores(tmp_path, gfile):
    """TensorFlow's file systems and fsspec's behave alike."""
    store = storage.open_store("file://", gfile=gfile)
    root = f"file://{tmp_path}/bucket"
    model = copy_model("hub_dense_l2", tmp_path / "model")
    os.makedirs(tmp_path / "bucket")
    storage.upload_model(store, str(model), f"{root}/deep/model", '{"a": 1}')
    names = sorted(path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file())
    assert sorted(store.list_items(f"{root}/deep/model")) == sorted([*names, storage.MARKER])
    assert storage.read_marker(store, f"{root}/deep/model")["line"] == '{"a": 1}'
    storage.download_model(store, f"{root}/deep/model", str(tmp_path / "back"))
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == (model / name).read_bytes()
    store.delete(f"{root}/deep/model/{names[0]}")
    assert storage.read_marker(store, f"{root}/deep/model") is None
    assert store.read(f"{root}/deep/model/none") is None
