"""A SavedModel that older TensorFlows can load: ops and attributes that they do not know, and that change nothing, go.

`tf.saved_model.save` of TF >= 2.9 puts a DisableCopyOnRead before each read of its saver: it undoes a copy-on-read
that only gathers on sparse variables within a process ask for, and reads what it would read without it
(tensorflow/core/ops/resource_variable_ops.cc). `debug_name` of VarHandleOp (TF >= 2.11) names a variable in memory
dumps. A TensorFlow that does not know one of them refuses the whole model. Invariant: no call computes anything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_IDLE_OPS = frozenset({"DisableCopyOnRead"})
# Attributes that say nothing about values, by op.
_IDLE_ATTRIBUTES = {"VarHandleOp": ("debug_name",)}


def make_portable(meta_graph: Any) -> None:
    """Edits a MetaGraphDef in place, its functions included."""
    graph_def = meta_graph.graph_def
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        _drop_idle_ops(nodes)
        for node in nodes:
            for name in _IDLE_ATTRIBUTES.get(node.op, ()):
                if name in node.attr:
                    del node.attr[name]
    for function in graph_def.library.function:
        names = {node.name for node in function.node_def}
        lost = {key for key, name in function.control_ret.items() if name not in names}
        for key in lost:
            del function.control_ret[key]
        outputs = [key for key in function.signature.control_output if key not in lost]
        del function.signature.control_output[:]
        function.signature.control_output.extend(outputs)


def _drop_idle_ops(nodes: Any) -> None:
    """Takes out ops that only others wait for; who waited for one waits for what it waited for."""
    idle = {node.name: node for node in nodes if node.op in _IDLE_OPS}
    if not idle:
        return
    for node in nodes:
        if any(text.startswith("^") and text[1:] in idle for text in node.input):
            inputs = list(dict.fromkeys(_follow(node.input, idle)))
            del node.input[:]
            node.input.extend(inputs)
    kept = [node for node in nodes if node.name not in idle]
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del nodes[:]
    nodes.extend(copies)


def _follow(inputs: Iterable[str], idle: dict[str, Any]) -> Iterable[str]:
    for text in inputs:
        if text.startswith("^") and text[1:] in idle:
            yield from _follow((other for other in idle[text[1:]].input if other.startswith("^")), idle)
        else:
            yield text
