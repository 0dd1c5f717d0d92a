"""saved_model.pb or .pbtxt -> message of `schema`, within bounds: no file fills the memory or takes minutes."""

from __future__ import annotations

import os
from typing import Any

from google.protobuf import message, text_format

from migrate import errors, wire
from migrate.scan import schema

# protobuf's own limit for a message.
MAX_BYTES = 2**31 - 1
# A message of two bytes takes a hundred in memory. What is below this size cannot hurt by it.
_SMALL = 2**20
_BLOB = 2**10
_GRAPH_DEPTH = 3
MAX_FIELDS = 2_000_000
_HINT = "the file is damaged or truncated: copy the model again"


def find_saved_model(directory: str) -> str:
    """Path of the file that is read: `.pb` comes before `.pbtxt`, as in TF's loader.

    Raises:
      CorruptModelError: the model is in chunks, which only TensorFlow can join.
    """
    if os.path.exists(os.path.join(directory, "saved_model.cpb")):
        raise errors.CorruptModelError(
            "a SavedModel in chunks (saved_model.cpb) cannot be looked through",
            where=directory,
            hint="load it with TensorFlow, if you trust it, and save it again",
        )
    binary = os.path.join(directory, "saved_model.pb")
    return binary if os.path.exists(binary) else os.path.join(directory, "saved_model.pbtxt")


def read_proto(path: str, kind: str = "SavedModel") -> Any:
    """Parses a file into a message of `schema`, "SavedModel" say; see `fill_message`."""
    parsed = schema.make_message(kind)
    fill_message(parsed, path, schema.find_pool())
    return parsed


def fill_message(parsed: Any, path: str, pool: Any) -> None:
    """Parses a file into a message.

    Args:
      parsed: the empty message.
      path: `.pbtxt` is the text format.
      pool: descriptors of what an Any in a text may hold.

    Raises:
      CorruptModelError: it cannot be parsed, is too large, has too many fields or is nested too deeply.
    """
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise errors.CorruptModelError("no protocol buffer is larger than 2 GiB")
        with open(path, "rb") as file:
            data = file.read()
        if path.endswith(".pbtxt"):
            text_format.Parse(data.decode("utf-8"), parsed, allow_unknown_field=True, descriptor_pool=pool)
            return
        if len(data) > _SMALL:
            _check_fields(data)
        parsed.ParseFromString(data)
    except errors.CorruptModelError as error:
        raise errors.CorruptModelError(error.message, where=path, hint=error.hint or _HINT) from error
    except (message.DecodeError, text_format.ParseError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise errors.CorruptModelError(f"cannot be parsed: {lines[0]}", where=path, hint=_HINT) from error
    except RecursionError as error:
        raise errors.CorruptModelError("cannot be parsed: it is nested too deeply", where=path, hint=_HINT) from error
    except OSError as error:
        raise errors.CorruptModelError(f"cannot be read: {error.strerror}", where=path) from error


def _check_fields(data: bytes) -> None:
    """Counts fields where many stand: those of the graph, and those of values that are large.

    Raises:
      CorruptModelError: there are more than any graph has.
    """
    count = 0
    pending: list[tuple[memoryview, int]] = [(memoryview(data), 0)]
    while pending:
        view, depth = pending.pop()
        # SavedModel > MetaGraphDef > GraphDef > NodeDef, FunctionDef; below them stand tensors and lists.
        is_graph = depth <= _GRAPH_DEPTH
        fields, length = 0, 0
        try:
            for _, value in wire.iterate_fields(view):
                fields += 1
                size = 0 if isinstance(value, int) else len(value)
                length += size
                if is_graph and count + fields > MAX_FIELDS:
                    raise _TooManyError
                if not is_graph and fields > MAX_FIELDS // 2 and length < 2 * fields:
                    raise _TooManyError
                if not isinstance(value, int) and size > (_BLOB if depth < _GRAPH_DEPTH else _SMALL):
                    pending.append((value, depth + 1))
        except errors.CorruptModelError:
            continue  # bytes that are no message, or what protobuf itself will refuse
        except _TooManyError:
            raise errors.CorruptModelError(
                f"the file has more than {MAX_FIELDS:,} fields, which no graph has", hint="do not trust the model"
            ) from None
        count += fields if is_graph else 0


class _TooManyError(Exception):
    pass
