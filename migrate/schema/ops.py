"""OpDefs, and which ops have a CPU kernel; see the package."""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping
from typing import Any

from migrate.schema import messages


def find_op_def(op: str) -> Any:
    """OpDef of a registered op, None where TensorFlow has no such op. Without TensorFlow: outputs, the defaults of the
    attributes that they need, and statefulness only."""
    if messages.is_tensorflow_loaded():
        from migrate import tensorflow_private

        return tensorflow_private.find_op_def(op)
    return _load_ops().get(op)


def has_cpu_kernel(op: str) -> bool:
    """Whether a kernel of a registered op can run on a CPU."""
    if messages.is_tensorflow_loaded():
        from migrate import tensorflow_private

        return tensorflow_private.has_cpu_kernel(op)
    return op not in _load_without_kernel()


@functools.cache
def _load_ops() -> Mapping[str, Any]:
    data = importlib.resources.files(__package__).joinpath("ops.pb").read_bytes()
    found = messages.find_message("tensorflow.OpList").FromString(data)
    return {op.name: op for op in found.op}


@functools.cache
def _load_without_kernel() -> frozenset[str]:
    text = importlib.resources.files(__package__).joinpath("without_cpu_kernel.txt").read_text(encoding="utf-8")
    return frozenset(text.split())
