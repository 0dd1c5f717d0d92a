"""How a Keras model is called, whichever Keras it is of: its inputs, a call in a mode, its losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from migrate.readers.keras import recurrent


def make_specs(model: Any, names: Sequence[str]) -> dict[str, Any]:
    """TensorSpec, SparseTensorSpec or RaggedTensorSpec of each input, in the model's order."""
    return {name: _make_spec(tensor, name) for name, tensor in zip(names, model.inputs, strict=True)}


def _make_spec(tensor: Any, name: str) -> Any:
    spec = getattr(tensor, "type_spec", None)  # tf_keras
    if isinstance(spec, tf.SparseTensorSpec | tf.RaggedTensorSpec):
        return spec
    if getattr(tensor, "sparse", False):  # keras 3
        return tf.SparseTensorSpec(tensor.shape, tensor.dtype)
    if getattr(tensor, "ragged", False):
        return tf.RaggedTensorSpec(tensor.shape, tensor.dtype)
    return tf.TensorSpec(tensor.shape, tensor.dtype, name=name)


def call_model(model: Any, values: Sequence[Any], *, training: bool) -> list[Any]:
    """The model's outputs, in its order, for a value for each of its inputs, in its order."""
    structure = _find_structure(model)
    if len(tf.nest.flatten(structure)) == len(values):
        argument = tf.nest.pack_sequence_as(structure, list(values))
    else:
        argument = values[0] if len(values) == 1 else list(values)
    with recurrent.no_gpu_implementations():
        return list(tf.nest.flatten(model(argument, training=training)))


def _find_structure(model: Any) -> Any:
    """What a call takes, a tensor or a structure of them. A Sequential of Keras 3 has an `input` only once it was
    called on a symbolic tensor, which loading does not."""
    try:
        return model.input
    except AttributeError:
        return model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)


def trace_losses(model: Any) -> Any:
    """A concrete function that gives the regularization losses, None where the model has none.

    To be traced before the model is ever called: what a call adds to `losses` (activity regularization) depends on its
    inputs, and is no function of the weights.
    """
    chosen = [position for position, loss in enumerate(model.losses) if not is_symbolic(loss)]
    if not chosen:
        return None

    def compute() -> list[Any]:
        losses = model.losses
        return [tf.convert_to_tensor(losses[position]) for position in chosen]

    return tf.function(compute, autograph=False).get_concrete_function()


def split_losses(traced: Any) -> list[tuple[Any, list[Any]]]:
    """What `trace_losses` gave as a concrete function for each loss, with the handles of the variables that it uses:
    Keras computes all losses at once, and so all hang on all regularized variables."""
    if traced is None:
        return []
    graph_def = traced.graph.as_graph_def()
    found = []
    for tensor in map(before_return, traced.graph.structured_outputs):
        pruned = tf.compat.v1.graph_util.extract_sub_graph(graph_def, [tensor.op.name])
        kept = {node.name for node in pruned.node}
        handles = {inside.name: outside for outside, inside in traced.graph.captures if inside.op.name in kept}
        found.append((_make_function(pruned, handles, tensor.name), list(handles.values())))
    return found


def before_return(tensor: Any) -> Any:
    """What tf.function returns through an Identity, which waits for all that the function does (TF's automatic control
    dependencies): a loss would wait for the call, an output for the updates."""
    return tensor.op.inputs[0] if tensor.op.type == "Identity" else tensor


def _make_function(graph_def: Any, inputs: Mapping[str, Any], name: str) -> Any:
    def compute() -> Any:
        graph = tf.compat.v1.get_default_graph()  # of this function: an import takes no eager tensors
        captured = {inside: graph.capture(outside) for inside, outside in inputs.items()}
        return tf.graph_util.import_graph_def(graph_def, input_map=captured, return_elements=[name], name="")[0]

    return tf.function(compute, autograph=False).get_concrete_function()


def has_input_losses(model: Any) -> bool:
    """Whether a call adds losses that depend on its inputs."""
    layers = getattr(model, "_flatten_layers", None)
    every = layers() if layers is not None else model.submodules if hasattr(model, "submodules") else model.layers
    return any(is_symbolic(loss) for loss in model.losses) or any(
        getattr(layer, "activity_regularizer", None) is not None for layer in every
    )


def is_symbolic(value: Any) -> bool:
    """Whether a tensor belongs to a graph, so that it has no value yet."""
    return not isinstance(value, tf.Tensor) or not hasattr(value, "numpy")


def find_captured_variables(function: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """Variables that a concrete function uses and `known` does not hold, by name: states of stateful layers."""
    ids = {id(variable) for variable in known.values()}
    found: dict[str, Any] = {}
    for variable in function.variables:
        if id(variable) not in ids:
            found[variable.name.rpartition(":")[0] or variable.name] = variable
    return found


def count_ops(graph: Any) -> Counter[tuple[str, str]]:
    """How often each op stands in a graph and its functions; names say nothing, `is_training` does."""
    graph_def = graph.as_graph_def()
    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    return Counter(
        (node.op, str(node.attr["is_training"].b) if "is_training" in node.attr else "")
        for nodes in bodies
        for node in nodes
    )
