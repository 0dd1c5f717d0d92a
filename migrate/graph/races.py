"""What a call of a TF1 graph computes before or after a write, as it happens: a metric's value beside its update.

`write_order` settles such races in a graph that is rebuilt; here they are found in the graph as it is, and a copy of it
can be made in which every read comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from migrate.graph import effects, function_library, references
from migrate.graph import index as graph_index

# They hand a handle or reference on: into a branch, into a loop, under another name.
_PASSING = frozenset({"Identity", "Switch", "Merge", "Enter", "Exit", "NextIteration", *references.FORWARDING})
# They take a variable or table and neither read nor write its value.
_LOOKS = frozenset({"VarIsInitializedOp", "VariableShape", "IsVariableInitialized", "LookupTableSizeV2"})
# They hand the memory of their input on: what takes it reads then, and sees what was written to a reference meanwhile
# (tensorflow/core/kernels/identity_op.h, reshape_op.h).
_SHARING = frozenset({"Identity", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "PreventGradient"})
_READS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "LookupTableFindV2", "LookupTableFind"})


def find_racing_outputs(index: graph_index.GraphIndex, outputs: Mapping[str, Sequence[str]]) -> set[str]:
    """Keys of outputs that depend on a read which no edge orders before or after a write of the same call.

    Args:
      index: the graph.
      outputs: key -> tensor names, fetched together.
    """
    racing = {reader for reader, _ in find_races(index, [name for names in outputs.values() for name in names])}
    behind = index.descendants(racing) if racing else set()
    nodes = {key: {graph_index.parse_tensor_name(name).node for name in names} for key, names in outputs.items()}
    return {key for key, names in nodes.items() if names & behind}


def find_races(index: graph_index.GraphIndex, tensors: Sequence[str]) -> list[tuple[str, str]]:
    """(reader, writer) of one variable or table, in no stated order, of a call that fetches `tensors`."""
    everything = index.ancestors(tensors)
    writing = _find_writing_functions(index)
    consumers = index.consumers()
    readers: dict[str, list[str]] = {}
    writers: dict[str, list[str]] = {}
    for node in index.graph_def.node:
        if node.name not in everything or node.op in _PASSING - {"Identity"} or node.op in _LOOKS:
            continue
        for position, ref in enumerate(index.inputs(node.name)):
            state = None if ref.is_control else effects.find_state_node(index, ref)
            if state is None or (node.op == "Identity" and not _is_reference(index, ref)):
                continue
            kinds = writers if _writes(index, node, position, ref, writing) else readers
            kinds.setdefault(state, []).append(node.name)
            if kinds is readers and node.op in _SHARING and _is_reference(index, ref):
                readers[state].extend(name for name in _find_late(consumers, node.name) if name in everything)
    pairs = [(r, w) for state, names in writers.items() for w in names for r in readers.get(state, ())]
    waits = Waits(index, [name for pair in pairs for name in pair])
    return [(r, w) for r, w in pairs if not waits.has(w, r) and not waits.has(r, w)]


class Waits:
    """Which of some nodes of a graph wait for which, by edges of data or control, over whatever lies between.

    As `GraphIndex.ancestors` of each by itself, in one walk for all; where the graph has loops, in one more for each
    time that one hands something on.
    """

    def __init__(self, index: graph_index.GraphIndex, names: Sequence[str]) -> None:
        self._bits = {name: 1 << position for position, name in enumerate(dict.fromkeys(names))}
        order = index.sort(self._bits, index.nodes)
        inputs = {name: [ref.node for ref in index.inputs(name) if ref.node in index.nodes] for name in order}
        found = {name: self._bits.get(name, 0) for name in order}
        grown = True
        while grown:
            grown = False
            for name in order:
                before = found[name]
                for other in inputs[name]:
                    found[name] |= found[other]
                grown = grown or found[name] != before
        self._found = {name: found[name] for name in self._bits}

    def has(self, name: str, other: str) -> bool:
        """Whether `name` waits for `other`, as it does for itself."""
        return bool(self._found[name] & self._bits[other])

    def add(self, name: str, other: str) -> None:
        """From now on `name` waits for `other`."""
        for each, found in self._found.items():
            if found & self._bits[name]:
                self._found[each] |= self._found[other]


def _find_late(consumers: Mapping[str, list[tuple[Any, int]]], reader: str) -> list[str]:
    """What reads the memory that `reader` hands on, and runs later than it."""
    pending, found = [reader], dict[str, None]()
    while pending:
        for node, position in consumers.get(pending.pop(), ()):
            if not node.input[position].startswith("^") and node.name not in found:
                found[node.name] = None
                pending.extend([node.name] if node.op in _SHARING else ())
    return list(found)


def order_reads_first(graph_def: Any, tensors: Sequence[str]) -> Any:
    """A copy of the graph in which each read that races with a write of a call of `tensors` comes before it."""
    result = type(graph_def)()
    result.CopyFrom(graph_def)
    nodes = {node.name: node for node in result.node}
    index = graph_index.FixedIndex(graph_def)
    races = find_races(index, tensors)
    waits = Waits(index, [name for pair in races for name in pair])
    for reader, writer in races:
        # An edge may have ordered the pair the other way by now.
        if not waits.has(reader, writer):
            nodes[writer].input.append(f"^{reader}")
            waits.add(writer, reader)
    return result


def _is_reference(index: graph_index.GraphIndex, ref: graph_index.TensorRef) -> bool:
    dtypes = graph_index.output_dtypes(index.nodes[ref.node])
    return ref.index < len(dtypes) and graph_index.is_ref(dtypes[ref.index])


def _writes(
    index: graph_index.GraphIndex, node: Any, position: int, ref: graph_index.TensorRef, writing: set[str]
) -> bool:
    """Whether an op writes what it takes there: of references who asks for one; of resources all that do not just read,
    and calls, loops and branches whose functions write something."""
    if _is_reference(index, ref):
        return bool(references.takes_reference(node, position))
    called = [function.name for function in function_library.iterate_references(node)]
    if called or node.op in {function.signature.name for function in index.graph_def.library.function}:
        return bool(writing & {*called, node.op})
    return node.op not in _READS and effects.has_effect(node.op)


def _find_writing_functions(index: graph_index.GraphIndex) -> set[str]:
    """Library functions in which some op takes a resource and changes it, themselves or in what they call."""
    functions = {function.signature.name: function for function in index.graph_def.library.function}
    found: set[str] = set()
    grown = True
    while grown:
        before = len(found)
        for name, function in functions.items():
            for node in function.node_def if name not in found else ():
                called = {reference.name for reference in function_library.iterate_references(node)} | {node.op}
                changes = node.op not in functions and node.op not in _READS and _changes_resource(node.op)
                if changes or called & found:
                    found.add(name)
                    break
        grown = len(found) > before
    return found


def _changes_resource(op: str) -> bool:
    return effects.has_effect(op) and ("Variable" in op or "Resource" in op or "LookupTable" in op)
