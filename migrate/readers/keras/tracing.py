"""Keras model -> TF1-like variants: what the model computes in a mode is traced, and its captures become graph nodes.

A traced function takes variables as captured handles and runs state changes as control outputs. A TF1 variant has
VarHandleOps, and names the changes: those of training in UPDATE_OPS (moving averages), which a training call runs.
Changes that an inference call makes too (the states of a stateful RNN) hang on its outputs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import function_pb2, graph_pb2, node_def_pb2, types_pb2

from migrate import errors, tensorflow_private
from migrate.graph import effects
from migrate.graph import index as graph_index
from migrate.model import Encoding, GraphVariant, Shape, Signature, SignatureTensor, VariableSpec
from migrate.readers.keras import models
from migrate.readers.keras.loading import LoadedKeras

SERVE, TRAIN = ("serve",), ("train",)
SIGNATURE = "serving_default"
_PREDICT = "tensorflow/serving/predict"
_PREFIX = os.path.join("variables", "variables")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traced:
    """What `trace_model` gives: variants, and the prefix of the checkpoint that it wrote (None: no variables)."""

    variants: tuple[GraphVariant, ...]
    checkpoint: str | None


def trace_model(loaded: LoadedKeras, scratch: str) -> Traced:
    """Traces the inference variant, and the training variant where training changes anything.

    Args:
      loaded: the model.
      scratch: folder for the checkpoint.

    Raises:
      BlockedError: it uses state that is neither a variable nor a table.
    """
    losses = models.trace_losses(loaded.model)
    functions = {flag: _trace_call(loaded, losses, training=flag) for flag in (False, True)}
    variables = dict(loaded.variables)
    for function in functions.values():
        for name, variable in models.find_captured_variables(function, variables).items():
            variables[graph_index.make_unique(name, variables)] = variable
    serve = _Builder(loaded, functions[False], variables).build(SERVE, training=False)
    train = _Builder(loaded, functions[True], variables).build(TRAIN, training=True)
    changes = models.count_ops(functions[False].graph) != models.count_ops(functions[True].graph)
    return Traced(variants=(serve, train) if changes else (serve,), checkpoint=_write_checkpoint(variables, scratch))


def _trace_call(loaded: LoadedKeras, losses: Any, *, training: bool) -> Any:
    """Concrete function: a tensor for each input component -> (outputs, losses), both flat."""
    specs = models.make_specs(loaded.model, loaded.input_names)

    def call(*values: Any) -> tuple[list[Any], list[Any]]:
        regularization = losses() if losses is not None else []
        outputs = models.call_model(loaded.model, values, training=training)
        return outputs, list(regularization)

    return tf.function(call, autograph=False).get_concrete_function(*specs.values())


def _write_checkpoint(variables: Mapping[str, Any], scratch: str) -> str | None:
    if not variables:
        return None
    prefix = os.path.join(scratch, _PREFIX)
    os.makedirs(os.path.dirname(prefix), exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[variable.read_value() for variable in variables.values()],
    )
    return prefix


class _Builder:
    """One traced function on its way to a GraphVariant."""

    def __init__(self, loaded: LoadedKeras, function: Any, variables: Mapping[str, Any]) -> None:
        self._loaded = loaded
        self._function = function
        self._variables = variables
        self._graph = graph_pb2.GraphDef()
        self._graph.CopyFrom(function.graph.as_graph_def())
        self._names = {node.name for node in self._graph.node}
        self._library = {
            function.signature.name: function_pb2.FunctionDef.FromString(function.SerializeToString())
            for function in self._graph.library.function
        }
        # Node of each variable, by id; placeholder of a capture -> the node that takes its place.
        self._nodes = {id(variable): self._add_variable(name, variable) for name, variable in variables.items()}

    def build(self, tags: tuple[str, ...], *, training: bool) -> GraphVariant:
        self._replace_captures()
        self._prune_library()
        outputs, losses = tf.nest.map_structure(
            _before_return, self._function.graph.structured_outputs, expand_composites=True
        )
        updates = self._find_updates()
        signature = Signature(
            key=SIGNATURE,
            method=_PREDICT,
            inputs=self._describe_inputs(),
            outputs={name: _describe(value) for name, value in zip(self._loaded.output_names, outputs, strict=True)},
            bare=True,
        )
        if updates and not training:
            signature = self._hang_updates(signature, updates)
        collections: dict[str, tuple[Any, ...]] = {}
        if losses:
            collections["regularization_losses"] = tuple(loss.name for loss in losses)
        if updates and training:
            collections["update_ops"] = updates
        trained = set(self._loaded.trainable)
        return GraphVariant(
            tags=tags,
            graph_def=self._graph,
            signatures={SIGNATURE: signature},
            collections=collections,
            variables=tuple(
                VariableSpec(
                    name=name,
                    node=self._nodes[id(variable)],
                    dtype=variable.dtype.name,
                    shape=tuple(variable.shape.as_list()),
                    trainable=name in trained,
                    checkpoint_key=name,
                )
                for name, variable in self._variables.items()
            ),
            assets=(),
            attachments={},
            tensorflow_version=tf.__version__,
        )

    def _add_node(self, name: str, op: str) -> Any:
        unique = graph_index.make_unique(name, self._names)
        self._names.add(unique)
        return self._graph.node.add(name=unique, op=op)

    def _add_variable(self, name: str, variable: Any) -> str:
        node = self._add_node(name, "VarHandleOp")
        node.attr["dtype"].type = variable.dtype.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(variable.shape.as_proto())
        node.attr["shared_name"].s = name.encode()
        return str(node.name)

    def _replace_captures(self) -> None:
        """Placeholders of captured handles and values -> VarHandleOps and constants."""
        handles = {id(variable.handle): self._nodes[id(variable)] for variable in self._variables.values()}
        replaced: dict[str, str] = {}
        strange = []
        for outside, inside in self._function.graph.captures:
            if id(outside) in handles:
                replaced[inside.op.name] = handles[id(outside)]
            elif outside.dtype in (tf.resource, tf.variant):
                strange.append(inside.op.name)
            else:
                constant = self._add_node(f"{inside.op.name}/captured", "Const")
                constant.attr["dtype"].type = outside.dtype.as_datatype_enum
                constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(outside))
                replaced[inside.op.name] = str(constant.name)
        if strange:
            raise errors.BlockedError(
                f"the model uses state that is neither a variable nor a table: {', '.join(strange)}",
                where=self._loaded.producer,
                hint="export it from Keras: model.export(folder)",
            )
        kept = [node for node in self._graph.node if node.name not in replaced]
        for node in kept:
            for position, text in enumerate(node.input):
                ref = graph_index.parse_tensor_name(text)
                if ref.node in replaced:
                    node.input[position] = f"^{replaced[ref.node]}" if ref.is_control else replaced[ref.node]
        copied = [node_def_pb2.NodeDef.FromString(node.SerializeToString()) for node in kept]
        del self._graph.node[:]
        self._graph.node.extend(copied)

    def _prune_library(self) -> None:
        """Leaves what the graph calls. Keras also registers cuDNN functions, for a device on which its optimizer may
        choose them; no CPU has their kernels."""
        pending = list(self._graph.node)
        reached: set[str] = set()
        while pending:
            for name in _called_functions(pending.pop()) - reached:
                if name in self._library:
                    reached.add(name)
                    pending.extend(self._library[name].node_def)
        kept = [self._library[name] for name in sorted(reached)]
        del self._graph.library.function[:]
        self._graph.library.function.extend(kept)

    def _find_updates(self) -> tuple[str, ...]:
        """Ops that change variables: the function runs them whether or not an output needs them."""
        return tuple(sorted(op.name for op in self._function.graph.control_outputs if self._may_write(op.node_def)))

    def _may_write(self, node: Any, seen: frozenset[str] = frozenset()) -> bool:
        """Whether an op, or a function that it calls, changes what a handle stands for."""
        called = _called_functions(node)
        bodies = [self._library[name] for name in called - seen if name in self._library]
        if bodies:
            return any(self._may_write(inner, seen | called) for body in bodies for inner in body.node_def)
        definition = tensorflow_private.find_op_def(node.op)
        takes_handle = definition is not None and any(arg.type == types_pb2.DT_RESOURCE for arg in definition.input_arg)
        return takes_handle and effects.has_effect(node.op)

    def _describe_inputs(self) -> dict[str, SignatureTensor]:
        specs = models.make_specs(self._loaded.model, self._loaded.input_names)
        captured = len(self._function.graph.captures)
        tensors = self._function.graph.inputs
        flat = iter(tensors[: len(tensors) - captured])
        found = {}
        for name, spec in specs.items():
            parts = [next(flat) for _ in tf.nest.flatten(spec, expand_composites=True)]
            found[name] = _describe_parts(spec, parts)
        return found

    def _hang_updates(self, signature: Signature, updates: Sequence[str]) -> Signature:
        """Outputs that wait for the state changes of the call."""
        outputs = {}
        for key, tensor in signature.outputs.items():
            names = {name: self._wait(name, updates) for name in tensor.tensor_names}
            outputs[key] = dataclasses.replace(
                tensor,
                name=names.get(tensor.name, tensor.name),
                components=tuple(names[name] for name in tensor.components),
            )
        return dataclasses.replace(signature, outputs=outputs)

    def _wait(self, tensor: str, updates: Sequence[str]) -> str:
        source = self._function.graph.get_tensor_by_name(tensor)
        node = self._add_node(f"{source.op.name}/after_updates", "Identity")
        node.attr["T"].type = source.dtype.as_datatype_enum
        node.input.extend([tensor, *(f"^{op}" for op in updates)])
        return f"{node.name}:0"


def _before_return(tensor: Any) -> Any:
    """What tf.function returns through an Identity, which waits for all that the function does (TF's automatic control
    dependencies): a loss would wait for the call, an output for the updates."""
    return tensor.op.inputs[0] if tensor.op.type == "Identity" else tensor


def _called_functions(node: Any) -> set[str]:
    found = {value.func.name for value in node.attr.values() if value.HasField("func")}
    return found | {item.name for value in node.attr.values() for item in value.list.func}


def _describe(value: Any) -> SignatureTensor:
    """An output of the function's graph."""
    spec = tf.type_spec_from_value(value)
    return _describe_parts(spec, tf.nest.flatten(value, expand_composites=True))


def _describe_parts(spec: Any, parts: Sequence[Any]) -> SignatureTensor:
    if isinstance(spec, tf.SparseTensorSpec):
        indices, values, dense_shape = parts  # the order of SparseTensorSpec
        names = (values.name, indices.name, dense_shape.name)
        return SignatureTensor(
            name=names[0], dtype=spec.dtype.name, shape=_shape(spec.shape), encoding=Encoding.SPARSE, components=names
        )
    if isinstance(spec, tf.RaggedTensorSpec):
        return SignatureTensor(
            name=parts[0].name,
            dtype=spec.dtype.name,
            shape=_shape(spec.shape),
            encoding=Encoding.RAGGED,
            components=tuple(part.name for part in parts),
            ragged_rank=spec.ragged_rank,
            row_splits_dtype=spec.row_splits_dtype.name,
        )
    (tensor,) = parts
    return SignatureTensor(name=tensor.name, dtype=tensor.dtype.name, shape=_shape(tensor.shape))


def _shape(shape: tf.TensorShape) -> Shape:
    return None if shape.rank is None else tuple(shape.as_list())
