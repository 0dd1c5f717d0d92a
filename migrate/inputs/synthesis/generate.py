"""Makes up values for sources: numbers within their bounds, tokens of their tables, encoded things."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import ml_dtypes
import numpy as np

from migrate.inputs.synthesis import dims, encoding, images, reaching
from migrate.inputs.synthesis.abstract import Decoder, Facts, Feature, Source, Table
from migrate.inputs.synthesis.dims import Symbol

_WORDS = (b"the", b"river", b"green", b"walks", b"seven", b"stone", b"over", b"light")
_UNUSUAL = (b"", "naïve 日本語 😀".encode(), b"zzz-not-a-token", b"A.B, c!")
_OUTSIDE = b"zzz-not-a-token"
_MOST_OUTSIDE = 8
# One row of unusual floats is so much larger: activations saturate (relu6, hard sigmoids, clipping).
_LARGE_ROW = 24.0
# Zeros of both signs, a denormal, and magnitudes that leave room for sums of products.
_SPECIAL_FLOATS = (0.0, -0.0, 1e-40, 1e4, -1e4)
_CHANNELS = (1, 3, 4)
_FEWEST_ROWS = 3
_MOST_BOOLS = 3
_NONFINITE = (np.nan, np.inf, -np.inf)
_NUMPY_DTYPES = {"bfloat16": ml_dtypes.bfloat16, "string": object, "": np.float32}

Found = TypeVar("Found")


def find_numpy_dtype(name: str) -> np.dtype:
    found: np.dtype[Any] = np.dtype(_NUMPY_DTYPES.get(name, name))
    return found


@dataclasses.dataclass(slots=True)
class Generator:
    """Values of one case.

    Attributes:
      sources: all sources of the signature.
      equations, sizes: what dimensions are; every symbol has a size.
      seed: goes into each random stream, beside the source's name: (seed, signature, case, ...).
      special: whether unusual strings and floats are wanted.
      nonfinite: whether NaN and Inf are wanted.
      edges: whether values are to go through all that the graph tells apart.
      unsigned: whether floats of which nothing is known are to be 0 or more.
      used_special: set where a value was unusual.
    """

    sources: Mapping[str, Source]
    equations: dims.Equations
    sizes: Mapping[Symbol, int]
    seed: tuple[Any, ...]
    special: bool = False
    nonfinite: bool = False
    edges: bool = False
    unsigned: bool = False
    used_special: bool = False
    _found: dict[tuple[str, int], Any] = dataclasses.field(default_factory=dict, init=False)

    def size(self, dim: dims.Dim) -> int:
        """The number that a dimension is in this case."""
        value = dims.evaluate(self.equations.resolve(dim), dict(self.sizes))
        return 2 if value is None else max(0, int(value))

    def make(self, name: str, lead: tuple[int, ...] = (), place: int = 0) -> np.ndarray:
        """Values [*lead, *shape of the source]; `place` tells apart the elements of an enclosing source."""
        source = self.sources[name]
        shape = (*lead, *(self.size(d) for d in source.shape or ()))
        dtype = find_numpy_dtype(source.dtype)
        if dtype.kind == "O":
            flat = np.empty(math.prod(shape), dtype=object)
            flat[:] = self._make_strings(source, flat.size, place)
            return flat.reshape(shape)
        digest = hashlib.sha256(repr((*self.seed, name, place)).encode()).digest()
        rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
        values = self._make_numbers(source, rng, shape, dtype, place)
        for own, rival in source.facts.rivals if self.edges and dtype.kind == "f" else ():
            others = self.make(rival.source, lead, place)
            if others.shape == shape and "sorted" not in source.facts.marks:
                self.used_special = True
                values = reaching.meet_rival(values, own, others, rival).astype(dtype)
        return values

    # --- strings -------------------------------------------------------------------------------------

    def _make_strings(self, source: Source, count: int, place: int) -> list[bytes]:
        if source.facts.decoders:
            return [self._encode(source.facts.decoders, place + i) for i in range(count)]
        pool, outside = self._find_once(self._find_tokens, source.facts)
        start = hashlib.sha256(repr((*self.seed, source.name)).encode()).digest()[0]
        result = []
        unusual = self._find_unusual(pool, facts=source.facts) if self.special and outside else []
        for i in range(count):
            number = place + i
            if number < len(unusual):
                self.used_special = True
                result.append(unusual[number])
            elif outside and source.facts.tables and number % 4 == 2:
                result.append(_OUTSIDE)
            else:
                # Neighbours differ, so that a batch is never one token over and over by chance.
                result.append(pool[(start + number + number // len(pool)) % len(pool)])
        return result

    def _find_once(self, find: Callable[[Facts], Found], facts: Facts) -> Found:
        """The same for each of a batch's strings, each of an Example's numbers: a vocabulary is looked through once."""
        key = (find.__name__, id(facts))  # the sources keep them
        if key not in self._found:
            self._found[key] = find(facts)
        found: Found = self._found[key]
        return found

    def _find_unusual(self, pool: list[bytes], *, facts: Facts) -> list[bytes]:
        """Odd strings, then known words in other cases, then unknown words, which hash buckets tell apart."""
        if not facts.tables:
            return list(_UNUSUAL)
        start = hashlib.sha256(repr((*self.seed, "cases")).encode()).digest()[0]
        words = [pool[(start + i) % len(pool)] for i in range(2)]
        cases = [words[0].upper(), words[1].title()]
        return [*_UNUSUAL, *cases, *(b"%s-%d" % (_OUTSIDE, i) for i in range(_MOST_OUTSIDE))]

    def _find_tokens(self, facts: Facts) -> tuple[list[bytes], bool]:
        """(tokens that all tables know, whether others are allowed too)."""
        pool: list[bytes] | None = None
        outside = True
        for table, steps, allowed in facts.tables:
            if steps and steps[-1][0] not in ("filtered",):
                continue
            keys, free = self._find_keys(table, allowed)
            outside = outside and free
            tokens = [key for key in keys.tolist() if isinstance(key, bytes)]
            common = tokens if pool is None else [token for token in pool if token in set(tokens)]
            pool = common or pool
        pool = list(dict.fromkeys((pool or [])[:2000] + [c for c in facts.candidates if isinstance(c, bytes)]))
        return pool or list(_WORDS), outside

    def _find_keys(self, table: Table, allowed: tuple[Any, Any, Any] | None) -> tuple[np.ndarray, bool]:
        """Keys whose values lie in the allowed range, and whether unknown keys are allowed."""
        if allowed is None or table.values.dtype == object:
            return table.keys, True
        low, high = (None if n is None else self._number(n) for n in allowed[:2])
        good = np.ones(table.values.shape, dtype=bool)
        if low is not None:
            good &= table.values >= low
        if high is not None:
            good &= table.values < high
        default = allowed[2]
        free = default is None or ((low is None or default >= low) and (high is None or default < high))
        return (table.keys[good] if good.any() else table.keys), bool(free)

    def _number(self, bound: Any) -> float | int:
        return self.size(bound) if isinstance(bound, Symbol | dims.Term) else bound

    def _encode(self, decoders: list[Decoder], place: int) -> bytes:
        """One string that the decoders read. Of several, the first; Examples take all features."""
        examples = [d for d in decoders if d.kind == "example"]
        if examples:
            features = {f.key: f for d in examples for f in d.features}
            return encoding.encode_example(self._make_features(features, place))
        decoder = decoders[0]
        kind = decoder.kind
        if kind == "sequence_example":
            return self._encode_sequence(decoder, place)
        if kind == "csv":
            fields = [self.make(child, (), place).item() for child in decoder.children]
            return encoding.encode_csv(fields, *decoder.options)
        if kind == "sentence":
            return self._encode_sentence(decoder, place)
        value = self.make(decoder.children[0], (), place)
        if kind == "image":
            return images.encode_image(np.asarray(value, np.float64).clip(0, 255).astype(np.uint8), decoder.options[0])
        if kind == "wav":
            return encoding.encode_wav(value)
        if kind == "base64":
            return encoding.encode_base64(value.item())
        if kind == "raw":
            return encoding.encode_raw(value, decoder.options[0])
        if kind == "tensor":
            return encoding.encode_tensor(value)
        if kind == "compressed":
            return encoding.encode_compressed(value.item(), decoder.options[0])
        if kind == "json_example":
            return encoding.encode_json_example(
                value.item() if self.sources[decoder.children[0]].facts.decoders else b""
            )
        return encoding.encode_number(self._round(decoder.children[0], value))

    def _round(self, name: str, value: np.ndarray) -> Any:
        """A number as people write it: short, and whole where it is bounded by whole numbers."""
        facts = self.sources[name].facts
        whole = facts.low + facts.high and all(not isinstance(n, float) for n in facts.low + facts.high)
        return int(value) if whole or value.dtype.kind in "iu" else round(float(value), 4)

    def _encode_sentence(self, decoder: Decoder, place: int) -> bytes:
        if self.special and place % 3 == 1:
            self.used_special = True
            return b""
        separator: bytes = decoder.options[0]
        count = 2 + place % 4
        words = [word.item() for word in (self.make(decoder.children[0], (), place * 7 + i) for i in range(count))]
        return separator.join(word.replace(separator, b"") for word in words)

    def _make_features(self, features: Mapping[str, Feature], place: int) -> dict[str, np.ndarray]:
        values = {}
        for feature in features.values():
            if self.special and feature.has_default and place % 3 == 1:
                self.used_special = True
                continue  # Missing: the default, or an empty row.
            if feature.kind == "dense":
                values[feature.key] = self.make(feature.source, (), place)
            else:
                values[feature.key] = self.make(
                    feature.source, (self.row_length(self.size(feature.length), place),), place * 5
                )
        return values

    def row_length(self, longest: int, row: int) -> int:
        """How many values a row of a sparse or ragged tensor has; the same for all tensors of one width."""
        return longest - row % longest if longest else 0

    def _encode_sequence(self, decoder: Decoder, place: int) -> bytes:
        context = self._make_features({f.key: f for f in decoder.context}, place)
        steps = self.size(decoder.options[0])
        lists = {}
        for feature in decoder.features:
            lead = () if feature.kind == "dense" else (self.size(feature.length),)
            lists[feature.key] = [self.make(feature.source, lead, place * steps + i) for i in range(steps)]
        return encoding.encode_sequence_example(context, lists)

    # --- numbers -------------------------------------------------------------------------------------

    def _make_numbers(
        self, source: Source, rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype, place: int
    ) -> np.ndarray:
        facts = source.facts
        if dtype == np.bool_:
            return self._make_bools(source, rng, shape, dtype)
        bounds = self._find_once(self.find_bounds, facts)
        points = reaching.list_points(facts, *bounds, dtype.kind) if self.edges else []
        if points:
            self.used_special = True
            values = reaching.lay_out(points, shape, place)
            return np.asarray(np.sort(values, axis=None).reshape(shape) if "sorted" in facts.marks else values, dtype)
        if dtype.kind in "iu":
            values = self._make_integers(facts, rng, shape, dtype, place)
        else:
            values = self._make_floats(facts, rng, shape)
        if "sorted" in facts.marks:
            values = np.sort(values.reshape(-1)).reshape(shape)
        return np.asarray(values).astype(dtype)

    def _make_bools(
        self, source: Source, rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype
    ) -> np.ndarray:
        """A single bool is a switch (is_training): off. Special ones take all values together: of the n-th bool, every
        2**n-th row is another."""
        if self.special and shape:
            self.used_special = True
            number = [s.name for s in self.sources.values() if s.dtype == "bool"].index(source.name)
            return (np.arange(math.prod(shape)).reshape(shape) >> number % _MOST_BOOLS & 1).astype(dtype)
        return rng.integers(0, 2, shape).astype(dtype) if shape else np.zeros((), dtype)

    def find_bounds(self, facts: Facts) -> tuple[Any, Any]:
        low = max((self._number(n) for n in facts.low), default=None)
        high = min((self._number(n) for n in facts.high), default=None)
        if low is not None and high is not None and low >= high:
            low = high - 1  # Nothing fits all; stay below the upper end, where memory ends.
        return low, high

    def _make_integers(
        self, facts: Facts, rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype, place: int
    ) -> np.ndarray:
        low, high = self._find_once(self.find_bounds, facts)
        pool, outside = self._find_once(self._find_integers, facts)
        candidates = [c for c in facts.candidates if isinstance(c, int) and not isinstance(c, bool)]
        if facts.maximum is not None:
            top = self.size(facts.maximum)
            values = rng.integers(min(1, top), top + 1, shape)
            if values.size:
                values.reshape(-1)[0] = top
            return values
        if pool.size:
            values = pool[rng.integers(0, pool.size, shape)]
            if outside:
                values = np.where((np.arange(values.size).reshape(shape) + place) % 4 == 2, pool.max() + 1000, values)
            return np.asarray(values)
        if low is None and high is None:
            if dtype == np.uint8:
                return rng.integers(0, 256, shape) if "image" not in facts.marks else _paint(rng, shape)
            low, high = (0, 8) if shape else (1, 4)
            if "positive" in facts.marks or "nonzero" in facts.marks:
                low = 1
            if facts.boundaries:
                return np.asarray(np.rint(self._spread(facts.boundaries, rng, shape)))
        if low is None:
            low = 0 if high > 0 else high - 8
        high = low + 8 if high is None else high
        low, high = int(np.ceil(low)), max(int(np.ceil(low)) + 1, int(np.ceil(high)))
        values = rng.integers(low, high, shape)
        if high - low <= 8 and values.size <= 64:  # Neighbours differ in small ranges.
            values = low + (rng.permutation(values.size).reshape(shape) + place) % (high - low)
        inside = [c for c in candidates if low <= c < high]
        if inside:
            values = np.where(rng.random(shape) < 0.5, np.array(inside)[rng.integers(0, len(inside), shape)], values)
        return values

    def _find_integers(self, facts: Facts) -> tuple[np.ndarray, bool]:
        """Integer keys of the tables, keys that are numbers as text among them."""
        pool, outside = np.array([], dtype=np.int64), True
        for table, steps, allowed in facts.tables:
            keys, free = self._find_keys(table, allowed)
            outside = outside and free
            if keys.dtype == object and any(step[0] == "text" for step in steps):
                keys = np.array([int(key) for key in keys if key.lstrip(b"-").isdigit()], dtype=np.int64)
            for step in reversed(steps):
                if step[0] == "add" and keys.dtype != object:
                    keys = keys - int(step[1])
            if keys.dtype != object and keys.size:
                common = np.intersect1d(pool, keys) if pool.size else keys
                pool = common if common.size else pool
        return pool, outside

    def _make_floats(self, facts: Facts, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        low, high = self._find_once(self.find_bounds, facts)
        if "keep_prob" in facts.marks:
            return np.ones(shape)
        if "drop_rate" in facts.marks:
            return np.zeros(shape)
        if low is not None or high is not None:
            low = high - 1 if low is None else low
            high = low + 1 if high is None else high
            return rng.uniform(low, high - (high - low) * 1e-3, shape)
        if facts.boundaries:
            return self._spread(facts.boundaries, rng, shape)
        if "image" in facts.marks and (not shape or shape[-1] in _CHANNELS):
            self.used_special |= self.special
            # Some scale images to [-1, 1]: what is never negative hides a lost or added relu.
            return self._spoil(_vary_rows(rng.uniform(-1, 1, shape)) if self.special else rng.random(shape))
        if "positive" in facts.marks or "nonzero" in facts.marks or not shape:
            return rng.uniform(0.25, 1.0, shape)
        values = np.abs(rng.standard_normal(shape)) if self.unsigned else rng.standard_normal(shape)
        if self.special and not facts.marks - {"image"} and values.size:
            self.used_special = True
            count = min(values.size, len(_SPECIAL_FLOATS))
            values.reshape(-1)[:count] = _SPECIAL_FLOATS[:count]
            if values.ndim >= 2 and values.shape[0] >= _FEWEST_ROWS:
                values[1] *= _LARGE_ROW
                values[2] = values[2].ravel()[0]  # a constant row, full of ties
        return self._spoil(values)

    def _spoil(self, values: np.ndarray) -> np.ndarray:
        """NaN and Inf, each in another row as far as there are rows, so that one does not hide the others."""
        if self.nonfinite and values.ndim and values.size:
            self.used_special = True
            rows = values.reshape(values.shape[0], -1) if values.shape[0] > 1 else values.reshape(-1, 1)
            count = min(len(rows), len(_NONFINITE))
            rows[:count, 0] = _NONFINITE[:count]
        return values

    def _spread(self, boundaries: list[float], rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Values below, between, on and above the boundaries."""
        edges = np.unique(boundaries)
        width = max(1.0, float(edges[-1] - edges[0])) / max(1, len(edges))
        points = np.concatenate([[edges[0] - width], (edges[:-1] + edges[1:]) / 2, edges, [edges[-1] + width]])
        return points[rng.integers(0, points.size, shape)]


def _vary_rows(values: np.ndarray) -> np.ndarray:
    """Pictures [batch, ...] in [-1, 1]; the second one in [0, 255], the third of one colour."""
    if values.ndim >= 2 and values.shape[0] >= _FEWEST_ROWS:
        values[1] = (values[1] + 1) * 127.5
        values[2] = values[2].ravel()[0]
    return values


def _paint(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A picture in [0, 255]: smooth, with some noise, as photographs are."""
    axes = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij") if shape else [np.zeros(())]
    waves = sum(np.sin(2 * np.pi * (axis * rng.uniform(0.5, 2) + rng.random())) for axis in axes) / len(axes)
    return np.clip(127.5 + 100 * waves + rng.normal(0, 4, shape), 0, 255)
