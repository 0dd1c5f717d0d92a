"""Places in a GraphDef at which it acts one way or another, each side of which inputs should reach.

Read from NodeDefs alone (node_def.proto and function.proto of tensorflow/core/framework): Switch and LoopCond of v1
control flow, functional If, Case and While, table lookups, gathers of small tables, activations, comparisons.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

BRANCHES, LOOPS, LOOKUPS, ROWS = "branches", "loops", "table lookups", "embedding rows"
ACTIVATIONS, COMPARISONS = "activations", "comparisons"
KINDS = (BRANCHES, LOOPS, LOOKUPS, ROWS, ACTIVATIONS, COMPARISONS)
# A larger table is looked up by its tokens, not gone through.
MOST_ROWS = 256
# Beyond which an activation is flat to about 1e-3, as (low, high).
BENDS: Mapping[str, tuple[float, float]] = {
    "Relu": (0.0, 0.0),
    "Relu6": (0.0, 6.0),
    "LeakyRelu": (0.0, 0.0),
    "Elu": (0.0, 0.0),
    "Selu": (-7.0, 0.0),
    "Softplus": (-7.0, 7.0),
    "Sigmoid": (-7.0, 7.0),
    "Tanh": (-4.0, 4.0),
}
_CLIPS = ("Minimum", "Maximum")
_COMPARES = ("Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual")
_LOOKUPS = ("LookupTableFind", "LookupTableFindV2")
_SWITCHES = ("Switch", "RefSwitch")
_IFS, _CASES, _WHILES = ("If", "StatelessIf"), ("Case", "StatelessCase"), ("While", "StatelessWhile")
# Their one value is that of their first input.
_PASSES = ("Identity", "Enter", "RefEnter", "ReadVariableOp", "Cast", "Switch", "RefSwitch", "StopGradient")
_VARIABLES = ("VarHandleOp", "Variable", "VariableV2")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One place; each of its sides is a goal.

    Attributes:
      function: name of the function whose body holds the node, "" for the graph itself.
      node: name.
      op: of the node.
      position: which of its inputs is looked at.
      kind: one of KINDS.
      sides: what can be seen there, in the order in which it is counted.
    """

    function: str
    node: str
    op: str
    position: int
    kind: str
    sides: tuple[str, ...]

    @property
    def place(self) -> str:
        """As people read it."""
        return f"{self.node} (in function {self.function})" if self.function else self.node


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is to reach in a graph.

    Attributes:
      probes: in the order of the graph.
      unmeasured: what cannot be told, and why, one line each.
      constants: numbers and strings that the graph compares with, clips at or selects by.
    """

    probes: tuple[Probe, ...] = ()
    unmeasured: tuple[str, ...] = ()
    constants: tuple[Any, ...] = ()


def survey_graph(graph_def: Any, fetches: Iterable[str], feeds: Iterable[str]) -> Survey:
    """The places that computing `fetches` passes and that depend on `feeds` (names of tensors).

    What no input changes is no goal: it goes the same way whatever is fed.
    """
    library = {function.signature.name: function for function in graph_def.library.function}
    top = _Body("", graph_def.node)
    needed = top.find_ancestors([name_node(name) for name in fetches])
    moved = top.find_descendants({name.split(":")[0] for name in feeds})
    found = _Found()
    found.look(top, [name for name in top.nodes if name in needed], moved, library)
    pending = list(_list_called(top.nodes[name] for name in needed))
    calls = collections.Counter(_list_called((*top.nodes.values(), *_list_inner(library))))
    seen: set[str] = set()
    while pending:
        name = pending.pop(0)
        if name in seen or name not in library:
            continue
        seen.add(name)
        function = library[name]
        body = _Body(name, function.node_def)
        roots = [name_node(text) for text in (*function.ret.values(), *function.control_ret.values())]
        inside = body.find_ancestors(roots)
        moved = body.find_descendants({arg.name for arg in function.signature.input_arg})
        found.look(body, [node for node in body.nodes if node in inside], moved, library)
        pending.extend(_list_called(body.nodes[node] for node in inside))
    shared = {name for name, count in calls.items() if count > 1}
    return found.finish(shared, graph_def, library)


def _list_inner(library: Mapping[str, Any]) -> Iterator[Any]:
    for function in library.values():
        yield from function.node_def


def _list_called(nodes: Iterable[Any]) -> Iterator[str]:
    for node in nodes:
        yield node.op
        for value in node.attr.values():
            if value.HasField("func"):
                yield value.func.name
            yield from (function.name for function in value.list.func)


class _Body:
    """The nodes of a graph or function by name; an edge is a name, its output is left out."""

    def __init__(self, function: str, nodes: Iterable[Any]) -> None:
        self.function = function
        self.nodes: dict[str, Any] = {node.name: node for node in nodes}

    def find_ancestors(self, roots: Iterable[str]) -> set[str]:
        pending, seen = list(roots), set[str]()
        while pending:
            name = pending.pop()
            if name in self.nodes and name not in seen:
                seen.add(name)
                pending.extend(name_node(text) for text in self.nodes[name].input)
        return seen

    def find_descendants(self, sources: set[str]) -> set[str]:
        users: dict[str, list[str]] = {}
        for node in self.nodes.values():
            for text in node.input:
                users.setdefault(name_node(text), []).append(node.name)
        pending, seen = list(sources), set(sources)
        while pending:
            for user in users.get(pending.pop(), ()):
                if user not in seen:
                    seen.add(user)
                    pending.append(user)
        return seen

    def find_source(self, text: str) -> Any | None:
        """The node that makes a value, behind what only hands it on; None for an argument."""
        node = self.nodes.get(name_node(text))
        for _ in range(len(self.nodes)):
            if node is None or node.op not in _PASSES or not node.input:
                return node
            node = self.nodes.get(name_node(node.input[0]))
        return None


def name_node(text: str) -> str:
    """The node that an edge comes from, however it is spelled: "^node", "node:1", "node:output:0"."""
    return text.lstrip("^").split(":")[0]


class _Found:
    """Probes as they are found."""

    def __init__(self) -> None:
        self._probes: list[Probe] = []
        self._unmeasured: list[str] = []
        self._constants: list[Any] = []
        self._preds: set[tuple[str, str]] = set()

    def look(self, body: _Body, names: Sequence[str], moved: set[str], library: Mapping[str, Any]) -> None:
        for name in names:
            node = body.nodes[name]
            if name in moved or any(name_node(text) in moved for text in node.input):
                self._look_at(body, node, moved)

    def finish(self, shared: set[str], graph_def: Any, library: Mapping[str, Any]) -> Survey:
        """Without the functional loops whose functions are called from several places: a count cannot be put in."""
        kept = []
        graphs = {"": {node.name: node for node in graph_def.node}}
        for probe in self._probes:
            if probe.op in _WHILES:
                if probe.function not in graphs:
                    graphs[probe.function] = {node.name: node for node in library[probe.function].node_def}
                node = graphs[probe.function][probe.node]
                if shared & {node.attr["cond"].func.name, node.attr["body"].func.name}:
                    self._unmeasured.append(f"rounds of the loop {probe.place}: its functions have other callers too")
                    continue
            kept.append(probe)
        return Survey(
            probes=tuple(kept), unmeasured=tuple(self._unmeasured), constants=tuple(dict.fromkeys(self._constants))
        )

    def _add(self, body: _Body, node: Any, position: int, kind: str, sides: Sequence[str]) -> None:
        probe = Probe(
            function=body.function, node=node.name, op=node.op, position=position, kind=kind, sides=tuple(sides)
        )
        self._probes.append(probe)

    def _look_at(self, body: _Body, node: Any, moved: set[str]) -> None:
        op = node.op
        if op in _SWITCHES:
            self._look_at_switch(body, node, moved)
        elif op in _IFS and name_node(node.input[0]) in moved:
            self._add(body, node, 0, BRANCHES, ("not taken", "taken"))
        elif op in _CASES and name_node(node.input[0]) in moved:
            count = len(node.attr["branches"].list.func)
            self._add(body, node, 0, BRANCHES, [f"branch {number}" for number in range(count)])
        elif op == "LoopCond" or op in _WHILES:
            self._add(body, node, 0, LOOPS, ("no round", "one round", "several rounds"))
        elif op in _LOOKUPS and name_node(node.input[1]) in moved:
            self._add(body, node, 1, LOOKUPS, ("hit", "miss"))
        elif op in ("Gather", "GatherV2", "ResourceGather") and name_node(node.input[1]) in moved:
            self._look_at_gather(body, node, moved)
        elif op in BENDS:
            self._add(body, node, 0, ACTIVATIONS, ("lower side", "upper side"))
        elif op == "ClipByValue":
            self._add(body, node, 0, ACTIVATIONS, ("below the lower bound", "above the upper bound"))
            self._note(body, node.input[1:3])
        elif op in _CLIPS and self._find_constant(body, node) is not None:
            self._add(body, node, 0, ACTIVATIONS, ("first is smaller", "first is larger"))
            self._note(body, node.input)
        elif op in _COMPARES and self._find_constant(body, node) is not None:
            self._add(body, node, 0, COMPARISONS, ("false", "true"))
            self._note(body, node.input)

    def _look_at_switch(self, body: _Body, node: Any, moved: set[str]) -> None:
        pred = node.input[1]
        maker = body.nodes.get(name_node(pred))
        # A cond hands its predicate on by an Identity: one choice, not two.
        while maker is not None and maker.op == "Identity":
            pred = maker.input[0]
            maker = body.nodes.get(name_node(pred))
        key = body.function, pred
        if key in self._preds or name_node(pred) not in moved or (maker is not None and maker.op == "LoopCond"):
            return
        self._preds.add(key)
        self._add(body, node, 1, BRANCHES, ("not taken", "taken"))

    def _look_at_gather(self, body: _Body, node: Any, moved: set[str]) -> None:
        axis = body.find_source(node.input[2]) if node.op == "GatherV2" else None
        if axis is not None and axis.op == "Const" and _read_scalar(axis) not in (0, None):
            return
        if node.op != "ResourceGather" and name_node(node.input[0]) in moved and not body.function:
            return  # no table, but rows of something that was computed
        source = body.find_source(node.input[0])
        shape = _find_shape(source)
        if shape is not None and shape and 0 < shape[0] <= MOST_ROWS and len(shape) > 1:
            self._add(body, node, 1, ROWS, [f"row {row}" for row in range(shape[0])])
        elif node.op == "ResourceGather" and shape is None:
            self._unmeasured.append(f"rows of {node.name}: the size of its table is not known")

    def _find_constant(self, body: _Body, node: Any) -> Any | None:
        sources = [body.find_source(text) for text in node.input[:2]]
        return next((source for source in sources if source is not None and source.op == "Const"), None)

    def _note(self, body: _Body, inputs: Iterable[str]) -> None:
        for text in inputs:
            source = None if text.startswith("^") else body.find_source(text)
            if source is not None and source.op == "Const":
                self._constants.extend(_read_few(source))


def _find_shape(node: Any | None) -> list[int] | None:
    if node is None:
        return None
    if node.op == "Const":
        return [dim.size for dim in node.attr["value"].tensor.tensor_shape.dim]
    if node.op in _VARIABLES and not node.attr["shape"].shape.unknown_rank:
        return [dim.size for dim in node.attr["shape"].shape.dim]
    return None


def _read_few(node: Any) -> list[Any]:
    """The values of a small constant of numbers or strings."""
    from migrate.inputs.synthesis.graph_view import read_constant

    tensor = node.attr["value"].tensor
    size = 1
    for dim in tensor.tensor_shape.dim:
        size *= dim.size
    value = read_constant(node) if 0 < size <= 16 else None
    if value is None or value.dtype.kind not in "fiuSO":
        return []
    return [item for item in value.reshape(-1).tolist() if isinstance(item, int | float | bytes)]


def _read_scalar(node: Any) -> Any | None:
    return next(iter(_read_few(node)), None)
