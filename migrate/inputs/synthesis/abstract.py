"""What the walk over a graph knows of a tensor, and what it learns of the inputs.

A Source is something that must be made up: an input of the signature, or a thing inside it (a feature of a
tf.Example, the pixels of a JPEG, a token of a sentence). An Abstract is one tensor of the graph: its
shape, its value where that is a small integer tensor or a constant, and the Origins of its elements:
from which source they come and what was done to them on the way.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from migrate.inputs.synthesis.dims import Dim

Step = tuple[Any, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """Elements of `source` after `steps`: ("floordiv", k), ("add", c), ("mul", c), ("mod", k), ("text",),
    ("filtered",): small values are sorted out or replaced, ("clipped",): large ones are,
    ("lookup", Table, default), ("opaque",): nothing is known of the values any more."""

    source: str
    steps: tuple[Step, ...] = ()

    def after(self, *step: Any) -> Origin:
        return Origin(self.source, (*self.steps, step))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Keys and values of a lookup table (1-D arrays of equal length); strings are bytes."""

    keys: np.ndarray
    values: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """What a bool tensor says: `origin` op `bound` for each element, or two dimensions being equal."""

    op: str  # lt, le, gt, ge, eq, dims
    origin: Origin | None
    bound: Any


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Abstract:
    """One tensor.

    Attributes:
      dtype: TensorFlow's name, "" where unknown.
      shape: None where the rank is unknown.
      value: a constant, or an object array of Dims for small integer tensors; None where unknown.
      origins: where the elements come from; () for what no input reaches.
      resource: the node that made the table, variable or tensor array which this handle names.
      tags: marks, e.g. "random", ("indices", group), ("where", source).
      claims: for bools.
      lift: where the rank is unknown: by how much it is larger than that of the source (ExpandDims: 1).
    """

    dtype: str = ""
    shape: tuple[Dim, ...] | None = None
    value: np.ndarray | None = None
    origins: tuple[Origin, ...] = ()
    resource: str | None = None
    tags: frozenset[Any] = frozenset()
    claims: tuple[Claim, ...] = ()
    lift: int = 0

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def sizes(self) -> tuple[Dim, ...]:
        """The shape.

        Raises:
          TypeError: the rank is unknown; the walk then takes nothing from the node whose rule asked.
        """
        if self.shape is None:
            raise TypeError("the rank is unknown")
        return self.shape

    @property
    def known(self) -> np.ndarray:
        """The value.

        Raises:
          TypeError: it is unknown.
        """
        if self.value is None:
            raise TypeError("the value is unknown")
        return self.value

    def dims(self) -> list[Dim] | None:
        """The value as a flat list of Dims, where it is a small integer tensor."""
        if self.value is None or self.value.size > 64:
            return None
        if self.value.dtype.kind in "iu":
            return [int(element) for element in self.value.reshape(-1)]
        if self.value.dtype == object and self.dtype != "string":
            return list(self.value.reshape(-1))
        return None

    def scalar(self) -> Any:
        """The value where it is one element, else None."""
        return self.value.reshape(-1)[0] if self.value is not None and self.value.size == 1 else None

    def constant(self) -> np.ndarray | None:
        """The value where it holds no Dims."""
        symbolic = self.value is not None and self.value.dtype == object and self.dtype != "string"
        return None if symbolic else self.value


UNKNOWN = Abstract()


@dataclasses.dataclass(slots=True)
class Facts:
    """What a source's values must be, gathered from what they flow into.

    Attributes:
      low, high: inclusive lower, exclusive upper bounds; may be Dims.
      tables: (table, steps to it, allowed (low, high) of the value that comes out and the default for unknown keys,
        or None).
      candidates: values that the graph compares with.
      boundaries: bucket boundaries.
      thresholds: (values at which the graph acts otherwise, whether the value itself is compared exactly).
      rivals: (its own values, values of another source) that are compared with each other, number by number.
      decoders: how strings are decoded; each names child sources.
      marks: image, positive, nonzero, divisor, keep_prob, drop_rate, sorted, switch.
      maximum: Dim that the largest element must equal.
    """

    low: list[Any] = dataclasses.field(default_factory=list)
    high: list[Any] = dataclasses.field(default_factory=list)
    tables: list[tuple[Table, tuple[Step, ...], tuple[Any, Any, Any] | None]] = dataclasses.field(default_factory=list)
    candidates: list[Any] = dataclasses.field(default_factory=list)
    boundaries: list[float] = dataclasses.field(default_factory=list)
    thresholds: list[tuple[float, bool]] = dataclasses.field(default_factory=list)
    rivals: list[tuple[Origin, Origin]] = dataclasses.field(default_factory=list)
    decoders: list[Decoder] = dataclasses.field(default_factory=list)
    marks: set[str] = dataclasses.field(default_factory=set)
    maximum: Dim = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Feature:
    """A feature of a tf.Example. `source` holds its values.

    kind: dense ([*shape] values), sparse (up to `length` values) or ragged.
    """

    key: str
    kind: str
    source: str
    length: Dim = None
    has_default: bool = False


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """One way in which strings are read.

    kind: example, sequence_example, json_example, image, wav, base64, raw, csv, tensor, sentence, number,
      compressed.
    """

    kind: str
    children: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    context: tuple[Feature, ...] = ()
    options: tuple[Any, ...] = ()


@dataclasses.dataclass(slots=True)
class Source:
    """Something to make up.

    Attributes:
      name: unique: "input key", "input key/feature", ...
      shape: of one value; None while the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None
    facts: Facts = dataclasses.field(default_factory=Facts)
