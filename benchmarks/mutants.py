"""Single random changes of a migrated model: of an op, an attribute, a constant, the wiring, a dtype, a variable, a
line of a vocabulary, an entry of a list. `mutations.py` asks whether the comparison notices them."""

from __future__ import annotations

import collections
import dataclasses
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from migrate import tensorflow_private
from tests.faults import planting

LOOKALIKES = {
    "Relu": "Elu", "Relu6": "Relu", "Elu": "Relu", "Selu": "Elu", "Tanh": "Sigmoid", "Sigmoid": "Tanh",
    "Softmax": "LogSoftmax", "LogSoftmax": "Softmax", "AddV2": "Sub", "Add": "Sub", "Sub": "AddV2", "Mul": "AddV2",
    "RealDiv": "Mul", "Maximum": "Minimum", "Minimum": "Maximum", "Max": "Min", "Min": "Max", "Sum": "Mean",
    "Mean": "Sum", "Greater": "Less", "Less": "Greater", "GreaterEqual": "Less", "LessEqual": "Greater",
    "Equal": "NotEqual", "NotEqual": "Equal", "ArgMax": "ArgMin", "Sqrt": "Rsqrt", "Rsqrt": "Sqrt", "Exp": "Neg",
    "Square": "Neg", "Floor": "Ceil", "MaxPool": "AvgPool", "AvgPool": "MaxPool",
    "SparseSegmentMean": "SparseSegmentSum", "SparseSegmentSum": "SparseSegmentMean", "LogicalAnd": "LogicalOr",
    "LogicalOr": "LogicalAnd",
}  # fmt: skip
_BOOLEANS = (
    "transpose_a", "transpose_b", "adj_x", "adj_y", "keep_dims", "exclusive", "reverse", "half_pixel_centers",
    "align_corners", "is_training",
)  # fmt: skip
_SWAPPABLE = (
    "Sub", "RealDiv", "MatMul", "Pow", "FloorDiv", "FloorMod", "Less", "Greater", "LessEqual", "GreaterEqual",
    "SelectV2", "ConcatV2", "SquaredDifference",
)  # fmt: skip
# Whose values are cut to half as many bits: what carries the numbers of a model.
_NUMERIC = (
    "MatMul", "BiasAdd", "AddV2", "Mul", "Sub", "Relu", "Tanh", "Sigmoid", "Conv2D", "FusedBatchNormV3", "Mean",
    "Softmax", "ConcatV2", "GatherV2", "ResourceGather", "RealDiv",
)  # fmt: skip
_FLOAT, _HALF = 1, 14
_LARGE = 4
_LISTS = ("variables", "trainable_variables", "regularization_losses")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node that can be changed: `apply` takes its function and it, and gives False where nothing changes."""

    kind: str
    function: str
    node: str
    what: str
    apply: Callable[[Any, Any], Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """What was changed. `function` and `node` are "" where it is no node."""

    kind: str
    what: str
    function: str = ""
    node: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} {self.node}".strip()


def mutate(folder: str, choice: random.Random) -> Mutant:
    """Changes one thing in a migrated model: first its kind is chosen, then the place.

    Raises:
      NothingPlanted: the choice fell on nothing.
    """
    kinds: dict[str, list[Place]] = collections.defaultdict(list)
    for place in find_places(folder):
        kinds[place.kind].append(place)
    others = ["variable", "list"] if os.path.exists(os.path.join(folder, "variables", "variables.index")) else []
    others += ["table"] if os.path.isdir(os.path.join(folder, "assets")) and os.listdir(f"{folder}/assets") else []
    kind = choice.choice([*sorted(kinds), *others])
    if kind == "variable":
        planting.change_variable(folder, _bump(choice.random()), position=choice.randrange(1000))
        return Mutant(kind=kind, what="one element")
    if kind == "table":
        line = choice.randrange(10_000)
        planting.change_asset(folder, planting.misspell(line))
        return Mutant(kind=kind, what=f"line {line}")
    if kind == "list":
        holder = choice.choice(_LISTS)
        planting.drop_child(folder, holder, choice.randrange(1000))
        return Mutant(kind=kind, what=holder)
    return change_place(folder, choice.choice(kinds[kind]))


def change_place(folder: str, place: Place) -> Mutant:
    """Changes one node of a migrated model.

    Raises:
      NothingPlanted: nothing changes there.
    """
    with planting.edited(folder) as meta:
        body = next(f for f in meta.graph_def.library.function if f.signature.name == place.function)
        node = next(node for node in body.node_def if node.name == place.node)
        old = node.op
        if place.apply(body, node) is False:
            raise planting.NothingPlanted(place.node)
        planting.rename_results(body, node, old)
    return Mutant(kind=place.kind, what=place.what, function=place.function, node=place.node)


def find_places(folder: str) -> list[Place]:
    return [
        Place(kind=kind, function=function.signature.name, node=node.name, what=what, apply=apply)
        for function in planting.functions_of(planting.read_meta(folder))
        for node in function.node_def
        for kind, what, apply in _list_changes(node)
    ]


def _list_changes(node: Any) -> Iterator[tuple[str, str, Callable[[Any, Any], Any]]]:
    inputs = [text for text in node.input if not text.startswith("^")]
    if node.op in LOOKALIKES and _takes(LOOKALIKES[node.op], node):
        yield "op", f"{node.op} -> {LOOKALIKES[node.op]}", _of_node(planting.set_op(LOOKALIKES[node.op]))
    for name in _BOOLEANS:
        if name in node.attr:
            yield "attribute", f"{name} of {node.op}", _of_node(planting.flip_attr(name))
    if "epsilon" in node.attr:
        yield "attribute", f"epsilon of {node.op}", _of_node(_change_epsilon)
    if node.op == "Const" and _has_numbers(node):
        yield "constant", "Const", _of_node(_change_constant)
    if node.op in _SWAPPABLE and len(inputs) >= 2 and inputs[0] != inputs[1]:
        yield "wiring", f"inputs of {node.op}", _of_node(planting.swap_inputs)
    if node.op in _NUMERIC and _dtype_of(node) == _FLOAT:
        yield "dtype", f"{node.op} through bfloat16", _halve


def _of_node(change: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda _, node: change(node)


def _takes(op: str, node: Any) -> bool:
    """Whether `op` is defined for the node's dtype; else the mutant could not even be loaded."""
    allowed = {a.name: list(a.allowed_values.list.type) for a in tensorflow_private.find_op_def(op).attr}
    return not allowed.get("T") or "T" not in node.attr or node.attr["T"].type in allowed["T"]


def _dtype_of(node: Any) -> int:
    return int(next((node.attr[name].type for name in ("T", "dtype", "Tparams") if name in node.attr), 0))


def _has_numbers(node: Any) -> bool:
    return node.attr["dtype"].type in (1, 2, 3, 9) and bool(tf.make_ndarray(node.attr["value"].tensor).size)


def _change_constant(node: Any) -> Any:
    """Floats grow by half; of whole numbers the last one is halved where it is large (a size), else it grows by one."""
    value = np.array(tf.make_ndarray(node.attr["value"].tensor))
    if value.dtype.kind == "f":
        return planting.scale_const(1.5)(node)
    last = value.flat[value.size - 1]
    value.flat[value.size - 1] = last // 2 if abs(last) >= _LARGE else last + 1
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return True


def _change_epsilon(node: Any) -> None:
    node.attr["epsilon"].f = node.attr["epsilon"].f * 10 + 1e-2


def _halve(function: Any, node: Any) -> None:
    """The node's first result passes through bfloat16 on its way to all that take it."""
    result = tensorflow_private.find_op_def(node.op).output_arg[0].name
    old = f"{node.name}:{result}:0"
    names = [f"{node.name}/{part}" for part in ("halved", "widened")]
    new = f"{names[1]}:y:0"
    for other in function.node_def:
        for position, text in enumerate(other.input):
            if text == old:
                other.input[position] = new
    for key, text in list(function.ret.items()):
        if text == old:
            function.ret[key] = new
    for name, source, kinds in ((names[0], old, (_FLOAT, _HALF)), (names[1], f"{names[0]}:y:0", (_HALF, _FLOAT))):
        cast = function.node_def.add(name=name, op="Cast", input=[source])
        cast.attr["SrcT"].type, cast.attr["DstT"].type = kinds
        cast.attr["Truncate"].b = False


def _bump(share: float) -> Callable[[Any], Any]:
    def change(value: Any) -> Any:
        at = int(share * value.size)
        value.flat[at] += abs(value.flat[at]) * 0.5 + 0.1
        return value

    return change
