"""Which tensors depend on a random number generator that keeps state: two runs of them differ by design."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from migrate.graph import function_library
from migrate.graph import index as graph_index
from migrate.model import SEED_STATE

RANDOM_OPS = frozenset(
    {
        "RandomUniform",
        "RandomUniformInt",
        "RandomStandardNormal",
        "TruncatedNormal",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomCrop",
        "Multinomial",
        "SampleDistortedBoundingBox",
        "SampleDistortedBoundingBoxV2",
        "StatefulStandardNormal",
        "StatefulStandardNormalV2",
        "StatefulUniform",
        "StatefulUniformFullInt",
        "StatefulUniformInt",
        "StatefulTruncatedNormal",
        "UniformCandidateSampler",
        "LogUniformCandidateSampler",
        "LearnedUnigramCandidateSampler",
        "FixedUnigramCandidateSampler",
        "AllCandidateSampler",
        "CudnnRNN",
        "CudnnRNNV2",
        "CudnnRNNV3",
    }
)

_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


def find_random_nodes(index: graph_index.GraphIndex, feeds: Sequence[str]) -> set[str]:
    """Nodes whose values may be drawn at random when `feeds` are given."""
    functions = _find_random_functions(index)
    sources = [
        node.name
        for node in index.graph_def.node
        if node.op in RANDOM_OPS
        or node.op in functions
        or (node.op in _VARIABLES and _holds_seed(node))
        or (functions and any(ref.name in functions for ref in function_library.iterate_references(node)))
    ]
    return index.descendants(sources, stop=feeds)


def is_among(random_nodes: Collection[str], tensors: Sequence[str], feeds: Sequence[str]) -> bool:
    """Whether one of `tensors` that is not fed is of one of `find_random_nodes`."""
    fed = {graph_index.parse_tensor_name(name) for name in feeds}
    references = [graph_index.parse_tensor_name(name) for name in tensors]
    return any(ref.node in random_nodes and ref not in fed for ref in references)


def _find_random_functions(index: graph_index.GraphIndex) -> set[str]:
    """Library functions that draw random numbers, themselves or in what they call."""
    functions = {function.signature.name: function for function in index.graph_def.library.function}
    found: set[str] = set()
    grown = True
    while grown:
        grown = False
        for name, function in functions.items():
            if name in found:
                continue
            for node in function.node_def:
                called = {reference.name for reference in function_library.iterate_references(node)} | {node.op}
                if called & (RANDOM_OPS | found):
                    found.add(name)
                    grown = True
                    break
    return found


def _holds_seed(node: Any) -> bool:
    return SEED_STATE in node.name or SEED_STATE.encode() in graph_index.read_attr(node, "shared_name").s
