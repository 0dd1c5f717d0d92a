"""What a user can choose, one frozen value for each stage. No TensorFlow import."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from migrate import errors

VERIFY_MODES = ("auto", "none", "strict")
# How weights get into the result (`write.weights`).
WEIGHT_MODES = ("copy", "reflink", "link", "rewrite")
PUBLISH_MODES = ("pass", "all")
ALREADY_TF2_MODES = ("skip", "copy")


def find_libraries(paths: tuple[str, ...]) -> tuple[str, ...]:
    """`paths` as isolated processes find them, which work in another folder; a bare name stays the loader's to find."""
    return tuple(os.path.abspath(path) if os.path.exists(path) else path for path in paths)


def is_signature_spec(text: str) -> bool:
    """Whether `text` describes a signature, "KEY(x=in:0,...)->(y=out:0,...)", rather than naming one."""
    return "->" in text


def signature_key(text: str) -> str:
    """The key that `text` names or describes."""
    return text.partition("(")[0] if is_signature_spec(text) else text


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Floats agree where |candidate - baseline| <= absolute + relative * |baseline|, or where they are at most `ulp`
    representable numbers apart (0: that does not count); all else must be equal."""

    relative: float = 1e-5
    absolute: float = 1e-6
    ulp: int = 0

    def __post_init__(self) -> None:
        if not (self.relative >= 0 and self.absolute >= 0 and self.ulp >= 0):
            raise errors.UsageError(f"a tolerance cannot be negative: {self}", where="tolerance")


# Of ReadOptions: those that are paths of files.
_READ_FILES = ("checkpoint", "architecture", "vocab_file")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a reader cannot know from the source alone; each reader takes what it has a use for.

    Attributes:
      signature: "KEY(x=in:0)->(y=out:0)" adds a signature by tensor names; a mere key adds nothing.
      inputs, outputs: tensors of the one signature of a graph that has none: "x=in:0", or "in:0", which is keyed by
        its node; () guesses them.
      checkpoint: which checkpoint of a folder: a prefix, or its name in the folder; "" is the newest.
      training_input: placeholder that says whether the model trains and becomes `training=`; "" finds the one that
        Keras left open.
      thaw: large constants of a frozen graph become variables that train.
      custom_objects: "module:name" of layers, losses and functions that a Keras config names.
      builder: "module:function" that makes the Keras model whose weights the source holds.
      architecture: file with the Keras model's config (JSON or YAML) whose weights the source holds.
      allow_lambda: load Lambda layers, which runs code that the file holds.
      pieces: parts that get signatures of their own: "NAME(x=in:0)->(y=out:0)" of a graph; of a Keras model
        "INPUT_LAYER:OUTPUT_LAYER", or "NAME=INPUT_LAYER:OUTPUT_LAYER".
      core: submodel of a Keras model (of a graph: a signature) that becomes the root, its heads named pieces.
      vocab_file: file of the vocabulary that becomes an asset, `vocab_file` of the root, where the source has none.
      do_lower_case: "true" or "false" becomes `do_lower_case` of the root, where the source says nothing; "" for none.
      signature_map: "old=new" renames signatures.
      xai: add the signatures that explainers ask for.
      preprocessing: "module:function" that gives a Keras model's inputs, for `xai_preprocess`.
      keras_backend: of a file of Keras 1, which does not say: "theano" turned kernels round; "" takes TensorFlow.
      import_paths: folders in which the modules of `custom_objects`, `builder`, `preprocessing` are looked for; the
        work is done in other processes, which do not stand where the caller does.
    """

    signature: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    checkpoint: str = ""
    training_input: str = ""
    thaw: bool = False
    custom_objects: tuple[str, ...] = ()
    builder: str = ""
    architecture: str = ""
    allow_lambda: bool = False
    pieces: tuple[str, ...] = ()
    core: str = ""
    vocab_file: str = ""
    do_lower_case: str = ""
    signature_map: tuple[str, ...] = ()
    xai: bool = False
    preprocessing: str = ""
    keras_backend: str = ""
    import_paths: tuple[str, ...] = ()

    @property
    def placed(self) -> ReadOptions:
        """With the caller's own folder and import path, where modules are named."""
        if self.import_paths or not (self.custom_objects or self.builder or self.preprocessing):
            return self
        return dataclasses.replace(self, import_paths=(os.getcwd(), *filter(None, sys.path)))

    @property
    def of_original(self) -> ReadOptions:
        """For whoever runs the original: nothing that changes what is run."""
        return dataclasses.replace(self, thaw=False)

    @property
    def asks_keras(self) -> bool:
        """Whether something is asked for that only a model which Keras rebuilt can give."""
        of_layers = [piece for piece in self.pieces if not is_signature_spec(piece)]
        return any((of_layers, self.custom_objects, self.builder, self.architecture, self.core, self.preprocessing))

    def describe(self) -> dict[str, Any]:
        """For a record, which holds no path of a machine."""
        files = {name: os.path.basename(getattr(self, name)) for name in _READ_FILES}
        return dataclasses.asdict(dataclasses.replace(self, import_paths=(), **files))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ReadOptions:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return cls(**fields)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RebuildOptions:
    """Choices of the user.

    Attributes:
      signature: key of the signature that `__call__` applies; "" chooses it; "KEY(x=in:0)->(y=out:0)" makes one
        from tensor names.
      inference_tags, training_tags: tag sets of the two variants; None chooses them.
      trainable: regular expression over variable names: what trains; "" keeps TF1's collection.
      partial: leave out signatures that cannot be rebuilt instead of blocking the model.
    """

    signature: str = ""
    inference_tags: tuple[str, ...] | None = None
    training_tags: tuple[str, ...] | None = None
    trainable: str = ""
    partial: bool = False


# Of seconds and bytes; what the system's own calls take.
_MOST = 2**53


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one job may take: seconds, bytes of memory, bytes on disk; None for no limit."""

    timeout: float | None = None
    memory_limit: int | None = None
    disk_limit: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 < value <= _MOST:
                raise errors.UsageError(f"a limit of {value}", where=f"--{field.name}", hint="give a positive number")


def count_cores() -> int:
    """Those that this process may use, which a container or `taskset` may bound."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MigrateOptions:
    """How to migrate one model.

    Attributes:
      overwrite: replace an existing destination.
      verify: "auto": run old and new on the same inputs; "strict": whatever the original could not run fails
        too; "none": do not run them.
      read: what the reader is told.
      rebuild: choices of signature, variants, trainable variables.
      op_library: shared libraries with custom ops, loaded by every process that runs the model.
      allow_unsafe_ops: names of ops that may reach for files, the network or other code (SECURITY.md).
      tolerance: of the verification.
      limits: for each stage's process.
      seed: of the synthesised inputs.
      coverage: measure what the inputs reach in the original's graph, and look for inputs that reach more.
      target_tensorflow: oldest TensorFlow, "2.8", that must be able to load the result; "" for any.
      archive: also write `<dest>.tar.gz`, as hub hosting serves it.
      also: what else is written beside a model: "keras" is `<dest>.keras` of Keras 3, for Keras sources.
      dump_graphs: folder for the graph of each call as each pass leaves it, "" for none.
      weights: how they get into the result: "copy" of the data shards, "reflink" (a copy that shares blocks), "link"
        (hard links: the source's own files) or "rewrite" (through memory, tensor by tensor).
      check_weights: hold every byte of the data shards against its checksum; small checkpoints are checked anyway.
      publish: "pass": a model that differs from its original is not published; "all": it is, and stays `regressed`.
      quarantine: folder that receives a model that differs and is not published, "" to drop it.
      already_tf2: "skip": a TF2 SavedModel is left alone; "copy": it is copied to the destination.
      side_by_side: let one model have several processes at once (the original runs while the migrated model is still
        being written), unless `limits` bound memory or disk, or there is but one core; zoos fill the cores with other
        models instead.
    """

    overwrite: bool = False
    verify: str = "auto"
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)
    rebuild: RebuildOptions = dataclasses.field(default_factory=RebuildOptions)
    op_library: tuple[str, ...] = ()
    allow_unsafe_ops: tuple[str, ...] = ()
    tolerance: Tolerance = dataclasses.field(default_factory=Tolerance)
    limits: Limits = dataclasses.field(default_factory=Limits)
    seed: int = 0
    coverage: bool = False
    target_tensorflow: str = ""
    archive: bool = False
    also: tuple[str, ...] = ()
    dump_graphs: str = ""
    weights: str = "copy"
    check_weights: bool = False
    publish: str = "pass"
    quarantine: str = ""
    already_tf2: str = "skip"
    side_by_side: bool = True

    @property
    def runs_side_by_side(self) -> bool:
        """`side_by_side`, where no limit says what a model may take and this process may use several cores."""
        return self.side_by_side and not self.limits.memory_limit and not self.limits.disk_limit and count_cores() > 1

    @property
    def reading(self) -> ReadOptions:
        """`read` with the signature that `rebuild` describes: one flag says both."""
        return dataclasses.replace(self.read, signature=self.read.signature or self.rebuild.signature).placed

    def __post_init__(self) -> None:
        object.__setattr__(self, "op_library", find_libraries(self.op_library))
        if self.verify not in VERIFY_MODES:
            raise errors.UsageError(
                f"verify is {self.verify!r}", where="--verify", hint=f"one of {', '.join(VERIFY_MODES)}"
            )
        if self.weights not in WEIGHT_MODES:
            raise errors.UsageError(
                f"weights is {self.weights!r}", where="--weights", hint=f"one of {', '.join(WEIGHT_MODES)}"
            )
        check_values("--publish", (self.publish,), PUBLISH_MODES)
        check_values("--already_tf2", (self.already_tf2,), ALREADY_TF2_MODES)
        if self.target_tensorflow and not re.fullmatch(r"2\.\d+(\.\d+)?", self.target_tensorflow):
            raise errors.UsageError(
                f"{self.target_tensorflow!r} is no version of TensorFlow 2",
                where="--target_tensorflow",
                hint="2.8, say",
            )


# What a resumed run tries again unless told otherwise: it may come out otherwise.
RETRIED = ("crashed", "failed", "timed_out")
RETRIABLE = ("blocked", *RETRIED, "regressed")
DUPLICATE_MODES = ("copy", "link", "migrate")
ENGINES = ("local", "ray")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of the models that are found.

    Attributes:
      include, exclude: shell patterns over the path below the source's root; a model is taken that one of `include`
        fits (or all, where there is none) and none of `exclude`.
      formats: names of formats; () for all.
      min_size, max_size: bytes of the model's files; None for no bound.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    min_size: int | None = None
    max_size: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ZooOptions:
    """How to migrate a zoo.

    Attributes:
      jobs: models at a time.
      resume: go on with an earlier run: what it settled is not done again, unless its source has changed.
      retry: statuses that a resumed run tries again.
      report_dir: folder of the reports; "" for `<dest>/_migration`.
      selection: which models.
      duplicates: models with equal files are migrated once; "copy": the others get a copy of the result, "link": hard
        links to it, "migrate": each is migrated by itself.
      memory_budget: bytes that the models in work may take together by estimate; None for what the machine has free.
      scratch_limit: bytes of remote models that may lie on the local disk at a time; None for half of what is free.
      engine: "local": on this machine; "ray": on a Ray cluster.
      ray_address: of the cluster; "" finds or starts one.
      metrics_file: file that receives counters in Prometheus' text format while the run goes on; "" for none.
      trust_manifest: rows of a manifest may give their models what `migrate` does not: code and libraries to load,
        unsafe ops, files from elsewhere, looser checks and limits.
      migrate: for each model.
    """

    jobs: int = 1
    resume: bool = False
    retry: tuple[str, ...] = RETRIED
    report_dir: str = ""
    selection: Selection = dataclasses.field(default_factory=Selection)
    duplicates: str = "copy"
    memory_budget: int | None = None
    scratch_limit: int | None = None
    engine: str = "local"
    ray_address: str = ""
    metrics_file: str = ""
    trust_manifest: bool = False
    migrate: MigrateOptions = dataclasses.field(default_factory=MigrateOptions)

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise errors.UsageError(f"{self.jobs} jobs", where="--jobs", hint="give at least 1")
        check_values("--retry", self.retry, RETRIABLE)
        check_values("--duplicates", (self.duplicates,), DUPLICATE_MODES)
        check_values("--engine", (self.engine,), ENGINES)


def check_values(flag: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raises UsageError where one of `values` is not `known`."""
    for value in values:
        if value not in known:
            raise errors.UsageError(f"{value!r} is none of its values", where=flag, hint=f"one of {', '.join(known)}")


# 0 last: what the first call of a signature tells (gradients, moving averages) wants rows.
BATCH_SIZES = (1, 3, 8, 0)
LEVELS = ("interface", "inference", "training", "gradients", "trajectory")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """How to compare two models.

    Attributes:
      level: how deep; each level holds those before it.
      inputs: file of inputs (.npz, .jsonl, TFRecord of tf.Examples, TF Serving warm-up records) or "module:function";
        "" makes inputs up from the baseline's graph.
      read: what the readers of both sides are told; what is not given is taken from the record of a side that is
        migrated.
      signatures: keys to compare; () for all.
      tolerance: of floats.
      tolerances: by output, as "output" or "signature/output", shell wildcards allowed.
      tolerance_files: whether `migrate_tolerances.json` beside a model adds to `tolerances`, which come first.
      trust_candidate_tolerances: whether the candidate's file may loosen what the baseline and the call allow.
      same_argmax: a row whose largest element is another one fails, however small the difference.
      batch_sizes: of made up inputs; a size that the baseline refuses is left out if it is 0.
      nonfinite: also feed NaN and Inf where inputs are made up.
      strict: what the baseline could not run fails.
      error_rate: chance that a random output of unchanged distribution is called different.
      draws: calls on each side for that test at first; more are made where its power asks for them.
      steps: of each optimizer, at the level "trajectory".
      bisect: where an output differs, find the first op that does.
      benchmark: measure speed and memory of both.
      op_library: shared libraries with custom ops.
      allow_unsafe_ops: names of ops of either side that may reach for files, the network or other code (SECURITY.md).
      limits: for each side's process.
      seed: of the synthesised inputs.
      coverage: measure what the inputs reach in the baseline's graph, and look for inputs that reach more.
      save_to: folder that receives inputs and answers, so that the run can be repeated; "" keeps nothing.
    """

    level: str = "inference"
    inputs: str = ""
    read: ReadOptions = dataclasses.field(default_factory=ReadOptions)
    signatures: tuple[str, ...] = ()
    tolerance: Tolerance = dataclasses.field(default_factory=Tolerance)
    tolerances: Mapping[str, Tolerance] = dataclasses.field(default_factory=dict)
    tolerance_files: bool = True
    trust_candidate_tolerances: bool = False
    same_argmax: bool = False
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    nonfinite: bool = False
    strict: bool = False
    error_rate: float = 1e-3
    draws: int = 100
    steps: int = 5
    bisect: bool = False
    benchmark: bool = False
    op_library: tuple[str, ...] = ()
    allow_unsafe_ops: tuple[str, ...] = ()
    limits: Limits = dataclasses.field(default_factory=Limits)
    seed: int = 0
    coverage: bool = False
    save_to: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "op_library", find_libraries(self.op_library))
        if self.level not in LEVELS:
            raise errors.UsageError(f"level is {self.level!r}", where="--level", hint=f"one of {', '.join(LEVELS)}")
        if not self.batch_sizes or min(self.batch_sizes) < 0 or len(set(self.batch_sizes)) < len(self.batch_sizes):
            raise errors.UsageError(
                f"batch sizes {self.batch_sizes}", where="--batch_sizes", hint="different numbers from 0, say 1,3,0"
            )
        if not 0 < self.error_rate < 1:
            raise errors.UsageError(f"an error rate of {self.error_rate}", where="--error_rate", hint="0.001, say")
        if self.steps < 1:
            raise errors.UsageError(f"{self.steps} steps", where="--steps", hint="give at least 1")
        if self.draws < 2:
            raise errors.UsageError(f"{self.draws} draws", where="--draws", hint="give at least 20")


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_size(text: str) -> int:
    """Bytes: "800M", "2GB", "1.5GiB", "1000".

    Raises:
      ValueError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not found:
        raise ValueError(f"{text!r} is no size; 800M or 2GB are")
    return int(float(found[1]) * _UNITS[found[2].upper()])
