"""Files of genuine old Keras: the migrated model computes, trains and updates as the Keras that wrote them.

`testdata/keras` was recorded by Keras 1.2.2, 2.0.8, 2.1.6, 2.2.4 and 2.3.1, and by tf.keras of TF 1.8 and 1.15
(generate/keras_models.py); weights without their model by keras_weights.py; `.keras` files by Keras 2.15 and 3
(keras_archives.py).
The properties are those of every migrated hub module (tests/catalogue).
"""

import dataclasses
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

import migrate
from migrate import zoo
from migrate.options import MigrateOptions, ReadOptions, ZooOptions
from migrate.outcome import Outcome
from tests import sharing
from tests.catalogue import check_behaviour, test_resave
from tests.catalogue.loaded import load, spell_name, to_values
from tests.catalogue.truth import TESTDATA, Call, Truth, assert_same

FOLDER = TESTDATA / "keras"
SLUGS = sorted(path.parent.name for path in FOLDER.glob("*/origin.json"))
SERVE, TRAIN, KEY = ("serve",), ("train",), "serving_default"


@dataclasses.dataclass(frozen=True)
class KerasTruth(Truth):
    """The recorded truth of a Keras file in the shape of the zoo's."""

    @property
    def deciding_tags(self):
        return SERVE


def load_truth(slug):
    origin = json.loads((FOLDER / slug / "origin.json").read_text(encoding="utf-8"))
    arrays = {tuple(key.split("|")): value for key, value in np.load(FOLDER / slug / "truth.npz").items()}

    def pick(kind, count):
        return {key[1:]: value for key, value in arrays.items() if key[0] == kind and len(key) == count}

    calls = []
    for case in sorted({key[1] for key in arrays if key[0] == "output"}):
        inputs = {key[1]: value for key, value in pick("input", 3).items() if key[0] == case}
        outputs = {key[1]: value for key, value in pick("output", 3).items() if key[0] == case}
        calls.append(Call(SERVE, KEY, int(case), inputs, outputs))
    trainable = origin["trainable_variables"]
    return KerasTruth(
        slug=slug,
        origin={
            **origin,
            "stateful_signatures": [],
            "gradient_errors": {},
            "trainable_variables": {"serve": trainable},
            "regularization_losses": {"serve": len(pick("loss", 2))},
            "signature_keys": {"train": [KEY]},
        },
        calls=tuple(calls),
        gradients={(SERVE, case, KEY, *rest): value for (case, *rest), value in pick("gradient", 4).items()},
        losses={(SERVE, index): value for (index,), value in pick("loss", 2).items()},
        loss_gradients={(SERVE, *key): value for key, value in pick("loss", 3).items()},
        updates={(TRAIN, name): value for (name,), value in pick("update", 2).items()},
    )


# One file of each library in the default run.
_QUICK = (
    "archive_2150_dense",
    "archive_3151_dense",
    "keras_122_dense",
    "keras_122_old_layers",
    "keras_208_dense",
    "keras_231_conv",
    "tfkeras_215_dense",
    "tfkeras_224_dense_saved",
    "tfkeras_224_weights_callback",
)
_CHOSEN = [slug if slug in _QUICK else pytest.param(slug, marks=pytest.mark.slow) for slug in SLUGS]


def find_source(slug):
    """What was saved, and what the reader is told of it."""
    origin = json.loads((FOLDER / slug / "origin.json").read_text(encoding="utf-8"))
    told = origin.get("options", {})
    if told:
        told = {**told, "architecture": str(FOLDER / slug / told["architecture"])}
    found = FOLDER / slug / origin["source"] if told else next((FOLDER / slug).glob("model*"))
    return found, ReadOptions.from_json(told)


def migrate_alone(slug, dest, verify="none"):
    source, told = find_source(slug)
    return migrate.migrate_model(source, dest, MigrateOptions(verify=verify, read=told))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory, request):
    """Slug -> outcome: whole models as one zoo, weights one by one."""
    wanted = SLUGS if sharing.runs_slow(request.config) else _QUICK

    def make(folder):
        source, dest = folder / "files", folder / "zoo"
        alone = [slug for slug in wanted if find_source(slug)[1] != ReadOptions()]
        for slug in set(wanted) - set(alone):
            model, _ = find_source(slug)
            copy = shutil.copytree if model.is_dir() else shutil.copy
            (source / slug).mkdir(parents=True)
            copy(model, source / slug / model.name)
        report = zoo.migrate_zoo(source, dest, ZooOptions(jobs=2, migrate=MigrateOptions(verify="none")))
        shutil.rmtree(source)
        found = {pathlib.Path(outcome.source).parent.name: outcome for outcome in report.outcomes}
        found |= {slug: migrate_alone(slug, dest / "alone" / slug) for slug in alone}
        return {slug: outcome.to_record() for slug, outcome in found.items()}

    _, records = sharing.make_once(tmp_path_factory, "keras_catalogue", make)
    return {slug: Outcome.from_record(record) for slug, record in records.items()}


@pytest.fixture(params=_CHOSEN)
def truth(request):
    return load_truth(request.param)


@pytest.fixture
def loaded(truth, migrated):
    outcome = migrated[truth.slug]
    assert outcome.status.value == "migrated", f"{truth.slug}: {outcome.error}"
    return load(outcome.dest)


def is_split(truth):
    """Keras 1 kept the gates of recurrent layers in variables of their own."""
    return any(name.endswith(("_W_i", "_W_z")) for name in truth.origin["variables"])


def is_reordered(truth):
    """Kernels of Keras 1 with channels first were stored in another order of axes."""
    return truth.slug == "keras_122_conv_first"


def test_every_file_is_migrated(migrated):
    assert set(migrated) in (set(SLUGS), set(_QUICK))
    for slug, outcome in migrated.items():
        assert outcome.status.value == "migrated", f"{slug}: {outcome.error}"
        told = any(finding.code == "moving-averages-as-today" for finding in outcome.findings)
        assert told == bool(_OTHER_AVERAGES.fullmatch(slug)), f"{slug}: whether its averages move otherwise"


@pytest.mark.slow
@pytest.mark.parametrize("slug", SLUGS)
def test_every_file_passes(slug, tmp_path):
    """Against Keras, run from the file."""
    outcome = migrate_alone(slug, tmp_path / "out", "auto")
    assert outcome.verification.verdict.value == "PASS", outcome.error


def test_outputs(truth, loaded):
    for route in (check_behaviour.CALLABLE, check_behaviour.SIGNATURE):
        assert check_behaviour.check_outputs(truth, loaded, route) >= 1


def test_gradients(truth, loaded):
    if is_split(truth) or is_reordered(truth):
        pytest.skip("the variables are not those of Keras 1")
    assert check_behaviour.check_gradients(truth, loaded) == len(truth.gradients) > 0


def test_losses(truth, loaded):
    if is_split(truth) or is_reordered(truth):
        pytest.skip("the variables are not those of Keras 1")
    check_behaviour.check_losses(truth, loaded)


# They corrected averages with a sum and a count that are in no file: the first call after loading forgot the file's.
_OTHER_AVERAGES = re.compile(r"keras_(216|224)_(conv|dense|nested)")


def test_updates(truth, loaded):
    """Moving averages after one training call; an inference call changes nothing."""
    check_behaviour.check_inference_keeps_state(truth, loaded)
    if _OTHER_AVERAGES.fullmatch(truth.slug):
        pytest.xfail("what Keras 2.1 and 2.2 corrected averages with is in no file")
    with loaded.restored():
        if truth.updates:
            call = truth.calls[0]
            loaded.run(call, updating=True)
        for (_, name), expected in truth.updates.items():
            assert_same(expected, loaded.variables[name].read_value().numpy(), f"update {name}")


def test_variables(truth, loaded):
    if not is_split(truth):
        # States of Keras 3's random generators bear numbers that count what else the process made.
        named = [name for name in loaded.variables if "seed_generator" not in name]
        assert sorted(named) == sorted(truth.origin["variables"])
        found = [spell_name(variable) for variable in loaded.object.trainable_variables]
        assert sorted(found) == sorted(truth.origin["trainable_variables"]["serve"])


def test_layer(truth, loaded):
    call = truth.calls[0]
    inputs = {key: tf.cast(value, spec.dtype) for key, value, spec in _cast(loaded, call)}
    layer = hub.KerasLayer(loaded.path, trainable=True)
    outputs = layer(inputs if len(inputs) > 1 else next(iter(inputs.values())))
    if not isinstance(outputs, dict):
        ((_, expected),) = call.outputs.items()
        assert_same(expected, outputs.numpy(), "layer")
    if truth.slug != "keras_122_old_layers":  # Keras 1 forgot the losses of merged branches
        assert len(layer.losses) == len(truth.losses)
    assert len(layer.trainable_weights) == len(loaded.object.trainable_variables) > 0


def _cast(loaded, call):
    specs = loaded.object.signatures[KEY].structured_input_signature[1]
    return [(key, value, specs[key]) for key, value in call.inputs.items()]


@pytest.mark.slow
def test_saved_again_after_a_step(truth, loaded, tmp_path):
    test_resave.test_fine_tuned_model_is_saved_whole(truth, pathlib.Path(loaded.path), tmp_path)


def test_moved(truth, loaded, tmp_path):
    """The source is gone; elsewhere, under a name with a space, it computes the same."""
    shutil.copytree(loaded.path, tmp_path / "a place")
    call = truth.calls[0]
    found = to_values(load(tmp_path / "a place").run(call))
    for key, expected in call.outputs.items():
        assert_same(expected, found[key], key)


@pytest.mark.slow
def test_same_files(truth, loaded, tmp_path):
    """Migrated again, alone and from the file's own place: byte for byte the same."""
    first = pathlib.Path(loaded.path)
    again = pathlib.Path(migrate_alone(truth.slug, tmp_path / first.name).dest)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in names:
        if name.name != "fingerprint.pb":  # TensorFlow writes a random uuid
            assert (first / name).read_bytes() == (again / name).read_bytes(), name
