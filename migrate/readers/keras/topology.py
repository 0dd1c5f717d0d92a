"""Which layer gives and takes which tensor of a Keras model, of either Keras.

Neither Keras has a public way from a symbolic tensor to the call that gave it: `_keras_history` is that (tf_keras 2.15
to 2.21, keras 3.0 to 3.12). `layer.input` is none: it fails of a layer that is called twice, in whatever model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Application:
    """One call of a layer: symbolic tensors in and out; an input layer takes none."""

    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def find_application(tensor: Any) -> Application:
    """The call that gave a tensor."""
    history = tensor._keras_history
    layer = history[0]
    nodes = layer.inbound_nodes if hasattr(layer, "inbound_nodes") else layer._inbound_nodes
    node = nodes[history.node_index]
    if hasattr(node, "arguments"):  # keras 3
        return Application(layer=layer, inputs=tuple(node.arguments.keras_tensors), outputs=tuple(node.output_tensors))
    inputs = () if node.is_input else tuple(node.keras_inputs)
    return Application(layer=layer, inputs=inputs, outputs=tuple(tf.nest.flatten(node.outputs)))


def list_applications(tensors: Iterable[Any], stop: Iterable[Any] = ()) -> list[Application]:
    """The calls that `tensors` need, inputs first; those behind the tensors `stop` are left out."""
    given = {id(tensor) for tensor in stop}
    found: dict[int, Application] = {}
    seen: set[int] = set()
    pending: list[tuple[Any, bool]] = [(tensor, False) for tensor in reversed(list(tensors))]
    while pending:
        tensor, is_ready = pending.pop()
        if is_ready:
            application = find_application(tensor)
            found.setdefault(id(application.outputs[0]), application)
        elif id(tensor) not in seen and id(tensor) not in given:
            seen.add(id(tensor))
            pending.append((tensor, True))
            pending += [(before, False) for before in reversed(find_application(tensor).inputs)]
    return list(found.values())


def find_sources(tensors: Iterable[Any], stop: Sequence[Any] = ()) -> list[Any]:
    """What the tensors are computed from: those of `stop` that they need, in that order, then input layers' tensors."""
    wanted = list(tensors)
    applications = list_applications(wanted, stop)
    used = {id(tensor) for tensor in (*wanted, *(t for a in applications for t in a.inputs))}
    inputs = [tensor for a in applications if not a.inputs for tensor in a.outputs if id(tensor) in used]
    return [*(tensor for tensor in stop if id(tensor) in used), *inputs]


def iterate_models(model: Any) -> Iterator[Any]:
    """The model and all that are layers of it, outer ones first."""
    pending = [model]
    for found in pending:
        yield found
        pending += [layer for layer in found.layers if getattr(layer, "outputs", None) and hasattr(layer, "layers")]


def name_tensor(tensor: Any) -> str:
    """Name of the layer that gave it."""
    return str(tensor._keras_history[0].name)


def has_mask(tensor: Any) -> bool:
    """Whether layers after it are also told which of its steps count."""
    return getattr(tensor, "_keras_mask", None) is not None
