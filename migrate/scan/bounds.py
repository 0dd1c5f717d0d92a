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
    """Parses a file.

    Args:
      path: `.pbtxt` is the text format.
      kind: name of the message.

    Raises:
      CorruptModelError: it cannot be parsed, is too large, or is nested too deeply.
    """
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise errors.CorruptModelError("no protocol buffer is larger than 2 GiB", where=path, hint=_HINT)
        with open(path, "rb") as file:
            data = file.read()
        return _parse_text(data, kind) if path.endswith(".pbtxt") else _parse_binary(data, kind)
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError, ValueError) as error:
        raise errors.CorruptModelError(f"cannot be parsed: {error}", where=path, hint=_HINT) from error
    except RecursionError as error:
        raise errors.CorruptModelError("cannot be parsed: it is nested too deeply", where=path, hint=_HINT) from error
    except errors.CorruptModelError as error:
        raise errors.CorruptModelError(error.message, where=path, hint=error.hint or _HINT) from error
    except OSError as error:
        raise errors.CorruptModelError(f"cannot be read: {error.strerror}", where=path) from error


def _parse_binary(data: bytes, kind: str) -> Any:
    if len(data) > _SMALL:
        _check_fields(data)
    parsed = schema.make_message(kind)
    parsed.ParseFromString(data)
    return parsed


def _parse_text(data: bytes, kind: str) -> Any:
    parsed = schema.make_message(kind)
    text_format.Parse(data.decode("utf-8"), parsed, allow_unknown_field=True, descriptor_pool=schema.find_pool())
    return parsed


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
