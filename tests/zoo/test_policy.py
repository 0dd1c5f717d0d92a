"""What is published, kept aside, copied, linked."""

import json
import os
import pathlib
import shutil

import pytest
import tensorflow as tf

import migrate
from migrate import zoo
from migrate.options import MigrateOptions, ZooOptions
from tests.zoo.conftest import copy_model

UNVERIFIED = MigrateOptions(verify="none")


@pytest.fixture(scope="module")
def tf2_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tf2") / "model"
    migrate.migrate_model(pathlib.Path("testdata/zoo/hub_dense_l2/model").resolve(), folder, UNVERIFIED)
    return folder


def test_duplicates_are_migrated_once(small, tmp_path):
    for name in ("hub_again", "deep/hub_third"):
        copy_model("hub_dense_l2", small / name)
    dest = tmp_path / "out"
    report = zoo.migrate_zoo(small, dest, ZooOptions(jobs=2, migrate=UNVERIFIED))
    assert report.summary == {"migrated": 5}
    links = {os.path.relpath(o.source, small): o.duplicate_of for o in report.outcomes if o.duplicate_of}
    first = str(small / "deep" / "hub_third")
    assert links == {"hub_again": first, "hub_dense_l2": first}
    one, two = dest / "deep" / "hub_third", dest / "hub_again"
    alone = tmp_path / "alone" / "hub_again"
    migrate.migrate_model(small / "hub_again", alone, UNVERIFIED)
    for path in alone.rglob("*"):
        if path.is_file() and path.name != "fingerprint.pb":  # it holds a random number
            other = two / path.relative_to(alone)
            assert other.read_bytes() == path.read_bytes(), path
    assert (one / "saved_model.pb").stat().st_ino != (two / "saved_model.pb").stat().st_ino
    resumed = zoo.migrate_zoo(small, dest, ZooOptions(resume=True, migrate=UNVERIFIED))
    assert list(resumed.outcomes) == list(report.outcomes)


@pytest.mark.slow
def test_hard_links(small, tmp_path):
    copy_model("hub_dense_l2", small / "hub_again")
    dest = tmp_path / "out"
    zoo.migrate_zoo(small, dest, ZooOptions(duplicates="link", migrate=UNVERIFIED))
    paths = [dest / name / "saved_model.pb" for name in ("hub_again", "hub_dense_l2")]
    assert paths[0].stat().st_ino == paths[1].stat().st_ino
    names = [json.loads((dest / n / "assets.extra/migration.json").read_text())["source"]["name"] for n in
             ("hub_again", "hub_dense_l2")]  # fmt: skip
    assert names == ["hub_again", "hub_dense_l2"]


def test_duplicates_of_a_bad_model(small, tmp_path):
    blocked = pathlib.Path("testdata/blocked/contrib_op/model")
    for name in ("bad1", "bad2"):
        shutil.copytree(blocked, small / name)
    report = zoo.migrate_zoo(small, tmp_path / "out", ZooOptions(jobs=2, migrate=UNVERIFIED))
    one, two = (o for o in report.outcomes if o.status.value == "blocked")
    assert (one.duplicate_of, two.duplicate_of) == ("", one.source)
    assert two.error == one.error.replace(one.source, two.source)


@pytest.mark.slow
def test_almost_equal_models_are_none(small, tmp_path):
    """Same names and sizes, other weights."""
    other = copy_model("hub_dense_l2", small / "other")
    shard = next(other.glob("variables/*.data-*"))
    shard.write_bytes(bytes(reversed(shard.read_bytes())))
    report = zoo.migrate_zoo(small, tmp_path / "out", ZooOptions(jobs=2, migrate=UNVERIFIED))
    assert not any(outcome.duplicate_of for outcome in report.outcomes)


def test_already_tf2(tf2_model, tmp_path):
    source = tmp_path / "zoo"
    shutil.copytree(tf2_model, source / "new")
    left = zoo.migrate_zoo(source, tmp_path / "left", ZooOptions())
    assert (left.summary, left.outcomes[0].dest) == ({"already_tf2": 1}, "")
    copied = zoo.migrate_zoo(source, tmp_path / "copied", ZooOptions(migrate=MigrateOptions(already_tf2="copy")))
    assert copied.summary == {"already_tf2": 1} and copied.is_good
    place = pathlib.Path(copied.outcomes[0].dest)
    assert place == tmp_path / "copied" / "new"
    for path in tf2_model.rglob("*"):
        if path.is_file():
            assert (place / path.relative_to(tf2_model)).read_bytes() == path.read_bytes()


def test_copy_takes_nothing_from_outside(tf2_model, tmp_path):
    source = tmp_path / "zoo" / "new"
    shutil.copytree(tf2_model, source)
    (tmp_path / "secret").write_text("s", encoding="utf-8")
    (source / "assets.extra" / "mine").symlink_to(tmp_path / "secret")
    report = zoo.migrate_zoo(tmp_path / "zoo", tmp_path / "out", ZooOptions(migrate=MigrateOptions(already_tf2="copy")))
    assert report.summary == {"blocked": 1} and "link" in report.outcomes[0].error
    assert not (tmp_path / "out" / "new").exists()


def test_copy_is_scanned(tmp_path):
    """TF2 models write files as well as others do."""
    module = tf.Module()
    module.f = tf.function(
        lambda x: tf.raw_ops.WriteFile(filename=x, contents=x) and x, [tf.TensorSpec([], tf.string)], autograph=False
    )
    tf.saved_model.save(module, str(tmp_path / "zoo" / "writer"))
    options = MigrateOptions(already_tf2="copy")
    report = zoo.migrate_zoo(tmp_path / "zoo", tmp_path / "out", ZooOptions(migrate=options))
    assert report.summary == {"blocked": 1} and "WriteFile" in report.outcomes[0].error
    assert not (tmp_path / "out" / "writer").exists()
    options = MigrateOptions(already_tf2="copy", allow_unsafe_ops=("WriteFile",))
    assert zoo.migrate_zoo(tmp_path / "zoo", tmp_path / "trusted", ZooOptions(migrate=options)).is_good


def test_link_to_a_folder_is_not_lost(tf2_model, tmp_path):
    source = tmp_path / "new"
    shutil.copytree(tf2_model, source)
    (source / "variables").rename(source / "real")
    (source / "variables").symlink_to("real")
    found = migrate.migrate_model(source, tmp_path / "out", MigrateOptions(already_tf2="copy"))
    assert found.status.value == "blocked" and "link" in found.error


@pytest.mark.parametrize("place", [".", "inner"])
def test_a_source_is_never_replaced(tmp_path, place):
    model = copy_model("hub_dense_l2", tmp_path / "dest" / place)
    with pytest.raises(migrate.errors.DestinationError, match="the source lies there"):
        migrate.migrate_model(model, tmp_path / "dest", MigrateOptions(verify="none", overwrite=True))
    assert (model / "tfhub_module.pb").exists()


@pytest.fixture
def regressing(tmp_path, monkeypatch):
    """A zoo with a model whose candidate is judged to differ."""
    from migrate.verdict import Verdict, Verification

    def differ(*arguments, **others):
        return Verification(verdict=Verdict.FAIL, problems=("an output differs",))

    monkeypatch.setattr("migrate.pipeline.verify_migration", differ)
    return copy_model("frozen_constants", tmp_path / "zoo" / "deep" / "model").parents[1]


def test_regressed_is_kept_aside(regressing, tmp_path):
    dest = tmp_path / "out"
    report = zoo.migrate_zoo(regressing, dest, ZooOptions())
    (outcome,) = report.outcomes
    aside = dest / "_quarantine" / "deep" / "model"
    assert (outcome.status.value, outcome.dest, outcome.quarantine) == ("regressed", "", str(aside))
    assert (aside / "saved_model.pb").exists() and not (dest / "deep" / "model").exists()
    assert not report.is_good
    again = zoo.migrate_zoo(regressing, dest, ZooOptions(resume=True))
    assert list(again.outcomes) == [outcome]


def test_publish_all(regressing, tmp_path):
    dest = tmp_path / "out"
    (outcome,) = zoo.migrate_zoo(regressing, dest, ZooOptions(migrate=MigrateOptions(publish="all"))).outcomes
    place = dest / "deep" / "model"
    assert (outcome.status.value, outcome.dest, outcome.quarantine) == ("regressed", str(place), "")
    record = json.loads((place / "assets.extra" / "migration.json").read_text(encoding="utf-8"))
    assert record["verification"]["verdict"] == "FAIL"


def test_one_model_drops_what_differs(regressing, tmp_path):
    outcome = migrate.migrate_model(regressing / "deep" / "model", tmp_path / "out")
    assert outcome.status.value == "regressed" and not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out*")) == []
