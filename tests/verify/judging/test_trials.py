"""Random outputs judged over rounds of draws: planted differences are told, a model is never told from itself."""

import numpy as np
import pytest

from migrate.verify.draws import find_varying, reduce_draw
from migrate.verify.judging import distribution
from migrate.verify.judging.trials import FIRST, Trials

CALL = "train/default/batch_8"
KEPT = 0.5
# Another model than that of the sides: rows with signal, and a kernel that mixes the features.
INPUTS = np.random.default_rng(3).random((8, 24)) + 0.5
KERNEL = np.random.default_rng(4).normal(size=(24, 6)) / 5


def mask(rng, shape, kept=KEPT):
    return (rng.random(shape) < kept) / kept


def plain(rng, kept=KEPT, weight=1.0):
    return {"y": (INPUTS * mask(rng, INPUTS.shape, kept)) @ (KERNEL * weight)}


def one_mask_for_all_rows(rng):
    return {"y": (INPUTS * mask(rng, (1, INPUTS.shape[1]))) @ KERNEL}


def signed(rng, shared=False):
    """What rows have in common has either sign."""
    inputs = INPUTS - INPUTS.mean()
    return {"y": (inputs * mask(rng, (1, 24) if shared else (8, 24))) @ KERNEL}


def two_outputs(rng, draws=2):
    first = INPUTS * mask(rng, INPUTS.shape)
    return {"a": first, "b": first + 1 if draws == 1 else INPUTS * mask(rng, INPUTS.shape) + 1}


def normal(rng, scale=1.0):
    return {"y": scale * rng.normal(size=(3, 2))}


def spatial(rng, shared=False):
    """Dropout of whole channels: all positions share one mask."""
    image = np.ones((4, 5, 5, 6))
    return {"y": image * mask(rng, (4, 1, 1, 6) if shared else image.shape)}


def compare(old, new, seed=0, error_rate=1e-3, fixed=(False, False)):
    """Both sides drawn as the pair of sides does it; each round is a process that starts anew."""
    keys = old(np.random.default_rng(0))
    trials = Trials(frozenset((CALL, key) for key in keys), error_rate)
    draws, number = {CALL: FIRST}, 0
    while draws:
        found = []
        for side, sample in enumerate((old, new)):
            rng = np.random.default_rng([7 + side] if fixed[side] else [seed, side, number])
            rows = [{key: reduce_draw(value) for key, value in sample(rng).items()} for _ in range(draws[CALL])]
            found.append({("", CALL): {key: np.stack([row[key] for row in rows]) for key in keys}})
        trials.add_round(*found, draws)
        draws = trials.plan_round(100)
        number += 1
    return trials.conclude(), number


def with_arguments(sample, *arguments):
    return lambda rng: sample(rng, *arguments)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (plain, with_arguments(plain, KEPT - 0.05), ""),
        (plain, with_arguments(plain, KEPT + 0.05), ""),
        (with_arguments(plain, 0.9), with_arguments(plain, 0.95), ""),
        (plain, with_arguments(plain, KEPT, 1.05), ""),
        pytest.param(normal, with_arguments(normal, 1.05), "", marks=pytest.mark.slow),
        (plain, one_mask_for_all_rows, "correlation"),
        (signed, with_arguments(signed, True), "correlation"),
        (two_outputs, with_arguments(two_outputs, 1), "correlation with output b"),
        (spatial, with_arguments(spatial, True), ""),
        (plain, lambda rng: {"y": INPUTS @ KERNEL}, ""),
    ],
)
def test_planted_differences_are_told(old, new, word):
    for seed in range(3):
        found, _ = compare(old, new, seed)
        messages = [output.message for output in found.outputs if output.message]
        assert messages and word in messages[0], (seed, found)
        assert not found.problems


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(4), id="few"), pytest.param(range(4, 40), id="many", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("sample", [plain, one_mask_for_all_rows, signed, two_outputs, normal, spatial])
def test_a_model_is_never_told_from_itself(sample, seeds):
    for seed in seeds:
        found, number = compare(sample, sample, seed)
        assert not found.problems and not any(output.message for output in found.outputs), (seed, found)
        assert number <= 5


def test_draws_grow_until_the_stated_power_is_reached():
    found, number = compare(normal, normal)
    assert number > 2 and found.outputs[0].draws > 100
    assert found.coverage[0].describe() == "random outputs 1 of 1"
    assert "power of the draws" in found.notes[0] and "would have been told" in found.notes[0]


def test_what_cannot_be_told_is_said():
    def faint(rng):
        return {"y": 1 + 1000 * rng.standard_cauchy(size=1) ** 3}

    found, number = compare(faint, faint)
    assert number == 5
    assert found.coverage[0].describe() == "random outputs 0 of 1"
    assert "was not reached" in found.notes[-1] and "would have been told" in found.coverage[0].missed[0]


def test_outputs_of_varying_length_are_judged_by_what_is_left():
    def ragged(rng, scale=1.0):
        return {"y": scale * rng.normal(size=(rng.integers(2, 9), 3))}

    found, _ = compare(ragged, ragged)
    assert found.coverage[0].describe() == "random outputs 1 of 1" and not found.outputs[0].message
    found, _ = compare(ragged, with_arguments(ragged, 1.05))
    assert "drawn from another distribution" in found.outputs[0].message


def test_what_is_seldom_drawn_otherwise_varies():
    rows = {"rare": np.stack([reduce_draw(np.array([float(n == 7)])) for n in range(40)]), "never": np.ones((40, 9))}
    assert find_varying({("", CALL): rows}) == {(CALL, "rare")}


@pytest.mark.parametrize(("fixed", "told"), [((True, False), "became a free"), ((False, True), "became a fixed")])
def test_a_fixed_seed_is_told_from_a_free_one(fixed, told):
    found, _ = compare(plain, plain, fixed=fixed)
    assert told in found.problems[0] and "fresh process" in found.problems[0]


def test_two_fixed_seeds_are_compared_by_what_is_new_in_each_process():
    found, _ = compare(plain, plain, fixed=(True, True))
    assert not found.problems and not any(output.message for output in found.outputs)
    other, _ = compare(plain, with_arguments(plain, KEPT - 0.1), fixed=(True, True))
    assert any(output.message for output in other.outputs)


def test_rank_test_agrees_with_what_it_is_asked():
    rng = np.random.default_rng(1)
    p_values = [distribution.find_rank_p_value(rng.poisson(2, 50), rng.poisson(2, 50)) for _ in range(400)]
    assert 5 <= sum(p < 0.05 for p in p_values) <= 36
    assert distribution.find_rank_p_value(np.zeros(9), np.zeros(9)) == 1
    assert distribution.find_rank_p_value(rng.normal(size=99), rng.normal(size=99) + 2) < 1e-9
