"""Calls of library functions -> the nodes of their bodies; functional loops and branches -> v1 control flow.

TF1 inlines every call when it runs a graph; TF2 needs it done before, since the passes look at nodes: removed ops,
first-version tables and v1 control flow inside a body, variables that a body takes as an argument. A functional
While or If that takes a variable's handle is taken apart too (into the forms that lower_while_op.cc and lower_if_op.cc
of tensorflow/core/common_runtime make), because TF 2.21 cannot differentiate it once it has been saved and loaded
("variable without handle data"); `control_flow` raises it again, with the variable's value in place of its handle.

Invariant: the values do not change, and what a call would run is run: where a body has effects, each of its results
waits for them. Left as they are: functions with a gradient of their own (`gradient_functions`), recursive ones,
those with list arguments, those that make a resource, and those with an effect within v1 control flow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tensorflow.core.framework import attr_value_pb2, graph_pb2, node_def_pb2, types_pb2

from migrate import tensorflow_private
from migrate.graph import effects, function_library
from migrate.graph import index as graph_index
from migrate.graph.subgraph import Subgraph

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_LOOPS = ("While", "StatelessWhile")
_BRANCHES = ("If", "StatelessIf")
# Nodes of these ops mean that a node without inputs may have to wait for a branch or a loop.
_DEAD_OR_ALIVE = ("Switch", "RefSwitch", "Enter", "RefEnter")


def inline_functions(subgraph: Subgraph, *, lower: bool) -> tuple[Subgraph, bool]:
    """Replaces the calls of library functions by what they compute.

    Args:
      subgraph: its fetches are carried over to the tensors that replace them.
      lower: take functional loops and branches apart that take a resource.

    Returns:
      A subgraph, and whether a loop or branch was taken apart.
    """
    if not subgraph.graph_def.library.function:
        return subgraph, False
    inliner = _Inliner(subgraph.graph_def, lower=lower)
    return inliner.run(subgraph), inliner.lowered


@dataclasses.dataclass(frozen=True, slots=True)
class _Body:
    """What stands in the graph for one call: its results, and the ops that have effects."""

    results: list[str]
    effects: list[str]


class _Inliner:
    def __init__(self, graph_def: Any, *, lower: bool) -> None:
        self._source = graph_def
        self._lower = lower
        self.lowered = False
        self._functions = {function.signature.name: function for function in graph_def.library.function}
        self._kept = {item.function_name for item in graph_def.library.gradient}
        self._nodes: list[Any] = []
        self._names = {node.name for node in graph_def.node}
        self._replaced: dict[str, str] = {}  # tensor of a call -> the tensor that stands for it
        self._after: dict[str, list[str]] = {}  # call -> ops that a control edge from it waits for
        self._conditional = any(node.op in _DEAD_OR_ALIVE for node in graph_def.node)
        self._changing = any(_has_effect(node, self._functions) for node in graph_def.node)

    def run(self, subgraph: Subgraph) -> Subgraph:
        for node in self._source.node:
            self._place(node, ())
        if not self._after:
            return subgraph
        for node in self._nodes:
            inputs = self._resolve_inputs(node.input)
            del node.input[:]
            node.input.extend(inputs)
        fetches = {name: self._resolve_fetch(tensor) for name, tensor in subgraph.fetches.items()}
        result = graph_pb2.GraphDef(versions=self._source.versions, library=self._source.library)
        result.node.extend(self._nodes)
        return dataclasses.replace(subgraph, graph_def=result, fetches=fetches)

    def _resolve_inputs(self, inputs: Iterable[str]) -> list[str]:
        data: list[str] = []
        controls: dict[str, None] = {}
        for text in inputs:
            if not text.startswith("^"):
                data.append(self._resolve(text))
            else:
                controls.update(dict.fromkeys(f"^{name}" for name in self._wait_for(text[1:])))
        return [*data, *controls]

    def _resolve(self, tensor: str) -> str:
        ref = graph_index.parse_tensor_name(tensor)
        while str(ref) in self._replaced:
            ref = graph_index.parse_tensor_name(self._replaced[str(ref)])
        return ref.spelled

    def _resolve_fetch(self, tensor: str) -> str:
        ref = graph_index.parse_tensor_name(tensor)
        if not ref.is_control:
            found = graph_index.parse_tensor_name(self._resolve(tensor))
            return tensor if found == ref else str(found)
        return tensor if ref.node not in self._after else self._gather(ref.node)

    def _gather(self, call: str) -> str:
        """The op "call/done": one op that runs after all that a control edge from the call waits for."""
        name = f"{call}/done"
        if name not in self._names:
            self._add("NoOp", name, [f"^{op}" for op in self._wait_for(call)])
        return f"^{name}"

    def _wait_for(self, name: str) -> list[str]:
        """The ops that a control edge from `name` stands for."""
        if name not in self._after:
            return [name]
        return list(dict.fromkeys(op for after in self._after[name] for op in self._wait_for(after)))

    def _emit(self, node: Any) -> str:
        node.name = graph_index.make_unique(node.name, self._names)
        self._names.add(node.name)
        self._nodes.append(node)
        return str(node.name)

    def _place(self, node: Any, stack: tuple[str, ...], *, conditional: bool = False) -> None:
        """Appends a node, or what it calls. `node.input` is in the graph's spelling, its name is taken."""
        callee = self._find_callee(node, stack)
        if callee is not None:
            self._inline_call(node, callee, stack, conditional)
        elif self._lower and node.op in _LOOPS and self._can_lower(node, ("cond", "body"), stack):
            self._lower_loop(node, stack)
        elif self._lower and node.op in _BRANCHES and self._can_lower(node, ("then_branch", "else_branch"), stack):
            self._lower_branch(node, stack)
        else:
            copy = node_def_pb2.NodeDef()
            copy.CopyFrom(node)
            self._nodes.append(copy)

    def _find_callee(self, node: Any, stack: tuple[str, ...]) -> str | None:
        name = node.attr["f"].func.name if node.op in _CALLS else node.op
        return name if self._fits(name, stack) and not _makes_resource(self._functions[name]) else None

    def _fits(self, name: str, stack: tuple[str, ...]) -> bool:
        if name not in self._functions or name in stack or name in self._kept:
            return False
        function = self._functions[name]
        arguments = (*function.signature.input_arg, *function.signature.output_arg)
        if any(arg.number_attr or arg.type_list_attr for arg in arguments):
            return False
        # What has an effect in a v1 branch or loop cannot be waited for outside of it.
        conditional = any(node.op in _DEAD_OR_ALIVE for node in function.node_def)
        return not (conditional and any(_has_effect(node, self._functions) for node in function.node_def))

    def _can_lower(self, node: Any, attributes: Sequence[str], stack: tuple[str, ...]) -> bool:
        if not all(self._fits(node.attr[name].func.name, stack) for name in attributes):
            return False
        function = self._functions[node.attr[attributes[-1]].func.name]
        if node.op in _LOOPS and all(_find_fixed(function)):
            return False  # a loop without a state of its own: nothing could stand for its rounds
        return any(arg.type == types_pb2.DT_RESOURCE for arg in function.signature.input_arg)

    def _inline_call(self, node: Any, callee: str, stack: tuple[str, ...], conditional: bool) -> None:
        data = [text for text in node.input if not text.startswith("^")]
        controls = [text for text in node.input if text.startswith("^")]
        waits: list[str] = []
        # A call begins when all its inputs are there: what its body reads and writes must wait for them.
        if controls or (data and (conditional or self._conditional or self._changing)):
            conditional = conditional or self._conditional
            types = [arg.type for arg in self._functions[callee].signature.input_arg]
            # A handle is there from the start, and is known by its node, which a control edge would keep.
            given = [text for text, t in zip(data, types, strict=True) if conditional or t != types_pb2.DT_RESOURCE]
            inputs = [*controls, *(f"^{graph_index.parse_tensor_name(text).node}" for text in given)]
            waits = [f"^{self._add('NoOp', f'{node.name}/start', list(dict.fromkeys(inputs)))}"]
        attributes = node.attr["f"].func.attr if node.op in _CALLS else node.attr
        body = self._inline_body(callee, node.name, data, waits, attributes, stack, conditional=conditional)
        before = [text[1:] for text in waits] if controls else []
        dtypes = [arg.type for arg in self._functions[callee].signature.output_arg]
        for position, result in enumerate(body.results):
            dtype = dtypes[position] or self._find_dtype(callee, position, attributes)
            self._replaced[f"{node.name}:{position}"] = self._hold(
                node.name, position, result, dtype, [*before, *body.effects]
            )
        self._after[node.name] = body.effects or [
            graph_index.parse_tensor_name(text).node for text in (*body.results, *waits)
        ]

    def _find_dtype(self, callee: str, position: int, attributes: Mapping[str, Any]) -> int:
        return int(attributes[self._functions[callee].signature.output_arg[position].type_attr].type)

    def _hold(self, call: str, position: int, result: str, dtype: int, effect_ops: list[str]) -> str:
        """A result that waits for the effects of its call; a handle is known by its own node and stays."""
        if not effect_ops or dtype == types_pb2.DT_RESOURCE:
            return result
        waits = [f"^{op}" for op in effect_ops]
        return f"{self._add('Identity', f'{call}/result_{position}', [result, *waits], dtype)}:0"

    def _inline_body(
        self,
        callee: str,
        prefix: str,
        arguments: Sequence[str],
        waits: Sequence[str],
        attributes: Mapping[str, Any],
        stack: tuple[str, ...],
        *,
        conditional: bool = False,
    ) -> _Body:
        """Appends the nodes of a function.

        Args:
          callee: its name.
          prefix: of the new nodes' names.
          arguments: tensors.
          waits: control inputs ("^op") of nodes that have no inputs of their own.
          attributes: of the call: what the body's "$T" stands for.
          stack: the functions that this call lies in.
          conditional: whether the body may run not at all or many times.
        """
        function = self._functions[callee]
        given = {arg.name: text for arg, text in zip(function.signature.input_arg, arguments, strict=True)}
        renamed: dict[str, str] = {}
        placed = []
        for source in function.node_def:
            node = node_def_pb2.NodeDef()
            node.CopyFrom(source)
            node.name = graph_index.make_unique(f"{prefix}/{source.name}", self._names)
            self._names.add(node.name)
            renamed[source.name] = node.name
            placed.append(node)
        ranges = {node.name: self._find_ranges(node) for node in function.node_def}

        def spell(text: str) -> str:
            if text.startswith("^"):
                name = text[1:]
                return f"^{renamed[name] if name in renamed else graph_index.parse_tensor_name(given[name]).node}"
            if text in given:
                return given[text]
            name, argument, index = text.split(":")
            return f"{renamed[name]}:{ranges[name][argument] + int(index)}"

        for node in placed:
            inputs = [spell(text) for text in node.input]
            del node.input[:]
            node.input.extend(inputs)
            if (not inputs and (conditional or self._conditional)) or effects.is_stateful(node.op):
                node.input.extend(text for text in waits if text not in inputs)
            _fill_attributes(node, attributes)
            self._place(node, (*stack, callee), conditional=conditional)
        results = [spell(function.ret[arg.name]) for arg in function.signature.output_arg]
        changing = [node.name for node in placed if _has_effect(node, self._functions)]
        # A map of protobuf has no order.
        changing += [renamed[name] for _, name in sorted(function.control_ret.items()) if name in renamed]
        return _Body(results=results, effects=list(dict.fromkeys(changing)))

    def _find_ranges(self, node: Any) -> dict[str, int]:
        """Output argument -> the flat number of its first tensor."""
        if node.op in self._functions:
            return {arg.name: position for position, arg in enumerate(self._functions[node.op].signature.output_arg)}
        op_def = tensorflow_private.find_op_def(node.op)
        if op_def is None:
            return {}
        ranges, position = {}, 0
        for arg in op_def.output_arg:
            ranges[arg.name] = position
            if arg.type_list_attr:
                position += len(node.attr[arg.type_list_attr].list.type)
            else:
                position += node.attr[arg.number_attr].i if arg.number_attr else 1
        return ranges

    def _lower_loop(self, node: Any, stack: tuple[str, ...]) -> None:
        self.lowered = True
        name, cond, body = node.name, node.attr["cond"].func, node.attr["body"].func
        controls = [text for text in node.input if text.startswith("^")]
        values = [text for text in node.input if not text.startswith("^")]
        dtypes = list(node.attr["T"].list.type)
        fixed = _find_fixed(self._functions[body.name])
        varying = [k for k, constant in enumerate(fixed) if not constant]
        frame = {
            "frame_name": attr_value_pb2.AttrValue(s=name.encode()),
            "parallel_iterations": attr_value_pb2.AttrValue(i=node.attr["parallel_iterations"].i or 10),
        }
        heads, merges = [], {}
        for k, value in enumerate(values):
            constant = attr_value_pb2.AttrValue(b=fixed[k])
            inputs = [value, *controls]
            heads.append(self._add("Enter", f"{name}/enter_{k}", inputs, dtypes[k], is_constant=constant, **frame))
            if not fixed[k]:
                # The second input is the NextIteration, which is known only when the body stands.
                count = attr_value_pb2.AttrValue(i=2)
                heads[k] = self._add("Merge", f"{name}/merge_{k}", [heads[k], heads[k]], dtypes[k], N=count)
                merges[k] = self._nodes[-1]
        wait = [f"^{heads[varying[0]]}"]
        test = self._inline_body(cond.name, f"{name}/cond", heads, wait, cond.attr, stack, conditional=True)
        verdict = self._hold(f"{name}/cond", 0, self._to_bool(test, cond.name, name), types_pb2.DT_BOOL, test.effects)
        loop_cond = self._add("LoopCond", f"{name}/loop_cond", [verdict])
        inside, exits = list(heads), []
        for k in varying:
            switch = self._add("Switch", f"{name}/switch_{k}", [heads[k], loop_cond], dtypes[k])
            inside[k] = self._add("Identity", f"{name}/identity_{k}", [f"{switch}:1"], dtypes[k])
            exits.append(self._add("Exit", f"{name}/exit_{k}", [switch], dtypes[k]))
        wait = [f"^{inside[varying[0]]}"]
        done = self._inline_body(body.name, f"{name}/body", inside, wait, body.attr, stack, conditional=True)
        for k in varying:
            result = self._hold(f"{name}/body", k, done.results[k], dtypes[k], done.effects)
            merges[k].input[1] = self._add("NextIteration", f"{name}/next_{k}", [result], dtypes[k])
        self._replaced |= {f"{name}:{k}": f"{leaving}:0" for k, leaving in zip(varying, exits, strict=True)}
        self._replaced |= {f"{name}:{k}": value for k, value in enumerate(values) if fixed[k]}
        self._after[name] = exits

    def _lower_branch(self, node: Any, stack: tuple[str, ...]) -> None:
        self.lowered = True
        name, sides = node.name, ("else_branch", "then_branch")
        controls = [text for text in node.input if text.startswith("^")]
        pred, *values = [text for text in node.input if not text.startswith("^")]
        if node.attr["Tcond"].type != types_pb2.DT_BOOL:
            pred = self._add("ToBool", f"{name}/to_bool", [pred, *controls], node.attr["Tcond"].type)
        dtypes = node.attr["Tin"].list.type
        switches = [
            self._add("Switch", f"{name}/switch_{k}", [value, pred, *controls], dtypes[k])
            for k, value in enumerate(values)
        ]
        pivot = self._add("Switch", f"{name}/switch_pred", [pred, pred, *controls], types_pb2.DT_BOOL)
        bodies = []
        for side, attribute in enumerate(sides):
            branch, prefix = node.attr[attribute].func, f"{name}/{attribute}"
            wait = [f"^{self._add('Identity', prefix, [f'{pivot}:{side}'], types_pb2.DT_BOOL)}"]
            given = [f"{switch}:{side}" for switch in switches]
            bodies.append(self._inline_body(branch.name, prefix, given, wait, branch.attr, stack, conditional=True))
        merges = []
        for k, dtype in enumerate(node.attr["Tout"].list.type):
            results = [
                self._hold(f"{name}/{attribute}", k, body.results[k], dtype, body.effects)
                for attribute, body in zip(sides, bodies, strict=True)
            ]
            count = attr_value_pb2.AttrValue(i=2)
            merges.append(self._add("Merge", f"{name}/merge_{k}", results, dtype, N=count))
            self._replaced[f"{name}:{k}"] = f"{merges[-1]}:0"
        self._after[name] = merges

    def _to_bool(self, test: _Body, function: str, loop: str) -> str:
        """What While takes as a condition: not zero, not empty (tensorflow/core/ops/functional_ops.cc, ToBool)."""
        dtype = self._functions[function].signature.output_arg[0].type
        if dtype == types_pb2.DT_BOOL:
            return test.results[0]
        return self._add("ToBool", f"{loop}/to_bool", test.results[:1], dtype)

    def _add(self, op: str, name: str, inputs: Sequence[str], dtype: int | None = None, **attributes: Any) -> str:
        node = node_def_pb2.NodeDef(name=name, op=op, input=inputs)
        if dtype is not None:
            node.attr["T"].type = dtype
        for key, value in attributes.items():
            node.attr[key].CopyFrom(value)
        return self._emit(node)


def _find_fixed(body: Any) -> list[bool]:
    """For each argument of a loop's body whether it comes back as it is."""
    signature = body.signature
    return [body.ret[out.name] == arg.name for arg, out in zip(signature.input_arg, signature.output_arg, strict=True)]


def _makes_resource(function: Any) -> bool:
    """Whether it returns a handle of its own making: a call of a creator stands for its table."""
    given = {arg.name for arg in function.signature.input_arg}
    return any(
        arg.type == types_pb2.DT_RESOURCE and function.ret[arg.name] not in given
        for arg in function.signature.output_arg
    )


def _fill_attributes(node: Any, attributes: Mapping[str, Any]) -> None:
    """Replaces "$T" by what the call says."""
    for value in node.attr.values():
        if value.WhichOneof("value") == "placeholder" and value.placeholder in attributes:
            value.CopyFrom(attributes[value.placeholder])


def _has_effect(node: Any, functions: Mapping[str, Any], stack: tuple[str, ...] = ()) -> bool:
    """Whether running the node changes or tells something, itself or in what it calls."""
    called = {node.op, *(reference.name for reference in function_library.iterate_references(node))}
    known = [name for name in called if name in functions]
    if known:
        return any(
            _has_effect(inner, functions, (*stack, name))
            for name in known
            if name not in stack
            for inner in functions[name].node_def
        )
    return effects.has_effect(node.op)
