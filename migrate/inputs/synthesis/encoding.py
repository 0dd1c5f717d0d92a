"""Encoders for what decode ops read, other than images."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np


def encode_wav(samples: np.ndarray, rate: int = 16000) -> bytes:
    """16-bit PCM of float [samples, channels] in [-1, 1]."""
    channels = int(samples.shape[1])
    body = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    data = header + struct.pack("<4sI", b"data", len(body)) + body
    return b"".join((struct.pack("<4sI4s", b"RIFF", 4 + len(data), b"WAVE"), data))


def encode_base64(data: bytes) -> bytes:
    """Web-safe, without padding: what tf.io.decode_base64 wants."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def encode_raw(array: np.ndarray, order: Literal["<", ">"]) -> bytes:
    return array.astype(array.dtype.newbyteorder(order)).tobytes()


def encode_compressed(data: bytes, kind: bytes) -> bytes:
    if kind == b"GZIP":
        return gzip.compress(data, mtime=0)
    return zlib.compress(data) if kind == b"ZLIB" else data


def encode_number(value: Any) -> bytes:
    return repr(value.item() if isinstance(value, np.generic) else value).encode()


def encode_csv(fields: Sequence[Any], delimiter: bytes, columns: Sequence[int]) -> bytes:
    """One line; `columns` are the places of the fields in it."""
    cells = [b""] * (max(columns, default=-1) + 1)
    for place, field in zip(columns, fields, strict=True):
        cell = field if isinstance(field, bytes) else encode_number(field)
        if delimiter in cell or b'"' in cell or b"\n" in cell:
            cell = b'"' + cell.replace(b'"', b'""') + b'"'
        cells[place] = cell
    return delimiter.join(cells)


def encode_tensor(array: np.ndarray) -> bytes:
    import tensorflow as tf

    return bytes(tf.make_tensor_proto(array).SerializeToString(deterministic=True))


def make_feature(values: np.ndarray) -> Any:
    """tf.train.Feature of the flattened values."""
    from tensorflow.core.example import feature_pb2

    flat = values.reshape(-1)
    if flat.dtype == object:
        return feature_pb2.Feature(bytes_list=feature_pb2.BytesList(value=list(flat)))
    if flat.dtype.kind == "f":
        return feature_pb2.Feature(float_list=feature_pb2.FloatList(value=flat.tolist()))
    return feature_pb2.Feature(int64_list=feature_pb2.Int64List(value=flat.astype(np.int64).tolist()))


def encode_example(values: Mapping[str, np.ndarray]) -> bytes:
    """Serialized tf.train.Example; the same bytes for the same values."""
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example()
    for key in values:
        example.features.feature[key].CopyFrom(make_feature(values[key]))
    return bytes(example.SerializeToString(deterministic=True))


def encode_sequence_example(context: Mapping[str, np.ndarray], steps: Mapping[str, Sequence[np.ndarray]]) -> bytes:
    from tensorflow.core.example import example_pb2

    example = example_pb2.SequenceExample()
    for key in context:
        example.context.feature[key].CopyFrom(make_feature(context[key]))
    for key in steps:
        features = [make_feature(values) for values in steps[key]]
        example.feature_lists.feature_list[key].feature.extend(features)
    return bytes(example.SerializeToString(deterministic=True))


def encode_json_example(serialized: bytes) -> bytes:
    """The JSON form of a serialized tf.train.Example."""
    from google.protobuf import json_format
    from tensorflow.core.example import example_pb2

    message = json_format.MessageToDict(example_pb2.Example.FromString(serialized))
    return json.dumps(message, sort_keys=True).encode()
