"""A GraphDef that counts what it reaches: GraphDef -> GraphDef, on a copy made for that; no value changes.

Each place gets a small variable, found by its shared name from wherever the place lies (a branch, a round of a loop, a
function's body: no handle is handed in), and an op beside the node that adds to it; the node's input waits for that. A
node that is dead for want of a taken branch counts nothing, as nothing of its kind runs (Switch and Merge in
tensorflow/core/common_runtime/executor.cc). The rounds of a loop are counted by one more loop variable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, node_def_pb2, types_pb2

from migrate.inputs.reach import goals
from migrate.inputs.reach.goals import Probe, name_node

_PREFIX = "reach_counter"
# Names of output arguments, by which a function's body spells an edge.
_OUTPUTS = {"Cast": "y", "Less": "z", "Greater": "z", "LessEqual": "z", "LogicalNot": "y", "LogicalAnd": "z"}
_OUTPUTS |= {"VarHandleOp": "resource", "LookupTableFindV2": "values", "LookupTableFind": "values", "AddV2": "z"}
_OUTPUTS |= dict.fromkeys(("Equal", "NotEqual", "GreaterEqual"), "z")
_STATEFUL = {
    "StatelessIf": "If",
    "StatelessWhile": "While",
    "StatelessCase": "Case",
    "PartitionedCall": "StatefulPartitionedCall",
}
# No value of a table is this one: what a lookup gives back for want of a key.
_ABSENT = {"string": b"\x00reach: no such key", "int64": -(2**62) + 1, "int32": -(2**30) + 1}
_FLOAT_ABSENT = -1.2345e30


def counter_name(number: int) -> str:
    """Shared name of the variable that belongs to the probe of this number."""
    return f"{_PREFIX}/{number}"


def add_counters(graph_def: Any, probes: Sequence[Probe]) -> dict[int, str]:
    """Puts counters into `graph_def`, in place.

    Args:
      graph_def: whose nodes `probes` are.
      probes: from `goals.survey_graph`.

    Returns:
      Numbers of the probes that cannot be counted after all, and why.
    """
    bodies = {"": _Editor(graph_def.node, is_function=False)}
    functions = {function.signature.name: function for function in graph_def.library.function}
    refused: dict[int, str] = {}
    # Functional loops last: what lies in their functions has its counters by then.
    order = sorted(range(len(probes)), key=lambda n: probes[n].op in ("While", "StatelessWhile"))
    for number in order:
        probe = probes[number]
        if probe.function not in bodies:
            bodies[probe.function] = _Editor(functions[probe.function].node_def, is_function=True)
        body = bodies[probe.function]
        node = body.nodes.get(probe.node)
        if node is None:
            refused[number] = "TensorFlow cannot run the part of the graph that holds it"
            continue
        try:
            _Counter(body, node, probe, number).add(functions)
        except _CannotCountError as error:
            refused[number] = str(error)
    for node in (*graph_def.node, *(n for f in functions.values() for n in f.node_def)) if functions else ():
        node.op = _STATEFUL.get(node.op, node.op)
    for function in functions.values():
        function.signature.is_stateful = True
    return refused


class _CannotCountError(Exception):
    """Why a place cannot be counted."""


class _Editor:
    """Adds nodes to a graph or to a function's body."""

    def __init__(self, nodes: Any, *, is_function: bool) -> None:
        self._list = nodes
        self.is_function = is_function
        self.nodes: dict[str, Any] = {node.name: node for node in nodes}

    def add(self, op: str, name: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Appends a node; the tensor that is its first output."""
        node = node_def_pb2.NodeDef(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            if isinstance(value, attr_value_pb2.AttrValue):
                node.attr[key].CopyFrom(value)
            else:
                node.attr[key].type = value
        self._list.append(node)
        self.nodes[name] = self._list[-1]
        return f"{name}:{output or _OUTPUTS.get(op, 'output')}:0" if self.is_function else name

    def pick(self, tensor: str, output: str, index: int) -> str:
        """Another output of a node that `add` has given."""
        name = name_node(tensor)
        return f"{name}:{output}:0" if self.is_function else f"{name}:{index}"


class _Counter:
    """What is put beside one node."""

    def __init__(self, body: _Editor, node: Any, probe: Probe, number: int) -> None:
        self._body, self._node, self._probe, self._number = body, node, probe, number
        self._count = 0
        self._tensor = node.input[probe.position]
        self._beside = f"^{name_node(self._tensor)}"

    def add(self, functions: Mapping[str, Any]) -> None:
        kind, op = self._probe.kind, self._node.op
        if op in ("While", "StatelessWhile"):
            self._count_functional_rounds(functions)
            return
        flags: Callable[[], Sequence[str]] = {
            goals.BRANCHES: self._see_branch,
            goals.LOOPS: self._see_rounds,
            goals.LOOKUPS: self._see_lookup,
            goals.ACTIVATIONS: self._see_activation,
            goals.COMPARISONS: self._see_comparison,
        }.get(kind, self._see_rows)
        if op == "RefSwitch" or not self._probe.sides:
            raise _CannotCountError(f"{op} is not looked into")
        found = flags()
        counts = found[0] if kind == goals.ROWS else self._to_counts(found)
        dtype = self._find_input_type()
        self._node.input[self._probe.position] = self._record(self._tensor, dtype, counts)

    def _record(self, tensor: str, dtype: int, counts: str) -> str:
        """Adds `counts` to the variable; `tensor`, which waits for that."""
        shape = attr_value_pb2.AttrValue()
        shape.shape.dim.add().size = len(self._probe.sides)
        shared = attr_value_pb2.AttrValue(s=counter_name(self._number).encode())
        handle = self._add("VarHandleOp", [self._beside], dtype=types_pb2.DT_INT64, shape=shape, shared_name=shared)
        name = self._next_name()
        self._body.add("AssignAddVariableOp", name, [handle, counts], dtype=types_pb2.DT_INT64)
        return self._add("Identity", [tensor, f"^{name}"], T=dtype)

    # --- what can be seen ----------------------------------------------------------------------------

    def _see_branch(self) -> list[str]:
        if self._node.op in ("Case", "StatelessCase"):
            last = len(self._probe.sides) - 1
            # An index out of range runs the last branch (tensorflow/core/ops/functional_ops.cc).
            found = [self._compare("Equal", self._tensor, np.int32(n)) for n in range(last)]
            inside = [self._compare("LessEqual", self._tensor, np.int32(-1))] if last else []
            inside += [self._compare("GreaterEqual", self._tensor, np.int32(last))]
            any_of = inside[0] if len(inside) == 1 else self._add("LogicalOr", inside, output="z")
            return [*found, any_of]
        dtype = self._node.attr["Tcond"].type if "Tcond" in self._node.attr else types_pb2.DT_BOOL
        pred = self._tensor
        if dtype != types_pb2.DT_BOOL:
            pred = self._add("ToBool", [pred], T=dtype)
        return [self._add("LogicalNot", [pred]), pred]

    def _see_activation(self) -> list[str]:
        dtype = self._find_type("T")
        node = self._node
        if node.op in goals.BENDS:
            low, high = goals.BENDS[node.op]
            kind = tf.as_dtype(dtype).as_numpy_dtype
            return [
                self._any(self._compare("Less", self._tensor, np.asarray(low, kind))),
                self._any(self._compare("Greater", self._tensor, np.asarray(high, kind))),
            ]
        if node.op == "ClipByValue":
            lower = self._add("Less", [self._tensor, node.input[1]], T=dtype)
            upper = self._add("Greater", [self._tensor, node.input[2]], T=dtype)
        else:
            lower = self._add("Less", [self._tensor, node.input[1]], T=dtype)
            upper = self._add("Greater", [self._tensor, node.input[1]], T=dtype)
        return [self._any(lower), self._any(upper)]

    def _see_comparison(self) -> list[str]:
        name = self._next_name()
        copy = node_def_pb2.NodeDef()
        copy.CopyFrom(self._node)
        attributes = dict(copy.attr)
        result = self._body.add(copy.op, name, [text for text in copy.input if text[0] != "^"], **attributes)
        return [self._any(self._add("LogicalNot", [result])), self._any(result)]

    def _see_lookup(self) -> list[str]:
        keys, values = self._find_type("Tin"), self._find_type("Tout")
        spelled = tf.as_dtype(values).name
        if spelled not in _ABSENT and not tf.as_dtype(values).is_floating:
            raise _CannotCountError(f"a table of {spelled} is not looked into")
        absent = np.asarray(_ABSENT.get(spelled, _FLOAT_ABSENT), tf.as_dtype(values).as_numpy_dtype)
        default = self._constant(absent, values)
        found = self._add(self._node.op, [self._node.input[0], self._tensor, default], Tin=keys, Tout=values)
        missed = self._add("Equal", [found, default], T=values)
        return [self._any(self._add("LogicalNot", [missed])), self._any(missed)]

    def _see_rows(self) -> list[str]:
        indices = self._find_type("Tindices")
        numbers = self._add("Cast", [self._tensor], SrcT=indices, DstT=types_pb2.DT_INT32)
        size = self._constant(np.int32(len(self._probe.sides)))
        weights = self._constant(np.zeros([0], np.int64))
        return [self._add("Bincount", [numbers, size, weights], output="bins", T=types_pb2.DT_INT64)]

    def _see_rounds(self) -> list[str]:
        """One more variable of a v1 loop: 0, then one more each round; looked at when the loop ends."""
        enter = self._find_enter()
        frame = {key: enter.attr[key] for key in ("frame_name", "parallel_iterations") if key in enter.attr}
        outside = f"^{name_node(enter.input[0])}"
        zero = self._constant(np.int32(0), beside=outside)
        entered = self._add("Enter", [zero], T=types_pb2.DT_INT32, **frame)
        two = attr_value_pb2.AttrValue(i=2)
        merged = self._add("Merge", [entered, entered], T=types_pb2.DT_INT32, N=two)
        switch = self._add("Switch", [merged, self._node.name], output="output_false", T=types_pb2.DT_INT32)
        one = self._constant(np.int32(1), beside=f"^{name_node(merged)}")
        after = self._add("AddV2", [self._body.pick(switch, "output_true", 1), one], T=types_pb2.DT_INT32)
        following = self._add("NextIteration", [after], T=types_pb2.DT_INT32)
        self._body.nodes[name_node(merged)].input[1] = following
        return self._tell_rounds(merged, self._tensor)

    def _tell_rounds(self, rounds: str, goes_on: str) -> list[str]:
        ends = self._add("LogicalNot", [goes_on])
        seen = [
            self._compare("Equal", rounds, np.int32(0)),
            self._compare("Equal", rounds, np.int32(1)),
            self._compare("Greater", rounds, np.int32(1)),
        ]
        return [self._add("LogicalAnd", [flag, ends]) for flag in seen]

    def _find_enter(self) -> Any:
        for node in self._body.nodes.values():
            if node.op == "Switch" and name_node(node.input[1]) == self._node.name:
                merge = self._body.nodes.get(name_node(node.input[0]))
                entered = None if merge is None else self._body.nodes.get(name_node(merge.input[0]))
                if entered is not None and entered.op == "Enter":
                    return entered
        raise _CannotCountError("the loop has no variable of its own by which its rounds could be told")

    def _count_functional_rounds(self, functions: Mapping[str, Any]) -> None:
        """One more argument of a functional loop, which its condition looks at."""
        node = self._node
        cond, body = (functions[node.attr[key].func.name] for key in ("cond", "body"))
        if cond.signature.output_arg[0].type != types_pb2.DT_BOOL:
            raise _CannotCountError("its condition is no bool")
        zero = self._constant(np.int32(0))
        controls = [text for text in node.input if text.startswith("^")]
        data = [text for text in node.input if not text.startswith("^")]
        del node.input[:]
        node.input.extend([*data, zero, *controls])
        node.attr["T"].list.type.append(types_pb2.DT_INT32)
        if node.attr["output_shapes"].list.shape:
            node.attr["output_shapes"].list.shape.add()
        argument = f"{_PREFIX}_{self._number}"
        for function in (cond, body):
            function.signature.input_arg.add(name=argument, type=types_pb2.DT_INT32)
        # One more round, in the body.
        self._body = _Editor(body.node_def, is_function=True)
        one = self._constant(np.int32(1), beside="")
        body.signature.output_arg.add(name=f"{argument}_next", type=types_pb2.DT_INT32)
        body.ret[f"{argument}_next"] = self._add("AddV2", [argument, one], T=types_pb2.DT_INT32)
        # What the condition says of it.
        self._body = _Editor(cond.node_def, is_function=True)
        key = cond.signature.output_arg[0].name
        self._tensor, self._beside = cond.ret[key], ""
        counts = self._to_counts(self._tell_rounds(argument, self._tensor))
        cond.ret[key] = self._record(self._tensor, types_pb2.DT_BOOL, counts)

    # --- small nodes ---------------------------------------------------------------------------------

    def _next_name(self) -> str:
        self._count += 1
        return f"{_PREFIX}_{self._number}/{self._count}"

    def _add(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        return self._body.add(op, self._next_name(), [text for text in inputs if text], output, **attributes)

    def _constant(self, value: Any, dtype: int | None = None, beside: str | None = None) -> str:
        """A Const that lives and dies with the tensor that is looked at."""
        proto = tf.make_tensor_proto(value, dtype=tf.as_dtype(dtype) if dtype is not None else None)
        tensor = attr_value_pb2.AttrValue(tensor=proto)
        waits = self._beside if beside is None else beside
        return self._add("Const", [waits], dtype=proto.dtype, value=tensor)

    def _compare(self, op: str, tensor: str, number: Any) -> str:
        dtype = tf.as_dtype(np.asarray(number).dtype).as_datatype_enum
        return self._add(op, [tensor, self._constant(number)], T=dtype)

    def _any(self, flags: str) -> str:
        flat = self._add("Reshape", [flags, self._constant(np.array([-1], np.int32))], T=types_pb2.DT_BOOL)
        return self._add("Any", [flat, self._constant(np.int32(0))])

    def _to_counts(self, flags: Sequence[str]) -> str:
        count = attr_value_pb2.AttrValue(i=len(flags))
        ones = [self._flatten(flag) for flag in flags]
        packed = self._add("Pack", ones, T=types_pb2.DT_BOOL, N=count)
        return self._add("Cast", [packed], SrcT=types_pb2.DT_BOOL, DstT=types_pb2.DT_INT64)

    def _flatten(self, flag: str) -> str:
        """A bool as a scalar, whatever TF1 took for one."""
        shape = self._constant(np.zeros([0], np.int32))
        return self._add("Reshape", [flag, shape], T=types_pb2.DT_BOOL)

    def _find_type(self, attribute: str) -> int:
        found = self._node.attr[attribute].type
        if not found:
            raise _CannotCountError(f"the dtype of {self._node.op} is not stated")
        return int(found)

    def _find_input_type(self) -> int:
        kind, op = self._probe.kind, self._node.op
        if kind == goals.LOOPS or op == "Switch":
            return int(types_pb2.DT_BOOL)
        if op in ("Case", "StatelessCase"):
            return int(types_pb2.DT_INT32)
        if op in ("If", "StatelessIf"):
            return int(self._node.attr["Tcond"].type or types_pb2.DT_BOOL)
        return self._find_type({goals.LOOKUPS: "Tin", goals.ROWS: "Tindices"}.get(kind, "T"))
