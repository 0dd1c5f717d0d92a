"""Weights of an HDF5 file -> the layers of a model: every one accounted for, both ways."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

from migrate import errors
from migrate.model import Finding, Severity
from migrate.options import ReadOptions
from migrate.readers.keras import hdf5, naming, old_weights

_SHOWN = 6
HINT = "weights and model are not of one architecture"


def set_weights(model: Any, stored: hdf5.KerasHdf5, options: ReadOptions) -> tuple[Finding, ...]:
    """Fills a model of tf_keras.

    Layers correspond by name where all names are the same, else in their order, as Keras takes them.

    Raises:
      CorruptModelError: a layer has no weights in the file, or weights in the file have no layer; all are named.
    """
    backend = options.keras_backend or stored.backend
    is_first = stored.major <= 1
    origin = old_weights.Origin(is_first=is_first, is_theano=backend == "theano", path=stored.path)
    pairs = _pair_layers(model, stored)
    if not (is_first or origin.is_theano):
        _check_shapes(pairs, stored.path)
        by_name = all(layer.name == entry.name for layer, entry in pairs)
        with tempfile.TemporaryDirectory(prefix="migrate-weights-") as folder:
            # Keras goes by the name of the file, and takes "*.weights.h5" for a later format than it may be.
            link = os.path.join(folder, "weights.h5")
            os.symlink(os.path.abspath(stored.path), link)
            model.load_weights(link, by_name=by_name)
        return ()
    with hdf5.open_file(stored.path) as file:
        group = file.get(hdf5.WEIGHTS, file)
        for layer, entry in pairs:
            arrays = [group[entry.name][weight.name][()] for weight in entry.weights]
            converted = old_weights.convert_weights(layer, arrays, origin)
            for weight, value in zip(naming.find_layer_weights(layer), converted, strict=True):
                weight.assign(value)
    return _describe_kernels(pairs, stored.path) if is_first and not backend else ()


def _check_shapes(pairs: Sequence[tuple[Any, hdf5.StoredLayer]], path: str) -> None:
    """Names each weight that does not fit. Keras converts those of cuDNN layers, which have other shapes."""
    wrong = []
    for layer, entry in pairs:
        weights = naming.find_layer_weights(layer)
        if len(weights) != len(entry.weights):
            wrong.append(f"{entry.name} has {len(entry.weights)} weights in the file, {len(weights)} in the model")
            continue
        for weight, stored in zip(weights, entry.weights, strict=True):
            shape = tuple(weight.shape)
            if sorted(shape) != sorted(stored.shape) and "bias" not in stored.name:
                wrong.append(f"{stored.name} is {list(stored.shape)} in the file, {list(shape)} in the model")
    check_fit(wrong, path)


def check_names(lost: Sequence[str], strange: Sequence[str], value: str, where: str) -> None:
    """Every variable has a value and every value a variable.

    Args:
      lost: variables without one.
      strange: values without a variable.
      value: what a value is called there, "an array in the file".
      where: the file.

    Raises:
      CorruptModelError: lists both sides.
    """
    if lost or strange:
        raise errors.CorruptModelError(
            f"without {value}: {spell_names(lost)}; without a variable: {spell_names(strange)}", where=where, hint=HINT
        )


def check_fit(wrong: Sequence[str], where: str) -> None:
    """No weight has another shape than its variable; `wrong` describes those that do.

    Raises:
      CorruptModelError: some do.
    """
    if wrong:
        raise errors.CorruptModelError(f"the weights do not fit: {spell_names(wrong, '; ')}", where=where, hint=HINT)


def _describe_kernels(pairs: Sequence[tuple[Any, hdf5.StoredLayer]], path: str) -> tuple[Finding, ...]:
    """Files of Keras 1 do not say whether Theano wrote them, which turned its kernels round."""
    turned = [layer.name for layer, _ in pairs if type(layer).__name__ in old_weights.TURNED]
    if not turned:
        return ()
    return (
        Finding(
            code="backend-assumed",
            severity=Severity.WARNING,
            where=", ".join(turned[:_SHOWN]),
            message="a file of Keras 1 does not say which backend wrote it: taken for TensorFlow's",
            hint="if it was trained on Theano, whose kernels are turned round: --keras_backend=theano",
        ),
    )


def _pair_layers(model: Any, stored: hdf5.KerasHdf5) -> list[tuple[Any, hdf5.StoredLayer]]:
    present = {layer.name: layer for layer in model.layers if layer.weights}
    listed = {entry.name: entry for entry in stored.layers if entry.weights}
    if set(present) == set(listed):
        return [(layer, listed[name]) for name, layer in present.items()]
    if len(present) == len(listed):
        return list(zip(present.values(), listed.values(), strict=True))
    lost = [name for name in present if name not in listed]
    strange = [name for name in listed if name not in present]
    raise errors.CorruptModelError(
        f"the model has {len(present)} layers with weights, the file {len(listed)}: "
        f"without weights in the file: {spell_names(lost)}; without a layer: {spell_names(strange)}",
        where=stored.path,
        hint=HINT,
    )


def spell_names(names: Sequence[str], separator: str = ", ", most: int = _SHOWN) -> str:
    """The first few, for an error's one line."""
    shown = separator.join(names[:most]) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
