"""Faults that show in training alone, in real models and through the command: each is found, and named."""

import json

import pytest

from .keras_models import build, save_reusable


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    build().save(folder / "keras.h5")
    save_reusable(folder / "reusable")
    return folder


@pytest.fixture
def run(main, tmp_path):
    """(baseline, candidate, level) -> (exit code, the report)."""

    def run(baseline, candidate, level):
        report = tmp_path / "r.json"
        code = main(
            f"--baseline={baseline}", f"--candidate={candidate}", f"--level={level}", f"--report={report}", "--draws=40"
        )
        return code, json.loads(report.read_text())

    return run


# Of a Keras file against the SavedModel of a faulty copy: level, what is changed, where it must show, and the reason.
KERAS = {
    "moving averages frozen": (
        "training", {"momentum": 1.0}, "update/normal/moving_mean", "the training call does not move it",
    ),
    "L2 loss halved": (
        "training", {"l2": 0.005}, "regularization_losses/0", "it is 0.5 times the baseline's everywhere",
    ),
    "gradient zeroed": (
        "gradients", {"stopped": True}, "/d scores / d hidden/kernel", "it is zero everywhere",
    ),
    "dropout always on": (
        "inference", {"always": True}, "serve/serving_default/batch_1/scores",
        "the candidate's is random, it differs from call to call; the baseline's does not",
    ),
    "dropout never on": (
        "training", {"dropout": False}, "train/serving_default/batch_1/scores", "drawn from another distribution",
    ),
}  # fmt: skip


SLOW = (
    "moving averages frozen",
    "gradient zeroed",
    "L2 loss halved",
    "dropout always on",
    "dropout never on",
    "more dropout",
    "L2 loss halved by hand",
)


def mark(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


@pytest.mark.parametrize("name", mark(KERAS))
def test_fault_of_a_keras_model(run, folder, tmp_path, name):
    level, change, place, reason = KERAS[name]
    build(**change).save(tmp_path / "candidate", save_format="tf")
    code, report = run(folder / "keras.h5", tmp_path / "candidate", level)
    assert code == 1 and report["verdict"] == "FAIL"
    wrong = [diff for diff in report["diffs"] if not diff["equal"]]
    about = [diff["message"] for diff in wrong if place in f"{diff['where']}/{diff['output']}"]
    assert any(reason in message for message in about), [(d["where"], d["output"], d["message"]) for d in wrong]
    if level != "inference":
        assert not [diff for diff in wrong if diff["where"].startswith("serve") and diff["level"] == "inference"]


REUSABLE = {
    "sound": ({}, ""),
    "moving averages frozen": ({"momentum": 1.0}, "the training call does not move it"),
    "L2 loss halved by hand": ({"l2": 0.25}, "regularization_losses/0"),
    "more dropout": ({"rate": 0.8}, "train/serving_default/batch_3/y"),
}


@pytest.mark.parametrize("name", mark(REUSABLE))
def test_training_mode_of_a_reusable_saved_model(run, folder, tmp_path, name, capsys):
    change, culprit = REUSABLE[name]
    candidate = save_reusable(tmp_path / "candidate", **change)
    code, report = run(folder / "reusable", candidate, "gradients")
    printed = capsys.readouterr().out
    assert report["not_compared"] == []
    levels = {(diff["level"], diff["where"].split("/")[0]) for diff in report["diffs"]}
    assert {("inference", "train"), ("training", "update"), ("gradients", "serve")} <= levels
    if culprit:
        assert code == 1 and culprit in "".join(line for line in printed.splitlines() if "FAIL" in line), printed
    else:
        assert code == 0, printed
