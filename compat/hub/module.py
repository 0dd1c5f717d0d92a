"""hub.Module: a piece of graph with variables, taken from a ModuleSpec and applied any number of times."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from compat.hub import advice, module_spec, registry, tensor_info, variables


def as_module_spec(spec: Any) -> module_spec.ModuleSpec:
    """A ModuleSpec as it stands, or the one behind a handle.

    Raises:
      ValueError: `spec` is neither a ModuleSpec nor a string.
    """
    if isinstance(spec, module_spec.ModuleSpec):
        return spec
    if isinstance(spec, str):
        return _load_spec(spec)
    raise ValueError(f"Unknown module spec type: {type(spec)!r}")


def load_module_spec(path: str) -> module_spec.ModuleSpec:
    """Loads the spec of a module.

    Args:
      path: a handle that `hub.resolve` takes; what it names is a TF1 Hub module, or a model that this toolkit
        migrated from one.

    Raises:
      ValueError: the module's definition holds something unknown.
      OSError, tf.errors.OpError: files are missing or cannot be read.
    """
    advice.advise("load_module_spec")
    return _load_spec(path)


def _load_spec(handle: str) -> module_spec.ModuleSpec:
    spec: module_spec.ModuleSpec = registry.loader(registry.resolver(tf.compat.as_str_any(handle)))
    return spec


class Module:
    """An instance of a module in the default graph.

    Making it adds the module's state below an unused variable scope: GLOBAL_VARIABLES, MODEL_VARIABLES,
    TABLE_INITIALIZERS, ASSET_FILEPATHS; with `trainable`, TRAINABLE_VARIABLES and REGULARIZATION_LOSSES, too.
    Each call adds the ops of one signature; with `trainable`, its UPDATE_OPS. All calls share the state.
    """

    def __init__(
        self, spec: Any, trainable: bool = False, name: str = "module", tags: Iterable[str] | None = None
    ) -> None:
        """Makes the state.

        Args:
          spec: ModuleSpec, or a handle for `load_module_spec`.
          trainable: whether the module takes part in training.
          name: variable scope; made unique, and the name scope of that name must be free.
          tags: of the graph variant.

        Raises:
          RuntimeError: the name scope is taken, or eager execution is on.
          ValueError: there is no such graph variant.
          tf.errors.NotFoundError: the graph has an op that this TensorFlow lacks.
        """
        advice.advise("Module")
        if tf.executing_eagerly():
            raise RuntimeError(
                "hub.Module builds graphs, and eager execution is enabled: use it inside "
                "`with tf.Graph().as_default():`, or call tf.compat.v1.disable_eager_execution() at start."
            )
        self._graph = tf.compat.v1.get_default_graph()
        self._spec = as_module_spec(spec)
        self._trainable = trainable
        self._tags = set(tags or ())
        known = list(self._spec.get_tags())
        if self._tags not in known:
            shown = sorted(self._tags) if tags else tags
            raise ValueError(f"No such graph variant: tags={shown!r}. There are: {[sorted(t) for t in known]}")
        state_scope = _try_get_state_scope(name, mark_name_scope_used=False)
        parent, _, self._name = state_scope.rstrip("/").rpartition("/")
        with tf.compat.v1.name_scope(f"{parent}/" if parent else ""):
            self._impl = self._spec._create_impl(name=self._name, trainable=trainable, tags=self._tags)

    def __call__(
        self, inputs: Any = None, _sentinel: None = None, signature: str | None = None, as_dict: bool | None = None
    ) -> Any:
        """Applies a signature.

        Args:
          inputs: dict of values; a bare value where the signature has one input; None where it has none.
          _sentinel: ignored; the further arguments are meant to be named.
          signature: None: "default".
          as_dict: whether to return all outputs by key; else the one keyed "default".

        Raises:
          TypeError: the inputs do not fit the signature, or it has no output "default".
          RuntimeError: the default graph is neither the module's nor a body of control flow inside it.
          ValueError: there is no such signature, or it takes or returns a kind of tensor that is not supported.
        """
        if not _is_inside(tf.compat.v1.get_default_graph(), self._graph):
            raise RuntimeError("Module must be applied in the graph it was instantiated for.")
        signature = self._impl.get_signature_name(signature)
        # A signature's key may hold ":", a scope's name may not.
        name = f"{self._name}_apply_{signature.replace(':', '_')}"
        input_infos = self._spec.get_input_info_dict(signature, self._tags)
        output_infos = self._spec.get_output_info_dict(signature, self._tags)
        _check_supported_types(input_infos, signature, "input")
        _check_supported_types(output_infos, signature, "output")
        tensors = _convert_dict_inputs(inputs, input_infos)
        outputs = self._impl.create_apply_graph(signature=signature, input_tensors=tensors, name=name)
        return _prepare_outputs(outputs, as_dict)

    def get_signature_names(self) -> Iterable[str]:
        return self._spec.get_signature_names(tags=self._tags)

    def get_input_info_dict(self, signature: str | None = None) -> dict[str, Any]:
        """See ModuleSpec.get_input_info_dict."""
        return self._spec.get_input_info_dict(signature=signature, tags=self._tags)

    def get_output_info_dict(self, signature: str | None = None) -> dict[str, Any]:
        """See ModuleSpec.get_output_info_dict."""
        return self._spec.get_output_info_dict(signature=signature, tags=self._tags)

    def get_attached_message(self, key: str, message_type: Any, required: bool = False) -> Any:
        """See ModuleSpec.get_attached_message."""
        return self._spec.get_attached_message(key, message_type, tags=self._tags, required=required)

    def export(self, path: str, session: Any) -> None:
        """Writes the module as its spec defines it, with the session's values of the variables.

        Raises:
          RuntimeError: the default graph or the session's graph is not the module's.
        """
        advice.advise("Module.export")
        if self._graph is not tf.compat.v1.get_default_graph():
            raise RuntimeError("default graph differs from the graph where the module was instantiated.")
        if self._graph is not session.graph:
            raise RuntimeError("session graph differs from the graph where the module was instantiated.")
        self._impl.export(path, session)

    @property
    def variable_map(self) -> dict[str, Any]:
        """Variable name inside the module -> variable, or list of variables where it is partitioned.

        The names do not depend on where the module was instantiated.
        """
        return self._impl.variable_map

    @property
    def variables(self) -> list[Any]:
        """All variables, by name."""
        return variables.flatten_variable_map(self.variable_map)


@contextlib.contextmanager
def eval_function_for_module(spec: Any, tags: Iterable[str] | None = None) -> Iterator[Callable[..., Any]]:
    """Yields a function with the arguments of `Module.__call__` that takes and returns values, not tensors.

    The module lives in a graph and a session of its own, which end with the context. All signatures are built.

    Args:
      spec: ModuleSpec, or a handle for `load_module_spec`.
      tags: of the graph variant.

    Raises:
      ValueError: there is no such graph variant.
    """
    advice.advise("eval_function_for_module", stacklevel=4)
    outer = tf.compat.v1.get_default_graph()
    with tf.Graph().as_default():
        instance = Module(spec, tags=tags)
        fed: dict[str, dict[str, Any]] = {}
        fetched: dict[str, dict[str, Any]] = {}
        for signature in instance.get_signature_names():
            # Inputs of two signatures can bear the same name; a scope cannot hold ":".
            with tf.compat.v1.variable_scope(signature.replace(":", "_")):
                infos = instance.get_input_info_dict(signature)
                fed[signature] = {key: _make_placeholder(info, key) for key, info in infos.items()}
                fetched[signature] = instance(fed[signature], signature=signature, as_dict=True)
        with tf.compat.v1.train.SingularMonitoredSession() as session:

            def evaluate(
                inputs: Any = None, _sentinel: None = None, signature: str | None = None, as_dict: bool | None = None
            ) -> Any:
                """Applies a signature to values."""
                key = signature or "default"
                values = _prepare_dict_inputs(inputs, fed[key])
                outputs = _prepare_outputs(fetched[key], as_dict)
                return session.run(outputs, {fed[key][name]: value for name, value in values.items()})

            with outer.as_default():
                yield evaluate


def _is_inside(graph: Any, outer: Any) -> bool:
    """Whether `graph` is `outer`, or the graph of a function that is being built inside it."""
    while graph is not None and graph is not outer:
        graph = getattr(graph, "outer_graph", None)
    return graph is not None


def _try_get_state_scope(name: str, mark_name_scope_used: bool = True) -> str:
    """Finds a fresh variable scope whose name scope is free, and marks it as used.

    Variable scopes and name scopes can be out of step (a re-entered scope, a name scope without variables). A
    module needs one name for both, because the names of its variables are the names of its ops.

    Returns:
      The absolute scope with a slash at its end.

    Raises:
      RuntimeError: the name scope of the fresh variable scope is taken.
    """
    outer = tf.compat.v1.get_variable_scope().name
    with tf.compat.v1.name_scope(f"{outer}/" if outer else ""):
        with tf.compat.v1.variable_scope(None, default_name=name, auxiliary_name_scope=False) as scope:
            found = f"{scope.name}/"
        free = tf.compat.v1.get_default_graph().unique_name(name, mark_name_scope_used)
    if f"{free}/" != found:
        raise RuntimeError(f"variable_scope {found} was unused but the corresponding name_scope was already taken.")
    return found


def _check_supported_types(infos: Mapping[str, Any], signature: str, side: str) -> None:
    for key, info in sorted(infos.items()):
        if not info.is_supported_type:
            raise ValueError(
                f"Signature {signature!r} expects a {info.type_spec.value_type.__name__} for {side} {key!r}, which is "
                "not supported by this version of tensorflow_hub."
            )


def _prepare_dict_inputs(inputs: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a call by key.

    Raises:
      TypeError: keys are missing or unknown, or a bare value stands for several inputs or for none.
    """
    if inputs is None:
        by_key = {}
    elif isinstance(inputs, dict):
        by_key = inputs
    elif not infos:
        raise TypeError("Signature expects no inputs.")
    elif len(infos) > 1:
        raise TypeError("Signature expects multiple inputs. Use a dict.")
    else:
        by_key = {next(iter(infos)): inputs}
    missing, extra = sorted(set(infos) - set(by_key)), sorted(set(by_key) - set(infos))
    if missing or extra:
        raise TypeError(f"Cannot convert dict_inputs: missing {missing!r}, extra given {extra!r}")
    return by_key


def _convert_dict_inputs(inputs: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    return tensor_info.convert_dict_to_compatible_tensor(_prepare_dict_inputs(inputs, infos), infos)


def _prepare_outputs(outputs: dict[str, Any], as_dict: bool | None) -> Any:
    """What a call returns.

    Raises:
      TypeError: one output is asked for, and none is keyed "default".
    """
    if as_dict:
        return outputs
    if "default" not in outputs:
        raise TypeError("There is no output named 'default'. Use as_dict=True.")
    return outputs["default"]


def _make_placeholder(info: Any, name: str) -> Any:
    if info.is_sparse:
        shape = info.get_shape()
        # sparse_placeholder takes an unknown rank as None only.
        return tf.compat.v1.sparse_placeholder(info.dtype, None if shape.rank is None else shape.as_list(), name)
    specs = tf.nest.flatten(info.type_spec, expand_composites=True)
    names = [name] if len(specs) == 1 else [f"{name}.component_{number}" for number in range(len(specs))]
    tensors = [tf.compat.v1.placeholder(s.dtype, s.shape, n) for s, n in zip(specs, names, strict=True)]
    return tf.nest.pack_sequence_as(info.type_spec, tensors, expand_composites=True)
