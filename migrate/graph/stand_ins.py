"""Random ops without state in place of those with it: two graphs that hold the same generators draw the same numbers.

A generator is known by its node's name, which a migration keeps; its stream is a number made of that name. A generator
in a loop gives the same numbers in each iteration, on both sides.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tensorflow.core.framework import node_def_pb2, types_pb2

from migrate.graph import index as graph_index
from migrate.graph import randomness

# Op with state -> the op without, and attribute here -> attribute there. Both give their result under one name.
_PLAIN = {"dtype": "dtype", "T": "T"}
_STAND_INS: dict[str, tuple[str, Mapping[str, str]]] = {
    "RandomUniform": ("StatelessRandomUniform", _PLAIN),
    "RandomStandardNormal": ("StatelessRandomNormal", _PLAIN),
    "TruncatedNormal": ("StatelessTruncatedNormal", _PLAIN),
    "ParameterizedTruncatedNormal": ("StatelessParameterizedTruncatedNormal", {"dtype": "dtype", "T": "S"}),
    "RandomUniformInt": ("StatelessRandomUniformInt", {"Tout": "dtype", "T": "T"}),
    "Multinomial": ("StatelessMultinomial", {"T": "T", "output_dtype": "output_dtype"}),
    "RandomGamma": ("StatelessRandomGammaV2", {"T": "dtype", "S": "T"}),
    "RandomPoissonV2": ("StatelessRandomPoisson", {"R": "Rtype", "S": "T", "dtype": "dtype"}),
}
# Where the seed stands among the stand-in's inputs: behind the shape, or behind logits and number.
_SEED_PLACES = {"Multinomial": 2}
# Their shape is that of the draws for each parameter; the stand-in's is that of all.
_SHAPE_OF_EACH = frozenset({"RandomGamma", "RandomPoissonV2"})


def iterate_generators(graph_def: Any) -> Iterator[Any]:
    """Nodes that draw, of the graph and of its functions."""
    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    return (node for nodes in bodies for node in nodes if node.op in randomness.RANDOM_OPS)


def describe_generators(nodes: Iterable[Any]) -> dict[str, tuple[str, bool]]:
    """Name -> (op, whether its seed is fixed)."""
    return {node.name: (node.op, bool(node.attr["seed"].i or node.attr["seed2"].i)) for node in nodes}


def find_generators(index: graph_index.GraphIndex, tensors: Iterable[str], feeds: Iterable[str]) -> dict[str, str]:
    """Name -> op of what draws for `tensors`; functions count with all that they hold."""
    reached = index.ancestors(list(tensors), stop=list(feeds))
    found = {name: index.nodes[name].op for name in reached if index.nodes[name].op in randomness.RANDOM_OPS}
    functions = [node for function in index.graph_def.library.function for node in function.node_def]
    return found | {node.name: node.op for node in functions if node.op in randomness.RANDOM_OPS}


def pair_generators(baseline: Mapping[str, str], candidate: Mapping[str, str]) -> dict[str, str] | None:
    """The candidate's name -> the baseline's, where each generator of the baseline (name -> op) has its counterpart, or
    None where one has none or cannot be stood in for. One that is left on each side, of one op, belongs together."""
    if not baseline or not set(baseline.values()) <= set(_STAND_INS):
        return None
    pairs = {name: name for name, op in baseline.items() if candidate.get(name) == op}
    left = [name for name in baseline if name not in pairs]
    free = [name for name in candidate if name not in pairs]
    if len(left) == 1 == len(free) and baseline[left[0]] == candidate[free[0]]:
        pairs[free[0]] = left.pop()
    return None if left else pairs


def replace_generators(graph_def: Any, streams: Mapping[str, str]) -> None:
    """Puts stand-ins for all generators that have one, in place.

    Args:
      graph_def: graph with its library.
      streams: node name -> name of its stream; a node that is not listed has one of its own name.
    """

    def replace(nodes: Any, reference: Callable[[str], str]) -> None:
        added = []
        names = {node.name for node in nodes}
        for node in nodes:
            if node.op in _STAND_INS:
                seed = _make_seed(f"{node.name}/stand_in_seed", streams.get(node.name, node.name))
                # In a loop of v1 control flow a constant belongs to the frame of what it waits for.
                first = node.input[0].lstrip("^").partition(":")[0]
                seed.input.extend([f"^{first}"] if first in names else [])
                added.append(seed)
                if node.op in _SHAPE_OF_EACH:
                    widening = _widen_shape(node, seed, reference)
                    added.extend(widening)
                    node.input[0] = reference(widening[-1].name)
                _replace_node(node, reference(seed.name))
        nodes.extend(added)

    replace(graph_def.node, lambda name: name)
    for function in graph_def.library.function:
        replace(function.node_def, lambda name: f"{name}:output:0")


def _make_seed(name: str, stream: str) -> Any:
    seed = node_def_pb2.NodeDef(name=name, op="Const")
    seed.attr["dtype"].type = types_pb2.DT_INT32
    tensor = seed.attr["value"].tensor
    tensor.dtype = types_pb2.DT_INT32
    tensor.tensor_shape.dim.add(size=2)
    tensor.int_val.extend([zlib.crc32(stream.encode()) & 0x7FFFFFFF, 1])
    return seed


def _widen_shape(node: Any, seed: Any, reference: Callable[[str], str]) -> list[Any]:
    """Nodes whose last gives the shape of all draws: [*shape, *shape of the parameters]."""
    shape = node_def_pb2.NodeDef(name=f"{node.name}/stand_in_parameters", op="Shape", input=[node.input[1]])
    shape.attr["T"].CopyFrom(node.attr["T" if node.op == "RandomGamma" else "R"])
    shape.attr["out_type"].CopyFrom(node.attr["S"])
    axis = node_def_pb2.NodeDef(name=f"{node.name}/stand_in_axis", op="Const", input=list(seed.input))
    axis.attr["dtype"].type = types_pb2.DT_INT32
    tensor = axis.attr["value"].tensor
    tensor.dtype = types_pb2.DT_INT32
    tensor.tensor_shape.SetInParent()
    tensor.int_val.append(0)
    whole = node_def_pb2.NodeDef(name=f"{node.name}/stand_in_shape", op="ConcatV2")
    whole.input.extend([node.input[0], reference(shape.name), reference(axis.name)])
    whole.attr["N"].i = 2
    whole.attr["T"].CopyFrom(node.attr["S"])
    whole.attr["Tidx"].type = types_pb2.DT_INT32
    return [shape, axis, whole]


def _replace_node(node: Any, seed: str) -> None:
    op, attributes = _STAND_INS[node.op]
    position = _SEED_PLACES.get(node.op, 1)
    data = [text for text in node.input if not text.startswith("^")]
    controls = [text for text in node.input if text.startswith("^")]
    fresh = node_def_pb2.NodeDef(name=node.name, op=op, device=node.device)
    fresh.input.extend([*data[:position], seed, *data[position:], *controls])
    for old, new in attributes.items():
        if old in node.attr:
            fresh.attr[new].CopyFrom(node.attr[old])
    fresh.attr["Tseed"].type = types_pb2.DT_INT32
    node.CopyFrom(fresh)
