"""What runners are asked to do, and their jobs by name. No TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from migrate.isolation import Job
from migrate.options import ReadOptions
from migrate.verdict import Coverage, InputPreview

# Key of the signature that a FunctionsRequest saves, and its keys: inputs in their order, outputs by the order of keys.
CALL, INPUT, OUTPUT = "call", "input_", "output_"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """How a side that has adopted the other's names spells them itself; what is not listed has one name on both sides.

    Attributes:
      signature: its own key, "" where it is the call's.
      inputs: key in the call -> its own.
      outputs: its own key -> that of the comparison.
    """

    signature: str = ""
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)


# Parts of what is asked of a migrated model: of the loaded object, and of copies that are loaded otherwise.
OBJECT, COPIES = "object", "copies"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run of one side.

    Attributes:
      path: folder of the model.
      calls: folder that `calls.save_calls` wrote.
      results: folder to write with `Results.save`.
      skip: names of cases to leave out.
      refused: ids of ventures that the other side refused: whatever comes of them is no fault.
      op_library: shared libraries with custom ops.
      losses: whether regularization losses are wanted.
      loss_tags: tag set whose losses they are; a candidate has one set only.
      variables: whether the values of variables are wanted, as they are loaded.
      update_call: id of the call after which variables are read, "" for none.
      repeat: make each call several times and keep the last answer: does the side agree with itself?
      gradient_calls: ids of calls whose outputs are differentiated.
      draw_calls: ids of calls with random outputs -> how often each is made, for at most `draw_seconds` all together.
      draws: how often in the first round that counts (`judging.trials`).
      names: of a Keras file.
      read: what the reader of a SESSION side is told.
      share: make random calls once more with random ops that the other side can draw alike (`graph.stand_ins`).
      generators: of the other side: call id -> name of a generator -> its op; which random calls are made so.
      reweigh_calls: ids of calls to make once more with other weights (`verify.weights`).
      reweigh: names of the variables that get others; () for all of the side's own.
      reads_first: a TF1 session reads each variable before it writes it, where nothing says which comes first.
      part: of what is asked of a migrated model, to be done in this process: OBJECT, COPIES, or "" for all.
    """

    path: str
    calls: str
    results: str
    skip: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    op_library: tuple[str, ...] = ()
    losses: bool = False
    loss_tags: tuple[str, ...] = ()
    variables: bool = False
    update_call: str = ""
    repeat: bool = False
    gradient_calls: tuple[str, ...] = ()
    draw_calls: Mapping[str, int] = dataclasses.field(default_factory=dict)
    draws: int = 100
    draw_seconds: float = 20.0
    names: Names = dataclasses.field(default_factory=Names)
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)
    share: bool = False
    generators: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    reweigh_calls: tuple[str, ...] = ()
    reweigh: tuple[str, ...] = ()
    reads_first: bool = False
    part: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether all ways are asked, not only some calls again."""
        return not self.repeat and not self.draw_calls


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """A side is trained for a few steps.

    Attributes:
      path, calls, op_library, names, read: as of a RunRequest.
      batches: "tags/signature" -> ids of the calls whose inputs are its batches, taken in turn.
      results: folder to write with `courses.save_courses`.
      steps: of each optimizer.
      outputs: "tags/signature" -> keys of the outputs to make the objective of; absent where the side may choose.
      trained: names of the variables to train where the side does not say which.
      generators: "tags/signature" -> name -> op of what draws random numbers on the other side, to draw the same.
    """

    path: str
    calls: str
    batches: Mapping[str, tuple[str, ...]]
    results: str
    steps: int
    op_library: tuple[str, ...] = ()
    outputs: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    trained: tuple[str, ...] = ()
    generators: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    names: Names = dataclasses.field(default_factory=Names)
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model of some kind and one call of it.

    Attributes:
      path: of the model; for intermediates of a Keras file, of its graph.
      kind: SESSION, MIGRATED, SERVING or KERAS, as `side` has them.
      calls: folder that `calls.save_calls` wrote.
      call: id of the call.
      op_library: shared libraries with custom ops.
      names: of a Keras file.
      read: what the reader of a SESSION side is told.
    """

    path: str
    kind: str
    calls: str
    call: str
    op_library: tuple[str, ...] = ()
    names: Names = dataclasses.field(default_factory=Names)
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InsideRequest:
    """The values of all tensors inside one call, written into the folder `results`; or, of the output `gradient` of a
    SavedModel's signature, its gradients by them."""

    subject: Subject
    results: str
    gradient: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FunctionsRequest:
    """One call as a SavedModel of its own, written as `folder`; `training`: in training mode, whatever its tags."""

    subject: Subject
    folder: str
    training: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TimingRequest:
    """One round of a benchmark: the call is made `warmups` times, then timed `repeats` times."""

    subject: Subject
    repeats: int
    warmups: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds of each repeat."""

    seconds: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRequest:
    """What only a loaded model tells; `exported` receives a Keras file's graph as a SavedModel."""

    path: str
    is_keras_file: bool
    exported: str = ""
    op_library: tuple[str, ...] = ()
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """`training`: key of the signature that has a training mode, "" for none."""

    training: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExploreRequest:
    """What the planned calls reach in a graph is measured, and more calls are looked for.

    Attributes:
      path: of the model, or of the graph of a Keras file.
      kind: SESSION, MIGRATED or SERVING, as `side` has them.
      calls: folder that `calls.save_calls` wrote, which receives the new calls too.
      answering: folder of the calls as the other side spells them, "" where both read `calls`.
      scratch: folder to write into.
      seed: of the search.
      searches: whether inputs are made up, so that others may be added.
      op_library, names, read: as of a RunRequest.
    """

    path: str
    kind: str
    calls: str
    answering: str
    scratch: str
    seed: int
    searches: bool = True
    op_library: tuple[str, ...] = ()
    names: Names = dataclasses.field(default_factory=Names)
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """Attributes:
    coverage: what was reached, by kind of place.
    added: ids of the calls that were found and added.
    attempts: calls that the search made.
    answers: the candidate's own ids of added calls -> the baseline's, where they are spelled otherwise.
    inputs: what the added calls feed, for people.
    """

    coverage: tuple[Coverage, ...]
    added: tuple[str, ...] = ()
    attempts: int = 0
    answers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    inputs: tuple[InputPreview, ...] = ()


INSIDE = Job("migrate.verify.runners.intermediates:run", InsideRequest, type(None))
INSIDE_GRADIENTS = Job("migrate.verify.runners.inside_gradients:run", InsideRequest, type(None))
FUNCTIONS = Job("migrate.verify.runners.functional:run", FunctionsRequest, type(None))
TIMING = Job("migrate.verify.runners.timing:run", TimingRequest, Timing)
DESCRIBE = Job("migrate.verify.runners.serving:describe", DescribeRequest, Description)
EXPLORE = Job("migrate.verify.runners.exploring:explore", ExploreRequest, Explored)
