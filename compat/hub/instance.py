"""One instance of a module: its state graph, made once, and its apply graphs, one for each call.

The module's MetaGraph is imported whole each time. The state import keeps variables, tables and losses; an
apply import is fed with that state and with the call's inputs, and its own state ops become placeholders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from absl import logging
from tensorflow.core.protobuf import meta_graph_pb2

from compat.hub import colocation, module_spec, runnable, stateful, tensor_info, variables
from migrate import tensorflow_private
from migrate.readers import state as migrate_state

_Keys = tf.compat.v1.GraphKeys
_STATE_COLLECTIONS = (
    _Keys.GLOBAL_VARIABLES,
    _Keys.MODEL_VARIABLES,
    _Keys.TABLE_INITIALIZERS,
    _Keys.ASSET_FILEPATHS,
    _Keys.COND_CONTEXT,
    _Keys.WHILE_CONTEXT,
)
_TRAINABLE_STATE_COLLECTIONS = (_Keys.TRAINABLE_VARIABLES, _Keys.REGULARIZATION_LOSSES)
# An application can hold an asset's constant without a table: whoever exports the graph must see it as an asset.
_APPLY_COLLECTIONS = (_Keys.ASSET_FILEPATHS, _Keys.COND_CONTEXT, _Keys.WHILE_CONTEXT)
_TRAINABLE_APPLY_COLLECTIONS = (_Keys.UPDATE_OPS,)


class NativeModuleImpl(module_spec.ModuleImpl):
    """An instance in the graph that is the default when it is made."""

    def __init__(
        self,
        *,
        write_module: Callable[[str, Callable[[str], None]], None],
        meta_graph: Any,
        trainable: bool,
        checkpoint_path: str | None,
        name: str,
    ) -> None:
        """Makes the state graph.

        Args:
          write_module: writes the spec to a path, with the given saver of variables.
          meta_graph: MetaGraphDef; not changed.
          trainable: whether TRAINABLE_VARIABLES, REGULARIZATION_LOSSES and UPDATE_OPS are filled.
          checkpoint_path: where initial values come from, None: the module's own initialisers.
          name: an unused name scope.

        Raises:
          tf.errors.NotFoundError: the graph has an op that this TensorFlow lacks.
        """
        self._graph = tf.compat.v1.get_default_graph()
        self._write_module = write_module
        self._meta_graph = runnable.make_runnable(meta_graph)
        self._trainable = trainable
        stateful.check_ops_registered(op.name for op in self._meta_graph.meta_info_def.stripped_op_list.op)
        # State belongs to no control dependency of the caller. On a TPU it must be outside the replicated function.
        with tf.init_scope() if _is_tpu_function() else tf.control_dependencies(None):
            by_node, self._state_map = self._create_state_graph(name)
            self._variable_map = variables.recover_partitioned_variable_map(by_node)
            if self._variable_map and checkpoint_path:
                tf.compat.v1.train.init_from_checkpoint(checkpoint_path, self._variable_map)
            self._saver = (
                tf.compat.v1.train.Saver(self._variable_map, sharded=True, write_version=tf.compat.v1.train.SaverDef.V2)
                if self._variable_map
                else None
            )

    def _create_state_graph(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        graph = tf.compat.v1.get_default_graph()
        scope = graph.unique_name(name, mark_as_used=False)
        relative = scope.rpartition("/")[2]
        if relative != name:
            raise RuntimeError(f"The name scope of module {name!r} is taken already.")
        collections = _STATE_COLLECTIONS + (_TRAINABLE_STATE_COLLECTIONS if self._trainable else ())
        meta_graph = self._copy_meta_graph(collections)
        stateful.prefix_shared_names(meta_graph.graph_def, scope)
        tf.compat.v1.train.import_meta_graph(meta_graph, input_map={}, import_scope=relative)
        by_name = {variable.name: variable for variable in tf.compat.v1.global_variables()}
        definitions = migrate_state.parse_variable_defs(meta_graph)[_Keys.GLOBAL_VARIABLES]
        names = dict.fromkeys(definition.variable_name for definition in definitions)
        by_node = {key.rpartition(":")[0]: by_name[f"{scope}/{key}"] for key in names}
        state_ops = stateful.list_registered_stateful_ops_without_inputs(meta_graph.graph_def)
        state_map = stateful.map_state(
            meta_graph.graph_def, state_ops, lambda key: graph.get_tensor_by_name(f"{scope}/{key}")
        )
        return by_node, state_map

    def _copy_meta_graph(self, collections: Iterable[str]) -> Any:
        meta_graph = meta_graph_pb2.MetaGraphDef()
        meta_graph.CopyFrom(self._meta_graph)
        for key in set(meta_graph.collection_def) - set(collections):
            del meta_graph.collection_def[key]
        return meta_graph

    def create_apply_graph(self, signature: str, input_tensors: dict[str, Any], name: str) -> dict[str, Any]:
        """See the base class.

        Raises:
          NotImplementedError: on a TPU, where the module has collections that an application must bring along.
          ValueError: colocation constraints contradict each other.
        """
        graph = tf.compat.v1.get_default_graph()
        definition = self._meta_graph.signature_def[signature]
        # A body of TF2's functional control flow is a graph of its own, inside the module's.
        is_body = graph is not self._graph and not _is_tpu_function()
        collections = _APPLY_COLLECTIONS + (_TRAINABLE_APPLY_COLLECTIONS if self._trainable else ())
        meta_graph = self._copy_meta_graph(() if is_body else collections)
        inputs = tensor_info.build_input_map(definition.inputs, input_tensors)
        fed = dict(self._state_map)
        if is_body or _is_tpu_function():
            # Such a function runs all of its ops, assignments too: only what the outputs need may be in it.
            outputs = [name for info in definition.outputs.values() for name in tensor_info.component_names(info)]
            stateful.prune_to_outputs(meta_graph.graph_def, outputs)
            left = {node.name for node in meta_graph.graph_def.node}
            inputs = {key: _capture(graph, tensor) for key, tensor in inputs.items() if _node_of(key) in left}
            fed = {key: _capture(graph, self._read(tensor)) for key, tensor in fed.items() if _node_of(key) in left}
            if meta_graph.collection_def:
                raise NotImplementedError(
                    "Applying modules with collections inside TPU functions is not supported. Collections found: "
                    f"{sorted(meta_graph.collection_def)}"
                )
        elif graph.building_function:
            logging.warning(
                "A TF1 Hub module is applied in the function %s: it is correct only if the function is pruned.",
                graph.name,
            )
        stateful.replace_state_ops(meta_graph.graph_def, fed)
        fed.update(inputs)  # An input wins over state of the same name.
        context = tensorflow_private.find_control_flow_context(graph)
        if context is not None:
            # In the order of names, so that the graph does not depend on the order of a dict.
            fed = {key: context.AddValue(tensor) for key, tensor in sorted(fed.items())}
        scope = graph.unique_name(name, mark_as_used=False)
        stateful.prefix_shared_names(meta_graph.graph_def, scope)
        tf.compat.v1.train.import_meta_graph(meta_graph, input_map=fed, import_scope=scope.rpartition("/")[2])
        colocation.rewrite_colocations(fed, scope)

        def get_tensor(key: str) -> Any:
            # An input that is an output, too, has no copy below the scope.
            return fed[key] if key in fed else graph.get_tensor_by_name(f"{scope}/{key}")

        return tensor_info.build_output_map(definition.outputs, get_tensor)

    def _read(self, tensor: Any) -> Any:
        """What a function can capture of a state tensor: a function takes no references."""
        if not tensor.dtype._is_ref_dtype:
            return tensor
        with self._graph.as_default(), tf.control_dependencies(None):
            return tf.identity(tensor)

    def export(self, path: str, session: Any) -> None:
        def save_variables(prefix: str) -> None:
            if self._saver is not None:
                self._saver.save(session, prefix, write_meta_graph=False, write_state=False)

        self._write_module(path, save_variables)

    @property
    def variable_map(self) -> dict[str, Any]:
        return self._variable_map


def _capture(graph: Any, tensor: Any) -> Any:
    """The tensor inside the function `graph`; the graph of a Defun would capture even a tensor of its own."""
    return tensor if tensor.graph is graph else graph.capture(tensor)


def _node_of(tensor_name: str) -> str:
    return tensor_name.rpartition(":")[0]


def _is_tpu_function() -> bool:
    graph = tf.compat.v1.get_default_graph()
    if not graph.building_function:
        return False
    return type(tensorflow_private.find_control_flow_context(graph)).__name__.endswith("TPUReplicateContext")
