"""What the four commands share: usage errors, exit codes, flags of the migration."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from absl import app, flags

from migrate import errors
from migrate.options import (
    VERIFY_MODES,
    WEIGHT_MODES,
    Limits,
    MigrateOptions,
    ReadOptions,
    RebuildOptions,
    Tolerance,
    parse_size,
)  # fmt: skip

OK, FAILED, USAGE = 0, 1, 2
# Clients of stores, which tell where they found their settings.
_TALKATIVE = ("aiobotocore", "botocore")


def show(text: str, file: TextIO | None = None) -> None:
    """Prints a line of which parts may be a model's: its names can hold what commands a terminal."""
    print(errors.escape_control(text, keep="\t"), file=file or sys.stdout)


def run_program(main: Callable[[], int], *, unable: int = FAILED) -> None:
    """Runs a command: 0 all well, 1 a model failed, 2 the call is wrong.

    Args:
      main: the command.
      unable: exit code where a model that was given cannot be read or run. What compares models keeps 1 for a
        difference: a comparison that could not be made found none.
    """

    def guarded(argv: Sequence[str]) -> int:
        if len(argv) > 1:
            print(f"error: unexpected arguments: {' '.join(argv[1:])} [flags are --name=value]", file=sys.stderr)
            return USAGE
        try:
            return main()
        except errors.UsageError as error:
            print(f"error: {error}", file=sys.stderr)
            return USAGE
        except errors.MigrateError as error:
            print(f"error: {error}", file=sys.stderr)
            return unable

    _list_own_flags()
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # absl itself exits with 1 on a bad flag; the design keeps 1 for models.
    app.run(guarded, flags_parser=_parse_flags)


def _list_own_flags() -> None:
    """Lets --help show every flag of the command: absl lists those of the main module only, and a console
    script's main module is the few lines that pip wrote."""
    for module, defined in list(flags.FLAGS.flags_by_module_dict().items()):
        if module == sys.argv[0] or module.startswith(__name__.rpartition(".")[0]):
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(list(argv), known_only=False)
    except flags.Error as error:
        print(f"error: {error} [--help lists the flags]", file=sys.stderr)
        sys.exit(USAGE)


def define_safety_flags() -> None:
    """Flags of all commands that run models."""
    flags.DEFINE_list(
        "allow_unsafe_ops",
        [],
        "Ops that may reach for files, the network or other code, in models that you trust (see SECURITY.md).",
    )


def parse_unsafe_ops() -> tuple[str, ...]:
    """The ops that --allow_unsafe_ops names."""
    return tuple(name for name in flags.FLAGS.allow_unsafe_ops if name)


def define_reading_flags(prefix: str = "") -> None:
    """Flags that say what a source does not; `prefix` where a command has flags of these names already."""
    flags.DEFINE_list(
        f"{prefix}inputs",
        [],
        "Input tensors of a graph without signatures: x=in:0,... (default: guessed, and said).",
    )
    flags.DEFINE_list(f"{prefix}outputs", [], "Output tensors of a graph without signatures: y=out:0,...")
    flags.DEFINE_string("checkpoint", "", "Which checkpoint of a folder (default: the newest).")
    flags.DEFINE_string(
        "training_input", "", "Placeholder that becomes `training=` (default: the learning phase that Keras left open)."
    )
    flags.DEFINE_bool("thaw", False, "Turn large constants of a frozen graph back into variables that train.")
    flags.DEFINE_multi_string(
        "piece",
        [],
        "Part that gets a signature of its own: NAME(x=in:0)->(y=out:0) of a graph, INPUT_LAYER:OUTPUT_LAYER (or "
        "NAME=INPUT_LAYER:OUTPUT_LAYER) of a Keras model; may be given several times.",
    )
    flags.DEFINE_string(
        "core", "", "Submodel of a Keras model (signature of a graph) that becomes the root, its heads named pieces."
    )
    flags.DEFINE_string(
        "vocab_file",
        "",
        "File of the vocabulary: becomes an asset, `vocab_file` of the result, if the source has none.",
    )
    flags.DEFINE_bool(
        "do_lower_case", None, "Whether text is lowercased: `do_lower_case` of the result, unless the source says so."
    )
    flags.DEFINE_list("signature_map", [], "old=new: renames signatures; old=old beside it keeps the old key too.")
    flags.DEFINE_bool("xai", False, "Add the signatures xai_model and, where inputs are parsed, xai_preprocess.")
    flags.DEFINE_string(
        "preprocessing", "", "module:function that gives a Keras model's inputs: becomes xai_preprocess (with --xai)."
    )
    flags.DEFINE_multi_string("custom_objects", [], "module:name of a layer, loss or function of a Keras model.")
    flags.DEFINE_string("builder", "", "module:function that makes the Keras model whose weights the source holds.")
    flags.DEFINE_string("architecture", "", "File with the Keras model's config whose weights the source holds.")
    flags.DEFINE_enum("keras_backend", "", ["", "tensorflow", "theano"], "Which backend wrote a file of Keras 1.")
    flags.DEFINE_bool("allow_lambda", False, "Load Lambda layers, which runs code that the file holds.")


def parse_reading_flags(prefix: str = "") -> ReadOptions:
    """The flags of `define_reading_flags` as options."""
    values = flags.FLAGS
    return ReadOptions(
        inputs=tuple(values[f"{prefix}inputs"].value or ()),
        outputs=tuple(values[f"{prefix}outputs"].value or ()),
        checkpoint=values.checkpoint,
        training_input=values.training_input,
        thaw=values.thaw,
        pieces=tuple(values.piece),
        core=values.core,
        vocab_file=os.path.abspath(values.vocab_file) if values.vocab_file else "",
        do_lower_case="" if values.do_lower_case is None else str(values.do_lower_case).lower(),
        signature_map=tuple(values.signature_map or ()),
        xai=values.xai,
        preprocessing=values.preprocessing,
        custom_objects=tuple(values.custom_objects),
        builder=values.builder,
        architecture=os.path.abspath(values.architecture) if values.architecture else "",
        allow_lambda=values.allow_lambda,
        keras_backend=values.keras_backend,
    )


def define_migration_flags(timeout: float | None = None) -> None:
    """Flags that migrate-model and migrate-zoo have in common; `timeout` is the default of --timeout."""
    flags.DEFINE_bool("overwrite", False, "Replace a destination that exists.")
    flags.DEFINE_enum("verify", "auto", VERIFY_MODES, "Run old and new on the same inputs and compare.")
    flags.DEFINE_string(
        "signature",
        "",
        "Signature that the migrated object's call applies: its key, or KEY(x=in:0)->(y=out:0) to make one.",
    )
    define_reading_flags()
    flags.DEFINE_enum(
        "weights",
        "copy",
        WEIGHT_MODES,
        "How weights get into the result: data shards copied, reflinked, hard-linked, or rewritten through memory.",
    )
    flags.DEFINE_bool("check_weights", False, "Hold every byte of the weights against its checksum.")
    flags.DEFINE_list("inference_tags", None, "Tag set of the variant for training=False.")
    flags.DEFINE_list("training_tags", None, "Tag set of the variant for training=True.")
    flags.DEFINE_string("trainable", "", "Regular expression: which variables train (default: TF1's collection).")
    flags.DEFINE_bool("archive", False, "Also write <dest>.tar.gz, as hub hosting serves it.")
    flags.DEFINE_multi_enum(
        "also", [], ["keras"], "What else is written: <dest>.keras, the model for Keras 3, of a Keras source."
    )
    flags.DEFINE_bool("partial", False, "Leave out signatures that cannot be migrated instead of blocking the model.")
    flags.DEFINE_string("target_tensorflow", "", "Block models that TensorFlow of this version (2.8, say) cannot load.")
    flags.DEFINE_multi_string("op_library", [], "Shared library with custom ops; may be given several times.")
    define_safety_flags()
    define_limit_flags("each stage of a model", timeout)
    flags.DEFINE_float("rtol", Tolerance().relative, "Relative tolerance of floats.")
    flags.DEFINE_float("atol", Tolerance().absolute, "Absolute tolerance of floats.")
    flags.DEFINE_integer("seed", 0, "Seed of the synthesised inputs.")
    define_coverage_flag()


def define_coverage_flag() -> None:
    """--coverage, of all commands that make inputs up."""
    flags.DEFINE_bool(
        "coverage",
        False,
        "Measure what the inputs reach in the original's graph (branches, loops, tables, rows, activations), look for "
        "inputs that reach more, compare on those too, and name what is not reached. Takes longer.",
    )


def define_limit_flags(what: str, timeout: float | None = None) -> None:
    """Flags for what one isolated process may take; `what` runs in it, `timeout` is the default of --timeout."""
    flags.DEFINE_float("timeout", timeout, f"Seconds that {what} may take.", lower_bound=0)
    flags.DEFINE_float("memory_limit_gb", None, "--memory_limit in gigabytes.", lower_bound=0)
    define_size_flag("memory_limit", f"Memory that {what} may take with all its processes, say 4GB.")
    define_size_flag("disk_limit", f"Disk that {what} may fill, say 10GB.")


def parse_limits() -> Limits:
    """The flags of `define_limit_flags`.

    Raises:
      UsageError: a size is none.
    """
    gigabytes = flags.FLAGS.memory_limit_gb
    memory = parse_size_flag("memory_limit") or (int(gigabytes * 2**30) if gigabytes else None)
    return Limits(timeout=flags.FLAGS.timeout, memory_limit=memory, disk_limit=parse_size_flag("disk_limit"))


def define_size_flag(name: str, text: str) -> None:
    """A flag for bytes, spelled "800M" or "2GB"."""
    flags.DEFINE_string(name, "", text)


def parse_size_flag(name: str) -> int | None:
    """Bytes; None where the flag is not given.

    Raises:
      UsageError: it is no size.
    """
    text = flags.FLAGS[name].value
    try:
        return parse_size(text) if text else None
    except ValueError as error:
        raise errors.UsageError(str(error), where=f"--{name}") from error


def parse_migration_flags(*, publish: str = "pass", already_tf2: str = "skip") -> MigrateOptions:
    """The flags of `define_migration_flags` as options; `publish` and `already_tf2` where a command has them."""
    values = flags.FLAGS
    return MigrateOptions(
        overwrite=values.overwrite,
        verify=values.verify,
        archive=values.archive,
        also=tuple(values.also),
        read=parse_reading_flags(),
        rebuild=RebuildOptions(
            signature=values.signature,
            inference_tags=_tags(values.inference_tags),
            training_tags=_tags(values.training_tags),
            trainable=values.trainable,
            partial=values.partial,
        ),
        op_library=tuple(values.op_library),
        weights=values.weights,
        check_weights=values.check_weights,
        allow_unsafe_ops=parse_unsafe_ops(),
        target_tensorflow=values.target_tensorflow,
        tolerance=Tolerance(relative=values.rtol, absolute=values.atol),
        limits=parse_limits(),
        publish=publish,
        already_tf2=already_tf2,
        seed=values.seed,
        coverage=values.coverage,
    )


def _tags(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(sorted(tag for tag in values if tag))


def require_flag(name: str) -> str:
    """The value of a flag that must be given.

    Raises:
      UsageError: it is missing.
    """
    value = flags.FLAGS[name].value
    if not value:
        raise errors.UsageError(f"--{name} is missing", hint="--help lists the flags")
    return str(value)
