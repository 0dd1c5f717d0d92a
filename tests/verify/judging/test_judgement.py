"""Results against results: faults that no SavedModel is needed for, and what a verdict may say."""

import dataclasses
import json

import numpy as np
import pytest

from migrate.arrays import RaggedValue, SparseValue, make_bytes_array
from migrate.options import Tolerance
from migrate.verdict import Verdict, Verification
from migrate.verify.draws import reduce_draw
from migrate.verify.judging import distribution, statistics
from migrate.verify.judging.interface import compare_interfaces
from migrate.verify.judging.judgement import Criteria, compare_results, find_random
from migrate.verify.judging.trials import Trials
from migrate.verify.results import Results

CALL = "serve/default/batch_3"
RNG = np.random.default_rng(7)
VALUE = RNG.normal(size=(3, 4)).astype(np.float32)
SPARSE = SparseValue(indices=np.array([[0, 0], [2, 1]]), values=np.array([1, 2]), dense_shape=np.array([3, 4]))
RAGGED = RaggedValue(flat_values=np.arange(4), row_splits=(np.array([0, 1, 4]),))


def answers(outputs, **more):
    return Results(outputs={("", CALL): dict(outputs)}, **more)


def judge(old, new, criteria=None, **options):
    return compare_results(old, new, criteria or Criteria(), **options)


def judge_values(old, new, **options):
    return judge(answers({"y": old}), answers({"y": new}), **options)


def flip(array, place, value):
    changed = array.copy()
    changed[place] = value
    return changed


FAULTS = {
    "nan": (VALUE, flip(VALUE, (1, 2), np.nan), "NaN or Inf stand elsewhere in 1 places"),
    "inf": (VALUE, flip(VALUE, (0, 0), np.inf), "NaN or Inf stand elsewhere"),
    "swapped sign of inf": (np.array([np.inf, 0]), np.array([-np.inf, 0]), "inf became -inf"),
    "transposed": (VALUE, VALUE.T.copy(), "it is transposed"),
    "rows": (VALUE, VALUE[[2, 0, 1]], "the baseline's rows in another order"),
    "int": (np.arange(10**6), flip(np.arange(10**6), 5, 6), "1 of 1000000 elements differ, first at [5]: 5 became 6"),
    "bool": (np.array([True]), np.array([False]), "True became False"),
    "string": (make_bytes_array(["a", "b"]), make_bytes_array(["a", "c"]), "b'b' became b'c'"),
    "case": (make_bytes_array(["Ab", "cD"]), make_bytes_array(["ab", "cd"]), "upper and lower case"),
    "dtype": (VALUE, VALUE.astype(np.float64), "dtype float32 became float64"),
    "int width": (np.arange(3), np.arange(3, dtype=np.int32), "dtype int64 became int32"),
    "complex": (np.array([1 + 2j]), np.array([1 + 3j]), "elements differ"),
    "sparse index": (SPARSE, dataclasses.replace(SPARSE, indices=np.array([[0, 0], [2, 2]])), "indices: 1 of 4"),
    "sparse shape": (SPARSE, dataclasses.replace(SPARSE, dense_shape=np.array([3, 5])), "dense_shape: 1 of 2"),
    "densified": (SPARSE, np.zeros((3, 4)), "a sparse tensor became a dense tensor"),
    "ragged": (RAGGED, dataclasses.replace(RAGGED, row_splits=(np.array([0, 2, 4]),)), "row_splits_0: 1 of 3"),
    "empty": (np.zeros((3, 0)), np.zeros((3, 1)), "shape (3, 0) became (3, 1)"),
    "half": (VALUE, VALUE * np.float32(0.5), "0.5 times the baseline's"),
    "zero": (VALUE, VALUE * 0, "it is zero everywhere"),
    "bfloat beyond": (VALUE.astype(np.float16), VALUE.astype(np.float16) * np.float16(1.01), "elements differ"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name):
    old, new, culprit = FAULTS[name]
    found = judge_values(old, new)
    assert found.verdict is Verdict.FAIL
    assert culprit in found.failures[0]
    assert f"{CALL}/y" in found.failures[0], "the message does not name the output"


HARMLESS = {
    "same": (VALUE, VALUE.copy()),
    "one ulp": (VALUE, np.nextafter(VALUE, np.float32(9))),
    "negative zero": (np.array([0.0]), np.array([-0.0])),
    "equal NaN": (np.array([np.nan, 1.0]), np.array([np.nan, 1.0])),
    "equal inf": (np.array([np.inf, 1.0]), np.array([np.inf, 1.0])),
    "denormal": (np.array([1e-40], np.float32), np.array([0], np.float32)),
    "half step": (VALUE.astype(np.float16), np.nextafter(VALUE.astype(np.float16), np.float16(9))),
    "empty": (np.zeros((0, 4)), np.zeros((0, 4))),
    "sparse": (SPARSE, dataclasses.replace(SPARSE)),
    "ragged": (RAGGED, dataclasses.replace(RAGGED)),
    "scalar string": (make_bytes_array("x"), make_bytes_array("x")),
    "complex rounding": (np.array([1 + 2j]), np.array([1 + 2.0000001j])),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless(name):
    found = judge_values(*HARMLESS[name])
    assert found.verdict is Verdict.PASS, found.failures


def test_one_ulp_is_reported():
    diff = judge_values(*HARMLESS["one ulp"]).diffs[0]
    assert (diff.equal, diff.bit_identical, diff.statistics.max_ulp) == (True, False, 1)


def test_swapped_outputs_are_named():
    found = judge(answers({"a": VALUE, "b": VALUE + 1}), answers({"a": VALUE + 1, "b": VALUE}))
    assert "it is the baseline's 'b'" in found.failures[0] and "it is the baseline's 'a'" in found.failures[1]


def test_keys_both_ways():
    found = judge(answers({"a": VALUE}), answers({"b": VALUE}))
    assert [d.message for d in found.diffs] == ["the candidate lacks it", "the baseline does not have it"]


def test_nothing_compared_is_no_pass():
    assert judge(Results(), Results()).verdict is Verdict.NOTHING_COMPARED
    refused = Results(refusals={("", CALL): "no"})
    assert judge(refused, answers({"y": VALUE})).verdict is Verdict.NOTHING_COMPARED


def test_losses_alone_are_no_pass():
    one = Results(losses=[np.float32(1)])
    assert judge(one, one).verdict is Verdict.NOTHING_COMPARED


def test_candidate_that_refuses_or_is_silent_fails():
    old = answers({"y": VALUE})
    assert "cannot" in judge(old, Results(refusals={("", CALL): "cannot"})).failures[0]
    assert "did not answer" in judge(old, Results()).failures[0]


def test_halved_l2_loss():
    old = answers({"y": VALUE}, losses=[np.float32(0.8)])
    new = answers({"y": VALUE}, losses=[np.float32(0.4)])
    assert "regularization_losses/0" in judge(old, new).failures[0]
    assert "0.5 times" in judge(old, new).failures[0]
    assert "2 regularization losses" not in judge(old, old).failures
    lost = judge(old, answers({"y": VALUE}, losses=[]))
    assert "has 1 regularization losses, the candidate 0" in lost.failures[0]


def test_frozen_moving_average():
    old = answers({"y": VALUE}, updates={"bn/mean": np.float32([0.1, 0.2])})
    new = answers({"y": VALUE}, updates={"bn/mean": np.float32([0.0, 0.0])})
    assert "update/bn/mean" in judge(old, new).failures[0]


def test_zeroed_gradient():
    gradient = {"d y / d w": VALUE}
    old = answers({"y": VALUE}, gradients={("", CALL): gradient})
    new = answers({"y": VALUE}, gradients={("", CALL): {"d y / d w": VALUE * 0}})
    found = judge(old, new)
    assert "d y / d w" in found.failures[0] and found.diffs[-1].level == "gradients"
    assert "gave no gradients" in judge(old, answers({"y": VALUE})).failures[0]


def test_gradients_that_are_nan_on_both_sides_are_not_compared():
    void = {"d y / d w": np.full((2, 2), np.nan), "d y / d x": np.full(3, -np.inf)}
    side = answers({"y": VALUE}, gradients={("", CALL): void})
    found = judge(side, side, level="gradients")
    assert found.verdict is Verdict.NOTHING_COMPARED and found.levels["gradients"] is Verdict.NOTHING_COMPARED
    assert found.levels["inference"] is Verdict.PASS
    told = next(item for item in found.coverage if item.name == "gradients")
    assert (told.reached, told.total) == (0, 2)
    assert told.missed == (f"{CALL}: 2 are NaN or infinite throughout",)
    side.gradients["", CALL]["d y / d b"] = flip(VALUE, (0, 0), np.nan)
    found = judge(side, side, level="gradients")
    assert found.verdict is Verdict.PASS and found.levels["gradients"] is Verdict.PASS
    other = answers({"y": VALUE}, gradients={("", CALL): void | {"d y / d b": VALUE}})
    assert judge(side, other, level="gradients").verdict is Verdict.FAIL


def test_outputs_that_are_nan_on_both_sides_prove_nothing():
    void = np.full((2, 2), np.nan)
    found = judge_values(void, void)
    assert found.verdict is Verdict.NOTHING_COMPARED and found.levels["inference"] is Verdict.NOTHING_COMPARED
    assert found.notes == ("NaN or infinite on both sides in every call, no proof: serve/default/y",)
    assert judge_values(void, np.zeros((2, 2))).verdict is Verdict.FAIL
    some = answers({"y": void, "z": VALUE})
    assert judge(some, some).verdict is Verdict.PASS and "serve/default/y" in judge(some, some).notes[0]


def test_trainable_variables_both_ways():
    old, new = answers({"y": VALUE}, trainable=["w", "b"]), answers({"y": VALUE}, trainable=["w", "mean"])
    assert judge(old, new).verdict is Verdict.PASS, "the user may have chosen what trains"
    found = judge(old, new, Criteria(trainable=True))
    assert found.failures == ("trains no longer: b", "trains now, and did not: mean")


def test_tolerance_of_one_output():
    old, new = answers({"a": VALUE, "b": VALUE}), answers({"a": VALUE + 1e-3, "b": VALUE + 1e-3})
    loose = Tolerance(absolute=1e-2)
    for key in ("a", "default/a", "def*/a", "[a]"):
        found = judge(old, new, Criteria(tolerances={key: loose}))
        assert [(diff.output, diff.equal) for diff in found.diffs] == [("a", True), ("b", False)]
    assert found.diffs[0].absolute == 1e-2


def test_strict_fails_on_what_was_not_compared():
    old = answers({"y": VALUE}, refusals={("", "serve/other/batch_1"): "it needs a GPU"})
    assert judge(old, answers({"y": VALUE})).verdict is Verdict.PASS
    assert judge(old, answers({"y": VALUE}), Criteria(strict=True)).verdict is Verdict.FAIL


def draws(rate, number, seed):
    rng = np.random.default_rng(seed)
    return np.stack([reduce_draw((rng.random((8, 16)) < rate) / rate) for _ in range(number)])


def random_pair(old_rate, new_rate):
    trials, route = Trials(frozenset({(CALL, "y")}), 1e-3), next(iter(answers({"y": VALUE}).outputs))[0]
    for number in range(3):
        found = [
            {(route, CALL): {"y": draws(rate, 100, 2 * number + side)}}
            for side, rate in enumerate((old_rate, new_rate))
        ]
        trials.add_round(*found, {CALL: 100})
    told = trials.conclude()
    return judge(answers({"y": VALUE}), answers({"y": VALUE + 1}), random=frozenset({(CALL, "y")}), drawn=told)


def test_random_outputs_are_compared_in_distribution_and_it_says_so():
    found = random_pair(0.5, 0.5)
    assert found.verdict is Verdict.PASS
    assert found.is_bit_identical is None, "a random output is no exact pass"
    assert "compared in distribution, not exactly" in found.notes[0] and "error rate 0.001" in found.notes[0]
    assert "nothing was compared exactly" in found.notes[-1]
    assert found.diffs[0].draws == 200 and found.diffs[0].p_value > 1e-3


def test_another_dropout_rate_is_found():
    found = random_pair(0.5, 0.6)
    assert found.verdict is Verdict.FAIL
    assert "drawn from another distribution" in found.failures[0]


def test_random_needs_a_generator_behind_it():
    first, second = answers({"y": VALUE}), answers({"y": VALUE + 1})
    assert find_random(first, second, [("serve/default", "y")], Tolerance()) == {(CALL, "y")}
    assert not find_random(first, second, [], Tolerance())
    assert not find_random(first, first, [("serve/default", "y")], Tolerance())


def test_error_rate_of_the_two_sample_test():
    # 120 pairs of equal distributions: at 5 % no more than about 6 may be called different.
    wrong = sum(
        distribution.compare_draws(draws(0.5, 40, s), draws(0.5, 40, s + 1000)).p_value < 0.05 for s in range(120)
    )
    assert wrong <= 14


def test_steady_elements_of_a_random_output_may_round_otherwise():
    rows = np.ones((50, 36))
    assert distribution.compare_draws(rows, rows * (1 + 1e-6)).p_value == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_ulp_distance(dtype):
    one = dtype(1)
    assert statistics.measure_ulps(np.array([one]), np.nextafter(np.array([one]), dtype(2))).tolist() == [1]
    assert statistics.measure_ulps(np.array([dtype(0)]), np.array([dtype(-0.0)])).tolist() == [0]
    tiny = np.nextafter(np.array([dtype(0)]), dtype(1))
    assert statistics.measure_ulps(-tiny, tiny).tolist() == [2]


def test_statistics():
    found = statistics.measure_floats(VALUE, VALUE + np.float32(0.5))
    assert found.quantiles == pytest.approx([0.5] * 4, rel=1e-5)
    assert sum(count for _, count in found.histogram) == VALUE.size and {n for n, _ in found.histogram} <= {-1, 0}
    assert found.argmax_agreement == 1.0 and found.cosine < 1
    assert statistics.measure_floats(VALUE, VALUE[:, ::-1].copy()).argmax_agreement < 1
    assert statistics.measure_floats(VALUE[0], VALUE[0]).argmax_agreement is None


def entry(key="default", tags=("serve",), method="tensorflow/serving/predict", inputs=None, outputs=None):
    tensor = {"dtype": "float32", "shape": [None, 4], "encoding": "dense", "optional": False}
    return {
        "tags": list(tags),
        "signature": key,
        "method": method,
        "inputs": {"x": tensor} if inputs is None else inputs,
        "outputs": {"y": tensor} if outputs is None else outputs,
    }


TENSOR = entry()["inputs"]["x"]
INTERFACES = {
    "lost signature": (entry(), entry("other"), "the candidate lacks the signature (it has 'other')"),
    "method": (entry(), entry(method="tensorflow/serving/classify"), "tensorflow/serving/classify"),
    "renamed input": (entry(), entry(inputs={"z": TENSOR}), "input x (interface): the candidate lacks it"),
    "batch": (entry(), entry(inputs={"x": TENSOR | {"shape": [1, 4]}}), "shape [?, 4] became [1, 4]"),
    "promise lost": (entry(), entry(outputs={"y": TENSOR | {"shape": None}}), "shape [?, 4] became ?"),
    "dtype": (entry(), entry(outputs={"y": TENSOR | {"dtype": "float64"}}), "dtype float32 became float64"),
    "encoding": (entry(), entry(inputs={"x": TENSOR | {"encoding": "coo_sparse"}}), "encoding dense became coo_sparse"),
}


@pytest.mark.parametrize("name", INTERFACES)
def test_interface_faults(name):
    old, new, culprit = INTERFACES[name]
    found = judge(Results(), Results(), interface=compare_interfaces([old], [new]), level="interface")
    assert found.verdict is Verdict.FAIL and any(culprit in line for line in found.failures), found.failures


def test_interface_may_be_freer_and_promise_more():
    new = entry(inputs={"x": TENSOR | {"shape": None}}, outputs={"y": TENSOR | {"shape": [3, 4]}})
    diffs = compare_interfaces([entry(method="")], [new])
    assert all(diff.equal for diff in diffs)
    assert judge(Results(), Results(), interface=diffs, level="interface").verdict is Verdict.PASS
    assert judge(Results(), Results(), interface=diffs).verdict is Verdict.NOTHING_COMPARED


def test_interface_of_another_tag_set_stands_in_but_not_for_training():
    assert all(diff.equal for diff in compare_interfaces([entry(tags=())], [entry()]))
    assert not all(diff.equal for diff in compare_interfaces([entry(tags=("train",))], [entry()]))


def test_record_is_strict_json_and_reads_back():
    found = random_pair(0.5, 0.6)
    found = dataclasses.replace(found, inputs=({"where": CALL, "key": "x"},), reproduce="migrate-compare")
    text = json.dumps(found.to_record(), allow_nan=False)
    assert Verification.from_record(json.loads(text)) == found
    assert json.loads(text)["schema_version"] == 4


def test_record_of_version_1_is_read():
    diff = {"where": CALL, "route": "", "output": "y", "equal": True, "message": "", "elements": 3, "random": False}
    old = {
        "verdict": "PASS",
        "diffs": [diff | {"max_absolute": 0.0, "max_relative": 0.0}],
        "not_compared": [],
        "problems": [],
    }
    assert Verification.from_record(old).verdict is Verdict.PASS


def test_results_are_saved_and_read_back(tmp_path):
    old = answers(
        {"y": VALUE, "s": SPARSE},
        gradients={("", CALL): {"d y / d w": VALUE}},
        draws={("", CALL): {"y": np.ones((2, 3))}},
        trainable=["w"],
        losses=[np.float32(1)],
        updates={"m": VALUE},
        variables={"w": VALUE},
        interface=[entry()],
        notes=["n"],
    )
    old.save(str(tmp_path))
    new = Results.load(str(tmp_path))
    old.notes = []
    found = judge(old, new)
    assert found.verdict is Verdict.FAIL and found.problems == ("n",), "a note of the candidate is a problem"
    assert all(diff.equal for diff in found.diffs) and len(found.diffs) == 6
    assert (new.trainable, new.interface, new.draws.keys()) == (["w"], [entry()], old.draws.keys())


def test_what_one_side_cannot_tell_is_not_passed_over():
    old = answers({"y": VALUE}, losses=[np.float32(1)], updates={"m": VALUE})
    found = judge(old, answers({"y": VALUE}))
    assert [line.partition(":")[0] for line in found.not_compared] == ["regularization_losses", "update"]
    assert judge(old, answers({"y": VALUE}), Criteria(strict=True)).verdict is Verdict.FAIL


SCORES = np.float32([[0.1, 0.5, 0.5, 0.2, 0.0, 0.3], [0.6, 0.1, 0.2, 0.3, 0.5999999, 0.4]])


def test_another_largest_element_is_said_though_the_numbers_agree():
    new = flip(flip(SCORES, (1, 0), np.float32(0.5999999)), (1, 4), np.float32(0.6))
    found = judge_values(SCORES, new)
    assert found.verdict is Verdict.PASS
    assert [note for note in found.notes if "1 rows have another largest element, first row [1]: 0 became 4" in note]
    strict = judge_values(SCORES, new, criteria=Criteria(same_argmax=True))
    assert strict.verdict is Verdict.FAIL
    assert "within tolerance, but 1 rows have another largest element" in strict.failures[0]


def test_ties_of_the_baseline_are_no_flips():
    new = flip(SCORES, (0, 2), np.nextafter(np.float32(0.5), np.float32(1)))  # 1 and 2 were equal
    assert judge_values(SCORES, new, criteria=Criteria(same_argmax=True)).verdict is Verdict.PASS
    nothing = np.full((2, 3), np.nan, np.float32)
    assert statistics.measure_floats(nothing, nothing).argmax_flips == 0


def test_top_k_agreement():
    old = np.arange(40, dtype=np.float32).reshape(2, 20)
    order = old[:, ::-1].copy()
    assert statistics.measure_floats(old, old).top_k_agreement == 1
    assert statistics.measure_floats(old, order).top_k_agreement == 0
    shuffled = old.copy()
    shuffled[:, [19, 16]] = old[:, [16, 19]]  # the same five in another order
    found = statistics.measure_floats(old, shuffled)
    assert (found.top_k, found.top_k_agreement, found.argmax_agreement) == (5, 1, 0)
    found = statistics.measure_floats(old, flip(shuffled, (0, 3), np.float32(99)))
    assert (found.top_k_agreement, found.argmax_flips) == (0.5, 2)
    assert statistics.measure_floats(old[:, :5], old[:, :5]).top_k is None


def test_tolerance_in_ulp():
    near = VALUE
    for _ in range(3):
        near = np.nextafter(near, np.float32(9))
    exact = Tolerance(relative=0, absolute=0)
    assert judge_values(VALUE, near, criteria=Criteria(tolerance=exact)).verdict is Verdict.FAIL
    ulps = dataclasses.replace(exact, ulp=3)
    found = judge_values(VALUE, near, criteria=Criteria(tolerance=ulps))
    assert found.verdict is Verdict.PASS and found.diffs[0].ulp == 3
    narrower = dataclasses.replace(exact, ulp=2)
    assert judge_values(VALUE, near, criteria=Criteria(tolerance=narrower)).verdict is Verdict.FAIL
    appeared = flip(near, (0, 0), np.nan)
    assert judge_values(VALUE, appeared, criteria=Criteria(tolerance=ulps)).verdict is Verdict.FAIL


def test_a_batch_without_rows_proves_nothing_and_need_not_run():
    empty = "serve/default/batch_0"
    alone = Results(outputs={("", empty): {"y": np.zeros((0, 4))}})
    assert judge(alone, alone).verdict is Verdict.NOTHING_COMPARED
    old = answers({"y": VALUE}, refusals={("", empty): "cannot reshape"})
    found = judge(old, answers({"y": VALUE}), Criteria(strict=True))
    assert found.verdict is Verdict.PASS and found.not_compared == ()
    assert found.notes == ("the baseline takes no batch without rows: serve/default",)
    # What the baseline takes the candidate must take, too.
    old = Results(outputs={("", CALL): {"y": VALUE}, ("", empty): {"y": VALUE[:0]}})
    found = judge(old, answers({"y": VALUE}, refusals={("", empty): "cannot reshape"}))
    assert found.failures == (f"{empty} (): cannot reshape",)


def test_what_a_training_call_does_not_move_is_named():
    old = answers({"y": VALUE})
    old.record_updates({"mean": VALUE}, [{"mean": VALUE + 1}])
    new = answers({"y": VALUE})
    new.record_updates({"mean": VALUE}, [{"mean": VALUE}])
    assert judge(old, new).failures[0].endswith("(the training call does not move it)")
    # A random one is compared by dtype and rank, but it must move.
    old.record_updates({"mean": VALUE}, [{"mean": VALUE + 1}, {"mean": VALUE + 2}])
    assert judge(old, new).failures == ("update/mean (callable): the training call does not move it",)
    new.record_updates({"mean": VALUE}, [{"mean": VALUE + 3}])
    assert judge(old, new).verdict is Verdict.PASS


def test_what_became_random_is_named():
    found = judge_values(VALUE, VALUE * 2, unsteady=frozenset([(CALL, "y")]))
    assert "the candidate's is random, it differs from call to call; the baseline's does not" in found.failures[0]


def test_variables_are_compared_by_name_as_loaded():
    """A weight may matter in no call that was made."""
    old = answers({"y": VALUE}, variables={"w": VALUE, "lost": VALUE})
    found = judge(old, answers({"y": VALUE}, variables={"w": VALUE + 1}))
    assert found.failures[0].startswith("variables/w (callable): 12 of 12 elements differ")
    assert found.not_compared == ("variables: 1 of 2 have no namesake in the candidate",)
    alone = Results(variables={"w": VALUE})
    assert judge(alone, alone).verdict is Verdict.NOTHING_COMPARED, "weights alone prove no model"


def test_what_neither_side_can_do_is_no_fault():
    old = answers(
        {"y": VALUE}, notes=[f"{CALL}: no gradients in the original: ValueError: a: b", "updates of the original: x"]
    )
    found = judge(old, answers({"y": VALUE}, notes=[f"{CALL}: no gradients: TypeError: c", "updates: y"]))
    assert found.verdict is Verdict.PASS and len(found.not_compared) == 2
    other = "serve/other/batch_1: no gradients: TypeError: c"
    found = judge(old, answers({"y": VALUE}, notes=[other]))
    assert found.verdict is Verdict.FAIL and found.problems == (other,)
