"""Inputs that a person gives, whatever their form, as Offers: values by key, for the signatures that take them.

.npz (see `recording`), .jsonl (a call a line), TFRecord files of tf.Examples, TF Serving's warm-up records, or a
Python function "module:function". Only the planning job calls it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib
import json
import os
import struct
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from migrate import errors, wire
from migrate.arrays import make_bytes_array
from migrate.inputs import recorded
from migrate.inputs.synthesis.generate import find_numpy_dtype

_BATCH = 64
_WARMUP_FILE = "tf_serving_warmup_requests"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """One call's inputs.

    Attributes:
      place: tag set, case and signature; None where any will do.
      values: by input key: array, SparseValue or RaggedValue; plain Python values where `loose`.
      loose: values are to be cast to the signature's dtypes.
      key_open: the one value is for the only input, whatever its key ("" in `values`).
    """

    place: recorded.Place
    values: Mapping[str, Any]
    loose: bool = False
    key_open: bool = False


def read_offers(path: str, signatures: Sequence[Mapping[str, Any]], folder: str = "") -> list[Offer]:
    """Reads inputs by the form of their name or content.

    Args:
      path: file, or "module:function".
      folder: the user's, in which a module is looked for first; this may be another process's.
      signatures: of the baseline, for a function: it is called as function(key, {input key: {"dtype": name, "shape":
        list with None for what is open, "encoding": "dense", "coo_sparse" or "composite_tensor", "optional": bool}})
        for each signature, and gives an iterable of {input key: value}, one a call, or None for a signature that it
        does not know. A value is what numpy makes an array of, or a SparseValue or RaggedValue of `migrate.arrays`.

    Raises:
      SourceNotFoundError, CorruptModelError: there is no such file, or it is damaged.
      UsageError: the form is unknown, the file cannot be read, or the function cannot be imported, raised, or gave
        something else; its exception is named as its own.
    """
    if not os.path.exists(path) and _is_function(path):
        return list(_call_function(path, signatures, folder or os.getcwd()))
    if not os.path.isfile(path):
        raise errors.SourceNotFoundError("there are no such inputs", where=path, hint="check --inputs")
    try:
        return _read_file(path)
    except errors.MigrateError as error:
        if error.where:
            raise
        raise type(error)(error.message, where=path, hint="check --inputs") from error
    except Exception as error:  # A file of anyone's making: whatever its parser says, the file cannot be fed.
        raise errors.UsageError(
            f"the inputs cannot be read: {type(error).__name__}: {error}", where=path, hint="check --inputs"
        ) from error


def _read_file(path: str) -> list[Offer]:
    name = os.path.basename(path)
    if name.endswith(".npz"):
        found = recorded.load_recording(path)
        return [Offer(place=place, values=values) for place, values in found.entries.items()]
    if name.endswith((".jsonl", ".json")):
        return list(_parse_json_lines(path))
    if name == _WARMUP_FILE:
        return list(_parse_warmup(path))
    if ".tfrecord" in name:
        return list(_batch_examples(list(iterate_records(path))))
    raise errors.UsageError(
        "inputs of an unknown form",
        where=path,
        hint=f"give .npz, .jsonl, .tfrecord, {_WARMUP_FILE} or module:function",
    )


def _is_function(text: str) -> bool:
    module, colon, name = text.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _call_function(text: str, signatures: Sequence[Mapping[str, Any]], folder: str) -> Iterator[Offer]:
    module, _, name = text.partition(":")
    sys.path.insert(0, folder)
    try:
        with contextlib.chdir(folder):
            function = getattr(importlib.import_module(module), name)
    except Exception as error:  # Importing runs the module's own code.
        raise errors.UsageError(
            f"cannot be imported: {_name_exception(error)}", where=text, hint="check --inputs"
        ) from error
    finally:
        sys.path.pop(0)
    if not callable(function):
        raise errors.UsageError("is no function", where=text, hint="check --inputs")
    for entry in signatures:
        called = f"for the signature {entry['signature']!r}"
        try:
            with contextlib.chdir(folder):  # its own files lie beside it
                made = list(function(entry["signature"], entry["inputs"] or {}) or ())
        except Exception as error:  # The user's own code: what it raises is told as its own.
            raise errors.UsageError(
                f"the function raised {_name_exception(error)}, {called}",
                where=text,
                hint="it is called as function(signature_key, {input_key: description})",
            ) from error
        for position, values in enumerate(made):
            if not isinstance(values, Mapping):
                raise errors.UsageError(
                    f"the function gave {type(values).__name__} {called}, not a dict {{input key: value}}",
                    where=text,
                    hint="give an iterable of dicts, one a call",
                )
            place = recorded.Place(tags=tuple(entry["tags"]), case=str(position), signature=entry["signature"])
            yield Offer(place=place, values=values, loose=True)


def _name_exception(error: Exception) -> str:
    """ "ValueError: text (file.py:12)": where it was raised, which is not in this toolkit."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<frozen")]
    place = f" ({os.path.basename(own[-1].filename)}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def _parse_json_lines(path: str) -> Iterator[Offer]:
    """A line is {key: value}, or as TF Serving's REST API has it {"signature_name", "inputs" or "instances"}."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                raise errors.CorruptModelError(f"no JSON: {error}", where=f"{path}:{number}") from error
            if not isinstance(value, dict):
                raise errors.CorruptModelError("a line must be an object", where=f"{path}:{number}")
            signature = value.get("signature_name")
            inputs: Any = value
            if "inputs" in value and set(value) <= {"inputs", "signature_name"}:
                inputs = value["inputs"]
            elif "instances" in value and set(value) <= {"instances", "signature_name"}:
                inputs = _stack_instances(value["instances"])
            is_open = not isinstance(inputs, dict)
            values = {"": inputs} if is_open else {key: v for key, v in inputs.items() if key != "signature_name"}
            place = recorded.Place(tags=None, case=f"line_{number}", signature=signature)
            yield Offer(place=place, values=values, loose=True, key_open=is_open)


def _stack_instances(instances: list[Any]) -> Any:
    if instances and all(isinstance(row, dict) and set(row) != {"b64"} for row in instances):
        return {key: [row[key] for row in instances] for key in instances[0]}
    return instances


def iterate_records(path: str) -> Iterator[bytes]:
    """Records of a TFRecord file (tensorflow/core/lib/io/record_writer.h): length, its CRC, data, its CRC.

    The CRCs are not checked: a damaged length shows, and a damaged record is the model's to refuse.

    Raises:
      CorruptModelError: a record is cut off.
    """
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        if at + 12 > len(data):
            raise errors.CorruptModelError("no TFRecord file, or it is cut off", where=path)
        (size,) = struct.unpack_from("<Q", data, at)
        if at + 16 + size > len(data):
            raise errors.CorruptModelError("no TFRecord file, or it is cut off", where=path)
        yield data[at + 12 : at + 12 + size]
        at += 16 + size


def _batch_examples(records: list[bytes]) -> Iterator[Offer]:
    for start in range(0, len(records), _BATCH):
        chosen = records[start : start + _BATCH]
        batch = np.empty(len(chosen), dtype=object)
        batch[:] = chosen
        place = recorded.Place(tags=None, case=f"examples_{start}", signature=None)
        yield Offer(place=place, values={"": batch}, key_open=True)


def _parse_warmup(path: str) -> Iterator[Offer]:
    """PredictionLog records (tensorflow_serving/apis/prediction_log.proto): predict 6, classify 2, regress 3."""
    for number, record in enumerate(iterate_records(path)):
        log = wire.parse_fields(record)
        for field in (6, 2, 3):
            if field in log:
                # PredictLog, ClassifyLog and RegressLog all hold their request in field 1.
                request = wire.parse_fields(_view(_view_fields(log[field][-1]), 1))
                yield _parse_request(request, field == 6, f"warmup_{number}")


def _view_fields(view: Any) -> dict[int, list[Any]]:
    return wire.parse_fields(view) if not isinstance(view, int) else {}


def _view(fields: Mapping[int, list[Any]], number: int) -> Any:
    return fields.get(number, [memoryview(b"")])[-1]


def _parse_request(request: Mapping[int, list[Any]], is_predict: bool, case: str) -> Offer:
    spec = _view_fields(_view(request, 1))  # ModelSpec: signature_name = 3
    signature = wire.parse_text(_view(spec, 3)) or ("serving_default" if is_predict else None)
    place = recorded.Place(tags=None, case=case, signature=signature)
    if is_predict:  # PredictRequest: map<string, TensorProto> inputs = 2
        entries = [_view_fields(entry) for entry in request.get(2, [])]
        values = {wire.parse_text(_view(e, 1)): _parse_tensor(_view(e, 2)) for e in entries}
        return Offer(place=place, values=values)
    # Input: example_list = 1, example_list_with_context = 2; both hold their examples in field 1.
    source = _view_fields(_view(request, 2))
    examples = _view_fields(_view(source, 1) if 1 in source else _view(source, 2)).get(1, [])
    batch = np.empty(len(examples), dtype=object)
    batch[:] = [bytes(example) for example in examples]
    return Offer(place=place, values={"": batch}, key_open=True)


def _parse_tensor(view: Any) -> np.ndarray:
    proto = tensor_pb2.TensorProto()
    proto.ParseFromString(bytes(view))
    value = tf.make_ndarray(proto)
    return make_bytes_array(value) if value.dtype.kind in "OSU" else value


def cast_value(value: Any, dtype: str, where: str) -> np.ndarray:
    """A plain Python value as an array of a signature's dtype; {"b64": text} is bytes.

    Raises:
      UsageError: it cannot be cast.
    """
    try:
        if dtype == "string":
            return make_bytes_array(np.array(_decode(value), dtype=object))
        return np.asarray(value, find_numpy_dtype(dtype))
    except (TypeError, ValueError) as error:
        raise errors.UsageError(f"cannot be cast to {dtype}: {error}", where=where) from error


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    return [_decode(item) for item in value] if isinstance(value, list | tuple) else value
