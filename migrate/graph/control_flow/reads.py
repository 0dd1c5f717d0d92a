"""Move reads of variables out of loops that do not write them.

A While that captures a variable's handle returns it, too, and TF's gradient of such a While, loaded from a
SavedModel and differentiated within a tf.function, fails with "Tried to take gradients (or similar) of a
variable without handle data" (TF 2.21, for its own loops as well). A loop that captures the value works.

Invariant: a moved read runs after all that the loop waits for and before the loop, which is when the loop's
own reads ran; a variable that something in the loop may write is left alone in that loop.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import tensorflow as tf

from migrate.graph.control_flow.frames import Frame, FrameKey, list_ancestry
from migrate.graph.control_flow.nodes import INT32, Node, Tensor
from migrate.graph.index import read_attr

_PASSES = frozenset(("Enter", "Switch", "Identity"))
READS = frozenset(("ReadVariableOp", "ResourceGather", "VariableShape"))


def hoist_reads(
    ordered: list[Node], assigned: dict[Node, Frame | None], left: Collection[FrameKey]
) -> dict[Frame, list[Tensor]]:
    """Replace reads in loops by captured values (changes nodes, adds new ones to `assigned`).

    Args:
      left: keys of frames that stay as they are; nothing in them is touched.

    Returns:
      Values that each frame's loop now takes from its parent's scope without an Enter.
    """
    consumers: dict[Node, list[Node]] = {}
    for node in ordered:
        for tensor in node.inputs:
            consumers.setdefault(tensor.node, []).append(node)
    values: dict[tuple[Node, Frame], Node] = {}
    taken: dict[Frame, list[Tensor]] = {}
    for handle in [node for node in ordered if node.kind == "VarHandleOp"]:
        users = _find_users(handle, consumers)
        written = {frame for node in users if node.kind not in READS for frame in list_ancestry(assigned[node])}
        for node in users:
            frames = list_ancestry(assigned[node])
            free = next((frame for frame in frames if frame not in written), None)
            if node.kind not in READS or free is None or any(frame.key in left for frame in frames):
                continue
            key = (handle, free)
            if key not in values:
                values[key] = _add_read(handle, free, assigned, len(values))
                taken.setdefault(free, []).append(Tensor(values[key], 0))
            assigned.update((made, None) for made in use_value(node, Tensor(values[key], 0), handle))
    return taken


def _find_users(handle: Node, consumers: dict[Node, list[Node]]) -> list[Node]:
    users, stack, seen = [], [handle], set()
    while stack:
        for node in consumers.get(stack.pop(), ()):
            if node not in seen:
                seen.add(node)
                if node.kind in _PASSES:
                    stack.append(node)
                else:
                    users.append(node)
    return users


def _add_read(handle: Node, frame: Frame, assigned: dict[Node, Frame | None], number: int) -> Node:
    """A read in the parent of `frame`, after everything that enters it."""
    proto = tf.compat.v1.NodeDef(name=f"{frame.name}/raised_read/{handle.name}_{number}", op="ReadVariableOp")
    proto.attr["dtype"].CopyFrom(read_attr(handle.proto, "dtype"))
    shapes = tf.compat.v1.AttrValue.ListValue(shape=[read_attr(handle.proto, "shape").shape])
    proto.attr["_output_shapes"].CopyFrom(tf.compat.v1.AttrValue(list=shapes))
    before: dict[Node, None] = {}
    for enter in frame.enters:
        before.update(dict.fromkeys([enter.inputs[0].node, *enter.controls]))
    before.pop(handle, None)
    # A frame's parent may itself be a loop; there the handle is known by its alias, the source handle.
    controls = [node for node in before if assigned.get(node) is frame.parent and node.kind != "Enter"]
    node = Node(proto.name, "ReadVariableOp", proto, [Tensor(handle, 0)], controls)
    assigned[node] = frame.parent
    return node


def use_value(node: Node, value: Tensor, handle: Node) -> list[Node]:
    """Let a read of a variable (rewritten in place) take its value; returns the nodes that this needs."""
    dtype = read_attr(handle.proto, "dtype")
    if node.kind == "ReadVariableOp":
        _rewrite(node, "Identity", [value], T=dtype)
    elif node.kind == "VariableShape":
        kind = read_attr(node.proto, "out_type").type or INT32
        _rewrite(node, "Shape", [value], T=dtype, out_type=tf.compat.v1.AttrValue(type=kind))
    else:
        tensor = tf.make_tensor_proto(0, tf.int32)
        proto = tf.compat.v1.NodeDef(name=f"{node.name}/axis", op="Const")
        proto.attr["dtype"].type = INT32
        proto.attr["value"].tensor.CopyFrom(tensor)
        axis = Node(proto.name, "Const", proto, [], [])
        attrs = {
            "Tparams": dtype,
            "Tindices": read_attr(node.proto, "Tindices"),
            "Taxis": tf.compat.v1.AttrValue(type=INT32),
            "batch_dims": tf.compat.v1.AttrValue(i=read_attr(node.proto, "batch_dims").i),
        }
        _rewrite(node, "GatherV2", [value, node.inputs[1], Tensor(axis, 0)], **attrs)
        return [axis]
    return []


def _rewrite(node: Node, op: str, inputs: list[Tensor], **attrs: Any) -> None:
    proto = tf.compat.v1.NodeDef(name=node.name, op=op, device=node.proto.device)
    for key, value in attrs.items():
        proto.attr[key].CopyFrom(value)
    if "_output_shapes" in node.proto.attr:
        proto.attr["_output_shapes"].CopyFrom(node.proto.attr["_output_shapes"])
    node.kind, node.proto, node.inputs = op, proto, inputs
