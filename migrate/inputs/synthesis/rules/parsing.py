"""Ops that parse tf.Examples: each feature becomes a source of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from migrate.inputs.synthesis import graph_view
from migrate.inputs.synthesis.abstract import Abstract, Decoder, Feature, Origin
from migrate.inputs.synthesis.dims import Dim
from migrate.inputs.synthesis.graph_view import name_dtype
from migrate.inputs.synthesis.rules.shaping import make_dims
from migrate.inputs.synthesis.walk import Rule, Walk


class _Parser:
    """Builds the outputs and the features of one parsing op.

    Args:
      parents: names of the sources that hold the serialized strings.
      lead: dimensions of the serialized tensor: (batch,) or ().
    """

    def __init__(self, walk: Walk, parents: Sequence[Origin], lead: tuple[Dim, ...]) -> None:
        self.walk, self.lead = walk, lead
        self.parent = parents[0].source if parents else ""
        self.features: list[Feature] = []

    def _add(self, key: str, kind: str, dtype: str, shape: Sequence[Dim], length: Dim, has_default: bool) -> str:
        name = f"{self.parent}/{key}"
        self.walk.add_source(name, dtype, shape, "length")
        self.features.append(Feature(key, kind, name, length, has_default))
        return name

    def sparse(self, key: str, dtype: str) -> tuple[Abstract, Abstract, Abstract]:
        """(indices, values, dense_shape) of a VarLenFeature: dense shape (*lead, longest)."""
        length = self.walk.symbol(f"{self.parent}/{key}.length", "length")
        name = self._add(key, "sparse", dtype, (), length, True)
        shape = (*self.lead, length)
        return sparse_parts(self.walk, name, dtype, shape)

    def dense(self, key: str, dtype: str, shape: Sequence[Dim], has_default: bool) -> Abstract:
        name = self._add(key, "dense", dtype, shape, None, has_default)
        known = self.walk.sources[name].shape
        if known is None:
            raise TypeError(f"the rank of {name} is unknown")
        return Abstract(dtype=dtype, shape=(*self.lead, *known), origins=(Origin(name),))

    def ragged(self, key: str, dtype: str) -> Abstract:
        name = self._add(key, "ragged", dtype, (), self.walk.symbol(f"{self.parent}/{key}.length", "length"), True)
        return Abstract(dtype=dtype, shape=(None,), origins=(Origin(name),))

    def finish(self, kind: str, context: Sequence[Feature] = ()) -> None:
        if self.parent:
            decoder = Decoder(kind, features=tuple(self.features), context=tuple(context))
            self.walk.sources[self.parent].facts.decoders.append(decoder)


def sparse_parts(walk: Walk, name: str, dtype: str, shape: Sequence[Dim]) -> tuple[Abstract, Abstract, Abstract]:
    """The tensors of a sparse input or feature whose values are the source `name`."""
    count = walk.symbol(f"{name}.count", "count")
    resolved = tuple(walk.equations.resolve(d) for d in shape)
    tags = frozenset([("indices", resolved)])
    return (
        Abstract(dtype="int64", shape=(count, len(shape)), tags=tags),
        Abstract(dtype=dtype, shape=(count,), origins=(Origin(name),)),
        Abstract(dtype="int64", shape=(len(shape),), value=make_dims(resolved)),
    )


def _types(node: Any, name: str) -> list[str]:
    return [name_dtype(number) for number in node.attr[name].list.type]


def _shapes(node: Any, name: str) -> list[tuple[Dim, ...]]:
    return [graph_view.parse_shape(shape) or () for shape in node.attr[name].list.shape]


def _keys(x: Abstract) -> list[str]:
    return [key.decode() for key in x.known.reshape(-1)]


def _parse(
    walk: Walk,
    node: Any,
    inputs: Sequence[Abstract],
    keys: Sequence[Sequence[str]],
    defaults: Sequence[Abstract],
) -> list[Abstract]:
    """Outputs in the order of the op: indices, values, shapes, dense, ragged values, ragged splits."""
    serialized = inputs[0]
    lead = serialized.shape if serialized.shape is not None else (None,)
    if node.op == "ParseSingleExample":
        walk.want_rank(serialized, 0)
        lead = ()
    elif serialized.shape is None or node.op == "ParseExample":
        walk.want_rank(serialized, 1)
    parser = _Parser(walk, serialized.origins, tuple(lead))
    sparse_keys, dense_keys, ragged_keys = keys
    parts = [parser.sparse(key, t) for key, t in zip(sparse_keys, _types(node, "sparse_types"), strict=True)]
    dense = []
    shapes = _shapes(node, "dense_shapes")
    for key, dtype, shape, default in zip(dense_keys, _types(node, "Tdense"), shapes, defaults, strict=True):
        # An empty default means that the feature is required; a variable-length one may be empty.
        has_default = (default.value is not None and default.value.size > 0) or shape[:1] == (None,)
        dense.append(parser.dense(key, dtype, shape, has_default))
    ragged_types = _types(node, "ragged_value_types") if ragged_keys else []
    ragged = [parser.ragged(key, dtype) for key, dtype in zip(ragged_keys, ragged_types, strict=True)]
    splits = [Abstract(dtype="int64", shape=(None,)) for _ in ragged]
    parser.finish("example")
    return [*(p[0] for p in parts), *(p[1] for p in parts), *(p[2] for p in parts), *dense, *ragged, *splits]


def parse_example(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """ParseExample: serialized, names, sparse_keys * n, dense_keys * m, dense_defaults * m."""
    n, m = node.attr["Nsparse"].i, node.attr["Ndense"].i
    sparse_keys = [_keys(x)[0] for x in inputs[2 : 2 + n]]
    dense_keys = [_keys(x)[0] for x in inputs[2 + n : 2 + n + m]]
    return _parse(walk, node, inputs, (sparse_keys, dense_keys, ()), inputs[2 + n + m :])


def parse_example_v2(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """ParseExampleV2: serialized, names, sparse_keys, dense_keys, ragged_keys, dense_defaults * m."""
    return _parse(walk, node, inputs, [_keys(x) for x in inputs[2:5]], inputs[5:])


def parse_single_example(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """ParseSingleExample: keys are attributes; inputs are serialized, dense_defaults * m."""
    sparse_keys, dense_keys = ([key.decode() for key in node.attr[a].list.s] for a in ("sparse_keys", "dense_keys"))
    return _parse(walk, node, inputs, (sparse_keys, dense_keys, ()), inputs[1:])


def _parse_sequence(
    walk: Walk,
    node: Any,
    serialized: Abstract,
    lead: tuple[Dim, ...],
    keys: Sequence[Sequence[str]],
    defaults: Sequence[Abstract],
) -> tuple[list[Abstract], list[Abstract]]:
    """(context outputs, feature list outputs): indices, values, shapes, dense, ragged of each.

    Args:
      keys: context sparse, dense, ragged; feature list sparse, dense, ragged. All lists of an example have
        the same number of steps.
    """
    time = walk.symbol(f"{serialized.origins[0].source if serialized.origins else ''}.steps", "time")
    parsers = (_Parser(walk, serialized.origins, lead), _Parser(walk, serialized.origins, (*lead, time)))
    results = []
    for parser, prefix, (sparse_keys, dense_keys, ragged_keys) in zip(
        parsers, ("context", "feature_list"), (keys[:3], keys[3:]), strict=True
    ):
        dense_types = "Tcontext_dense" if prefix == "context" else "feature_list_dense_types"
        shapes = _shapes(node, f"{prefix}_dense_shapes")
        parts = [parser.sparse(k, t) for k, t in zip(sparse_keys, _types(node, f"{prefix}_sparse_types"), strict=True)]
        dense = []
        for i, (key, dtype) in enumerate(zip(dense_keys, _types(node, dense_types), strict=True)):
            default = defaults[i].value if prefix == "context" and i < len(defaults) else None
            dense.append(parser.dense(key, dtype, shapes[i], default is not None and default.size > 0))
        ragged_types = _types(node, f"{prefix}_ragged_value_types") if ragged_keys else []
        ragged = [parser.ragged(key, dtype) for key, dtype in zip(ragged_keys, ragged_types, strict=True)]
        results.append([*(p[0] for p in parts), *(p[1] for p in parts), *(p[2] for p in parts), *dense, *ragged])
    if parsers[0].parent:
        decoder = Decoder(
            "sequence_example",
            features=tuple(parsers[1].features),
            context=tuple(parsers[0].features),
            options=(time,),
        )
        walk.sources[parsers[0].parent].facts.decoders.append(decoder)
    return results[0], results[1]


def _split_lengths(count: int) -> list[Abstract]:
    return [Abstract(dtype="int64", shape=(None,))] * count


def parse_single_sequence_example(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """serialized, missing_assumed_empty, then the four groups of keys, each key a tensor, then defaults."""
    counts = [
        node.attr[name].i
        for name in ("Ncontext_sparse", "Ncontext_dense", "Nfeature_list_sparse", "Nfeature_list_dense")
    ]
    walk.want_rank(inputs[0], 0)
    groups, place = [], 2
    for count in counts:
        groups.append([_keys(x)[0] for x in inputs[place : place + count]])
        place += count
    keys = [groups[0], groups[1], (), groups[2], groups[3], ()]
    context, lists = _parse_sequence(walk, node, inputs[0], (), keys, inputs[place:])
    return [*context, *lists]


def parse_sequence_example(walk: Walk, node: Any, inputs: Sequence[Abstract]) -> list[Abstract]:
    """ParseSequenceExample (keys are attributes) and V2 (keys are inputs, ragged features)."""
    serialized = inputs[0]
    if node.op == "ParseSequenceExample":
        walk.want_rank(serialized, 1)
        names = ("context_sparse", "context_dense", "", "feature_list_sparse", "feature_list_dense", "")
        keys = [[key.decode() for key in node.attr[f"{n}_keys"].list.s] if n else [] for n in names]
        defaults = inputs[2:]
    else:
        keys, defaults = [_keys(x) for x in inputs[2:8]], inputs[9:]
    lead = serialized.shape if serialized.shape is not None else (None,)
    context, lists = _parse_sequence(walk, node, serialized, tuple(lead), keys, defaults)
    ragged_context, ragged_lists = len(keys[2]), len(keys[5])
    # The lengths of the dense lists stand between them and the ragged lists.
    end = len(lists) - ragged_lists
    lengths = [Abstract(dtype="int64", shape=tuple(lead))] * len(keys[4])
    return [
        *context,
        *_split_lengths(ragged_context),
        *lists[:end],
        *lengths,
        *lists[end:],
        *_split_lengths(2 * ragged_lists),
    ]


RULES: dict[str, Rule] = {
    "ParseExample": parse_example,
    "ParseExampleV2": parse_example_v2,
    "ParseSingleExample": parse_single_example,
    "ParseSingleSequenceExample": parse_single_sequence_example,
    **dict.fromkeys(("ParseSequenceExample", "ParseSequenceExampleV2"), parse_sequence_example),
}
