"""The page that goes with each model: complete, and its example runs."""

import re
import subprocess
import sys

import pytest

from tests.catalogue.truth import SLUGS, load_truth

# One of each kind of input; the slow test runs all.
SOME = ["hub_dense_l2", "hub_ragged", "saved_model_sparse", "estimator_dnn_classifier", "frozen_recurrent"]


def read_card(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("slug", SLUGS)
def test_says_everything(slug, catalogue):
    """Every signature and key, where it came from, what trains."""
    text = read_card(catalogue.path(slug))
    truth = load_truth(slug)
    for part in ("## Signatures", "## Use", "## Fine-tuning", "## Proof"):
        assert part in text
    assert truth.origin["format"].replace("_", " ") in text
    trainable = truth.by_tags("trainable_variables")[truth.deciding_tags]
    assert all(f"`{name}`" in text for name in trainable[:1])
    for key in next(iter(truth.by_tags("signature_keys").values())):
        assert f"`{key}`" in text or key in truth.origin["skipped_signatures"] or key.startswith("__saved_model")


def run_example(folder):
    code = re.search(r"```python\n(.*?)```", read_card(folder), re.DOTALL)
    assert code, "the card has no example"
    done = subprocess.run([sys.executable, "-c", code[1]], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{code[1]}\n{done.stderr[-2000:]}"
    assert "tf.Tensor" in done.stdout or "Tensor" in done.stdout


@pytest.mark.parametrize("slug", SOME[:1])
def test_example_runs(slug, catalogue):
    run_example(catalogue.path(slug))


@pytest.mark.slow
@pytest.mark.parametrize("slug", SLUGS)
def test_every_example_runs(slug, catalogue):
    run_example(catalogue.path(slug))
