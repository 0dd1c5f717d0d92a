"""The oldest TensorFlow that can load a written model and compute with it what this one does, told from its file.

`op_versions.json` says which ops and attributes are newer than TF 2.4, from the op registries of the versions that it
lists (`testdata/generate/merge_op_versions.py`); TF 2.4 is the oldest that was looked at.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Iterable, Mapping
from typing import Any

from migrate import errors

# Features of the file that are no ops, by the first version that honours them; tried in TF 2.4, 2.6, 2.8, 2.10, 2.12
# and 2.15 with the sample zoo (`tests/old_tensorflow`).
_CONTENTS = "2.10", "contents of mutable tables in the checkpoint, which older ones leave out without a word"
_GRADIENTS = "2.6", "gradient functions of the author's own"
_DEFAULTS = "2.15", "a tensor as the default of an argument"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OldestTensorFlow:
    """A version, "2.4", and what of the model older ones lack; no reason where the oldest version will do."""

    version: str
    reasons: tuple[str, ...] = ()


@functools.cache
def load_versions() -> Mapping[str, Any]:
    """{"versions": [...], "ops": {op: version}, "attributes": {op: {name: version}}}."""
    text = importlib.resources.files("migrate.write").joinpath("op_versions.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found


def order_version(text: str) -> tuple[int, ...]:
    """ "2.10" comes after "2.9"; a patch number does not count."""
    return tuple(int(part) for part in text.split(".")[:2])


def find_oldest(meta_graph: Any, *, has_contents: bool) -> OldestTensorFlow:
    """Looks at every op and attribute of a written MetaGraphDef, functions included.

    Args:
      meta_graph: without default-valued attributes, as `tf.saved_model.save` writes it.
      has_contents: whether mutable tables keep contents in the checkpoint.
    """
    needs = dict(_find_new_ops(meta_graph.graph_def))
    if has_contents:
        needs[_CONTENTS[1]] = _CONTENTS[0]
    if meta_graph.graph_def.library.registered_gradients:
        needs[_GRADIENTS[1]] = _GRADIENTS[0]
    if _has_tensor_default(meta_graph.object_graph_def):
        needs[_DEFAULTS[1]] = _DEFAULTS[0]
    return _summarise(needs)


def _find_new_ops(graph_def: Any) -> Iterable[tuple[str, str]]:
    """What is newer than the oldest version, in words, and since when it is there."""
    known = load_versions()
    for body in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in body:
            if node.op in known["ops"]:
                yield f"op {node.op}", known["ops"][node.op]
            for name, version in known["attributes"].get(node.op, {}).items():
                if name in node.attr:
                    yield f"attribute {name} of op {node.op}", version


def _has_tensor_default(object_graph: Any) -> bool:
    """Whether a function has a tensor as the default of an argument (struct.proto: `tensor_value`, a
    field that older protos do not have)."""
    for node in object_graph.nodes:
        for spec in (node.function.function_spec, node.bare_concrete_function.function_spec):
            for pair in spec.fullargspec.named_tuple_value.values:
                if any(value.HasField("tensor_value") for value in pair.value.tuple_value.values):
                    return True
    return False


def _summarise(needs: Mapping[str, str]) -> OldestTensorFlow:
    version = max([load_versions()["versions"][0], *needs.values()], key=order_version)
    reasons = sorted(what for what, since in needs.items() if since == version)
    return OldestTensorFlow(version=version, reasons=tuple(reasons))


def check_target(found: OldestTensorFlow, target: str, where: str) -> None:
    """Holds a model against the TensorFlow that shall load it; "" asks for nothing.

    Raises:
      BlockedError: the model needs a newer one.
    """
    if target and order_version(found.version) > order_version(target):
        raise errors.BlockedError(
            f"the migrated model needs TensorFlow {found.version} or newer: {'; '.join(found.reasons)}",
            where=where,
            hint=f"TensorFlow {target} was asked for with --target_tensorflow",
        )
