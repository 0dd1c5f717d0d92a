"""The names of TensorFlow that are not public: the only file that imports `tensorflow.python...`.

Each function names the TensorFlow versions it was tried with and the failure it answers. A name that TensorFlow moves
is mended here. `tensorflow.core` (the published protocol buffers) is no private name.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from tensorflow.python.eager.polymorphic_function import autograph_util
from tensorflow.python.feature_column import feature_column, feature_column_v2
from tensorflow.python.framework import kernels, op_def_registry, ops
from tensorflow.python.ops import resource_variable_ops
from tensorflow.python.saved_model import fingerprinting_utils, nested_structure_coder, save_context

# A dense feature column must be an instance of these to be taken, by TF1's `input_layer` and by TF2's layers;
# neither is exported (TF 2.16-2.21).
DenseColumnV1 = feature_column._DenseColumn
DenseColumnV2 = feature_column_v2.DenseColumn

_CPU = ("CPU", "DEFAULT")


def find_op_def(op: str) -> Any:
    """OpDef of a registered op, None where this TensorFlow has no such op.

    TF 2.16-2.21. Without it nothing says what an op's inputs, outputs and attributes are called: `tf.raw_ops` offers
    Python functions, no definitions, and leaves out what `tf.load_op_library` has loaded.
    """
    return op_def_registry.get(op)


def refresh_op_defs() -> None:
    """Reads the registry anew: an op library may have been loaded after it was filled. TF 2.16-2.21."""
    op_def_registry.sync()
    list_cpu_kernels.cache_clear()


def has_cpu_kernel(op: str) -> bool:
    """Whether a kernel of a registered op can run on a CPU.

    TF 2.16-2.21 have no public list of kernels. An op that is registered need not run: `BoostedTreesBucketize` has lost
    its kernel, and a session says so only when it runs.
    """
    return op in list_cpu_kernels()


@functools.cache
def list_cpu_kernels() -> frozenset[str]:
    """Ops that have a kernel for the CPU; asking for one op takes 5 ms, for all of them 100 ms. TF 2.16-2.21."""
    registered = kernels.get_all_registered_kernels().kernel
    return frozenset(kernel.op for kernel in registered if kernel.device_type in _CPU)


def has_python_gradient(name: str) -> bool:
    """Whether `tf.RegisterGradient(name)` was called in this process. TF 2.16-2.21 have no public look-up.

    A node that asks for a gradient that nobody registered (`_gradient_op_type`) cannot be imported and saved again.
    """
    try:
        ops.gradient_registry.lookup(name)
    except LookupError:
        return False
    return True


def has_op_gradient(op: str) -> bool:
    """Whether TensorFlow has a gradient for the op; one that is said to have none (a Shape, say) has none."""
    try:
        return ops.gradient_registry.lookup(op) is not None
    except LookupError:
        return False


def write_fingerprint(directory: str) -> None:
    """Writes `fingerprint.pb` for the files that lie in a SavedModel's folder now.

    TF 2.16-2.21 write it only while saving; after `saved_model.pb` was edited the old one is stale, as the one that
    `tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater` leaves is.
    """
    fingerprinting_utils.write_fingerprint(directory)


@contextlib.contextmanager
def autograph_off() -> Iterator[None]:
    """No `tf.function` that is traced within is rewritten by AutoGraph.

    TF 2.16-2.21. `tf.saved_model.save` wraps each signature in a `tf.function` that says nothing about AutoGraph, and
    reading, rewriting and compiling its one line takes a twelfth of a small model's CPU time; `do_not_convert` and
    the options of a save do not reach it.
    """
    before = autograph_util.py_func_from_autograph
    autograph_util.py_func_from_autograph = lambda function, autograph_options=None: function
    try:
        yield
    finally:
        autograph_util.py_func_from_autograph = before


@contextlib.contextmanager
def traced_as_saved(options: Any) -> Iterator[None]:
    """A `tf.function` that is traced within is not traced again by `tf.saved_model.save` with options of the same
    variable policy.

    TF 2.16-2.21. A trace is kept for the policy of the save that it was made in, and none is found that was made
    outside of any: each call would be traced twice, a tenth of what a large model takes to rebuild and save.
    """
    with save_context.save_context(options):
        yield


def decode_structure(value: Any) -> Any:
    """StructuredValue proto -> the Python value (a TypeSpec, for composite tensors of a TensorInfo). TF 2.16-2.21."""
    return nested_structure_coder.decode_proto(value)


def make_uninitialized_variable(name: str, dtype: str, shape: Any, *, trainable: bool) -> Any:
    """A variable without a value. `tf.saved_model.save` writes everything about it but the value. TF 2.16-2.21.

    `tf.Variable` wants an initial value, which would take the memory of all weights.
    """
    return resource_variable_ops.UninitializedVariable(name=name, dtype=dtype, shape=shape, trainable=trainable)


def find_control_flow_context(graph: Any) -> Any:
    """The v1 control flow context (of a cond, a while loop, a TPU computation) that a graph is being built in, or None.

    TF 2.16-2.21. Tensors that are fed into an import within a loop must be made known to it (`AddValue`), or the
    session says that an input is from another frame.
    """
    return graph._get_control_flow_context()


def find_partition(variable: Any) -> Any:
    """SaveSliceInfo of a variable that is a part of a partitioned one, else None. TF 2.16-2.21."""
    return variable._get_save_slice_info()


def mark_partition(variable: Any, info: Any) -> None:
    """Tells TF1's saver that a variable is a part of a partitioned one; without it, it is saved under its own name.
    TF 2.16-2.21."""
    variable._set_save_slice_info(info)


def set_colocation(op: Any, groups: Any) -> None:
    """Sets the `_class` attribute (an AttrValue) of an op that was imported already. TF 2.16-2.21."""
    op._set_attr("_class", groups)


def set_device(op: Any, device: str) -> None:
    """Places an op that was imported already, "" for nowhere. TF 2.16-2.21."""
    op._set_device(device)
