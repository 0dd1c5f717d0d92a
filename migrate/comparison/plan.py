"""What planning a comparison is asked, and the plan that comes back: values that cross from one process to another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from migrate.isolation import Job
from migrate.options import ReadOptions
from migrate.verdict import InputPreview
from migrate.verify.runners.request import Names


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SideRequest:
    """A side: path of the SavedModel (or recording) that says what it computes, its kind (`sides.Subject`), the key of
    the signature that it offers in training mode, "" for none, and what its reader is told."""

    path: str
    kind: str
    training: str = ""
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """Attributes:
    baseline, candidate: the sides.
    inputs, signatures, level, seed, batch_sizes, nonfinite, op_library: as in CompareOptions; paths are absolute.
    folder: the user's, in which "module:function" of `inputs` is looked for.
    work: scratch folder, which receives the calls as each side spells them.
    """

    baseline: SideRequest
    candidate: SideRequest
    inputs: str
    signatures: tuple[str, ...]
    level: str
    seed: int
    batch_sizes: tuple[int, ...]
    nonfinite: bool
    op_library: tuple[str, ...]
    folder: str
    work: str

    @property
    def sides(self) -> tuple[SideRequest, SideRequest]:
        return self.baseline, self.candidate


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What both sides are trained on.

    Attributes:
      batches: "tags/signature" -> ids of the calls whose inputs are its batches, taken in turn.
      skipped: signatures that are not trained: "place: reason".
    """

    batches: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    skipped: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run and compared beside the calls. Pairs are (baseline's, candidate's).

    Attributes:
      outputs: (signature, output key) of everything that may be compared.
      known: signatures of both sides, as `verify.signature_defs` describes them.
      random: (tags/signature, output key) of outputs that a random number generator reaches.
      racy: of outputs that TF1 computed before or after a write, as it happened.
      loss_tags: tag sets whose losses count; None where the level wants none.
      update_call: id of the training call after which variables are read, "" for none.
      gradient_calls: ids of the calls whose outputs are differentiated.
      reweigh_calls: ids of the calls that are made once more with other weights.
      training: what both sides are trained on, None where the level wants none.
      answers: candidate's own call id -> baseline's call id.
      names: how each side spells what the other has named.
      not_compared, notes: lines for people.
      inputs: what is fed, for people.
    """

    outputs: tuple[tuple[str, str], ...]
    known: tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]
    random: tuple[tuple[str, str], ...] = ()
    racy: tuple[tuple[str, str], ...] = ()
    loss_tags: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    update_call: str = ""
    gradient_calls: tuple[str, ...] = ()
    reweigh_calls: tuple[str, ...] = ()
    training: TrainingPlan | None = None
    answers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    names: tuple[Names, Names] = (Names(), Names())
    not_compared: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    inputs: tuple[InputPreview, ...] = ()


PLAN = Job("migrate.comparison.planning:plan", PlanRequest, Plan)
