"""The walk: visits the nodes between a signature's inputs and outputs, and gathers what inputs must be.

A rule (see `rules`) turns the Abstracts of a node's inputs into those of its outputs; on the way it states
equations between dimensions and facts about sources. A walk never fails on a graph that it does not
understand: what a rule cannot tell stays unknown.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from migrate.inputs.synthesis import dims, graph_view
from migrate.inputs.synthesis.abstract import UNKNOWN, Abstract, Origin, Source, Table
from migrate.inputs.synthesis.dims import Dim, Equations, Symbol, Term

Rule = Callable[["Walk", Any, Sequence[Abstract]], Abstract | Sequence[Abstract] | None]

_CALL_DEPTH = 12  # Deeper nests of function calls are recursion or machine-made; inputs act near the surface.


@dataclasses.dataclass(slots=True)
class Walk:
    """One pass over the graph.

    Attributes:
      rules: by op.
      tables: (node of the handle) -> Table.
      variables: (node that makes the variable) -> (dtype, shape).
      equations: shared by the passes of one signature.
      sources: by name, in the order of discovery.
      ranks: source name -> rank, for sources of unknown rank: decided before this pass.
      wanted_ranks: source name -> rank that a consumer asks for.
      wished_ranks: source name -> rank that would do, from what the source is combined with.
      elements: tensor array (node) -> its element, kept over passes.
      constants: what Const nodes hold, by the identity of the node (a view keeps its nodes), kept over passes.
    """

    rules: Mapping[str, Rule]
    tables: Mapping[str, Table]
    variables: Mapping[str, tuple[str, Any]]
    equations: Equations
    ranks: Mapping[str, int]
    elements: dict[str, Abstract]
    constants: dict[int, Abstract]
    sources: dict[str, Source] = dataclasses.field(default_factory=dict)
    wanted_ranks: dict[str, int] = dataclasses.field(default_factory=dict)
    wished_ranks: dict[str, int] = dataclasses.field(default_factory=dict)
    depth: int = 0

    def add_source(self, name: str, dtype: str, shape: Sequence[Dim] | None, role: str = "") -> Source:
        """The source `name`; unknown dimensions of `shape` become its symbols."""
        if name in self.sources:
            return self.sources[name]
        if shape is None and name in self.ranks:
            shape = (None,) * self.ranks[name]
        if shape is not None:
            shape = tuple(self.symbol(f"{name}.{i}", role) if d is None else d for i, d in enumerate(shape))
        source = self.sources[name] = Source(name, dtype, shape)
        return source

    def symbol(self, name: str, role: str = "") -> Symbol:
        symbol = Symbol(name)
        if role:
            self.equations.roles.setdefault(symbol, role)
        return symbol

    def resolve_shape(self, shape: Sequence[Dim] | None) -> tuple[Dim, ...] | None:
        return None if shape is None else tuple(self.equations.resolve(dim) for dim in shape)

    # --- what rules say about inputs -----------------------------------------------------------------

    def want_rank(self, x: Abstract, rank: int, weight: int = 10) -> None:
        """The consumer takes tensors of this rank."""
        if x.shape is None:
            for origin in x.origins:
                if self.sources[origin.source].shape is None and rank >= x.lift:
                    self.wanted_ranks.setdefault(origin.source, rank - x.lift)
        elif len(x.shape) != rank:
            self.equations.contradictions += weight

    def mark(self, x: Abstract, mark: str) -> None:
        for origin in x.origins:
            if not any(step[0] in ("lookup", "opaque") for step in origin.steps):
                self.sources[origin.source].facts.marks.add(mark)

    def bound(self, x: Abstract, low: Any, high: Any) -> None:
        """Elements of `x` must lie in [low, high); either may be None or a Dim."""
        for origin in x.origins:
            self.bound_origin(origin, low, high)

    def bound_columns(self, indices: Abstract, shape: Sequence[Dim]) -> bool:
        """Index tuples that were put together from columns point inside `shape`; False where they were not."""
        columns = next((tag[1] for tag in indices.tags if isinstance(tag, tuple) and tag[0] == "columns"), None)
        for column, size in zip(columns or (), shape, strict=False):
            for origin in column:
                self.bound_origin(origin, 0, size)
        return columns is not None

    def bound_origin(self, origin: Origin, low: Any, high: Any) -> None:
        """Carries the bounds back over the origin's steps to the source."""
        steps = list(origin.steps)
        facts = self.sources[origin.source].facts
        filtered = False
        while steps:
            step = steps.pop()
            if step[0] == "opaque":
                return
            if step[0] == "filtered":  # What is too small (unknown tokens, padding) was sorted out.
                low, filtered = None, True
                continue
            if step[0] == "clipped":
                high = None
                continue
            if step[0] == "lookup":
                facts.tables.append((step[1], tuple(steps), (low, high, None if filtered else step[2])))
                return
            if step[0] == "add":
                low, high = (_calculate("add", n, -step[1]) for n in (low, high))
            elif step[0] == "floordiv":
                low, high = (_calculate("mul", n, step[1]) for n in (low, high))
            elif any(isinstance(n, Symbol | Term) for n in (low, high)):
                if step[0] in ("mul", "mod"):
                    return
            elif step[0] == "mul" and step[1]:
                low = None if low is None else math.ceil(low / step[1])
                high = None if high is None else math.ceil(high / step[1])
                if step[1] < 0:
                    low, high = (None if high is None else high + 1), (None if low is None else low + 1)
            elif step[0] == "mod" and high is not None and high >= step[1]:
                return
        if low is not None:
            facts.low.append(low)
        if high is not None:
            facts.high.append(high)

    # --- visiting ------------------------------------------------------------------------------------

    def visit(
        self, view: graph_view.GraphView, roots: Iterable[str], fed: Mapping[tuple[str, int], Abstract]
    ) -> dict[tuple[str, int], Abstract]:
        """Visits what `roots` need; returns the Abstracts by (node, output index)."""
        values: dict[tuple[str, int], Abstract] = dict(fed)
        for node in view.order_nodes(roots, set(fed)):
            inputs = [values.get(view.find_input(spelled), UNKNOWN) for spelled in node.input if spelled[:1] != "^"]
            for index, result in enumerate(self.apply_rule(node, inputs, view)):
                values.setdefault((node.name, index), result)
        return values

    def apply_rule(self, node: Any, inputs: Sequence[Abstract], view: graph_view.GraphView) -> Sequence[Abstract]:
        rule = self.rules.get(node.op)
        try:
            result = rule(self, node, inputs) if rule is not None else None
            if result is None and node.op in CALLS:
                result = self.call_functions(node, inputs, view)
        except (
            IndexError,
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
            ZeroDivisionError,
        ):
            # A malformed or unforeseen node: what it says is lost, the rest is not.
            result = None
        if result is None:
            result = self.describe_outputs(node)
        results = [result] if isinstance(result, Abstract) else list(result)
        return [self._settle(x) for x in results]

    def _settle(self, x: Abstract) -> Abstract:
        shape = self.resolve_shape(x.shape)
        return x if shape == x.shape else dataclasses.replace(x, shape=shape)

    def describe_outputs(self, node: Any) -> list[Abstract]:
        """What the node itself records of its outputs."""
        dtype = graph_view.get_dtype(node, "dtype", "T", "out_type", "Tout")
        return [
            Abstract(dtype=dtype, shape=graph_view.parse_shape(shape))
            for shape in node.attr["_output_shapes"].list.shape
        ] or [Abstract(dtype=dtype)]

    def call_functions(
        self, node: Any, inputs: Sequence[Abstract], view: graph_view.GraphView
    ) -> Sequence[Abstract] | None:
        """Visits the functions that `node` calls; for branches, the outputs of the first one."""
        attributes, skip = CALLS[node.op]
        names = [node.attr[a].func.name for a in attributes if a in node.attr and node.attr[a].func.name]
        names += [f.name for a in attributes if a in node.attr for f in node.attr[a].list.func]
        outputs = [self.call_function(name, inputs[skip:], view) for name in names]
        known = [output for output in outputs if output is not None]
        return known[-1] if known else None

    def call_function(
        self, name: str, arguments: Sequence[Abstract], view: graph_view.GraphView
    ) -> list[Abstract] | None:
        function = view.functions.get(name)
        if function is None or self.depth >= _CALL_DEPTH:
            return None
        body = view.enter(function)
        fed = {(arg.name, 0): value for arg, value in zip(function.signature.input_arg, arguments, strict=False)}
        roots = [function.ret[arg.name] for arg in function.signature.output_arg]
        nodes = [root.split(":")[0] for root in roots] + list(function.control_ret.values())
        self.depth += 1
        try:
            values = self.visit(body, nodes + _find_effects(body), fed)
        finally:
            self.depth -= 1
        return [values.get(body.find_input(root), UNKNOWN) for root in roots]


# op -> (attributes that name functions, how many inputs come before the arguments). The outputs of the
# last function count: the body of a loop, the else-branch of a conditional.
CALLS: dict[str, tuple[tuple[str, ...], int]] = {
    "PartitionedCall": (("f",), 0),
    "StatefulPartitionedCall": (("f",), 0),
    "BatchFunction": (("f",), 0),
    "RemoteCall": (("f",), 1),
    "If": (("then_branch", "else_branch"), 1),
    "StatelessIf": (("then_branch", "else_branch"), 1),
    "Case": (("branches",), 1),
    "StatelessCase": (("branches",), 1),
    "While": (("cond", "body"), 0),
    "StatelessWhile": (("cond", "body"), 0),
    "MapDefun": (("f",), 0),
}


def _calculate(op: str, bound: Any, number: float) -> Any:
    """A bound, plus or times a number; None where it is a Dim and the number is not whole."""
    if isinstance(bound, Symbol | Term):
        return dims.apply(op, bound, int(number)) if number == int(number) else None
    return None if bound is None else bound + number if op == "add" else bound * number


def _find_effects(body: graph_view.GraphView) -> list[str]:
    """Asserts run although no output needs them."""
    return [node.name for node in body.nodes.values() if node.op == "Assert"]
