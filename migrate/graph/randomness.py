"""Which tensors depend on a random number generator that keeps state: two runs of them differ by design."""

from __future__ import annotations

from collections.abc import Sequence

from migrate.graph import function_library
from migrate.graph import index as graph_index

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


def depends_on_random(index: graph_index.GraphIndex, tensors: Sequence[str], feeds: Sequence[str]) -> bool:
    """Whether the value of one of `tensors` may be drawn at random when `feeds` are given."""
    random_functions = _find_random_functions(index)
    for name in index.ancestors(tensors, stop=feeds):
        node = index.nodes[name]
        if node.op in RANDOM_OPS or node.op in random_functions:
            return True
        if any(reference.name in random_functions for reference in function_library.iterate_references(node)):
            return True
    return False


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
