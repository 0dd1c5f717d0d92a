"""A folder that mixes every kind of source: each model is migrated with PASS, or blocked for what it lacks."""

import os
import shutil

import pytest

from migrate import zoo
from migrate.options import ZooOptions
from tests import source_kinds
from tests.readers.keras.pretrainer import build_pretrainer

# What each is read as. Weights are read with the config beside them; a TF2 SavedModel is left alone.
KINDS = {
    "module": "tf1_hub_module",
    "export": "estimator_export",
    "saved_model": "tf1_saved_model",
    "m.h5": "keras_h5",
    "old.h5": "keras_h5",
    "second.keras": "keras_v3",
    "third.keras": "keras_v3",
    "m_weights.h5": "keras_h5",
    "ckpts": "keras_weights",
    "saved": "keras_saved_model",
    "frozen.pb": "frozen_graph",
    "frozen.pbtxt": "frozen_graph",
    "ckpt": "checkpoint",
    "ckpt_v1": "checkpoint",
    "model_dir": "checkpoint",
    "model_dir/export/best/1580000000": "estimator_export",
    "phase": "tf1_saved_model",
    "module.tar.gz": "tf1_hub_module",
    "packed.zip": "tf1_saved_model",
    "cache": "tf1_hub_module",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed") / "zoo"
    source_kinds.write_kinds(root)
    lacking = root / "lacking"
    lacking.mkdir()
    source_kinds.write_code(lacking / "code.h5")
    (lacking / "damaged.h5").write_bytes((root / "m.h5").read_bytes()[:3000])
    build_pretrainer().save_weights(lacking / "alone_weights.h5")
    build_pretrainer().save_weights(lacking / "alone" / "cp-0001.ckpt")
    (root / "notes.txt").write_text("a zoo")
    yield root, zoo.migrate_zoo(root, root.parent / "tf2", ZooOptions(jobs=2))
    shutil.rmtree(root.parent)


def name_outcomes(root, outcomes):
    """By the name in the folder: what lies in a folder of its own is known by that."""
    paths = {os.path.relpath(outcome.source, root): outcome for outcome in outcomes}
    return {path if path in KINDS else path.split(os.sep)[0]: outcome for path, outcome in paths.items()}


@pytest.mark.slow
def test_every_kind_is_migrated(report):
    root, done = report
    found = name_outcomes(root, [outcome for outcome in done.outcomes if "lacking" not in outcome.source])
    assert {name: (o.status.value, o.error) for name, o in found.items()} == {
        **dict.fromkeys(KINDS, ("migrated", "")), "tf2": ("already_tf2", ""),
    }  # fmt: skip
    migrated = {name: outcome for name, outcome in found.items() if name != "tf2"}
    assert {name: outcome.format for name, outcome in migrated.items()} == KINDS
    assert {outcome.verification.verdict.value for outcome in migrated.values()} == {"PASS"}
    assert all(os.path.isfile(os.path.join(outcome.dest, "saved_model.pb")) for outcome in migrated.values())
    assert found["cache"].source.startswith(str(root)) and len(done.outcomes) == len(KINDS) + 5


@pytest.mark.slow
def test_the_config_beside_weights_is_said(report):
    root, done = report
    found = name_outcomes(root, done.outcomes)
    for name, config in (("m_weights.h5", "m.json"), ("ckpts", "ckpts.json")):
        (finding,) = [f for f in found[name].findings if f.code == "architecture-beside"]
        assert config in finding.message and finding.severity.value == "info"


@pytest.mark.slow
def test_the_others_say_what_they_lack(report):
    _, done = report
    lacking = [outcome for outcome in done.outcomes if "lacking" in outcome.source]
    found = {os.path.basename(outcome.source): outcome for outcome in lacking}
    assert {name: outcome.status.value for name, outcome in found.items()} == dict.fromkeys(
        ("alone", "alone_weights.h5", "code.h5", "damaged.h5"), "blocked"
    )
    assert "--architecture" in found["alone"].error and "--architecture" in found["alone_weights.h5"].error
    assert "--allow_lambda" in found["code.h5"].error and "copy it again" in found["damaged.h5"].error


def test_every_format_that_is_read_is_among_them():
    """A reader that is added has its kind here."""
    from migrate.model import READABLE

    assert {kind.value for kind in READABLE} == set(KINDS.values())
