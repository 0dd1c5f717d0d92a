"""`--bisect` over one-op faults of values, updates and gradients: the op that was changed is the op that is named."""

import re
import shutil

import pytest

import migrate

from . import planting as p
from .test_faults import migrated, source_of  # noqa: F401  # a fixture

# (model, level, op, what it becomes, which of its kind by name)
FAULTS = [
    ("zoo/hub_dense_l2", "inference", "Tanh", "Sigmoid", 0),
    ("zoo/hub_dropout", "inference", "Relu", "Elu", 0),
    ("zoo/hub_image_batch_norm", "inference", "Relu", "Elu", 0),
    ("zoo/hub_lstm", "inference", "Sigmoid", "Tanh", 0),
    ("zoo/hub_lstm", "inference", "Tanh", "Sigmoid", 1),
    ("zoo/hub_text_mean", "inference", "SparseSegmentMean", "SparseSegmentSum", 0),
    ("zoo/saved_model_methods", "inference", "Softmax", "LogSoftmax", 0),
    ("zoo/estimator_custom", "inference", "Softmax", "LogSoftmax", 0),
    ("zoo/estimator_hub_column", "inference", "Relu", "Tanh", 0),
    ("zoo/estimator_dnn_classifier", "inference", "Relu", "Elu", 0),
    ("zoo/tf18_dnn_classifier", "inference", "Relu", "Tanh", 0),
    ("zoo/tf18_hub_dense", "inference", "Relu", "Elu", 0),
    ("zoo/hub_resource_variables", "inference", "Mul", "AddV2", 0),
    ("zoo/hub_no_variables", "inference", "Maximum", "Minimum", 0),
    ("zoo/tags_serve_tpu", "inference", "Greater", "Less", 0),
    ("control_flow/lstm", "inference", "Sigmoid", "Tanh", 0),
    ("control_flow/bidirectional", "inference", "Tanh", "Sin", 0),
    ("control_flow/while_in_cond", "inference", "Square", "Neg", 0),
    ("control_flow/stacked_projections", "inference", "Tanh", "Sigmoid", 0),
    ("control_flow/gru", "inference", "Tanh", "Sin", 0),
    ("control_flow/scan", "inference", "Tanh", "Sin", 0),
    ("control_flow/map_fn", "inference", "Tanh", "Sin", 0),
    ("control_flow/nested_while", "inference", "Tanh", "Sin", 0),
    ("control_flow/attention_training", "inference", "Tanh", "Sin", 0),
    ("control_flow/cond_in_cond", "inference", "Greater", "Less", 0),
    ("zoo/hub_image_batch_norm", "training", "AssignSubVariableOp", "AssignAddVariableOp", 0),
    ("zoo/hub_slim", "training", "AssignSubVariableOp", "AssignAddVariableOp", 0),
    ("zoo/tf18_hub_dense", "training", "AssignSubVariableOp", "AssignAddVariableOp", 0),
    ("zoo/hub_dense_l2", "gradients", "Tanh", "StopGradient", 0),
    ("zoo/hub_dense_l2", "gradients", "MatMul", "StopGradient", 0),
    ("zoo/hub_dense_l2", "gradients", "MatMul", "StopGradient", 1),
    ("zoo/hub_slim", "gradients", "Relu", "StopGradient", 0),
    ("zoo/hub_lstm", "gradients", "Transpose", "StopGradient", 0),
    ("zoo/estimator_custom", "gradients", "MatMul", "StopGradient", 0),
    ("zoo/tf18_hub_dense", "gradients", "Relu", "StopGradient", 0),
    ("control_flow/gru", "gradients", "Transpose", "StopGradient", 0),
    ("control_flow/attention_training", "gradients", "Tanh", "StopGradient", 0),
]


def plant(folder, op, new, number):
    if new == "StopGradient":
        return p.stop_gradient(folder, op, number)
    return p.change_one(folder, op, p.set_op(new), number)


def is_named(item, planted):
    """The op, whatever scope or iteration is added to its name; of gradients, the tensor back to which it departs."""
    node = re.sub(r"( \(iteration \d+\))+$", "", item["node"])
    said = repr(planted), repr(f"{planted}/stopped")
    return node == planted or node.endswith(f"/{planted}") or any(name in item["message"] for name in said)


@pytest.mark.slow
def test_at_least_95_of_100_name_the_op(migrated, tmp_path):  # noqa: F811
    wrong = {}
    for number, (model, level, op, new, which) in enumerate(FAULTS):
        folder = tmp_path / str(number)
        shutil.copytree(migrated(model), folder)
        planted = plant(folder, op, new, which)
        options = migrate.CompareOptions(level=level, seed=1, bisect=True)
        found = migrate.compare_models(source_of(model), folder, options)
        if not any(is_named(item, planted) for item in found.bisection):
            said = [item["message"][:300] for item in found.bisection[:2]]
            wrong[f"{model} {level} {op} -> {new}"] = f"{planted}: {found.verdict.value} {said}"
    assert len(wrong) <= 0.05 * len(FAULTS), "\n".join(f"{name}: {text}" for name, text in wrong.items())
