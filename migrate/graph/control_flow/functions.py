"""Write one function body (or the graph itself): resolve tensors, capture what lies outside.

Invariant: a `Builder` resolves a tensor to something within its own function: a node it has emitted, an
argument, or a clone of a small constant. Whatever else lies further out becomes a capture of the functional
op, and all functions of one op share its captures, so that their signatures agree.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable
from typing import Any

import tensorflow as tf

from migrate.graph.control_flow.nodes import RESOURCE, Node, NotRaised, Ops, Tensor, find_shape
from migrate.graph.index import make_unique, read_attr

# Constants up to this many bytes are cloned into functions: XLA and TFLite want to see their values there.
CLONE_BYTES = 1024
# Ops that read the resource they take and change nothing (automatic control dependencies let them overlap).
READ_OPS = frozenset(
    (
        "ReadVariableOp",
        "VariableShape",
        "ResourceGather",
        "ResourceGatherNd",
        "LookupTableFind",
        "LookupTableFindV2",
        "LookupTableSize",
        "LookupTableSizeV2",
        "LookupTableExportV2",
    )
)
# Ops that are there before anything runs; importers map placeholders, but not control edges from them.
_READY_OPS = frozenset(("Const", "Placeholder", "VarHandleOp"))
UNKNOWN_SHAPE = tf.TensorShape(None).as_proto()
SCALAR_SHAPE = tf.TensorShape([]).as_proto()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """A tensor within one function. `argument` is "" for a function's own argument, else an output's name."""

    name: str
    argument: str
    index: int
    flat: int
    dtype: int
    position: int = -1

    def spell(self, in_function: bool) -> str:
        if not in_function:
            return f"{self.name}:{self.flat}" if self.flat else self.name
        return f"{self.name}:{self.argument}:{self.index}" if self.argument else self.name


@dataclasses.dataclass(slots=True, eq=False)
class Captures:
    """What the functions of one op take from outside, in order, and what has to run before the op."""

    tensors: dict[Tensor, int] = dataclasses.field(default_factory=dict)
    controls: dict[Node, None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True, eq=False, kw_only=True)
class Context:
    """What all builders of one run share.

    Attributes:
      alias: tensors that stand for another one (outputs of Switch, Enter).
      lists: tensors that are TensorLists.
      names: all names in use; functions: by name, in order of completion.
      value_indices: Merges whose second output somebody wants.
      digest: of the source graph. Function names end with it: TensorFlow keeps one table of functions for
        the process, and its gradients register "<name>_rewritten", so that functions of two graphs must
        not share a name even where they are equal (TF 2.21: "Attempting to add a duplicate function").
    """

    ops: Ops
    alias: dict[Tensor, Tensor]
    lists: Collection[Tensor]
    names: set[str]
    argument: str
    digest: str
    value_indices: Collection[Node]
    functions: dict[str, Any] = dataclasses.field(default_factory=dict)

    def unique(self, name: str) -> str:
        candidate = make_unique(name, self.names)
        self.names.add(candidate)
        return candidate

    def follow(self, tensor: Tensor) -> Tensor:
        while tensor in self.alias:
            tensor = self.alias[tensor]
        return tensor

    def shape(self, tensor: Tensor) -> Any:
        """TensorShapeProto, as far as the graph tells it."""
        node, index = self.follow(tensor)
        if tensor in self.lists or node.kind == "VarHandleOp":
            return SCALAR_SHAPE
        if node.kind == "Const":
            return read_attr(node.proto, "value").tensor.tensor_shape
        return find_shape(node, index) or UNKNOWN_SHAPE

    def handle_data(self, tensor: Tensor) -> tuple[int, Any] | None:
        """(dtype, shape) of the variable a handle points to, None for anything else.

        Lists get none: TF's gradients take "unknown" for a list, but a While that is imported forgets what
        its arguments knew, and known and forgotten do not mix ("dtype() == INVALID", TF 2.21).
        """
        node, _ = self.follow(tensor)
        if node.kind == "VarHandleOp":
            return read_attr(node.proto, "dtype").type, read_attr(node.proto, "shape").shape
        return None


class Builder:
    """Collects the nodes of one function, or of the graph when `parent` is None."""

    def __init__(self, context: Context, parent: Builder | None, captures: Captures | None, offset: int = 0) -> None:
        self.context = context
        self.parent = parent
        self.captures = captures
        self.offset = offset  # Number of arguments before the captures.
        self.nodes: list[Any] = []
        self.local: dict[Tensor, Ref] = {}
        self.aliases: dict[Tensor, Tensor] = {}  # Valid in this function only.
        self.emitted: dict[Node, str] = {}
        self.stands: dict[Node, str] = {}  # Ops that waiting for a node within them means to wait for.
        self.preds: dict[Any, Ref] = {}
        self.written: set[int] = set()  # Argument positions that something else than a read takes.
        self.passive: set[str] = set()  # Nodes that only pass on an argument: waiting for them is idle.
        self.stateful = False

    # Tensors ------------------------------------------------------------------------------------------

    def resolve(self, tensor: Tensor) -> Ref:
        ref = self.local.get(tensor)
        if ref is not None:
            return ref
        if tensor in self.aliases:
            ref = self.resolve(self.aliases[tensor])
        elif tensor in self.context.alias:
            ref = self.resolve(self.context.alias[tensor])
        elif tensor.node in self.emitted:
            ref = self._refer(tensor, self.emitted[tensor.node])
        elif self.parent is None:
            raise NotRaised(None, tensor.node.name, "its value is not available where it is needed")
        elif _is_small_constant(tensor.node):
            proto = tf.compat.v1.NodeDef()
            proto.CopyFrom(tensor.node.proto)
            proto.ClearField("input")
            proto.attr.pop("_class", None)
            self.add(proto, passive=True)
            ref = self._refer(tensor, proto.name)
        else:
            ref = self._capture(tensor)
        self.local[tensor] = ref
        return ref

    def _capture(self, tensor: Tensor) -> Ref:
        assert self.parent is not None and self.captures is not None, "a graph captures nothing"
        outer = self.parent.resolve(tensor)
        position = self.offset + self.captures.tensors.setdefault(tensor, len(self.captures.tensors))
        return self.argument(position, outer.dtype)

    def argument(self, position: int, dtype: int) -> Ref:
        name = f"{self.context.argument}{position}"
        return Ref(name=name, argument="", index=0, flat=0, dtype=dtype, position=position)

    def _refer(self, tensor: Tensor, name: str) -> Ref:
        proto = tensor.node.proto
        if self.parent is None and self.context.ops.find(proto.op) is None:
            return Ref(name=name, argument="?", index=0, flat=tensor.index, dtype=0)
        argument, index, dtype = self.context.ops.outputs(proto)[tensor.index]
        return Ref(name=name, argument=argument, index=index, flat=tensor.index, dtype=dtype)

    # Nodes --------------------------------------------------------------------------------------------

    def add(self, proto: Any, *, passive: bool = False) -> None:
        self.nodes.append(proto)
        if passive:
            self.passive.add(proto.name)

    def spell(self, ref: Ref) -> str:
        return ref.spell(self.parent is not None)

    def emit(self, node: Node) -> None:
        """Copy `node` with its edges redirected."""
        proto = tf.compat.v1.NodeDef()
        proto.CopyFrom(node.proto)
        proto.ClearField("input")
        if node.kind == "Identity" or (node.kind == "Merge" and len(node.inputs) == 1):
            kept = {key: node.proto.attr[key] for key in ("T", "_output_shapes") if key in node.proto.attr}
            proto = tf.compat.v1.NodeDef(name=node.name, op="Identity", device=node.proto.device, attr=kept)
        if self.parent is not None:
            proto.attr.pop("_class", None)
            self.stateful = self.stateful or self.context.ops.is_stateful(node)
        passive, writes = proto.op == "Identity", False
        for tensor in node.inputs:
            ref = self.resolve(tensor)
            if ref.dtype == RESOURCE and node.kind not in READ_OPS:
                writes = True
                if not ref.argument:
                    self.written.add(ref.position)
            passive = passive and (not ref.argument or ref.name in self.passive)
            proto.input.append(self.spell(ref))
        if writes and self.parent is not None:
            controls = self.wait_for([*node.controls, *_waits_of_constants(node)], strict=True)
        else:
            controls = self.wait_for(node.controls)
        proto.input.extend(controls)
        self.emitted[node] = node.name
        self.add(proto, passive=passive and not controls and self.parent is not None)

    def emit_stand_in(self, node: Node, outputs: list[Tensor]) -> None:
        """Something that bears the name of `node`, which itself runs in a function, and has its outputs."""
        refs = [self.resolve(tensor) for tensor in outputs]
        if not refs:
            self.append("NoOp", node.name, [], {}, self.wait_for([node]))
        elif len(refs) == 1:
            self.append("Identity", node.name, refs, {"T": attr_type(refs[0].dtype)})
        else:
            self.append("IdentityN", node.name, refs, {"T": attr_types([ref.dtype for ref in refs])})

    def wait_for(self, controls: Collection[Node], *, strict: bool = False) -> list[str]:
        """Control inputs for a node of this function; what lies further out, the functional op waits for.

        Arguments are not waited for unless `strict`: once a loop is lowered they come one by one, and a write
        that waits for one of them must not run in an iteration whose turn has not come.
        """
        found: dict[str, None] = {}
        stack, seen = list(controls), set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.kind in _READY_OPS and not node.controls:
                continue
            if node in self.emitted:
                name = self.emitted[node]
                if strict or name not in self.passive:
                    found[f"^{name}"] = None
            elif node in self.stands:
                found[f"^{self.stands[node]}"] = None
            elif Tensor(node, 0) in self.aliases:
                stack.extend([self.aliases[Tensor(node, 0)].node, *node.controls])
            elif node.kind in ("Switch", "Enter"):
                stack.extend([node.inputs[0].node, *node.controls])
            elif node.kind in ("NextIteration", "LoopCond") or Tensor(node, 0) in self.local:
                continue
            elif self.captures is not None:
                self.captures.controls[node] = None
            else:
                raise NotRaised(None, node.name, "a node that waits for it runs elsewhere")
        return list(found)

    def append(
        self, op: str, name: str, inputs: list[Ref], attrs: dict[str, Any], controls: Iterable[str] = ()
    ) -> None:
        """Add a node of the pass's own making; `name` is in no other use."""
        proto = tf.compat.v1.NodeDef(name=name, op=op)
        proto.input.extend([*(self.spell(ref) for ref in inputs), *controls])
        for key, value in attrs.items():
            proto.attr[key].CopyFrom(value)
        self.add(proto)

    def trace(self, tensor: Tensor) -> Tensor:
        """The tensor that `tensor` stands for in this function."""
        while tensor in self.aliases or tensor in self.context.alias:
            tensor = self.aliases[tensor] if tensor in self.aliases else self.context.alias[tensor]
        return tensor

    def identity(self, ref: Ref, name: str) -> Ref:
        made = self.context.unique(name)
        self.append("Identity", made, [ref], {"T": attr_type(ref.dtype)})
        return Ref(name=made, argument="output", index=0, flat=0, dtype=ref.dtype)

    def constant(self, value: Any, name: str, dtype: tf.DType = tf.int32) -> Ref:
        tensor = tf.make_tensor_proto(value, dtype)
        attrs = {"dtype": attr_type(tensor.dtype), "value": tf.compat.v1.AttrValue(tensor=tensor)}
        made = self.context.unique(name)
        self.append("Const", made, [], attrs)
        return Ref(name=made, argument="output", index=0, flat=0, dtype=tensor.dtype)

    def maximum_of_zero(self, ref: Ref, name: str) -> Ref:
        """A count of its own: tf2onnx 1.17 casts a While's maximum in place, which another input may share."""
        zero = self.constant(0, f"{name}/zero")
        made = self.context.unique(name)
        self.append("Maximum", made, [ref, zero], {"T": attr_type(ref.dtype)})
        return Ref(name=made, argument="z", index=0, flat=0, dtype=ref.dtype)

    # Functions ----------------------------------------------------------------------------------------

    def finish(self, base: str, inputs: list[Input], outputs: list[Ref], controls: Collection[str]) -> str:
        """Register what was built as a function; returns its name. `base` is unique in the graph."""
        function = tf.compat.v1.GraphDef().library.function.add()
        signature = function.signature
        for position, given in enumerate(inputs):
            argument = signature.input_arg.add(name=f"{self.context.argument}{position}", type=given.dtype)
            if given.dtype != RESOURCE:
                # Without it tf.saved_model.save writes "unknown rank" (TF 2.21), and onnxruntime refuses the loop.
                function.arg_attr[position].attr["_output_shapes"].list.shape.add().CopyFrom(given.shape)
            if given.handle is not None:
                argument.handle_data.add(dtype=given.handle[0], shape=given.handle[1])
        for position, ref in enumerate(outputs):
            result = signature.output_arg.add(name=f"out{position}", type=ref.dtype)
            handle = inputs[position].handle if len(inputs) == len(outputs) else None  # The body of a loop.
            if handle is not None:
                result.handle_data.add(dtype=handle[0], shape=handle[1])
            function.ret[f"out{position}"] = ref.spell(True)
        for name in sorted(controls):
            signature.control_output.append(name)
            function.control_ret[name] = name
        signature.is_stateful = self.stateful
        function.node_def.extend(_prune(self.nodes, [*(ref.name for ref in outputs), *controls]))
        name = re.sub("[^A-Za-z0-9_]", "_", base)
        while f"{name}_{self.context.digest}" in self.context.functions:
            name += "_"
        signature.name = f"{name}_{self.context.digest}"
        self.context.functions[signature.name] = function
        return str(signature.name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An argument of a functional op: its tensor outside and what is known of it."""

    ref: Ref
    shape: Any
    handle: tuple[int, Any] | None

    @property
    def dtype(self) -> int:
        return self.ref.dtype


def _is_small_constant(node: Node) -> bool:
    return node.kind == "Const" and read_attr(node.proto, "value").tensor.ByteSize() <= CLONE_BYTES


def _prune(nodes: list[Any], wanted: Collection[str]) -> list[Any]:
    """Those nodes that `wanted` needs, in order."""
    by_name = {proto.name: proto for proto in nodes}
    live, stack = set(), list(wanted)
    while stack:
        name = stack.pop()
        if name in by_name and name not in live:
            live.add(name)
            stack.extend(text.lstrip("^").split(":")[0] for text in by_name[name].input)
    return [proto for proto in nodes if proto.name in live]


def attr_type(dtype: int) -> Any:
    return tf.compat.v1.AttrValue(type=dtype)


def attr_types(dtypes: list[int]) -> Any:
    return tf.compat.v1.AttrValue(list=tf.compat.v1.AttrValue.ListValue(type=dtypes))


def attr_shapes(shapes: list[Any]) -> Any:
    return tf.compat.v1.AttrValue(list=tf.compat.v1.AttrValue.ListValue(shape=shapes))


def attr_function(name: str) -> Any:
    return tf.compat.v1.AttrValue(func=tf.compat.v1.NameAttrList(name=name))


def _waits_of_constants(node: Node) -> list[Node]:
    """What the constants that `node` takes wait for: TF1 hung `control_dependencies` on them, not on `node`."""
    found, stack = [], [tensor.node for tensor in node.inputs]
    while stack:
        source = stack.pop()
        if source.kind == "Const":
            found += source.controls
        elif len(source.inputs) == 1 and source.kind not in ("Enter", "Switch", "NextIteration"):
            stack.append(source.inputs[0].node)
    return found
