"""Why a mutant computes what the model does: reasons that the graph proves.

A change of a node's values is followed along all edges that hand values on, through calls, branches and loops. What
ends in shapes, in checks or nowhere reaches no result.
"""

from __future__ import annotations

import collections
import re
from typing import Any

import ml_dtypes
import tensorflow as tf

from benchmarks.folding import fold_constants
from benchmarks.mutants import Mutant
from migrate import tensorflow_private
from migrate.graph import dimensions
from migrate.graph.shapes import parse_shape
from tests.faults import planting

# What they give depends on their input's shape and dtype alone.
_SHAPES = ("Shape", "ShapeN", "Rank", "Size", "ZerosLike", "OnesLike")
# Of one number each gives that number.
_REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod")
_SUMS = ("Add", "AddV2", "Sub", "Mul", "Maximum", "Minimum")
_LIKE = ("ZerosLike", "OnesLike")
_CHECKS = ("Assert", "CheckNumerics", "Print", "PrintV2")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")
_LOOPS = ("While", "StatelessWhile")
_RETURNS = "(returns)"
_DENSE = "dense_values"
_PARSED = re.compile(r"ParseExample(V2)?|ParseSingleExample")
# Where a value may end, the most telling first.
_ENDS = {
    "zero": "zero: it is multiplied by a constant zero",
    "untaken": "untaken: a constant chooses another value in its place",
    "reshaped": "reshaped: another shape follows at once",
    "checks": "checked: only a check takes it",
    "shapes": "shape: only its shape is used",
    "dead": "dead: no result needs it",
}


def find_reason(folder: str, mutant: Mutant) -> str:
    """Why the mutant of a migrated model computes what the model does, "" where no reason is known."""
    if not mutant.node:
        return ""
    return find_unused(folder, mutant.function, mutant.node) or find_same_value(folder, mutant)


def find_same_value(folder: str, mutant: Mutant) -> str:
    """Why the changed node computes the same values, from its constant operands."""
    library = planting.read_meta(folder).graph_def.library
    body = next(f for f in library.function if f.signature.name == mutant.function)
    nodes = {node.name: node for node in body.node_def}
    node = nodes[mutant.node]
    constant = fold_constants(body).get(node.name)
    if mutant.kind == "dtype" and constant is not None and _is_exact(constant):
        return "same value: a constant that half as many bits hold"
    if mutant.kind == "dtype" and node.op in _SUMS and all(_is_flag(nodes, text) for text in node.input):
        return "same value: small whole numbers, which half as many bits hold"
    operands = [_read_constant(nodes, text) for text in node.input if not text.startswith("^")]
    if (
        mutant.kind == "dtype"
        and node.op == "Mul"
        and any(_is_all(operand, 0) for operand in _list_operands(body, node))
    ):
        return _ENDS["zero"]
    if node.op.startswith("SparseSegment") and mutant.kind == "op" and _has_rows_of_one(nodes, node):
        return "same value: each sum is of one row"
    if mutant.kind == "op" and node.op in _REDUCTIONS and _reduces_one(library, body, node):
        return "same value: along an axis of length 1"
    if mutant.kind == "constant" and _is_masked(nodes, node):
        return "same value: a slice that its masks decide"
    if mutant.kind == "op" and node.op in ("Add", "AddV2", "Sub") and _is_all(operands[1], 0):
        return "same value: a zero is added or taken away"
    return ""


def _reduces_one(library: Any, body: Any, node: Any) -> bool:
    """Whether every axis that a reduction goes along has one element, whatever the function is called with."""
    given = {}
    for position, argument in enumerate(body.signature.input_arg):
        shapes = body.arg_attr[position].attr["_output_shapes"].list.shape if position in body.arg_attr else ()
        given[argument.name] = dimensions.Fact(parse_shape(shapes[0]) if shapes else None)
    scope = dimensions.Scope(body.node_def, {f.signature.name: f for f in library.function}, given)
    values, axes = (scope.find(ref) for ref in scope.inputs(node)[:2])
    if values.dims is None or not axes.content:
        return False
    return all(isinstance(axis, int) and values.dims[axis] == 1 for axis in axes.content)


def _list_operands(body: Any, node: Any) -> list[Any]:
    constants = fold_constants(body)
    return [constants.get(text.partition(":")[0]) for text in node.input if not text.startswith("^")]


def _has_rows_of_one(nodes: dict[str, Any], node: Any) -> bool:
    """Whether segments come from a column [batch, 1] alone: from where it holds a value, and from no list of values."""
    pending, seen, columns = [node.input[2]], set(), 0
    while pending:
        name = pending.pop().lstrip("^").partition(":")[0]
        found = nodes.get(name)
        if name in seen or (found is not None and found.op in (*_SHAPES, "Const")):
            continue
        seen.add(name)
        if found is None or _PARSED.fullmatch(found.op):
            return False
        if found.op == "Where":
            test = nodes.get(found.input[0].partition(":")[0])
            columns += test is not None and test.op == "NotEqual" and _is_column(nodes, test.input[0])
            continue
        given = [text for text in found.input if not text.startswith("^")]
        # Rows do not depend on the values that stand in them.
        pending.extend([given[0], given[2]] if found.op == "SparseFillEmptyRows" else given)
    return bool(columns)


def _is_column(nodes: dict[str, Any], text: str) -> bool:
    made = nodes.get(text.partition(":")[0])
    return made is not None and made.op == "ExpandDims" and _is_all(_read_constant(nodes, made.input[1]), -1)


def _is_flag(nodes: dict[str, Any], text: str) -> bool:
    """Whether an operand holds nothing but 0 and 1."""
    made = nodes.get(text.partition(":")[0])
    if made is None or made.op != "Cast":
        return made is not None and made.op in _LIKE
    return bool(made.attr["SrcT"].type == tf.bool.as_datatype_enum)


def _is_masked(nodes: dict[str, Any], node: Any) -> bool:
    """Whether all that takes a constant are slices, by way of a Pack of it alone perhaps, whose masks leave it out."""
    users = [n for n in nodes.values() if _takes(n, node.name)]
    packs = [n for n in users if n.op == "Pack" and n.attr["N"].i == 1]
    slices = [n for n in users if n.op == "StridedSlice"]
    direct = bool(slices) and slices == users and all(_ignores(n, node.name, nodes) for n in slices)
    return direct or (bool(packs) and packs == users and all(_is_masked(nodes, n) for n in packs))


def _takes(user: Any, name: str) -> bool:
    return any(text.partition(":")[0] == name for text in user.input)


def _ignores(user: Any, name: str, nodes: dict[str, Any]) -> bool:
    """Whether the last number of a constant begin, end or stride of a slice does not count."""
    place = next(i for i, text in enumerate(user.input) if text.partition(":")[0] == name)
    if place == 0:
        return False
    given = nodes[name]
    count = given.attr["N"].i if given.op == "Pack" else tf.make_ndarray(given.attr["value"].tensor).size
    bit = 1 << (int(count) - 1)
    masks = {1: ("begin_mask",), 2: ("end_mask", "shrink_axis_mask"), 3: ("shrink_axis_mask",)}[place]
    return any(user.attr[mask].i & bit for mask in (*masks, "new_axis_mask", "ellipsis_mask"))


def _find_feature(node: Any, place: int) -> int:
    """Which dense feature an input of a parsing op is the default of; -1 where it concerns all."""
    count = len(node.attr["Tdense"].list.type)
    given = len([text for text in node.input if not text.startswith("^")])
    first = given - count
    return place - first if count and place >= first else -1


def _read_constant(nodes: dict[str, Any], text: str) -> Any:
    """The value of a constant operand, None for all else."""
    node = nodes.get(text.partition(":")[0])
    while node is not None and node.op == "Identity":
        node = nodes.get(node.input[0].partition(":")[0])
    return tf.make_ndarray(node.attr["value"].tensor) if node is not None and node.op == "Const" else None


def _is_exact(value: Any) -> bool:
    return bool((value.astype(ml_dtypes.bfloat16).astype(value.dtype) == value).all())


def _is_all(value: Any, number: float) -> bool:
    return value is not None and bool((value == number).all())


def find_unused(folder: str, function: str, node: str) -> str:
    """Why no result depends on the values of a node of a migrated model, "" where one may."""
    meta = planting.read_meta(folder)
    library = {f.signature.name: f for f in meta.graph_def.library.function}
    objects = meta.object_graph_def
    roots = {name for name in objects.concrete_functions if name in library}
    roots |= {n.attr["f"].func.name for n in meta.graph_def.node if n.op in _CALLS}
    if function not in planting.reach(library, roots):
        return "dead: nothing calls its function"
    return _Flow(library, roots).follow(function, node)


class _Flow:
    """Where values go."""

    def __init__(self, library: dict[str, Any], roots: set[str]) -> None:
        self.library = library
        self.roots = roots
        self.callers: dict[str, list[tuple[str, Any]]] = collections.defaultdict(list)
        self.constants: dict[str, dict[str, Any]] = {}
        for name, body in library.items():
            for node in body.node_def:
                for value in node.attr.values():
                    for called in (value.func, *value.list.func):
                        if called.name in library:
                            self.callers[called.name].append((name, node))

    def follow(self, function: str, node: str) -> str:
        """The reason; "" where the values reach a result of a root, or what keeps state."""
        ends: set[str] = set()
        pending = [(function, node, -1)]
        seen = set(pending)
        while pending:
            place = pending.pop()
            users = self._find_users(*place)
            if not users:
                ends.add("dead")
            for user in users:
                if user == (_RETURNS, "", 0):
                    return ""
                if user[0] in _ENDS:
                    ends.add(user[0])
                elif user not in seen:
                    seen.add(user)
                    pending.append(user)
        return next(text for name, text in _ENDS.items() if name in ends)

    def _find_users(self, function: str, name: str, output: int) -> list[tuple[str, str, int]]:
        """(function, node, output; -1 for all) that take an output of a node; (_RETURNS, "", 0) for a result."""
        body = self.library[function]
        users: list[tuple[str, str, int]] = []
        arguments = [argument.name for argument in body.signature.input_arg]
        results = dict(body.ret.items())
        for position, argument in enumerate(body.signature.output_arg):
            if self._is_of(results.get(argument.name, ""), body, name, output, arguments):
                users += self._leave(function, position)
        for node in body.node_def:
            places = [
                i
                for i, text in enumerate(node.input)
                if not text.startswith("^") and self._is_of(text, body, name, output, arguments)
            ]
            for place in places:
                users += self._enter(function, node, place)
        return users

    def _is_of(self, text: str, body: Any, name: str, output: int, arguments: list[str]) -> bool:
        """Whether an input's text is that output."""
        node, _, rest = text.partition(":")
        if node != name:
            return False
        if output < 0 or node in arguments or not rest:
            return True
        result, _, position = rest.rpartition(":")
        kinds = {n.name: n.op for n in body.node_def}
        kind = kinds.get(node, "")
        definition = tensorflow_private.find_op_def(kind)
        if _PARSED.fullmatch(kind):
            return result == _DENSE and int(position) == output
        if definition is None or len(definition.output_arg) != 1 or not result:
            return True  # of several results not told apart here: taken to be it
        return int(position) == output

    def _enter(self, function: str, node: Any, place: int) -> list[tuple[str, str, int]]:
        """What takes the `place`-th input of a node."""
        if node.op in _SHAPES:
            return [("shapes", "", 0)]
        if node.op in _CHECKS:
            return [("checks", "", 0)]
        if node.op == "Reshape" and place == 1 and self._is_reshaped(function, node.name):
            return [("reshaped", "", 0)]
        if node.op in ("Mul", "Select", "SelectV2") and (end := self._find_end(function, node, place)):
            return [(end, "", 0)]
        if _PARSED.fullmatch(node.op):
            return [(function, node.name, _find_feature(node, place))]
        if node.op in self.library:
            return [(node.op, self._argument(node.op, place), -1)]
        if node.op in _CALLS:
            called = node.attr["f"].func.name
            return [(called, self._argument(called, place), -1)]
        if node.op in _BRANCHES:
            if place == 0:
                return [(function, node.name, -1)]
            called_names = [node.attr[a].func.name for a in ("then_branch", "else_branch") if a in node.attr]
            called_names += [f.name for f in node.attr["branches"].list.func]
            return [(called, self._argument(called, place - 1), -1) for called in called_names]
        if node.op in _LOOPS:
            called_names = [node.attr[a].func.name for a in ("cond", "body")]
            inside = [(called, self._argument(called, place), -1) for called in called_names]
            return [*inside, (function, node.name, place)]
        definition = tensorflow_private.find_op_def(node.op)
        if definition is None or (definition.is_stateful and not definition.output_arg):
            return [(_RETURNS, "", 0)]  # it writes: state, a file
        return [(function, node.name, -1)]

    def _is_reshaped(self, function: str, name: str) -> bool:
        """Whether a node's result is taken by reshapes alone."""
        body = self.library[function]
        users = [n for n in body.node_def for text in n.input if text.partition(":")[0] == name]
        returned = any(text.partition(":")[0] == name for text in body.ret.values())
        return (
            bool(users)
            and not returned
            and all(n.op == "Reshape" and n.input[0].partition(":")[0] == name for n in users)
        )

    def _find_end(self, function: str, node: Any, place: int) -> str:
        """Why an operand does not count, given the constants among the others; "" where it may."""
        values = [self._fold(function).get(text.partition(":")[0]) for text in node.input]
        if node.op == "Mul":
            return "zero" if _is_all(values[1 - place], 0) else ""
        unchosen = 2 if _is_all(values[0], True) else 1 if _is_all(values[0], False) else 0
        return "untaken" if place == unchosen and place else ""

    def _may_take(self, caller: str, node: Any, function: str) -> bool:
        """Whether an If may call the function: its condition is not a constant that chooses the other one."""
        condition = self._fold(caller).get(node.input[0].partition(":")[0])
        if condition is None:
            return True
        return bool(node.attr["then_branch" if condition.all() else "else_branch"].func.name == function)

    def _fold(self, function: str) -> dict[str, Any]:
        if function not in self.constants:
            self.constants[function] = fold_constants(self.library[function])
        return self.constants[function]

    def _argument(self, function: str, place: int) -> str:
        return str(self.library[function].signature.input_arg[place].name)

    def _leave(self, function: str, position: int) -> list[tuple[str, str, int]]:
        if function in self.roots:
            return [(_RETURNS, "", 0)]
        users: list[tuple[str, str, int]] = []
        for caller, node in self.callers[function]:
            if node.op in ("If", "StatelessIf") and not self._may_take(caller, node, function):
                users.append(("untaken", "", 0))
                continue
            if node.op in _LOOPS and node.attr["cond"].func.name == function:
                users.append((caller, node.name, -1))
                continue
            users.append((caller, node.name, position))
            if node.op in _LOOPS:  # the next turn takes it
                called = [node.attr[name].func.name for name in ("cond", "body")]
                users += [(name, self._argument(name, position), -1) for name in called]
        return users
