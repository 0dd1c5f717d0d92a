"""`xai_model` and `xai_preprocess` of a Keras model: cut between layers, or behind the user's preprocessing.

Explainers take the gradient of a float output by float inputs. A model that takes ids or strings is cut behind the
layers that turn these into numbers; a tensor to which Keras ties a mask is not yet a place to cut, since the mask would
be lost. `--preprocessing=module:function` goes before the model's own inputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from migrate import errors
from migrate.options import ReadOptions
from migrate.readers.keras import custom, parts, topology
from migrate.readers.keras.loading import LoadedKeras

MODEL, PREPROCESS = "xai_model", "xai_preprocess"
_XAI, _FLAG = "--xai", "--preprocessing"


def find_explanation(loaded: LoadedKeras, whole: parts.Part, options: ReadOptions) -> dict[str, parts.Part]:
    """The two signatures; without preprocessing, and with float inputs alone, only the first.

    Raises:
      UsageError: nothing in the model has a gradient, or the function does not give what the model takes.
    """
    before = _load_preprocessing(options.preprocessing, whole.specs) if options.preprocessing else None
    if all(_is_float(spec) for spec in whole.specs.values()):
        _check_gradient(whole)
        return {MODEL: whole} | ({PREPROCESS: before} if before else {})
    if options.core:
        raise errors.UsageError("the core takes other inputs than numbers", where=_XAI, hint="leave out --core")
    first, second = _cut(loaded, whole)
    _check_gradient(second)
    return {MODEL: second, PREPROCESS: _chain(before, first) if before else first}


def _is_float(value: Any) -> bool:
    return bool(tf.as_dtype(value.dtype).is_floating)


def _cut(loaded: LoadedKeras, whole: parts.Part) -> tuple[parts.Part, parts.Part]:
    """What turns the inputs into numbers, and the rest of the model."""
    raw: set[int] = set()
    places: list[Any] = []
    for application in topology.list_applications(loaded.model.outputs):
        taken = application.inputs
        if taken and not any(id(tensor) in raw for tensor in taken):
            continue
        for tensor in application.outputs:
            if not _is_float(tensor) or topology.has_mask(tensor):
                raw.add(id(tensor))
            elif taken:
                places.append(tensor)
    outputs = [tensor for tensor in loaded.model.outputs if id(tensor) not in raw]
    sources = topology.find_sources(outputs, places)
    ends = {id(tensor) for tensor in outputs}
    if not sources or any(id(tensor) in ends for tensor in sources):
        raise errors.UsageError(
            "no output of the model has a gradient by numbers that come before it", where=_XAI, hint="it cannot be cut"
        )
    names = [n for n, t in zip(loaded.output_names, loaded.model.outputs, strict=True) if id(t) in ends]
    keys = parts.name_tensors(sources)
    second = parts.of_model(parts.make_model(loaded, sources, outputs, MODEL), keys, names)
    first = parts.make_model(loaded, loaded.model.inputs, sources, PREPROCESS)
    return parts.Part(
        specs=whole.specs, output_names=keys, compute=parts.of_model(first, list(whole.specs), keys).compute
    ), second


def _check_gradient(part: parts.Part) -> None:
    """Raises UsageError where an input of `xai_model` has no part in any gradient."""
    lost: list[str] = []

    def differentiate(*values: Any) -> None:
        outputs = [tensor for tensor in part.compute(values, False) if _is_float(tensor)]
        found = tf.gradients(outputs, list(values)) if outputs else [None] * len(values)
        lost.extend(key for key, gradient in zip(part.specs, found, strict=True) if gradient is None)

    tf.function(differentiate, autograph=False).get_concrete_function(*part.specs.values())
    if lost:
        raise errors.UsageError(f"no output has a gradient by {', '.join(lost)}", where=_XAI)


# --- the user's function ---------------------------------------------------------------------------------


def _load_preprocessing(spec: str, wanted: Mapping[str, Any]) -> parts.Part:
    """The function as a part: what it takes (its `input_signature`; else a batch of strings for each parameter), and
    the model's inputs by key."""
    function = custom.import_object(spec, _FLAG)
    if not callable(function):
        raise errors.UsageError(f"{spec!r} is no function", where=_FLAG)
    specs = _find_specs(function)

    def compute(values: Sequence[Any], _: bool) -> list[Any]:
        found = function(*values)
        if not isinstance(found, Mapping):
            found = dict(zip(wanted, tf.nest.flatten(found), strict=False))
        lost = [key for key in wanted if key not in found]
        if lost:
            raise errors.UsageError(
                f"{spec!r} gives no {', '.join(lost)}",
                where=_FLAG,
                hint=f"it is to return a dict of the model's inputs: {', '.join(wanted)}",
            )
        return [tf.ensure_shape(tf.convert_to_tensor(found[key]), wanted[key].shape) for key in wanted]

    traced = _trace(compute, specs, spec)
    odd = [
        f"{key} is {found.dtype.name}, the model takes {wanted[key].dtype.name}"
        for key, found in zip(wanted, traced, strict=True)
        if found.dtype != wanted[key].dtype
    ]
    if odd:
        raise errors.UsageError(f"{spec!r}: {'; '.join(odd)}", where=_FLAG, hint="cast it in the function")
    return parts.Part(specs=specs, output_names=tuple(wanted), compute=compute)


def _find_specs(function: Any) -> dict[str, Any]:
    parameters = [name for name in inspect.signature(function).parameters if name != "self"]
    declared = getattr(function, "input_signature", None)
    if declared is None:
        return {name: tf.TensorSpec([None], tf.string, name=name) for name in parameters}
    flat = tf.nest.flatten(declared)
    names = [spec.name or name for spec, name in zip(flat, (*parameters, *[""] * len(flat)), strict=False)]
    return {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in zip(names, flat, strict=True)}


def _trace(compute: Any, specs: Mapping[str, Any], spec: str) -> list[Any]:
    """The outputs as the function's graph has them."""
    try:
        return list(
            tf.function(lambda *values: compute(values, False), autograph=False)
            .get_concrete_function(*specs.values())
            .structured_outputs
        )
    except errors.MigrateError:
        raise
    except Exception as error:  # The user's own code, which raises what it likes.
        lines = str(error).strip().splitlines() or [""]
        raise errors.UsageError(f"{spec!r} raised {type(error).__name__}: {lines[-1][:200]}", where=_FLAG) from error


def _chain(before: parts.Part, after: parts.Part) -> parts.Part:
    def compute(values: Sequence[Any], training: bool) -> list[Any]:
        return after.compute(before.compute(values, training), training)

    return parts.Part(specs=before.specs, output_names=after.output_names, compute=compute)
