"""Whole migrations: the written model, loaded alone, answers what TF 1.15 recorded."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

import migrate
from migrate.graph.removed_ops import REWRITES
from tests.graph.removed_ops.test_recorded import MODELS, assert_same, load_recorded, model_path

# The batch of one input is that of another, which invented inputs do not know: some of them do not fit.
COUPLED = {"gather_tree"}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("bucketize_boundaries", "resampler")]


@pytest.mark.parametrize("name", ["trees_regressor", "gather_tree", "sparse_cross", *SLOW])
def test_migrated_model_answers_as_tf1(name, tmp_path):
    source = shutil.copytree(model_path(name), tmp_path / "source")
    outcome = migrate.migrate_model(source, tmp_path / "migrated")
    assert outcome.status.value == "migrated", outcome.error
    assert outcome.verification.verdict.value == "PASS"
    assert name in COUPLED or not outcome.verification.not_compared
    said = {finding.code: finding for finding in outcome.findings}
    assert set(said["baseline-rewritten"].where.split(", ")) == {
        finding.where for finding in outcome.findings if finding.code == "op-rewritten"
    }
    shutil.rmtree(source)
    loaded = tf.saved_model.load(str((tmp_path / "migrated").rename(tmp_path / "moved")))
    inputs, outputs = load_recorded(name)
    for (key, case), values in inputs.items():
        specs = loaded.signatures[key].structured_input_signature[1]
        arguments = {name: tf.constant(np.asarray(value), specs[name].dtype) for name, value in values.items()}
        for tensor, found in loaded.signatures[key](**arguments).items():
            assert_same(found.numpy(), outputs[key, case, tensor], f"{key}/{case}/{tensor}")


def test_inspection_names_only_what_has_no_replacement():
    (variant,) = migrate.inspect_model(model_path("boosted_trees")).variants
    assert variant.missing_ops == ()
    (variant,) = migrate.inspect_model(str(MODELS["boosted_trees"].parent / "contrib_op" / "model")).variants
    assert [op["op"] for op in variant.missing_ops] == ["ImageConnectedComponents"]
    assert "ImageConnectedComponents" not in REWRITES
