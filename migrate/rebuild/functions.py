"""Prepared graphs -> concrete functions.

Every function is traced by `tf.compat.v1.wrap_function`, which, unlike `tf.function`, adds no automatic control
dependencies: a TF1 graph states its order itself, and the added edges break v1 loops that could not be raised
("Merge has inputs from different frames", TF 2.21).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import tensorflow as tf

from migrate.graph import function_library, prepare, subgraph, tables
from migrate.graph import index as graph_index
from migrate.rebuild import gradients


def import_function(
    prepared: prepare.Cut,
    held: Mapping[str, tf.Tensor],
    watched: Sequence[tf.Variable],
    feeds: Sequence[subgraph.Feed],
    fetches: Sequence[str],
    targets: Sequence[str] = (),
    shapes: Sequence[Any] = (),
) -> Any:
    """A concrete function from the fed tensors to the fetched ones, flat and in order.

    Without fetches it returns one constant, so that the targets have something to precede.

    Args:
      prepared: the part of a variant's graph that computes fetches and targets.
      held: state tensor in that graph -> the eager handle, or the asset's path, that takes its place.
      watched: the variables among them, which a tape shall see.
      feeds: the arguments; a feed's shape is the argument's static shape.
      fetches: tensor names in the original graph.
      targets: op names that run too, before any result is returned.
      shapes: static shapes that the source promises for the fetches, None where it promises nothing.
    """
    cut = prepared.subgraph
    used = _used_nodes(cut.graph_def)

    def body(*arguments: tf.Tensor) -> list[tf.Tensor]:
        # FuncGraph.capture: the only way to bring an eager handle in as a graph tensor, which
        # import_graph_def's input_map wants (TF 2.21).
        function_graph = tf.compat.v1.get_default_graph()
        replaced = {name: function_graph.capture(tensor) for name, tensor in sorted(held.items())}
        for feed, argument in zip(feeds, arguments, strict=True):
            replaced[cut.feeds[feed.tensor]] = argument
        for variable in watched:
            function_graph.watch_variable(variable)
        wanted = [*(cut.fetches[name] for name in fetches), *(_op_name(cut.fetches[f"^{name}"]) for name in targets)]
        graph_def = _without_replaced(cut.graph_def, replaced, wanted)
        names = gradients.name_gradients(graph_def, prepared.gradients)
        imported = tf.import_graph_def(
            graph_def,
            input_map={name: value for name, value in replaced.items() if _node(name) in used},
            return_elements=wanted,
            name="",
        )
        for gradient in prepared.gradients:
            carrier = function_graph.get_operation_by_name(gradient.node)
            gradients.register_gradient(names[gradient.node], gradient, carrier)
        results = [
            replaced.get(cut.fetches[name], tensor)
            for name, tensor in zip(fetches, imported[: len(fetches)], strict=True)
        ]
        # Control outputs are what a caller's control edges wait for once the function is inlined: without
        # them an op that no result needs is pruned (TF 2.21).
        function_graph.control_outputs.extend(imported[len(fetches) :])
        results = results or [tf.constant(True)]
        return [_promise_shape(tensor, shapes[position] if shapes else None) for position, tensor in enumerate(results)]

    return tf.compat.v1.wrap_function(body, [_spec(feed, position) for position, feed in enumerate(feeds)])


def _spec(feed: subgraph.Feed, position: int) -> tf.TensorSpec:
    return tf.TensorSpec(feed.shape, feed.dtype, name=f"argument_{position}")


def _used_nodes(graph_def: Any) -> set[str]:
    """Nodes whose outputs some node takes: import_graph_def refuses an input_map entry that nothing uses."""
    return {graph_index.parse_tensor_name(text).node for node in graph_def.node for text in node.input}


def _without_replaced(graph_def: Any, replaced: Collection[str], wanted: Sequence[str]) -> Any:
    """Drops nodes that arguments and captures replace: a dead VarHandleOp is enough for XLA to refuse a function."""
    kept = {_node(name) for name in wanted}
    kept |= {text[1:] for node in graph_def.node for text in node.input if text.startswith("^")}
    dropped = {_node(name) for name in replaced} - kept
    result = type(graph_def)(versions=graph_def.versions, library=graph_def.library)
    result.node.extend(node for node in graph_def.node if node.name not in dropped)
    return result


def _node(tensor: str) -> str:
    return graph_index.parse_tensor_name(tensor).node


def _op_name(fetch: str) -> str:
    return fetch.removeprefix("^")


def _promise_shape(tensor: tf.Tensor, shape: Any) -> tf.Tensor:
    """Keeps what the TensorInfo says of a shape where inference over the graph says less (hub#808)."""
    if shape is None or tensor.dtype in (tf.resource, tf.variant):
        return tensor
    promised = tf.TensorShape([None if size is None else size for size in shape])
    if not tensor.shape.is_compatible_with(promised):
        return tensor
    merged = tensor.shape.merge_with(promised)
    if merged.rank is None or merged.as_list() == (tensor.shape.as_list() if tensor.shape.rank is not None else None):
        return tensor
    return tf.ensure_shape(tensor, merged)


def import_creator(index: graph_index.GraphIndex, node: str, shared_name: str) -> Callable[[], tf.Tensor]:
    """A function that makes a table's resource, with the attributes (and constants) that TF1 gave it."""
    prepared = prepare.prepare_graph(index, feeds=[], fetches=[f"{node}:0"], where=node)
    graph_def = tables.override_shared_name(prepared.subgraph.graph_def, node, shared_name)
    graph_def = function_library.name_by_content(graph_def)

    def body() -> tf.Tensor:
        (handle,) = tf.import_graph_def(graph_def, return_elements=[f"{node}:0"], name="")
        return handle

    traced = tf.compat.v1.wrap_function(body, [])
    return lambda: traced()


class LoadFunction:
    """A function that runs ops which TF1 runs on loading.

    Traced on demand: the state that it touches may be made only after itself.
    """

    def __init__(self, trace: Callable[[], Any]) -> None:
        self._trace = trace
        self._traced: Any = None

    def trace(self) -> None:
        if self._traced is None:
            self._traced = self._trace()

    @property
    def touched(self) -> set[int]:
        """ids of the eager tensors (handles of variables and tables) that it captures."""
        self.trace()
        return {id(outer) for outer, _ in self._traced.graph.captures}

    def __call__(self) -> None:
        self.trace()
        self._traced()
