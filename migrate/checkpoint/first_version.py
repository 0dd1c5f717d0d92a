"""Checkpoints of the first version: one file without suffix, a table too (core/util/tensor_slice_writer.cc).

Its first key, "", holds SavedTensorSlices{meta = 1 {tensor = 1 {name = 1, shape = 2, type = 3, slice = 4}}}
(core/util/saved_tensor_slice.proto). Values are left to TensorFlow's own reader.
"""

from __future__ import annotations

from migrate import errors, wire
from migrate.checkpoint import table
from migrate.checkpoint.entries import DTYPE_NAMES, Entry, parse_shape


def read_tensors(path: str) -> dict[str, Entry]:
    """Dtype and shape of each tensor; places mean nothing here.

    Raises:
      CorruptModelError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            pairs = table.read_table(file.read())
        if not pairs or pairs[0][0]:
            raise errors.CorruptModelError("it does not begin with a list of its tensors")
        found = {}
        for meta in _messages(memoryview(pairs[0][1]), 1):
            for tensor in _messages(meta, 1):
                fields = wire.parse_fields(tensor)
                shape = fields.get(2, [memoryview(b"")])[-1]
                number = fields.get(3, [0])[-1]
                if isinstance(shape, int) or not isinstance(number, int) or number not in DTYPE_NAMES:
                    raise errors.CorruptModelError("a tensor has no known dtype or shape")
                name = wire.parse_text(fields.get(1, [0])[-1])
                found[name] = Entry(dtype=DTYPE_NAMES[number], shape=parse_shape(shape))
        return found
    except errors.CorruptModelError as error:
        raise errors.CorruptModelError(
            f"the checkpoint is damaged: {error.message}", where=path, hint="copy the variables folder again"
        ) from error
    except OSError as error:
        raise errors.CorruptModelError(f"cannot be read: {error.strerror}", where=path) from error


def _messages(view: memoryview, number: int) -> list[memoryview]:
    return [value for value in wire.parse_fields(view).get(number, []) if not isinstance(value, int)]
