"""Colocation constraints ("loc:@node" in the attribute `_class`) when tensors of a module's graph are replaced.

An application imports the module's graph with its inputs and its state fed. A node that had to stand beside a
fed node must then stand where the fed tensor comes from. The rule: if an output of y is replaced by an output of
z, each loc:@y becomes the constraints of z. It is a rule for ops, made from tensors, so it can be ambiguous.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from compat.hub import stateful, tf_utils
from migrate import tensorflow_private
from migrate.graph import index as graph_index

_PREFIX = b"loc:@"


@dataclasses.dataclass(slots=True)
class Rewrite:
    """What one constraint becomes. `conflict` describes a second, different wish."""

    groups: list[bytes]
    reason: str
    conflict: tuple[list[bytes], str] | None = None

    def add(self, groups: list[bytes], reason: str) -> None:
        if self.conflict is None and groups != self.groups:
            self.conflict = (groups, reason)


def rewrite_colocations(input_map: Mapping[str, Any], scope: str) -> None:
    """Rewrites the constraints of all ops below `scope` in the default graph.

    Args:
      input_map: tensor name in the imported graph -> tensor that replaced it.
      scope: absolute name scope of the import.

    Raises:
      ValueError: several outputs of one op were replaced by tensors with different constraints, and a constraint
        names that op.
    """
    graph = tf.compat.v1.get_default_graph()
    rules = _build_rules(graph, input_map, scope)
    for op in graph.get_operations():
        if not op.name.startswith(f"{scope}/"):
            continue
        try:
            classes = op.get_attr("_class")
        except ValueError:
            continue
        _rewrite_op(graph, op, classes, rules)


def _build_rules(graph: Any, input_map: Mapping[str, Any], scope: str) -> dict[bytes, Rewrite]:
    rules: dict[bytes, Rewrite] = {}
    replaced: dict[str, set[int]] = {}

    def add_rule(op_name: str, groups: list[bytes], reason: str) -> None:
        key = _PREFIX + tf.compat.as_bytes(op_name)
        if key in rules:
            rules[key].add(groups, reason)
        else:
            rules[key] = Rewrite(groups, reason)

    for name, tensor in input_map.items():
        ref = graph_index.parse_tensor_name(name)
        op_name = f"{scope}/{ref.node}"
        replaced.setdefault(op_name, set()).add(ref.index)
        add_rule(op_name, tensor.op.colocation_groups(), f"input '{scope}/{name}' is substituted by '{tensor.name}'")
    for op_name, indices in replaced.items():
        op = graph.get_operation_by_name(op_name)
        left = sorted(set(range(len(op.outputs))) - indices)
        if left:
            outputs = ",".join(map(str, left))
            own = _PREFIX + tf.compat.as_bytes(op_name)
            add_rule(op_name, [own], f"tensor '{op_name}:{outputs}' is not substituted by inputs")
    return rules


def _rewrite_op(graph: Any, op: Any, classes: list[bytes], rules: Mapping[bytes, Rewrite]) -> None:
    others = [value for value in classes if not value.startswith(_PREFIX)]
    groups: set[bytes] = set()
    for value in classes:
        if not value.startswith(_PREFIX):
            continue
        rule = rules.get(value)
        if rule is not None and rule.conflict is not None:
            new_groups, new_reason = rule.conflict
            raise ValueError(
                f"Failed to rewrite colocation constraints while applying hub.Module:\n"
                f"node {op.name!r} has the constraint {value!r} that may become {rule.groups!r} vs {new_groups!r}: "
                f"{rule.reason} and {new_reason}.\n"
                "Publish the module with inputs that are outputs of different ops, or without tf.colocate_with on "
                "the op behind them."
            )
        groups.update([value] if rule is None else rule.groups)
    ordered = sorted(groups)
    attribute = tf.compat.v1.AttrValue()
    attribute.list.s.extend([*others, *ordered])
    tensorflow_private.set_colocation(op, attribute)
    if ordered:
        # As tf.import_graph_def does: the device of the first colocated op that has one; "" clears a stale one.
        targets = (graph.get_operation_by_name(tf.compat.as_str(group[len(_PREFIX) :])) for group in ordered)
        tensorflow_private.set_device(op, next((target.device for target in targets if target.device), ""))


def find_state_op_colocation_error(graph: Any, reported_tags: Any = None) -> str | None:
    """State may stand beside state only: all of it is replaced by one rule. Returns the error, None if all is well."""
    kinds = stateful.list_registered_stateful_ops_without_inputs(graph.as_graph_def())
    state = {op.name: op for op in graph.get_operations() if op.type in kinds}
    for op in state.values():
        for group in op.colocation_groups():
            if group.startswith(_PREFIX) and tf.compat.as_str_any(group[len(_PREFIX) :]) in state:
                continue
            where = "" if reported_tags is None else f"in the graph for tags {reported_tags}, "
            return (
                "A node that holds state (say, a variable) must not be under tf.colocate_with(y) unless y holds state, "
                f"too.\nDetails: {where}node '{op.name}' has op '{op.type}', which counts as state-holding, but "
                f"Operation.colocation_groups() == {op.colocation_groups()}."
            )
    return None


def find_signature_input_colocation_error(signature: str, inputs: Mapping[str, Any]) -> str | None:
    """An input must be free of constraints, so that loc:@input has one meaning. None if all is well."""
    for key, value in inputs.items():
        for tensor in tf.nest.flatten(value, expand_composites=True):
            groups = tensor.op.colocation_groups()
            if groups != [_PREFIX + tf.compat.as_bytes(tensor.op.name)]:
                return (
                    "A tensor that is an input of a signature must not be under tf.colocate_with(y); the reverse is "
                    f"allowed.\nDetails: tensor '{tensor.name}' is, or belongs to, input '{key}' of signature "
                    f"'{signature}', but its op's colocation_groups() == {groups}"
                )
    return None


def find_signature_inputs_from_multivalued_ops(inputs: Mapping[str, Any]) -> str | None:
    """Inputs from ops with several outputs can make constraints ambiguous. Returns a warning, None if all is well."""
    parts: list[tuple[str, Any]] = []
    for key, value in sorted(inputs.items()):
        if isinstance(value, tf.SparseTensor):
            parts += [(f"{key}.{name}", getattr(value, name)) for name in ("indices", "values", "dense_shape")]
        elif tf_utils.is_composite_tensor(value):
            tensors = tf.nest.flatten(value, expand_composites=True)
            parts += [(f"{key}.component_{number}", tensor) for number, tensor in enumerate(tensors)]
        else:
            parts.append((key, value))
    affected = [f"{name}='{tensor.name}'" for name, tensor in parts if len(tensor.op.outputs) != 1]
    if not affected:
        return None
    return (
        "WARNING: the inputs of hub.add_signature() should come from ops with a single output: tf.colocate_with() on "
        "any other op can make the module fail when it is applied.\nAffected inputs: " + ", ".join(affected)
    )
