"""What a comparison found. Plain values: they are saved as JSON and read back.

`Verification.to_record` is the JSON; its fields are those of the dataclasses here, under their names, and
`schema_version` counts changes that a reader must know of: 2 added level, statistics, draws and notes; 3 added top-k
agreement, argmax flips, tolerances in ULP and where they come from; 4 added coverage and a verdict for each level.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from migrate import records

SCHEMA_VERSION = 4
# Name of the case without rows: what the baseline makes of it is no news of the candidate.
EMPTY_BATCH = "batch_0"
# Routes: how a candidate is called. Some give but a part of the outputs: what a plain call returns.
CALLABLE, PLAIN, SIGNATURE, SESSION, LAYER = "callable", "plain call", "signature", "v1 session", "keras layer"
# A call in training mode of what has no graph of its own for it: its outputs stay, its update ops run.
TRAINED, TRAINED_PLAIN = "training=True", "plain call, training=True"
PARTIAL_ROUTES = (PLAIN, LAYER, TRAINED_PLAIN)
# What a plain call returns, where a model has an output of that name.
DEFAULT = "default"
# What Coverage belongs to that says what inputs reached: no level of its own, it proves nothing.
INPUTS = "inputs"
INTERFACE, INFERENCE, TRAINING, GRADIENTS, TRAJECTORY = LEVELS = (
    "interface", "inference", "training", "gradients", "trajectory",
)  # fmt: skip


class Verdict(enum.Enum):
    """NOTHING_COMPARED is no pass: neither side, or not both, gave anything to compare."""

    PASS = "PASS"
    FAIL = "FAIL"
    NOTHING_COMPARED = "NOTHING_COMPARED"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """How floats differ, over all elements that are finite on both sides.

    Attributes:
      max_ulp: largest distance in representable numbers of the dtype.
      cosine: of the two flattened values; None where one is all zeros.
      quantiles: of the absolute difference at 50, 90, 99 and 100 %; () where no element is finite on both sides.
      argmax_agreement: share of rows (last axis) with the same largest element; None below rank 2.
      argmax_flips, first_flip: how many rows have another one, and the first in words.
      top_k, top_k_agreement: k, and the share of rows with the same k largest elements in any order; None where the
        last axis is not longer than k.
      histogram: (n, count): elements whose absolute difference lies in [10**n, 10**(n+1)); n None: exactly equal.
      sample: up to 40 pairs (baseline, candidate), evenly spaced over the elements.
    """

    max_ulp: int
    cosine: float | None = None
    quantiles: tuple[float, ...] = ()
    argmax_agreement: float | None = None
    argmax_flips: int = 0
    first_flip: str = ""
    top_k: int | None = None
    top_k_agreement: float | None = None
    histogram: tuple[tuple[int | None, int], ...] = ()
    sample: tuple[tuple[float, float], ...] = ()

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Statistics:
        pairs = {name: tuple(tuple(pair) for pair in record[name]) for name in ("histogram", "sample")}
        return cls(**(record | pairs | {"quantiles": tuple(record["quantiles"])}))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutputDiff:
    """One output of one call, or one loss, gradient, part of the interface, or variable after an update.

    Attributes:
      where: "tags/signature/case", "tags/signature" (interface), "regularization_losses", "variables", "update".
      route: how the candidate was called: "callable" (with all outputs), "plain call", "signature" (`signatures[...]`),
        "v1 session" (its SignatureDef), "keras layer", "recorded", "" for a TF1 session.
      output: output key; for a gradient "d output / d source".
      equal: whether it agrees within the tolerance.
      message: what differs, "" when equal.
      max_absolute, max_relative: largest differences over the elements, None where they make no sense.
      elements: how many were compared.
      random: the baseline differs from itself; values were compared in distribution if `p_value` is given,
        else only dtype and rank.
      level: which level asked: one of LEVELS.
      bit_identical: every bit is the same; None where values were not compared.
      statistics: of floats.
      relative, absolute, ulp: the tolerance that was applied to floats.
      p_value: of the two-sample test of a random output, the smallest after correction for their number.
      draws: calls made on each side for that test.
    """

    where: str
    route: str
    output: str
    equal: bool
    message: str = ""
    max_absolute: float | None = None
    max_relative: float | None = None
    elements: int = 0
    random: bool = False
    level: str = INFERENCE
    bit_identical: bool | None = None
    statistics: Statistics | None = None
    relative: float | None = None
    absolute: float | None = None
    ulp: int = 0
    p_value: float | None = None
    draws: int = 0

    @property
    def is_void(self) -> bool:
        """Whether it agrees in nothing but NaN and infinities, which is no proof: anything else may have given them."""
        return self.equal and self.statistics is not None and not self.statistics.quantiles

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> OutputDiff:
        statistics = record.get("statistics")
        return cls(**(record | {"statistics": Statistics.from_record(statistics) if statistics else None}))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One thing that a comparison should reach, and how far it came.

    Attributes:
      name: what people read: "plain call", "gradients", "tables", "branches", ...
      level: which level it belongs to, INPUTS where it says what the inputs reached in the baseline's graph.
      reached, total: how many of how many; a total of 0 is not worth a word.
      is_flag: there is one of it at most: spelled "yes" or "no", not in numbers.
      missed: what was not reached and why, a few lines of at most `total`.
      unmeasured: what is not among `total`, since it cannot be told whether it was reached, and why.
    """

    name: str
    level: str
    reached: int
    total: int
    is_flag: bool = False
    missed: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()

    def describe(self) -> str:
        """ "gradients 12 of 12", "plain call yes"."""
        if self.is_flag:
            return f"{self.name} {'yes' if self.reached else 'no'}"
        return f"{self.name} {self.reached} of {self.total}"

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Coverage:
        lines = {"missed": tuple(record["missed"]), "unmeasured": tuple(record.get("unmeasured", ()))}
        return cls(**(record | lines))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputPreview:
    """One input of a call as a person would look at it.

    Attributes:
      where: id of the call.
      key: of the input.
      dtype: its name, after "sparse " or "ragged " where it is that.
      shape: of the whole tensor; of a ragged one's flat values.
      text: the first values.
      image: data URI of the first image, "" where it is none.
    """

    where: str
    key: str
    dtype: str
    shape: tuple[int, ...]
    text: str
    image: str = ""

    def to_record(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"shape": list(self.shape)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The verdict over all outputs.

    Attributes:
      verdict: PASS, FAIL or NOTHING_COMPARED.
      diffs: every comparison made.
      not_compared: calls that the baseline itself could not run: "where: reason".
      problems: what failed on the candidate's side only.
      notes: what a reader must know to weigh the verdict (random outputs, unequal variable sets).
      level: how far it went, one of LEVELS.
      inputs: what was fed, for people: records of `InputPreview`.
      bisection: where the values begin to differ: {"where", "node", "op", "message", ...}, one an output.
      benchmark: speed and memory side by side, {} unless asked for.
      tolerances: those of single outputs: {"output" (a pattern), "relative", "absolute", "ulp", "source"}.
      reproduce: the one command that makes this comparison again, "" where it cannot be said.
      coverage: what was reached, of what there is to reach.
    """

    verdict: Verdict
    diffs: tuple[OutputDiff, ...] = ()
    not_compared: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    level: str = TRAINING
    inputs: tuple[dict[str, Any], ...] = ()
    bisection: tuple[dict[str, Any], ...] = ()
    benchmark: dict[str, Any] = dataclasses.field(default_factory=dict)
    tolerances: tuple[dict[str, Any], ...] = ()
    reproduce: str = ""
    coverage: tuple[Coverage, ...] = ()

    @property
    def coverage_line(self) -> str:
        """ "gradients 12 of 12, tables 2 of 2, plain call yes"; "" where nothing was measured."""
        return ", ".join(item.describe() for item in self.coverage if item.total)

    @property
    def levels(self) -> dict[str, Verdict]:
        """Verdict of each level up to the one asked for; NOTHING_COMPARED where nothing of that very level was, or
        where all that was is NaN or infinite."""
        asked = LEVELS[: LEVELS.index(self.level) + 1]
        return {level: self._judge_level(level) for level in asked}

    def _judge_level(self, level: str) -> Verdict:
        found = [diff for diff in self.diffs if find_level(diff) == level]
        if not all(diff.equal for diff in found) or (level == self.level and self.problems):
            return Verdict.FAIL
        told = any(not diff.is_void for diff in found)
        covered = not found and any(item.reached for item in self.coverage if item.level == level)
        return Verdict.PASS if told or covered else Verdict.NOTHING_COMPARED

    @property
    def max_absolute(self) -> float | None:
        return max((d.max_absolute for d in self.diffs if d.max_absolute is not None), default=None)

    @property
    def max_relative(self) -> float | None:
        return max((d.max_relative for d in self.diffs if d.max_relative is not None), default=None)

    @property
    def outputs_compared(self) -> int:
        """Values compared; the interface is no value."""
        return sum(diff.level != INTERFACE for diff in self.diffs)

    @property
    def is_bit_identical(self) -> bool | None:
        """Whether every value is the same to the last bit; None where some were compared in distribution, or none."""
        flags = [diff.bit_identical for diff in self.diffs if diff.level != INTERFACE]
        return None if not flags or None in flags else all(flags)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why it fails, one line each."""
        bad = [diff for diff in self.diffs if not diff.equal]
        # The interface first: what cannot be called explains why nothing came of it.
        bad.sort(key=lambda diff: diff.level != INTERFACE)
        lines = [f"{diff.where}/{diff.output} ({diff.route}): {diff.message}" for diff in bad]
        first = sum(diff.level == INTERFACE for diff in bad)
        return (*lines[:first], *self.problems, *lines[first:])

    def to_record(self) -> dict[str, Any]:
        """JSON value; `from_record` reads it back."""
        record: dict[str, Any] = records.to_json(self)  # dataclasses.asdict copies what nobody changes
        record["schema_version"] = SCHEMA_VERSION
        record["outputs_compared"] = self.outputs_compared
        record["bit_identical"] = self.is_bit_identical
        record["max_absolute"] = self.max_absolute
        record["max_relative"] = self.max_relative
        record["coverage_line"] = self.coverage_line
        record["levels"] = {level: verdict.value for level, verdict in self.levels.items()}
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Verification:
        """Reads this version and version 1, which lacks the later fields."""
        names = {field.name for field in dataclasses.fields(cls)} - {"verdict", "diffs", "coverage"}
        values = {name: _freeze(record[name]) for name in names if name in record}
        diffs = tuple(OutputDiff.from_record(diff) for diff in record["diffs"])
        coverage = tuple(Coverage.from_record(item) for item in record.get("coverage", ()))
        return cls(verdict=Verdict(record["verdict"]), diffs=diffs, coverage=coverage, **values)


def find_level(diff: OutputDiff) -> str:
    """The level whose verdict a difference touches: outputs of a variant for training are no news of inference."""
    tags = diff.where.split("/")[0].split(",")
    return TRAINING if diff.level == INFERENCE and "train" in tags else diff.level


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def judge(
    diffs: tuple[OutputDiff, ...],
    not_compared: tuple[str, ...],
    problems: tuple[str, ...],
    *,
    strict: bool = False,
    notes: tuple[str, ...] = (),
    level: str = TRAINING,
) -> Verification:
    """The verdict: one difference or problem fails; strict fails on anything that was not compared, too.

    Losses and updates alone do not prove a model whose outputs were never compared, nor does a batch of no rows, nor
    its interface, unless the interface is all that was asked for; nor do NaN and infinities on both sides. Who asks for
    gradients and gets none has nothing compared, whatever the outputs say.
    """
    proofs = [
        diff
        for diff in diffs
        if diff.where not in _BESIDE
        and not diff.where.startswith("piece ")
        and not diff.where.endswith(f"/{EMPTY_BATCH}")
        and not diff.is_void
        and (diff.level != INTERFACE or level == INTERFACE)
    ]
    if problems or any(not diff.equal for diff in diffs) or (strict and diffs and not_compared):
        verdict = Verdict.FAIL
    elif proofs and (level != GRADIENTS or any(diff.level == GRADIENTS for diff in proofs)):
        verdict = Verdict.PASS
    else:
        verdict = Verdict.NOTHING_COMPARED
    return Verification(
        verdict=verdict, diffs=diffs, not_compared=not_compared, problems=problems, notes=notes, level=level
    )


# What is compared beside outputs, and proves nothing alone.
_BESIDE = ("regularization_losses", "variables", "files", "tables", "the root")
