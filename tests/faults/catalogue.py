"""The faults, each with the level at which it must be found and words that its message must hold; and the rewrites that
change nothing. `zoo/<slug>` and `control_flow/<slug>` name models of testdata."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from . import planting as p


@dataclasses.dataclass(frozen=True)
class Planted:
    """`plant` changes the folder of a migrated model; `culprit` is what a failure must say."""

    name: str
    model: str
    level: str
    plant: Callable
    culprit: str = ""
    fast: bool = False


FAULTS: list[Planted] = []
HARMLESS: list[Planted] = []


def fault(name, model, level, plant, culprit, *, fast=False):
    FAULTS.append(Planted(f"{name}:{model}", model, level, plant, culprit, fast))


def harmless(name, model, plant, *, level="training", fast=False):
    HARMLESS.append(Planted(f"{name}:{model}", model, level, plant, fast=fast))


def nodes(op, change, **options):
    return functools.partial(p.change_nodes, op=op, change=change, **options)


def becomes(old, new, **options):
    return nodes(old, p.set_op(new), **options)


# 1. The plain call: only what `encoder(x)` runs is wrong.
for model, old, new in (
    ("zoo/hub_dense_l2", "Tanh", "Sigmoid"),
    ("zoo/hub_dropout", "Relu", "Tanh"),
    ("zoo/hub_slim", "Relu", "Tanh"),
    ("zoo/hub_no_variables", "Maximum", "Minimum"),
    ("zoo/tf18_hub_dense", "Relu", "Elu"),
    ("control_flow/lstm", "Tanh", "Sin"),
    ("control_flow/gru", "Tanh", "Sigmoid"),
    ("control_flow/scan", "Tanh", "Sin"),
    ("control_flow/nested_while", "Tanh", "Sin"),
    ("control_flow/map_fn", "Tanh", "Sin"),
    ("control_flow/folds", "Mul", "AddV2"),
):
    fault("plain_call", model, "inference", becomes(old, new, part="plain"), "plain call", fast="dense_l2" in model)
# Its plain calls share what the signatures run, those with training=True alone do not.
fault("plain_call", "zoo/hub_image_batch_norm", "training", becomes("Relu", "Elu", part="plain"), "plain call")

# 2. Activations and arithmetic in every trace.
for model, old, new in (
    ("zoo/hub_dense_l2", "Tanh", "Sigmoid"),
    ("zoo/hub_image_batch_norm", "Relu", "Elu"),
    ("zoo/hub_lstm", "Sigmoid", "Tanh"),
    ("zoo/hub_text_mean", "SparseSegmentMean", "SparseSegmentSum"),
    ("zoo/saved_model_methods", "Softmax", "LogSoftmax"),
    ("zoo/estimator_custom", "Softmax", "LogSoftmax"),
    ("zoo/estimator_hub_column", "Relu", "Tanh"),
    ("zoo/estimator_dnn_classifier", "Relu", "Elu"),
    ("zoo/tf18_dnn_classifier", "Relu", "Tanh"),
    ("zoo/hub_resource_variables", "Mul", "AddV2"),
    ("control_flow/lstm", "Sigmoid", "Tanh"),
    ("control_flow/bidirectional", "Tanh", "Sin"),
    ("control_flow/while_in_cond", "Square", "Neg"),
    ("control_flow/crf", "Exp", "Sin"),
    ("control_flow/attention_training", "Tanh", "Sin"),
    ("control_flow/stacked_projections", "Tanh", "Sigmoid"),
):
    fault("activation", model, "inference", becomes(old, new), "differ")

# 3. Branches and loops.
for model, op in (
    ("zoo/hub_control_flow", "StatelessIf"),
    ("zoo/functions_tf1", "StatelessIf"),
    ("control_flow/case", "If"),
    ("control_flow/cond_assign", "If"),
    ("control_flow/cond_in_cond", "If"),
    ("control_flow/cond_in_while", "StatelessIf"),
    ("control_flow/cond_reference_assign", "If"),
    ("control_flow/tensor_array_in_cond", "If"),
    ("control_flow/while_in_cond", "If"),
    ("control_flow/loop_defun", "StatelessIf"),
):
    fault("branches_swapped", model, "inference", nodes(op, p.swap_branches), "default", fast="cond_assign" in model)
for model in ("control_flow/nested_while", "control_flow/loop_limits", "control_flow/growing_loop"):
    fault("one_more_turn", model, "inference", becomes("Less", "LessEqual"), "default")
for model in ("control_flow/cond_in_cond", "control_flow/tensor_array_in_cond", "zoo/tags_serve_tpu"):
    fault("comparison_turned", model, "inference", becomes("Greater", "Less"), "differ")

# 4. Weights: one element, a whole row, sign, order.
WEIGHTS = (
    "zoo/hub_dense_l2", "zoo/hub_slim", "zoo/hub_lstm", "zoo/tf18_hub_text", "zoo/estimator_rnn",
    "zoo/variables_sharded", "zoo/variables_v1_checkpoint", "control_flow/gru", "control_flow/layer_norm_lstm",
    "control_flow/attention_decoder", "zoo/hub_ragged", "zoo/hub_sparse", "zoo/estimator_wide_deep",
    "zoo/hub_text_partitioned",
)  # fmt: skip


def bump(value):
    value.flat[value.size // 2] += 1e-2
    return value


for model in WEIGHTS:
    fault("weight_off", model, "training", functools.partial(p.change_variable, change=bump), "differ")
for model in ("zoo/hub_dense_l2", "zoo/hub_text_mean", "zoo/variables_sharded"):
    fault("weight_sign", model, "inference", functools.partial(p.change_variable, change=np.negative, ndim=2), "differ")
for model in ("zoo/hub_text_mean", "zoo/hub_text_same_asset_names", "zoo/tf18_hub_text"):
    rolled = functools.partial(p.change_variable, change=lambda v: np.roll(v, 1, axis=0), ndim=2)
    fault("rows_rolled", model, "training", rolled, "differ")

# 5. Vocabularies, tables, files.
for model in (
    "zoo/hub_text_mean", "zoo/hub_nested", "zoo/hub_text_partitioned", "zoo/init_signature", "zoo/tables_chained",
    "zoo/saved_model_legacy_init", "zoo/tf18_first_tables", "zoo/tf18_hub_text", "zoo/hub_train_only_variable",
    "zoo/estimator_hub_column",
):  # fmt: skip
    plant = functools.partial(p.change_asset, change=p.misspell(1))
    fault("misspelt_line", model, "inference", plant, "line", fast=model == "zoo/hub_text_mean")
for model in ("zoo/hub_text_mean", "zoo/hub_nested"):
    plant = functools.partial(p.change_asset, change=lambda lines: [*lines[1:], lines[0]])
    fault("vocabulary_rolled", model, "inference", plant, "line")


for model in ("zoo/tables_clashing_names", "zoo/resources_unused"):
    plant = functools.partial(p.change_table_values, amount=1)
    fault("table_values", model, "inference", plant, "table")

# 6. What a piece says of itself, losses, updates.
plant = functools.partial(p.drop_child, holder="regularization_losses", position=1)
fault("loss_lost", "zoo/hub_dense_l2", "training", plant, "regularization losses")
for model, owner in (
    ("zoo/estimator_custom", "head_class"),
    ("zoo/variants_shared_variables", "gpu_serve_serving_default"),
):
    plant = functools.partial(p.drop_child, holder="regularization_losses", owner=owner)
    fault("piece_loss_lost", model, "training", plant, f"piece {owner}", fast=owner == "head_class")
fault("loss_halved", "zoo/hub_dense_l2", "training", nodes("Const", p.scale_const(0.5), part="losses"), "0.5 times")
for model in ("zoo/hub_dense_l2", "zoo/hub_dropout", "zoo/hub_image_batch_norm", "control_flow/gru"):
    plant = functools.partial(p.drop_child, holder="trainable_variables", position=0)
    fault("trains_less", model, "training", plant, "trains no longer")
for model in ("zoo/hub_dense_l2", "zoo/estimator_custom"):
    plant = functools.partial(p.drop_child, holder="variables", position=-1)
    fault("variable_lost", model, "training", plant, "lacks")
for model in ("zoo/hub_image_batch_norm", "zoo/hub_slim", "zoo/tf18_hub_dense", "zoo/hub_state"):
    fault("update_turned", model, "training", becomes("AssignSubVariableOp", "AssignAddVariableOp"), "update/")

# 7. Dropout.
for model in ("zoo/hub_dropout", "control_flow/dropout_in_loop"):
    fault("dropout_turned", model, "training", becomes("GreaterEqual", "Less", name="dropout"), "same random numbers")
    fault("dropout_seeded", model, "training", nodes("RandomUniform", p.seed), "free seed became a fixed one")
rate = nodes("Const", p.scale_const(1.125), name="dropout/rate")
fault("dropout_rate", "zoo/hub_dropout", "training", rate, "same random numbers")
fault("dropout_shares_rows", "zoo/hub_dropout", "training", p.share_rows, "same random numbers")

# 8. Gradients: the values stay, the way back is cut.
for model, op, name in (
    ("zoo/hub_dense_l2", "Identity", ""),
    ("zoo/hub_lstm", "Identity", ""),
    ("zoo/hub_dropout", "Identity", ""),
    ("control_flow/gru", "Identity", ""),
    ("control_flow/tensor_arrays", "Identity", ""),
):
    fault(
        "gradient_stopped", model, "gradients", becomes(op, "StopGradient", name=name), " / d ", fast="dense" in model
    )

# 9. The interface.


def rename_output(folder):
    with p.edited(folder) as meta:
        for key, signature in meta.signature_def.items():
            if not key.startswith("__") and signature.outputs:
                first = sorted(signature.outputs)[0]
                signature.outputs["renamed"].CopyFrom(signature.outputs[first])
                del signature.outputs[first]


def other_method(folder):
    with p.edited(folder) as meta:
        for key, signature in meta.signature_def.items():
            if not key.startswith("__"):
                signature.method_name = "tensorflow/serving/other"


def lost_signature(folder):
    with p.edited(folder) as meta:
        del meta.signature_def[sorted(key for key in meta.signature_def if not key.startswith("__"))[0]]


def lose_defaults(folder):
    """Inputs that might be left out are asked for: neither SignatureDef nor graph has their values."""
    with p.edited(folder) as meta:
        before = meta.SerializeToString()
        for signature in meta.signature_def.values():
            signature.defaults.clear()
        for node in meta.graph_def.node:
            if node.op == "PlaceholderWithDefault":
                node.op = "Placeholder"
                del node.input[:]
        if meta.SerializeToString() == before:
            raise p.NothingPlanted("no defaults")


def lose_recorded_defaults(folder):
    """A server has the defaults from the SignatureDef alone."""
    with p.edited(folder) as meta:
        if not any(signature.defaults for signature in meta.signature_def.values()):
            raise p.NothingPlanted("no defaults")
        for signature in meta.signature_def.values():
            signature.defaults.clear()


def other_defaults(folder):
    with p.edited(folder) as meta:
        nodes = {node.name: node for node in meta.graph_def.node}
        given = [nodes[n.input[0].split(":")[0]] for n in nodes.values() if n.op == "PlaceholderWithDefault"]
        if not [node for node in given if p.scale_const(2.0)(node)]:
            raise p.NothingPlanted("no defaults")


for plant, culprit in (
    (lose_defaults, "it was optional and is no longer"),
    (lose_recorded_defaults, "no longer gives its default"),
    (other_defaults, "became"),
):
    fault(plant.__name__, "zoo/saved_model_odd_keys", "inference", plant, culprit, fast=plant is lose_defaults)
for model in ("zoo/hub_dense_l2", "zoo/estimator_custom", "zoo/hub_several_signatures"):
    fault("output_renamed", model, "interface", rename_output, "lacks it")
    fault("method_changed", model, "interface", other_method, "method name")
for model in ("zoo/saved_model_methods", "zoo/hub_several_signatures"):
    fault("signature_lost", model, "interface", lost_signature, "lacks the signature")


# --- rewrites that change nothing ------------------------------------------------------------------------


def nothing(folder):
    assert p.path_of(folder).exists()


def rename_nodes(folder):
    """Inner nodes under other names."""
    with p.edited(folder) as meta:
        for function in p.functions_of(meta):
            renamed = {
                n.name: f"renamed/{n.name}" for n in function.node_def if n.op in ("Tanh", "Relu", "MatMul", "Mul")
            }
            for node in function.node_def:
                node.name = renamed.get(node.name, node.name)
                for position, text in enumerate(node.input):
                    caret = "^" if text.startswith("^") else ""
                    head, colon, rest = text.lstrip("^").partition(":")
                    node.input[position] = f"{caret}{renamed.get(head, head)}{colon}{rest}"
            for key, text in list(function.ret.items()):
                head, colon, rest = text.partition(":")
                function.ret[key] = f"{renamed.get(head, head)}{colon}{rest}"


def one_ulp(value):
    return np.nextafter(value, np.float32(np.inf)).astype(value.dtype)


def reorder_nodes(folder):
    with p.edited(folder) as meta:
        for function in p.functions_of(meta):
            listed = list(function.node_def)[::-1]
            del function.node_def[:]
            function.node_def.extend(listed)


def rewrite_checkpoint(folder):
    p.change_checkpoint(folder, lambda values: dict(reversed(values.items())))


for model in (
    "zoo/hub_dense_l2", "zoo/hub_dropout", "zoo/hub_image_batch_norm", "zoo/hub_text_mean", "zoo/estimator_all_modes",
    "zoo/variables_training", "control_flow/dropout_in_loop", "control_flow/tensor_arrays", "control_flow/cond_assign",
    "zoo/hub_state", "control_flow/lstm", "zoo/hub_several_signatures",
):  # fmt: skip
    harmless("unchanged", model, nothing, level="gradients", fast=model == "zoo/hub_dropout")
for model in ("zoo/hub_dense_l2", "control_flow/lstm", "control_flow/while_in_cond", "zoo/hub_slim", "zoo/hub_nested"):
    harmless("renamed_nodes", model, rename_nodes)
for model in (
    "zoo/hub_dense_l2",
    "control_flow/gru",
    "zoo/hub_text_partitioned",
    "zoo/estimator_rnn",
    "zoo/hub_sparse",
):
    harmless("reordered_nodes", model, reorder_nodes)
for model in (
    "zoo/hub_dense_l2",
    "zoo/hub_text_mean",
    "zoo/variables_sharded",
    "zoo/hub_state",
    "zoo/variables_training",
):
    harmless("checkpoint_rewritten", model, rewrite_checkpoint)
for model in ("zoo/hub_dense_l2", "zoo/hub_lstm", "control_flow/gru", "zoo/variables_v1_checkpoint"):
    harmless("one_ulp", model, functools.partial(p.change_variable, change=one_ulp, ndim=2))
for model, old, new in (
    ("zoo/hub_lstm", "AddV2", "Add"),
    ("control_flow/gru", "AddV2", "Add"),
    ("zoo/hub_text_mean", "SelectV2", "SelectV2"),
    ("zoo/hub_nested", "Add", "AddV2"),
    ("control_flow/while_in_cond", "If", "StatelessIf"),
    ("control_flow/case", "If", "StatelessIf"),
    ("control_flow/lstm", "StatelessWhile", "While"),
    ("control_flow/gru", "StatelessWhile", "While"),
    ("zoo/hub_control_flow", "StatelessIf", "If"),
):
    harmless(f"{old}_as_{new}", model, becomes(old, new))
