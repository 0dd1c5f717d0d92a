"""synthesize_cases: from a signature and its graph to the cases that it can take."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from migrate.arrays import RaggedValue, SparseValue
from migrate.inputs.cases import EDGES, SCALARS, Case
from migrate.inputs.synthesis import dims, graph_view, reaching
from migrate.inputs.synthesis.abstract import Abstract, Origin
from migrate.inputs.synthesis.dims import Dim, Equations, Symbol, find_symbols, find_values
from migrate.inputs.synthesis.generate import Generator, find_numpy_dtype
from migrate.inputs.synthesis.graph_view import GraphView
from migrate.inputs.synthesis.rules import RULES
from migrate.inputs.synthesis.rules.parsing import sparse_parts
from migrate.inputs.synthesis.rules.shaping import make_dims
from migrate.inputs.synthesis.tables import read_tables
from migrate.inputs.synthesis.walk import Walk
from migrate.model import Encoding, GraphVariant, Shape, Signature, SignatureTensor

_PASSES = 6
_MOST_UNKNOWN_RANKS = 4
# The unusual case is the largest batch too; pictures and Examples are large enough in threes.
_MANY_ROWS = 8
_WIDE_ROW = 256


def synthesize_cases(
    variant: GraphVariant,
    signature: Signature,
    *,
    seed: int = 0,
    batch_sizes: Sequence[int] = (1, 3),
    nonfinite: bool = False,
) -> tuple[Case, ...]:
    """Cases whose inputs the signature can take, found by walking the graph from the inputs.

    One case `batch_<n>` for each batch size, with all inputs given, the smallest of several without negative floats
    where nothing says what they are; `unusual` (empty and unicode strings, missing features, zeros, a denormal, large
    numbers) where the graph takes such values; `edges` where it compares with constants or looks up rows of small
    tables, `scalars_<i>` where an input is one number; `nonfinite` on request (NaN and both Infs among floats that may
    be any number); `defaults_omitted` where inputs have defaults. The same arguments give the same cases. A batch of 0
    is left out where no input has a free first dimension.
    """
    plan = _Plan.make(variant, signature)
    largest = max(batch_sizes, default=1) or 1
    sizes = [n for n in batch_sizes if n]
    # Counts, shares and durations have no sign, and a likelihood or a root that is fed one is NaN, with all gradients.
    smallest = min(sizes) if len(set(sizes)) > 1 else None
    cases = [plan.make_case(f"batch_{n}", seed, n, unsigned=n == smallest)[0] for n in sizes]
    rows = max(largest, 3 if plan.takes_parts else _MANY_ROWS)
    unusual, is_special = plan.make_case("unusual", seed, rows, special=True)
    if is_special:
        cases.append(unusual)
    cases.extend(plan.make_reaching_cases(seed, largest))
    if any(tensor.default is not None for tensor in signature.inputs.values()):
        full, _ = plan.make_case("defaults_omitted", seed, largest)
        given = {key: value for key, value in full.inputs.items() if signature.inputs[key].default is None}
        cases.append(Case(name=full.name, inputs=given))
    if nonfinite:
        strange, is_special = plan.make_case("nonfinite", seed, max(largest, 3), nonfinite=True)
        cases.extend([strange] if is_special else [])
    if 0 in batch_sizes:
        empty, _ = plan.make_case("batch_0", seed, 0)
        cases.extend([empty] if any(map(_is_empty, empty.inputs.values())) else [])
    return tuple(cases)


def _is_empty(value: Any) -> bool:
    """Whether a value has no rows."""
    if isinstance(value, SparseValue):
        return bool(value.dense_shape.size and value.dense_shape[0] == 0)
    return (value.row_splits[0].size == 1) if isinstance(value, RaggedValue) else value.shape[:1] == (0,)


@dataclasses.dataclass(slots=True)
class _Plan:
    """What the walk found for one signature."""

    signature: Signature
    walk: Walk

    @classmethod
    def make(cls, variant: GraphVariant, signature: Signature) -> _Plan:
        view = GraphView.from_graph_def(variant.graph_def)
        survey = _Survey(
            view=view,
            signature=signature,
            tables=read_tables(variant, view),
            variables=_read_variables(variant, view),
        )
        return cls(signature, survey.explore())

    @property
    def takes_parts(self) -> bool:
        """Whether an input is a picture, or is decoded into others."""
        sources = self.walk.sources.values()
        return any("image" in source.facts.marks or source.facts.decoders for source in sources)

    def make_reaching_cases(self, seed: int, batch: int) -> list[Case]:
        """`edges`: every side of every threshold, every row of small tables; `scalars_<i>`: an input that is one number
        takes small ones, a large one and its thresholds in turn."""
        generator = Generator(self.walk.sources, self.walk.equations, {}, (seed,))
        counts, scalars = [0], {}
        for name, source in self.walk.sources.items():
            kind = find_numpy_dtype(source.dtype).kind
            if kind in "iuf" and source.shape is not None:
                facts, bounds = source.facts, generator.find_bounds(source.facts)
                # Of a sparse or ragged input the source is one of its values.
                given = self.signature.inputs.get(name)
                if source.shape or given is None or given.encoding is not Encoding.DENSE:
                    points = len(reaching.list_points(facts, *bounds, kind))
                    counts.append(points or (_MANY_ROWS if facts.rivals and kind == "f" else 0))
                elif not self._is_settled(name):
                    scalars[name] = reaching.list_scalars(facts, *bounds, kind)
        rows = batch if self._is_wide() else min(max(*counts, batch), reaching.MOST_ROWS)
        cases = []
        if max(counts):
            case, is_reaching = self.make_case(EDGES, seed, rows, edges=True)
            ordinary, _ = self.make_case(EDGES, seed, rows)
            alone = {key: ordinary.inputs[key] for key in scalars if key in ordinary.inputs}
            cases = [Case(name=EDGES, inputs={**case.inputs, **alone})] if is_reaching else []
        for number in range(max(map(len, scalars.values()), default=0)):
            case, _ = self.make_case(SCALARS[number], seed, 1)
            chosen = {
                key: np.asarray(values[number % len(values)], case.inputs[key].dtype)
                for key, values in scalars.items()
                if values and self.signature.inputs[key].encoding is Encoding.DENSE
            }
            cases += [Case(name=case.name, inputs={**case.inputs, **chosen})] if chosen else []
        return cases

    def _is_wide(self) -> bool:
        """Whether a row is large: a picture, a long sequence."""
        sources = self.walk.sources.values()
        sizes = [math.prod(d for d in s.shape or () if isinstance(d, int)) for s in sources]
        return max(sizes, default=0) > _WIDE_ROW or any("image" in source.facts.marks for source in sources)

    def _is_settled(self, key: str) -> bool:
        return bool(_find_value_symbols(self.walk, key, ()))

    def make_case(
        self,
        name: str,
        seed: int,
        batch: int,
        *,
        special: bool = False,
        nonfinite: bool = False,
        edges: bool = False,
        unsigned: bool = False,
    ) -> tuple[Case, bool]:
        """The case, and whether anything in it is unusual."""
        equations = self.walk.equations
        wanted: set[Symbol] = set(equations.bindings) | set(equations.roles)
        for source in self.walk.sources.values():
            wanted |= set().union(*(find_symbols(d) for d in source.shape or ()), set())
        sizes, _ = find_values(equations, sorted(wanted), batch)
        stream = (seed, self.signature.key, name)
        wishes = {"special": special, "nonfinite": nonfinite, "edges": edges, "unsigned": unsigned}
        generator = Generator(self.walk.sources, equations, sizes, stream, **wishes)
        inputs: dict[str, Any] = {}
        first_key: dict[tuple[str, ...], str] = {}
        for key, tensor in self.signature.inputs.items():
            # Two keys may name one tensor, which takes one value.
            first = first_key.setdefault(tensor.tensor_names, key)
            inputs[key] = inputs[first] if first in inputs else self._make_input(generator, key, tensor)
        return Case(name=name, inputs=inputs), generator.used_special

    def _make_input(self, generator: Generator, key: str, tensor: SignatureTensor) -> Any:
        if tensor.encoding is Encoding.SPARSE:
            return _make_sparse(generator, self.walk, key)
        if tensor.encoding is Encoding.RAGGED:
            return _make_ragged(generator, self.walk, key, tensor)
        value = generator.make(key)
        small = value.dtype.kind in "iu" and value.size <= 8
        settled = _find_value_symbols(self.walk, key, value.shape) if small else []
        if settled:
            numbers = [generator.size(symbol) for symbol in settled]
            value = np.array(numbers, dtype=value.dtype).reshape(value.shape)
        return value


def _find_value_symbols(walk: Walk, key: str, shape: tuple[int, ...]) -> list[Symbol]:
    """Symbols of an integer input's elements, where the graph says anything of them."""
    equations = walk.equations
    used = set(equations.bindings).union(*(find_symbols(d) for c in equations.checks for d in c[1:3]), set())
    symbols = [Symbol(f"{key}[{i}]") for i in range(math.prod(shape))]
    return symbols if symbols and any(symbol in used for symbol in symbols) else []


def _make_sparse(generator: Generator, walk: Walk, key: str) -> SparseValue:
    """Row-major sorted indices; row i of the first axis has `row_length` values, spread over the rest."""
    shape = [generator.size(d) for d in walk.elements[f"sparse:{key}"].sizes]
    indices: list[tuple[Any, ...]] = []
    if len(shape) == 1:
        indices = [(i,) for i in range(generator.row_length(shape[0], 0))]
    else:
        width = math.prod(shape[1:])
        for row in range(shape[0]):
            # Few values in wide rows (one-hot vectors), all in narrow ones.
            count = generator.row_length(min(width, 4), row)
            places = sorted(
                {int(i * (width - 1) / max(1, count - 1)) if count > 1 else row % width for i in range(count)}
            )
            indices += [(row, *np.unravel_index(place, shape[1:])) for place in places]
    values = generator.make(key, (len(indices),))
    return SparseValue(
        indices=np.array(indices, dtype=np.int64).reshape(len(indices), len(shape)),
        values=values,
        dense_shape=np.array(shape, dtype=np.int64),
    )


def _make_ragged(generator: Generator, walk: Walk, key: str, tensor: SignatureTensor) -> RaggedValue:
    rows = generator.size(walk.elements[f"ragged:{key}"].sizes[0])
    dtype = find_numpy_dtype(tensor.row_splits_dtype)
    splits = []
    for _ in range(max(1, tensor.ragged_rank)):
        lengths = [generator.row_length(3, row) for row in range(rows)]
        splits.append(np.concatenate([[0], np.cumsum(lengths)]).astype(dtype))
        rows = int(splits[-1][-1])
    return RaggedValue(flat_values=generator.make(key, (rows,)), row_splits=tuple(splits))


def _read_variables(variant: GraphVariant, view: GraphView) -> dict[str, tuple[str, Shape]]:
    variables: dict[str, tuple[str, Shape]] = {}
    for node in view.nodes.values():
        if node.op in ("VariableV2", "Variable", "VarHandleOp"):
            shape = graph_view.parse_shape(node.attr["shape"].shape)
            variables[node.name] = (graph_view.get_dtype(node, "dtype"), shape)
    for spec in variant.variables:
        if spec.shape is not None:
            variables[spec.node] = (spec.dtype, spec.shape)
    return variables


@dataclasses.dataclass(slots=True)
class _Survey:
    """Walks the graph until nothing new is found."""

    view: GraphView
    signature: Signature
    tables: Any
    variables: Any
    constants: dict[int, Abstract] = dataclasses.field(default_factory=dict)

    def explore(self) -> Walk:
        ranks: dict[str, int] = {}
        equations = Equations()
        elements: dict[str, Abstract] = {}
        before: Any = None
        for _ in range(_PASSES):
            walk = self._walk_once(equations, ranks, elements)
            unknown = [name for name, source in walk.sources.items() if source.shape is None]
            self._decide_ranks(walk, unknown, ranks)
            _join_batches(equations)
            equations.settle_wishes()
            now = (
                len(equations.bindings),
                dict(ranks),
                len(walk.sources),
                len(equations.checks),
                len(unknown),
            )
            if now == before:
                break
            before = now
        return walk

    def _walk_once(self, equations: Equations, ranks: dict[str, int], elements: dict[str, Abstract]) -> Walk:
        equations.checks.clear()
        equations.contradictions = 0
        walk = Walk(
            rules=RULES,
            tables=self.tables,
            variables=self.variables,
            equations=equations,
            ranks=ranks,
            elements=elements,
            constants=self.constants,
        )
        fed: dict[tuple[str, int], Abstract] = {}
        for key, tensor in self.signature.inputs.items():
            for name, abstract in self._seed(walk, key, tensor):
                fed.setdefault(graph_view.parse_tensor_name(name), abstract)
        roots = [graph_view.parse_tensor_name(n)[0] for t in self.signature.outputs.values() for n in t.tensor_names]
        walk.visit(self.view, roots, fed)
        _bound_value_symbols(walk)
        return walk

    def _decide_ranks(self, walk: Walk, unknown: list[str], ranks: dict[str, int]) -> None:
        """Consumers' demands first; where there is none, the rank that contradicts least."""
        demanded = {name: rank for name, rank in walk.wanted_ranks.items() if name in unknown}
        if demanded or not unknown:
            ranks.update(demanded)
            return
        for name in unknown:
            if name in walk.wished_ranks:
                ranks[name] = walk.wished_ranks[name]
            else:
                ranks[name] = self._try_ranks(walk, name, ranks) if len(unknown) <= _MOST_UNKNOWN_RANKS else 1

    def _try_ranks(self, walk: Walk, name: str, ranks: dict[str, int]) -> int:
        scores = {}
        for rank in (1, 2, 0, 3, 4):
            equations = copy.deepcopy(walk.equations)
            trial = self._walk_once(equations, {**ranks, name: rank}, dict(walk.elements))
            symbols = sorted(set(equations.roles) | set(trial.equations.bindings))
            scores[rank] = find_values(equations, symbols, 3)[1]
        return min(scores, key=lambda rank: scores[rank])

    def _seed(self, walk: Walk, key: str, tensor: SignatureTensor) -> list[tuple[str, Abstract]]:
        """(tensor name, Abstract) of each tensor that carries the input."""
        # The graph has the last word: real TensorInfos claim float where the placeholder takes strings.
        dtype = self._find_dtype(tensor.name) or tensor.dtype
        if tensor.encoding is Encoding.SPARSE:
            return self._seed_sparse(walk, key, tensor, dtype)
        if tensor.encoding is Encoding.RAGGED:
            return self._seed_ragged(walk, key, tensor, dtype)
        shape: Sequence[Dim] | None = _merge(tensor.shape, self._find_shape(tensor.name))
        lead = walk.symbol(f"{key}.0", "batch")
        if shape is None and key in walk.ranks:
            shape = (None,) * walk.ranks[key]
        if shape and shape[0] is None:
            shape = (lead, *shape[1:])
        source = walk.add_source(key, dtype, shape)
        resolved = walk.resolve_shape(source.shape)
        value = None
        if dtype in ("int32", "int64") and resolved is not None and len(resolved) <= 1:
            numbers = tuple(d for d in resolved if isinstance(d, int) and d in range(9))
            if len(numbers) == len(resolved):
                count = numbers[0] if numbers else 1
                value = make_dims([walk.symbol(f"{key}[{i}]", "size") for i in range(count)], numbers)
                value = _settle(walk, value)
        return [(tensor.name, Abstract(dtype=dtype, shape=resolved, value=value, origins=(Origin(key),)))]

    def _seed_sparse(self, walk: Walk, key: str, tensor: SignatureTensor, dtype: str) -> list[tuple[str, Abstract]]:
        values, indices, dense_shape = tensor.components
        rank = 2
        if tensor.shape is not None:
            rank = len(tensor.shape)
        elif (stated := self._find_shape(indices)) is not None and len(stated) == 2 and stated[1]:
            rank = stated[1]
        elif (stated := self._find_shape(dense_shape)) is not None and stated and stated[0]:
            rank = stated[0]
        stated = tensor.shape or (None,) * rank
        shape: list[Dim] = [
            walk.symbol(f"{key}.{i}", "batch" if i == 0 else "length") if d is None else d for i, d in enumerate(stated)
        ]
        walk.add_source(key, dtype, ())
        parts = sparse_parts(walk, key, dtype, shape)
        walk.elements[f"sparse:{key}"] = Abstract(shape=tuple(shape))
        return [(indices, parts[0]), (values, parts[1]), (dense_shape, parts[2])]

    def _seed_ragged(self, walk: Walk, key: str, tensor: SignatureTensor, dtype: str) -> list[tuple[str, Abstract]]:
        flat, *splits = tensor.components
        stated = tensor.shape or (None,)
        rows: Dim = walk.symbol(f"{key}.0", "batch") if stated[0] is None else stated[0]
        walk.elements[f"ragged:{key}"] = Abstract(shape=(rows,))
        inner = stated[1 + tensor.ragged_rank :]
        known = walk.add_source(key, dtype, inner).shape
        assert known is not None, "it was given"
        count = walk.symbol(f"{key}.count", "count")
        seeds = [(flat, Abstract(dtype=dtype, shape=(count, *known), origins=(Origin(key),)))]
        lengths = [dims.add(rows, 1)] + [None] * (len(splits) - 1)
        return seeds + [
            (name, Abstract(dtype=tensor.row_splits_dtype, shape=(length,)))
            for name, length in zip(splits, lengths, strict=True)
        ]

    def _find_dtype(self, name: str) -> str:
        node = self.view.nodes.get(graph_view.parse_tensor_name(name)[0])
        return graph_view.get_dtype(node, "dtype", "T", "out_type", "DstT", "Tout") if node is not None else ""

    def _find_shape(self, name: str) -> Shape:
        """The shape that the node itself states for its output."""
        node_name, index = graph_view.parse_tensor_name(name)
        node = self.view.nodes.get(node_name)
        if node is None:
            return None
        recorded = node.attr["_output_shapes"].list.shape if "_output_shapes" in node.attr else ()
        shape = graph_view.parse_shape(recorded[index]) if index < len(recorded) else None
        if shape is None and node.op in ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault"):
            stated = graph_view.parse_shape(node.attr["shape"].shape) if "shape" in node.attr else None
            # Before GraphDef version 24 a Placeholder of unknown shape was written with shape [].
            shape = stated or None
        return shape


def _settle(walk: Walk, value: np.ndarray) -> np.ndarray:
    flat = [walk.equations.resolve(d) if not isinstance(d, np.generic) else int(d) for d in value.reshape(-1)]
    return make_dims(flat, value.shape)


def _merge(a: Shape, b: Shape) -> Shape:
    """What either shape knows; `a` where they disagree."""
    if a is None or b is None:
        return b if a is None else a
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True)) if len(a) == len(b) else a


def _bound_value_symbols(walk: Walk) -> None:
    """Bounds of small integer inputs hold for the symbols of their elements too."""
    for symbol in list(walk.equations.roles):
        name, bracket, _ = symbol.name.rpartition("[")
        if bracket and name in walk.sources:
            for high in walk.sources[name].facts.high:
                if isinstance(high, int):
                    walk.equations.upper[symbol] = min(high - 1, walk.equations.upper.get(symbol, high - 1))


def _join_batches(equations: Equations) -> None:
    """The batch of one input is the batch of all, where nothing says otherwise."""
    first: Dim = None
    for symbol in sorted(s for s, role in equations.roles.items() if role == "batch"):
        settled = equations.resolve(symbol)
        if isinstance(settled, Symbol) and equations.roles.get(settled, "batch") == "batch":
            if first is None:
                first = settled
            elif settled != first:
                equations.equate(settled, first)
                first = equations.resolve(first)
