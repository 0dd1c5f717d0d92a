"""One signature as a callable object that obeys the reusable SavedModel interface."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from migrate.graph import index as graph_index
from migrate.graph import prepare
from migrate.model import Encoding, Finding, Signature, SignatureTensor
from migrate.rebuild import encoding
from migrate.rebuild.plan import UPDATE_OPS, PiecePlan, spell_identifier
from migrate.rebuild.state import State
from migrate.rebuild.variant_graph import VariantGraph

DEFAULT_OUTPUT = "default"
_KEYWORDS = frozenset({"inputs", "training", "return_endpoints", "self"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphCall:
    """A signature in one mode, prepared: arguments are the feeds, results the outputs, flat and in order."""

    graph: VariantGraph
    signature: Signature
    outputs: Mapping[str, SignatureTensor]
    prepared: prepare.Cut
    targets: tuple[str, ...]

    def trace(self, state: State) -> Any:
        """The concrete function; that of an earlier signature where it is the same."""
        feeds = encoding.make_feeds(self.signature.inputs.values())
        fetches = encoding.fetched_names(self.outputs)
        shapes = [shape for tensor in self.outputs.values() for shape in encoding.component_shapes(tensor)]
        content = (self.graph.variant.tags, tuple(feeds), tuple(fetches), self.targets, tuple(shapes))
        if content not in state.traced:
            state.traced[content] = state.import_function(
                self.graph, self.prepared, feeds, fetches, self.targets, shapes
            )
        return state.traced[content]

    def apply(self, function: Any, values: Mapping[str, Any]) -> dict[str, Any]:
        """Calls the traced function with a value for each input key."""
        components: dict[str, tf.Tensor] = {}
        for key, tensor in self.signature.inputs.items():
            for name, part in zip(tensor.tensor_names, encoding.split_value(tensor, values[key]), strict=True):
                components.setdefault(name, part)
        feeds = encoding.make_feeds(self.signature.inputs.values())
        flat = function(*[components[feed.tensor] for feed in feeds])
        return encoding.join_outputs(self.outputs, tf.nest.flatten(flat))

    def variable_names(self) -> set[str]:
        """Variables that the call can use."""
        return self.graph.find_used_variables(self.prepared.subgraph.graph_def)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """How a signature's inputs become Python parameters.

    Attributes:
      positional: inputs of the first argument: one alone stands bare, several are a dict.
      keywords: parameter name -> input key of optional inputs.
      defaults: input key -> numpy default.
    """

    positional: tuple[str, ...]
    keywords: Mapping[str, str]
    defaults: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedPiece:
    """A planned signature whose graphs are prepared: what it computes is settled, nothing of it is traced.

    Attributes:
      plan: names and modes.
      calls: by (training, with all endpoints).
      layout: of the Python call.
    """

    plan: PiecePlan
    calls: Mapping[tuple[bool, bool], GraphCall]
    layout: Layout

    @property
    def signature(self) -> Signature:
        return self.plan.modes[0].variant.signatures[self.plan.key]

    @property
    def has_training(self) -> bool:
        """Whether the call has the keyword argument."""
        return len(self.plan.modes) > 1

    @property
    def has_endpoints(self) -> bool:
        """Whether the call has `return_endpoints`."""
        return _has_endpoints(self.signature)

    @property
    def racy(self) -> frozenset[str]:
        """Tensors of outputs whose value TF1 left to a race (see graph.prepare)."""
        return frozenset().union(*(call.prepared.racy for call in self.calls.values()))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the passes found."""
        return tuple(dict.fromkeys(finding for call in self.calls.values() for finding in call.prepared.findings))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece(PreparedPiece):
    """A signature with everything that `module` and `write` need of it.

    Attributes:
      call: polymorphic tf.function with all its traces.
      serve: tf.function with one flat tensor for each argument.
      arguments: serving argument names by input key, one for each component.
      variable_names: variables that any trace uses.
    """

    call: Any
    serve: Any
    arguments: Mapping[str, tuple[str, ...]]
    variable_names: frozenset[str]

    @property
    def bare_output(self) -> str:
        """Key of the output that a call returns by itself, "" where it returns a dict."""
        return find_bare_output(self.signature, has_endpoints=self.has_endpoints)


def find_bare_output(signature: Signature, *, has_endpoints: bool) -> str:
    """Of a call without `return_endpoints`: the key of the one output that it returns bare, "" for a dict."""
    if signature.bare and len(signature.outputs) == 1:
        return next(iter(signature.outputs))
    return DEFAULT_OUTPUT if DEFAULT_OUTPUT in signature.outputs and not has_endpoints else ""


def prepare_piece(state: State, graphs: Mapping[tuple[str, ...], VariantGraph], plan: PiecePlan) -> PreparedPiece:
    """Prepares the graphs of one signature in all its modes.

    Raises:
      BlockedError: it needs an op that this TensorFlow lacks, or a placeholder that it does not feed.
    """
    plan = _drop_idle_training(graphs, plan)
    signature = plan.modes[0].variant.signatures[plan.key]
    calls: dict[tuple[bool, bool], GraphCall] = {}
    for mode in plan.modes:
        for endpoints in (False, True) if _has_endpoints(signature) else (True,):
            calls[mode.training, endpoints] = _prepare_call(
                state, graphs[mode.variant.tags], plan.key, endpoints, training=mode.training
            )
    for call in calls.values():
        # Tables and assets are made now: what they lack is known before anyone counts on this signature.
        state.captures(call.graph, [node.name for node in call.prepared.subgraph.graph_def.node])
    layout = _plan_layout(state, graphs[plan.modes[0].variant.tags], signature)
    return PreparedPiece(plan=plan, calls=calls, layout=layout)


def trace_piece(state: State, prepared: PreparedPiece) -> Piece:
    """Rebuilds a prepared signature in all its modes."""
    calls, first = prepared.calls, prepared.plan.modes[0].training
    traced = {key: call.trace(state) for key, call in calls.items()}
    arguments = _name_arguments(prepared.signature)
    return Piece(
        plan=prepared.plan,
        calls=calls,
        layout=prepared.layout,
        call=_build_call(prepared, traced),
        serve=_build_serve(calls[first, True], traced[first, True], arguments, prepared.layout),
        arguments=arguments,
        variable_names=frozenset().union(*(call.variable_names() for call in calls.values())),
    )


def _has_endpoints(signature: Signature) -> bool:
    return DEFAULT_OUTPUT in signature.outputs and len(signature.outputs) > 1


def _drop_idle_training(graphs: Mapping[tuple[str, ...], VariantGraph], plan: PiecePlan) -> PiecePlan:
    """The plan without a training mode that changes nothing: the same graph, and no update op for this signature."""
    if len(plan.modes) < 2 or plan.modes[0].variant is not plan.modes[1].variant:
        return plan
    variant = plan.modes[0].variant
    feeds = [name for tensor in variant.signatures[plan.key].inputs.values() for name in tensor.tensor_names]
    if _find_updates(graphs[variant.tags], feeds):
        return plan
    return dataclasses.replace(plan, modes=plan.modes[:1])


def _prepare_call(state: State, graph: VariantGraph, key: str, endpoints: bool, *, training: bool) -> GraphCall:
    signature = graph.variant.signatures[key]
    where = f"{graph.variant.label}/{key}"
    outputs = (
        dict(signature.outputs)
        if endpoints or DEFAULT_OUTPUT not in signature.outputs
        else {DEFAULT_OUTPUT: signature.outputs[DEFAULT_OUTPUT]}
    )
    feeds = encoding.make_feeds(signature.inputs.values())
    targets = _find_updates(graph, [feed.tensor for feed in feeds]) if training else ()
    fetches = [*dict.fromkeys(encoding.fetched_names(outputs)), *(f"^{op}" for op in targets)]
    prepared = state.prepare(graph, feeds, fetches, where)
    return GraphCall(graph=graph, signature=signature, outputs=outputs, prepared=prepared, targets=targets)


def _find_updates(graph: VariantGraph, feeds: list[str]) -> tuple[str, ...]:
    """UPDATE_OPS that can run with these feeds: others belong to other signatures of the same graph."""
    ops = graph.variant.collections.get(UPDATE_OPS, ())
    names = dict.fromkeys(graph_index.parse_tensor_name(str(op)).node for op in ops)
    unable = prepare.find_unable(graph.index, feeds) if names else set()
    return tuple(name for name in names if name in graph.index.nodes and name not in unable)


def _plan_layout(state: State, graph: VariantGraph, signature: Signature) -> Layout:
    defaults = {
        key: evaluate_default(state, graph, tensor.default)
        for key, tensor in signature.inputs.items()
        if tensor.default is not None and tensor.encoding is Encoding.DENSE
    }
    required = [key for key in signature.inputs if key not in defaults]
    optional = [key for key in signature.inputs if key in defaults]
    if not required and len(optional) > 0:
        # One argument must remain positional: the interface wants inputs first.
        required, optional = optional[:1], optional[1:]
    keywords: dict[str, str] = {}
    for key in optional:
        keywords[spell_identifier(key, _KEYWORDS | set(keywords))] = key
    return Layout(positional=tuple(required), keywords=keywords, defaults=defaults)


def evaluate_default(state: State, graph: VariantGraph, tensor: str) -> Any:
    """The value that a PlaceholderWithDefault has unless it is fed, as numpy."""
    prepared = state.prepare(graph, [], [tensor], tensor)
    function = state.import_function(graph, prepared, [], [tensor])
    state.give_values(function)
    value = tf.nest.flatten(function())[0].numpy()
    # A scalar string comes as bare bytes.
    return np.array(value, dtype=object) if isinstance(value, bytes) else value


def _name_arguments(signature: Signature) -> dict[str, tuple[str, ...]]:
    """Serving argument names: the key where Python can spell it, and tf.function does not take it for its own."""
    taken: set[str] = {"self", "cls"}
    arguments = {}
    for key, tensor in signature.inputs.items():
        names = []
        for suffix in encoding.component_suffixes(tensor):
            names.append(spell_identifier(f"{key}{suffix}", taken))
            taken.add(names[-1])
        arguments[key] = tuple(names)
    return arguments


def _build_call(prepared: PreparedPiece, traced: Mapping[tuple[bool, bool], Any]) -> Any:
    """The polymorphic function. Its parameters depend on the signature, so they are stated by `__signature__`."""
    calls, layout = prepared.calls, prepared.layout
    has_training, has_endpoints = prepared.has_training, prepared.has_endpoints
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = []
    if layout.positional:
        only = layout.positional[0]
        optional = len(layout.positional) == 1 and only in layout.defaults
        default = {"default": tf.constant(layout.defaults[only])} if optional else {}
        parameters.append(inspect.Parameter("inputs", kind, **default))
    if has_training:
        parameters.append(inspect.Parameter("training", kind, default=False))
    if has_endpoints:
        parameters.append(inspect.Parameter("return_endpoints", kind, default=False))
    for name, key in layout.keywords.items():
        parameters.append(inspect.Parameter(name, kind, default=_python_default(layout.defaults[key])))
    signature = inspect.Signature(parameters)
    only_mode = prepared.plan.modes[0].training
    bare = DEFAULT_OUTPUT if has_endpoints else find_bare_output(prepared.signature, has_endpoints=has_endpoints)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        mode = (bool(given["training"]) if has_training else only_mode, bool(given.get("return_endpoints", True)))
        graph_call = calls[mode]
        values = _collect_values(layout, given)
        outputs = graph_call.apply(traced[mode], values)
        if bare and not (has_endpoints and mode[1]):
            return outputs[bare]
        return outputs

    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__name__ = "call"
    function = tf.function(call, autograph=False)
    for training, endpoints in calls:
        specs = _trace_specs(calls[training, endpoints].signature, layout)
        modes = ({"training": training} if has_training else {}) | (
            {"return_endpoints": endpoints} if has_endpoints else {}
        )
        function.get_concrete_function(**specs, **modes)
    return function


def _python_default(value: Any) -> Any:
    """A scalar number as Python knows it (it reads well in help()), everything else as a tensor."""
    if value.ndim == 0 and value.dtype.kind in "fiub":
        return value.item()
    return tf.constant(value)


def _collect_values(layout: Layout, given: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: given[name] for name, key in layout.keywords.items()}
    if len(layout.positional) == 1:
        values[layout.positional[0]] = given["inputs"]
    elif layout.positional:
        values.update({key: given["inputs"][key] for key in layout.positional})
    return values


def _trace_specs(signature: Signature, layout: Layout) -> dict[str, Any]:
    specs: dict[str, Any] = {
        name: encoding.make_spec(signature.inputs[key], name) for name, key in layout.keywords.items()
    }
    if len(layout.positional) == 1:
        specs["inputs"] = encoding.make_spec(signature.inputs[layout.positional[0]], "inputs")
    elif layout.positional:
        taken: set[str] = set()
        spelled = {}
        for key in layout.positional:
            name = spell_identifier(key, taken)
            taken.add(name)
            spelled[key] = encoding.make_spec(signature.inputs[key], name)
        specs["inputs"] = spelled
    return specs


def _build_serve(graph_call: GraphCall, traced: Any, arguments: Mapping[str, tuple[str, ...]], layout: Layout) -> Any:
    """The function behind the SignatureDef: flat tensors in, dict out; optional arguments last."""
    inputs = graph_call.signature.inputs
    order = sorted(inputs, key=lambda key: (key in layout.defaults, key))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters, specs = [], []
    for key in order:
        default = {"default": tf.constant(layout.defaults[key])} if key in layout.defaults else {}
        parts = zip(
            arguments[key],
            encoding.component_dtypes(inputs[key]),
            encoding.component_shapes(inputs[key]),
            strict=True,
        )
        for name, dtype, shape in parts:
            parameters.append(inspect.Parameter(name, kind, **default))
            specs.append(tf.TensorSpec(shape, dtype, name=name))
    signature = inspect.Signature(parameters)

    def serve(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = signature.bind(*args, **kwargs).arguments
        values = {
            key: encoding.join_components(inputs[key], [given[name] for name in arguments[key]]) for key in inputs
        }
        return graph_call.apply(traced, values)

    serve.__signature__ = signature  # type: ignore[attr-defined]
    serve.__name__ = "serve"
    return tf.function(serve, input_signature=specs, autograph=False)
