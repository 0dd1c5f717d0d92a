"""A migrated model as its users hold it: loaded once, called by its record, put back after each call."""

import contextlib
import dataclasses
import functools

import tensorflow as tf

from migrate.inputs.calls import Call as PlannedCall
from migrate.verify import ways
from migrate.verify.runners import calling
from migrate.write import provenance


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What `tf.saved_model.load` gave, with its provenance record and its variables' first values."""

    path: str
    object: object
    record: dict
    initial: tuple

    @property
    def variables(self):
        """By TF1 name."""
        return {spell_name(variable): variable for variable in self.object.variables}

    def find_piece(self, call):
        """(piece, training) for a recorded call."""
        planned = PlannedCall(tags=call.tags, signature=call.signature, case=str(call.case), inputs=call.inputs)
        piece, training = ways.find_piece(self.record, planned)
        assert piece is not None, f"no piece stands for {call.tags}/{call.signature}"
        return piece, training

    def has_signature(self, call):
        """Whether `signatures[...]` can take the call: it knows no defaults, and only the first mode."""
        piece, _ = self.find_piece(call)
        return list(call.tags) == piece["modes"][0]["tags"] and set(piece["arguments"]) <= set(call.inputs)

    def run(self, call, *, updating=False, open_sizes=False):
        """Output tensors by key, through the callable; `updating` calls with training=True where that exists,
        `open_sizes` by one trace for batches of every size."""
        piece, training = self.find_piece(call)
        training = training or (updating and piece["has_training"])
        return calling.call_piece(self.object, piece, call.inputs, training=training, open_sizes=open_sizes)

    def run_signature(self, call):
        """Output tensors by key, through `signatures[...]`."""
        piece, _ = self.find_piece(call)
        return calling.call_signature(self.object, piece, call.inputs)

    def reset(self):
        for variable, value in zip(self.object.variables, self.initial, strict=True):
            variable.assign(value)

    @contextlib.contextmanager
    def restored(self):
        """What calls leave in variables is undone at the end."""
        try:
            yield self
        finally:
            self.reset()


def load(path):
    """Loads afresh."""
    found = tf.saved_model.load(str(path))
    initial = tuple(variable.read_value() for variable in found.variables)
    return Loaded(path=str(path), object=found, record=provenance.read_record(str(path)), initial=initial)


@functools.cache
def load_once(path):
    """Loads, once in a test session. For calls that change nothing but variables; use it in `restored()`."""
    return load(path)


def spell_name(variable):
    return variable.name.removesuffix(":0")


def to_values(outputs):
    return {key: calling.to_value(value) for key, value in outputs.items()}
