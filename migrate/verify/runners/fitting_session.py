"""Trains the original in a TF1 session, through `tf.gradients` and its own collections, as its users did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.graph import effects, prepare, stand_ins
from migrate.graph.index import GraphIndex
from migrate.inputs import calls as call_files
from migrate.inputs.calls import Call
from migrate.model import Encoding, GraphVariant, LegacyModel, Signature
from migrate.readers import read_model
from migrate.verify.courses import OPTIMIZERS, Course, save_courses
from migrate.verify.results import first_line
from migrate.verify.runners.baseline import LoadedVariant, as_array
from migrate.verify.runners.fitting import (
    Gradients,
    Trainee,
    UntrainableError,
    describe_refusal,
    fit_label,
    make_objective,
    refuse,
)
from migrate.verify.runners.process import prepare_process
from migrate.verify.runners.request import FitRequest

_LOSSES, _UPDATES = "regularization_losses", "update_ops"


def run(wish: FitRequest) -> None:
    """Job: answers a FitRequest."""
    prepare_process(wish.op_library)
    tf.compat.v1.disable_eager_execution()
    # Its gradient of a loop is one of functions, which a loop of TF1 has not.
    tf.compat.v1.disable_control_flow_v2()
    model = read_model(wish.path, wish.read.of_original)
    calls = {call.id: call for call in call_files.load_calls(wish.calls)}
    found: list[Course] = []
    for label, ids in wish.batches.items():
        batches = [calls[name] for name in ids]
        variant = next(variant for variant in model.variants if variant.tags == batches[0].tags)
        found += _fit(model, variant, label, batches, wish)
    save_courses(wish.results, found)


def _fit(
    model: LegacyModel, variant: GraphVariant, label: str, batches: Sequence[Call], wish: FitRequest
) -> list[Course]:
    signature = variant.signatures[batches[0].signature]
    generators = _find_generators(variant, signature)
    try:
        loaded = LoadedVariant(model, variant, [signature.key], _stand_in if generators else None)
    except Exception as error:
        return [refuse(label, name, f"it does not load: {first_line(error)}") for name in OPTIMIZERS]
    try:
        with loaded.graph.as_default():
            trainee = SessionTrainee(loaded, signature, batches[0], wish.outputs.get(label))
            trainee.generators = generators
            return fit_label(trainee, label, batches, wish.steps)
    except Exception as error:  # Whatever stands in the way is the answer.
        return [refuse(label, name, describe_refusal(error)) for name in OPTIMIZERS]
    finally:
        loaded.close()


def _find_generators(variant: GraphVariant, signature: Signature) -> dict[str, str]:
    feeds = [name for tensor in signature.inputs.values() for name in tensor.tensor_names]
    fetched = [name for tensor in signature.outputs.values() for name in tensor.tensor_names]
    return stand_ins.find_generators(GraphIndex(variant.graph_def), fetched, feeds)


def _stand_in(graph_def: Any) -> Any:
    stand_ins.replace_generators(graph_def, {})
    return graph_def


class SessionTrainee(Trainee):
    """A signature in a session. All of its outputs are fetched in each step, since a call of the migrated model
    computes all, and what they write is part of the state; UPDATE_OPS run with them.

    Raises:
      UntrainableError: there is nothing to train, or no way to a gradient.
    """

    def __init__(self, loaded: LoadedVariant, signature: Signature, first: Call, outputs: Sequence[str] | None) -> None:
        self._loaded, self._signature = loaded, signature
        feeds = loaded.make_feeds(signature.inputs, first.inputs)
        # One that trains need not be in the collection of all.
        listed = (*tf.compat.v1.global_variables(), *tf.compat.v1.trainable_variables())
        self._variables = {v.op.name: v for v in listed}
        self._trained = {v.op.name: v for v in tf.compat.v1.trainable_variables() if v.dtype.base_dtype.is_floating}
        if not self._trained:
            raise UntrainableError("it has no trainable variables")
        index = GraphIndex(loaded.graph.as_graph_def())
        updates = dict.fromkeys(str(name).split(":")[0] for name in loaded.variant.collections.get(_UPDATES, ()))
        able = [name for name in updates if not prepare.find_open_ends(index, [f"^{name}"], list(feeds))]
        losses = dict.fromkeys(str(name) for name in loaded.variant.collections.get(_LOSSES, ()))
        self._losses = [
            tf.reduce_sum(loaded.graph.get_tensor_by_name(name))
            for name in losses
            if not prepare.find_open_ends(index, [name], [])
        ]
        self._updates = [loaded.graph.get_operation_by_name(name) for name in able]
        self._fetched = [name for tensor in signature.outputs.values() for name in tensor.tensor_names]
        self._writes = bool(effects.find_writers(index, index.ancestors(self._fetched, list(feeds))))
        self.outputs, self._objective, self._gradients = self._build(outputs)

    def _build(self, outputs: Sequence[str] | None) -> tuple[tuple[str, ...], Any, list[Any]]:
        """The outputs that can be differentiated, their objective and its gradients."""
        floats = {key: value for key, value in self._float_outputs().items() if outputs is None or key in outputs}
        if not floats:
            raise UntrainableError("no output holds floating-point numbers")
        try:
            return self._differentiate(floats)
        except Exception as error:  # LookupError for an op without gradient, whatever else its gradient raises
            reason = describe_refusal(error)
        # Perhaps one of them only stands in the way.
        able = {}
        for key, value in floats.items():
            try:
                self._differentiate({key: value})
                able[key] = value
            except Exception:
                continue
        if not able:
            raise UntrainableError(reason)
        return self._differentiate(able)

    def _differentiate(self, outputs: Mapping[str, Any]) -> tuple[tuple[str, ...], Any, list[Any]]:
        penalties = [tf.cast(loss, tf.float64) for loss in self._losses if loss.dtype.is_floating]
        objective = tf.add_n([make_objective(list(outputs.values())), *penalties])
        names = [name for tensor in self._signature.inputs.values() for name in tensor.tensor_names]
        graph = self._loaded.graph
        present = {operation.name for operation in graph.get_operations()}
        # A tensor that is fed no longer depends on what the graph computes it from.
        fed = [graph.get_tensor_by_name(name) for name in names if name.split(":")[0] in present]
        gradients = tf.compat.v1.gradients(objective, list(self._trained.values()), stop_gradients=fed)
        if all(gradient is None for gradient in gradients):
            raise UntrainableError("no output depends on a trainable variable")
        dense = [
            tf.zeros_like(variable) if gradient is None else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(gradients, self._trained.values(), strict=True)
        ]
        return tuple(outputs), objective, dense

    def _float_outputs(self) -> dict[str, Any]:
        found = {}
        for key, tensor in self._signature.outputs.items():
            # Of a sparse or ragged tensor the first component holds the values.
            name = tensor.name if tensor.encoding is Encoding.DENSE else tensor.tensor_names[0]
            value = self._loaded.graph.get_tensor_by_name(name)
            if value.dtype.is_floating:
                found[key] = value
        return found

    def read(self) -> dict[str, np.ndarray]:
        return {name: as_array(value) for name, value in self._loaded.session.run(self._variables).items()}

    def write(self, values: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            self._variables[name].load(value, self._loaded.session)

    def differentiate(self, call: Call) -> Gradients:
        feeds = self._loaded.make_feeds(self._signature.inputs, call.inputs)
        fetches = [self._objective, self._losses, self._gradients]
        if self._writes:
            objective, losses, gradients, _, _ = self._loaded.session.run(
                [*fetches, self._fetched, self._updates], feeds
            )
        else:
            # TF1 left unordered what reads and what UPDATE_OPS write: reads first, as it mostly was, or it is a race.
            objective, losses, gradients = self._loaded.session.run(fetches, feeds)
            self._loaded.session.run(self._updates, feeds)
        return Gradients(
            objective=np.asarray(objective),
            losses=[np.asarray(loss) for loss in losses],
            gradients={name: np.asarray(g) for name, g in zip(self._trained, gradients, strict=True)},
        )
