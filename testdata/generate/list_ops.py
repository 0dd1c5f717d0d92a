"""Prints what the TensorFlow that runs this registers, as JSON: {"tensorflow": "2.4", "ops": {op: [attributes]}}.

Input of `merge_op_versions.py`. Runs on Python 3.8 and later.
"""

import json

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

found = op_def_pb2.OpList()
found.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
print(json.dumps({
    "tensorflow": ".".join(tf.__version__.split(".")[:2]),
    "ops": {op.name: sorted(attr.name for attr in op.attr) for op in found.op},
}))
