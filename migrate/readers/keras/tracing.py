"""Keras model -> TF1-like variants: what the model computes in a mode is traced, and its captures become graph nodes.

A traced function takes variables as captured handles and runs state changes as control outputs. A TF1 variant has
VarHandleOps, and names the changes: those of training in UPDATE_OPS (moving averages), which a training call runs.
Changes that an inference call makes too (the states of a stateful RNN) hang on its outputs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
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
from migrate.readers.keras.parts import Part

SERVE, TRAIN = ("serve",), ("train",)
_PREDICT = "tensorflow/serving/predict"
_PREFIX = os.path.join("variables", "variables")
_IMPLEMENTED = "api_implements"  # attribute of a function: what it is one implementation of
_UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traced:
    """What `trace_model` gives: variants, and the prefix of the checkpoint that it wrote (None: no variables)."""

    variants: tuple[GraphVariant, ...]
    checkpoint: str | None


def trace_model(loaded: LoadedKeras, parts: Mapping[str, Part], traced_losses: Any, scratch: str) -> Traced:
    """Traces the inference variant, and the training variant where training changes anything in any part.

    Args:
      loaded: the model.
      parts: its signatures by key.
      traced_losses: what `models.trace_losses` gave before the model was called.
      scratch: folder for the checkpoint.

    Raises:
      BlockedError: it uses state that is neither a variable nor a table.
    """
    losses = [function for function, _ in models.split_losses(traced_losses)]
    traced: dict[bool, dict[str, Any]] = {False: {}, True: {}}
    for key, part in parts.items():
        for flag, functions in traced.items():
            # The losses are those of the whole model: one graph of a variant holds them.
            functions[key] = _trace_part(part, [] if functions else losses, training=flag)
    variables = dict(loaded.variables)
    for function in (function for functions in traced.values() for function in functions.values()):
        for name, variable in models.find_captured_variables(function, variables).items():
            variables[graph_index.make_unique(name, variables)] = variable
    serve = _build(loaded, parts, traced[False], variables, training=False)
    train = _build(loaded, parts, traced[True], variables, training=True)
    changes = any(
        models.count_ops(traced[False][key].graph) != models.count_ops(traced[True][key].graph) for key in parts
    )
    return Traced(variants=(serve, train) if changes else (serve,), checkpoint=_write_checkpoint(variables, scratch))


def _trace_part(part: Part, losses: Sequence[Any], *, training: bool) -> Any:
    """Concrete function: a tensor for each input component -> (outputs, losses), both flat."""

    def call(*values: Any) -> tuple[list[Any], list[Any]]:
        regularization = [loss() for loss in losses]
        return part.compute(values, training), regularization

    return tf.function(call, autograph=False).get_concrete_function(*part.specs.values())


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


def _build(
    loaded: LoadedKeras,
    parts: Mapping[str, Part],
    functions: Mapping[str, Any],
    variables: Mapping[str, Any],
    *,
    training: bool,
) -> GraphVariant:
    """One graph in which every part has nodes of its own, over the same variables."""
    graph = _SharedGraph(variables)
    signatures: dict[str, Signature] = {}
    collections: dict[str, tuple[str, ...]] = {}
    for key, function in functions.items():
        builder = _Builder(graph, function, f"{key}/" if signatures else "", loaded.producer)
        signatures[key] = builder.build(key, parts[key], training=training)
        for name, found in builder.collections.items():
            collections[name] = (*collections.get(name, ()), *found)
    graph.prune_library()
    trained = set(loaded.trainable)
    return GraphVariant(
        tags=TRAIN if training else SERVE,
        graph_def=graph.graph_def,
        signatures=signatures,
        collections=collections,
        variables=tuple(
            VariableSpec(
                name=name,
                node=graph.variables[id(variable)],
                dtype=variable.dtype.name,
                shape=tuple(variable.shape.as_list()),
                trainable=name in trained,
                checkpoint_key=name,
            )
            for name, variable in variables.items()
        ),
        assets=(),
        attachments={},
        tensorflow_version=tf.__version__,
    )


class _SharedGraph:
    """The graph of a variant.

    Attributes:
      graph_def: it.
      variables, handles: node of each variable, by its id and by that of its handle.
      library: functions by name.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.graph_def = graph_pb2.GraphDef()
        self.library: dict[str, Any] = {}
        self._names: set[str] = set()
        self.variables = {id(variable): self._add_variable(name, variable) for name, variable in variables.items()}
        self.handles = {id(variable.handle): self.variables[id(variable)] for variable in variables.values()}

    def take(self, graph_def: Any, prefix: str) -> None:
        """Version and functions of a graph that is to be put into this one, and the names of its nodes."""
        self.graph_def.versions.CopyFrom(graph_def.versions)
        for function in graph_def.library.function:
            self.library[function.signature.name] = function_pb2.FunctionDef.FromString(function.SerializeToString())
        self._names |= {prefix + node.name for node in graph_def.node}

    def is_taken(self, name: str) -> bool:
        return name in self._names

    def add_node(self, name: str, op: str) -> Any:
        unique = graph_index.make_unique(name, self._names)
        self._names.add(unique)
        return self.graph_def.node.add(name=unique, op=op)

    def _add_variable(self, name: str, variable: Any) -> str:
        node = self.add_node(name, "VarHandleOp")
        node.attr["dtype"].type = variable.dtype.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(variable.shape.as_proto())
        node.attr["shared_name"].s = name.encode()
        return str(node.name)

    def prune_library(self) -> None:
        """Leaves what the graph calls. Keras also registers cuDNN functions, for a device on which its optimizer may
        choose them; no CPU has their kernels."""
        pending = list(self.graph_def.node)
        reached: set[str] = set()
        while pending:
            for name in _called_functions(pending.pop()) - reached:
                if name in self.library:
                    reached.add(name)
                    pending.extend(self.library[name].node_def)
        kept = [self.library[name] for name in sorted(reached)]
        _name_implementations(kept)
        del self.graph_def.library.function[:]
        self.graph_def.library.function.extend(kept)


def _name_implementations(functions: Sequence[Any]) -> None:
    """What functions are implementations of: a name with a new uuid in each process -> one with a digest of them.

    Keras' recurrent layers make such a name (`lstm_<uuid>`) for the functions of which an optimizer may choose one by
    device; those that shared a name share the new one, and those that did not do not: functions of several models may
    meet in one process. Names without a uuid stay.
    """
    groups: dict[bytes, list[Any]] = {}
    for function in functions:
        if _UUID.search(function.attr[_IMPLEMENTED].s if _IMPLEMENTED in function.attr else b""):
            groups.setdefault(function.attr[_IMPLEMENTED].s, []).append(function)
    for name, members in groups.items():
        digest = hashlib.blake2b(digest_size=8)
        for function in sorted(members, key=lambda function: function.signature.name):
            del function.attr[_IMPLEMENTED]
            digest.update(function.SerializeToString(deterministic=True))
        for function in members:
            function.attr[_IMPLEMENTED].s = _UUID.sub(digest.hexdigest().encode(), name)


def _sort_waits(graph_def: Any) -> Any:
    """Control inputs in one order: tf.function's automatic control dependencies come out of sets, in the order of
    addresses, and equal files are to give equal bytes."""
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            waits = sorted(text for text in node.input if text.startswith("^"))
            if len(waits) > 1:
                node.input[-len(waits) :] = waits  # they follow the data inputs
    return graph_def


class _Builder:
    """One traced function on its way into the graph of a variant, where its nodes get a prefix."""

    def __init__(self, graph: _SharedGraph, function: Any, prefix: str, where: str) -> None:
        self._shared, self._function, self._where = graph, function, where
        graph_def = _sort_waits(function.graph.as_graph_def())
        self._prefix = prefix
        # A variable may bear the name of a node.
        own = [node.name for node in graph_def.node]
        while any(graph.is_taken(self._prefix + name) for name in own):
            self._prefix = f"{self._prefix.rstrip('/') or 'model'}_1/"
        graph.take(graph_def, self._prefix)
        self._nodes = list(graph_def.node)
        self.collections: dict[str, tuple[str, ...]] = {}

    def build(self, key: str, part: Part, *, training: bool) -> Signature:
        """Puts the nodes into the graph; what training changes, and the losses, are in `collections` then."""
        self._add_nodes()
        outputs, losses = tf.nest.map_structure(
            models.before_return, self._function.graph.structured_outputs, expand_composites=True
        )
        updates = self._find_updates()
        described = {name: _describe(value) for name, value in zip(part.output_names, outputs, strict=True)}
        signature = Signature(
            key=key,
            method=_PREDICT,
            inputs={name: self._rename(tensor) for name, tensor in self._describe_inputs(part).items()},
            outputs={name: self._rename(tensor) for name, tensor in described.items()},
            bare=True,
        )
        if updates and not training:
            signature = self._hang_updates(signature, updates)
        if losses:
            self.collections["regularization_losses"] = tuple(self._prefix + loss.name for loss in losses)
        if updates and training:
            self.collections["update_ops"] = updates
        return signature

    def _rename(self, tensor: SignatureTensor) -> SignatureTensor:
        components = tuple(self._prefix + name for name in tensor.components)
        return dataclasses.replace(tensor, name=self._prefix + tensor.name, components=components)

    def _add_nodes(self) -> None:
        """The function's nodes; placeholders of captured handles and values -> VarHandleOps and constants."""
        handles = self._shared.handles
        replaced: dict[str, str] = {}
        strange = []
        for outside, inside in self._function.graph.captures:
            if id(outside) in handles:
                replaced[inside.op.name] = handles[id(outside)]
            elif outside.dtype in (tf.resource, tf.variant):
                strange.append(inside.op.name)
            else:
                constant = self._shared.add_node(f"{self._prefix}{inside.op.name}/captured", "Const")
                constant.attr["dtype"].type = outside.dtype.as_datatype_enum
                constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(outside))
                replaced[inside.op.name] = str(constant.name)
        if strange:
            raise errors.BlockedError(
                f"the model uses state that is neither a variable nor a table: {', '.join(strange)}",
                where=self._where,
                hint="export it from Keras: model.export(folder)",
            )
        for node in self._nodes:
            if node.name not in replaced:
                self._add_node(node, replaced)

    def _add_node(self, node: Any, replaced: Mapping[str, str]) -> None:
        copied = node_def_pb2.NodeDef.FromString(node.SerializeToString())
        copied.name = self._prefix + node.name
        for position, text in enumerate(node.input):
            ref = graph_index.parse_tensor_name(text)
            if ref.node in replaced:
                copied.input[position] = f"^{replaced[ref.node]}" if ref.is_control else replaced[ref.node]
            else:
                copied.input[position] = f"^{self._prefix}{ref.node}" if ref.is_control else self._prefix + text
        if "_class" in copied.attr:
            places = [text.decode() for text in node.attr["_class"].list.s]
            kept = [f"loc:@{self._prefix}{p.removeprefix('loc:@')}".encode() for p in places if p[5:] not in replaced]
            del copied.attr["_class"].list.s[:]
            copied.attr["_class"].list.s.extend(kept)
        self._shared.graph_def.node.append(copied)

    def _find_updates(self) -> tuple[str, ...]:
        """Ops that change variables: the function runs them whether or not an output needs them."""
        changing = [op.name for op in self._function.graph.control_outputs if self._may_write(op.node_def)]
        return tuple(self._prefix + name for name in sorted(changing))

    def _may_write(self, node: Any, seen: frozenset[str] = frozenset()) -> bool:
        """Whether an op, or a function that it calls, changes what a handle stands for."""
        called = _called_functions(node)
        bodies = [self._shared.library[name] for name in called - seen if name in self._shared.library]
        if bodies:
            return any(self._may_write(inner, seen | called) for body in bodies for inner in body.node_def)
        definition = tensorflow_private.find_op_def(node.op)
        takes_handle = definition is not None and any(arg.type == types_pb2.DT_RESOURCE for arg in definition.input_arg)
        return takes_handle and effects.has_effect(node.op)

    def _describe_inputs(self, part: Part) -> dict[str, SignatureTensor]:
        captured = len(self._function.graph.captures)
        tensors = self._function.graph.inputs
        flat = iter(tensors[: len(tensors) - captured])
        found = {}
        for name, spec in part.specs.items():
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
        source = self._function.graph.get_tensor_by_name(tensor.removeprefix(self._prefix))
        node = self._shared.add_node(f"{self._prefix}{source.op.name}/after_updates", "Identity")
        node.attr["T"].type = source.dtype.as_datatype_enum
        node.input.extend([tensor, *(f"^{op}" for op in updates)])
        return f"{node.name}:0"


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
