"""Models that draw otherwise, against what they were made of: each is told, and none from itself."""

import keras
import pytest

import migrate

from ..faults import planting
from . import keras_models
from .random_models import save, save_tf1

FAULTS = {
    "rate": ({"kept": 0.45}, "drawn from another distribution"),
    "weight": ({"weight": 1.05}, "drawn from another distribution"),
    "rows": ({"share_rows": True}, "correlation"),
    "outputs": ({"share_outputs": True}, "correlation"),
    "seeded": ({"seed": 3}, "a free seed became a fixed one"),
}
SLOW = ("weight", "rate", "rows", "seeded")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    save(folder / "free")
    save(folder / "otherwise_named", scope="other")
    save(folder / "seeded", seed=11)
    return folder


def compare(baseline, candidate, **options):
    return migrate.compare_models(baseline, candidate, migrate.CompareOptions(batch_sizes=(8, 1), **options))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in FAULTS])
def test_what_draws_otherwise_is_told(folder, tmp_path, name):
    change, word = FAULTS[name]
    # Of other names, so that nobody can tell which of its generators are which of the original's.
    found = compare(folder / "free", save(tmp_path / "candidate", scope="other", **change))
    assert found.verdict.value == "FAIL"
    assert any(word in failure for failure in found.failures), found.failures


def test_generators_of_one_name_draw_alike_in_two_savedmodels(folder, tmp_path):
    same = compare(folder / "free", save(tmp_path / "same"), level="gradients")
    assert same.verdict.value == "PASS", same.failures
    assert any("compared exactly, with the same random numbers" in note for note in same.notes), same.notes
    assert not any("in distribution" in note for note in same.notes)
    assert same.levels["gradients"].value == "PASS"
    other = compare(folder / "free", save(tmp_path / "other", weight=1.0001))
    assert any("with the same random numbers on both sides" in failure for failure in other.failures), other.failures
    assert not any("noisy" in failure for failure in other.failures)


@pytest.mark.slow
def test_training_calls_of_what_keras_saved_share_their_masks(tmp_path):
    model = keras_models.build()
    for name in ("first", "second"):
        model.save(tmp_path / name, save_format="tf")
    found = compare(tmp_path / "first", tmp_path / "second", level="gradients")
    assert found.verdict.value == "PASS", found.failures
    assert any("compared exactly, with the same random numbers" in note for note in found.notes), found.notes
    trained = [diff for diff in found.diffs if diff.where.startswith("train/") and diff.level == "gradients"]
    assert trained and all(diff.max_absolute is not None for diff in trained)


@pytest.mark.slow
@pytest.mark.parametrize("make", [save, save_tf1])
@pytest.mark.parametrize("seed", [None, 5])
def test_the_seed_of_either_kind_of_model_is_seen(tmp_path, make, seed):
    """A seeded op of TF1 starts every session alike; a copy with a seed of its own does so too."""
    baseline = make(tmp_path / "baseline", seed=seed)
    other = compare(baseline, save(tmp_path / "other", seed=None if seed else 5))
    assert other.verdict.value == "FAIL"
    assert any("fixed" in failure and "free" in failure for failure in other.failures), other.failures
    same = compare(baseline, save(tmp_path / "same", seed=6 if seed else None))
    assert same.verdict.value == "PASS", same.failures


@pytest.mark.slow
def test_a_seed_that_a_migrated_keras_model_should_not_have(tmp_path):
    """Of a SavedModel that was traced with a seed it is a note: the file cannot hold it."""
    keras_models.build().save(tmp_path / "m.h5")
    keras_models.build().save(tmp_path / "traced", save_format="tf")
    traced = compare(tmp_path / "m.h5", tmp_path / "traced", level="training")
    assert traced.verdict.value == "PASS", traced.failures
    assert any("a free seed became a fixed one" in note for note in traced.notes)
    assert migrate.migrate_model(tmp_path / "m.h5", tmp_path / "migrated").status.value == "migrated"
    planting.change_nodes(tmp_path / "migrated", "RandomUniform", planting.seed)
    seeded = compare(tmp_path / "m.h5", tmp_path / "migrated", level="training")
    assert any("a free seed became a fixed one" in failure for failure in seeded.failures), seeded.failures


@pytest.mark.slow
def test_a_file_of_keras_3_draws_by_a_variable(tmp_path):
    """Its value is no weight: it is made anew with each load, and so random as what it gives."""
    x = keras.Input([6])
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(8, activation="relu")(x))
    keras.Model(x, keras.layers.Dense(2)(hidden)).save(tmp_path / "m.keras")
    itself = compare(tmp_path / "m.keras", tmp_path / "m.keras", level="training")
    assert itself.verdict.value == "PASS", itself.failures
    outcome = migrate.migrate_model(tmp_path / "m.keras", tmp_path / "migrated")
    assert outcome.status.value == "migrated", outcome.verification.failures


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
def test_a_random_model_is_never_told_from_itself(folder, seed):
    found = compare(folder / "free", folder / "otherwise_named", seed=seed)
    assert found.verdict.value == "PASS", found.failures
    met = next(item for item in found.coverage if item.name == "random outputs")
    assert met.describe() == "random outputs 2 of 2", met.missed
    assert any("power of the draws" in note for note in found.notes)
