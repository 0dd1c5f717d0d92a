"""The ops that TF 1.15, tf.contrib included, can run on a CPU: benchmarks/ops_of_tf115.txt, one name a line.

python op_registry.py > ../../benchmarks/ops_of_tf115.txt
"""

import os

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python import pywrap_tensorflow
from tensorflow.python.framework import kernels


def list_ops():
    """Names of all registered ops that have a CPU kernel, tf.contrib's libraries loaded."""
    for folder, _, files in os.walk(os.path.dirname(tf.contrib.__file__)):
        for name in files:
            if name.startswith("_") and name.endswith(".so") and "wrap" not in name:
                tf.load_op_library(os.path.join(folder, name))
    ops = op_def_pb2.OpList.FromString(pywrap_tensorflow.TF_GetBuffer(pywrap_tensorflow.TF_GetAllOpList()))
    for op in sorted(op.name for op in ops.op):
        if any(kernel.device_type == "CPU" for kernel in kernels.get_registered_kernels_for_op(op).kernel):
            yield op


if __name__ == "__main__":
    print("\n".join(list_ops()))
