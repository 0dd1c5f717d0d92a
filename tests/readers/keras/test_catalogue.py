"""Files of genuine old Keras: the migrated model computes, trains and updates as the Keras that wrote them.

`testdata/keras` was recorded by Keras 1.2.2 and 2.3.1, and by tf.keras of TF 1.8 and 1.15 (generate/keras_models.py).
The properties are those of every migrated hub module (tests/catalogue).
"""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

import migrate
from migrate import zoo
from migrate.options import MigrateOptions, ZooOptions
from tests.catalogue import check_behaviour
from tests.catalogue.loaded import load, spell_name
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


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """All files migrated as one zoo."""
    dest = tmp_path_factory.mktemp("keras_zoo")
    report = zoo.migrate_zoo(FOLDER, dest, ZooOptions(jobs=2, migrate=MigrateOptions(verify="none")))
    return {pathlib.Path(outcome.source).parent.name: outcome for outcome in report.outcomes}


# One file of each library in the default run.
_QUICK = (
    "keras_122_dense",
    "keras_122_old_layers",
    "keras_231_conv",
    "tfkeras_215_dense",
    "tfkeras_224_dense_saved",
    "tfkeras_224_text",
)


@pytest.fixture(params=[slug if slug in _QUICK else pytest.param(slug, marks=pytest.mark.slow) for slug in SLUGS])
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
    assert set(migrated) == set(SLUGS)
    for slug, outcome in migrated.items():
        assert outcome.status.value == "migrated", f"{slug}: {outcome.error}"


@pytest.mark.slow
@pytest.mark.parametrize("slug", SLUGS)
def test_every_file_passes(slug, tmp_path):
    """Against Keras, run from the file."""
    outcome = migrate.migrate_model(next((FOLDER / slug).glob("model*")), tmp_path / "out")
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


def test_updates(truth, loaded):
    """Moving averages after one training call; an inference call changes nothing."""
    check_behaviour.check_inference_keeps_state(truth, loaded)
    with loaded.restored():
        if truth.updates:
            call = truth.calls[0]
            loaded.run(call, updating=True)
        for (_, name), expected in truth.updates.items():
            assert_same(expected, loaded.variables[name].read_value().numpy(), f"update {name}")


def test_variables(truth, loaded):
    if not is_split(truth):
        assert sorted(loaded.variables) == sorted(truth.origin["variables"])
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
