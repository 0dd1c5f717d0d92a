"""Run a v1 graph in a session and its raised form in TF2, and compare outputs and gradients."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf

from migrate.graph.control_flow import raise_control_flow, register_functions
from migrate.model import Finding

v1 = tf.compat.v1
CONTROL_FLOW = {"Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"}
RTOL = 1e-4


@contextlib.contextmanager
def control_flow_v1() -> Iterator[None]:
    """tf.cond and tf.while_loop write Switch, Merge, Enter, ... inside."""
    v1.disable_control_flow_v2()
    try:
        yield
    finally:
        v1.enable_control_flow_v2()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Legacy:
    """What TF1 computes: `gradients` of the sum of all float outputs, None where there is none.

    `variables` are (name, value before the run); `after` are the values after it.
    """

    graph_def: Any
    feeds: tuple[np.ndarray, ...]
    shapes: tuple[Any, ...]
    outputs: list[np.ndarray]
    gradients: list[np.ndarray | None]
    variables: list[tuple[str, np.ndarray]]
    after: list[np.ndarray]


def run_legacy(
    build: Callable[..., Any],
    *feeds: Any,
    shapes: Sequence[Any] | None = None,
    add_shapes: bool = False,
    gradients: bool = True,
    extra: Sequence[str] = (),
) -> Legacy:
    """Build a graph with placeholders x0, x1, ... and outputs y0, y1, ..., and run it as TF1 did.

    Args:
      shapes: static shapes of the placeholders, those of `feeds` where None.
      extra: further nodes that the graph has to keep; it is pruned to the outputs.
      add_shapes: write `_output_shapes` attributes, as SavedModels have them.
    """
    arrays = tuple(np.asarray(feed) for feed in feeds)
    shapes = tuple(array.shape for array in arrays) if shapes is None else tuple(shapes)
    with control_flow_v1(), tf.Graph().as_default() as graph:
        v1.set_random_seed(7)
        inputs = [v1.placeholder(a.dtype, s, name=f"x{k}") for k, (a, s) in enumerate(zip(arrays, shapes, strict=True))]
        made = build(*inputs)
        made = list(made) if isinstance(made, (list, tuple)) else [made]
        outputs = [tf.identity(tensor, name=f"y{k}") for k, tensor in enumerate(made)]
        graph_def = graph.as_graph_def(add_shapes=add_shapes)
        kept = [*(x.op.name for x in inputs), *(y.op.name for y in outputs), *extra]
        graph_def = v1.graph_util.extract_sub_graph(graph_def, kept)
        variables = v1.global_variables()
        sources = [
            *(x for x in inputs if x.dtype.is_floating),
            *(v for v in variables if v.dtype.is_floating),
        ]
        floats = [y for y in outputs if y.dtype.is_floating]
        wanted = tf.gradients(floats, sources) if gradients and floats else [None] * len(sources)
        wanted = [None if g is None else tf.convert_to_tensor(g) for g in wanted]
        present = [g for g in wanted if g is not None]
        init = [v1.global_variables_initializer(), v1.tables_initializer()]
        # Grappler (TF 2.21) breaks some of these graphs: "Retval[0] does not have value".
        config = v1.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        with v1.Session(graph=graph, config=config) as session:
            session.run(init)
            before = session.run(variables)
            fed = dict(zip(inputs, arrays, strict=True))
            values = session.run(outputs, fed)
            after = session.run(variables)
            for variable, value in zip(variables, before, strict=True):
                variable.load(value, session)
            found = iter(session.run(present, fed))
    return Legacy(
        graph_def=graph_def,
        feeds=arrays,
        shapes=shapes,
        outputs=values,
        gradients=[None if g is None else next(found) for g in wanted],
        variables=[(v.op.name, value) for v, value in zip(variables, before, strict=True)],
        after=after,
    )


class Raised(tf.Module):
    """The raised graph as a TF2 module: `f(*inputs)` returns the list of outputs."""

    def __init__(self, legacy: Legacy, graph_def: Any) -> None:
        super().__init__()
        self.weights = [tf.Variable(value, name=name) for name, value in legacy.variables]
        names = [name for name, _ in legacy.variables]
        count = len(legacy.outputs)
        graph_def = _replace_handles(graph_def)
        register_functions(graph_def)

        def apply(*inputs: Any) -> list[Any]:
            graph = v1.get_default_graph()
            present = {node.name for node in graph_def.node}
            waited = {text for node in graph_def.node for text in node.input if text.startswith("^x")}
            mapping = {f"x{k}": tensor for k, tensor in enumerate(inputs)}
            mapping |= {f"^x{k}": tensor for k, tensor in enumerate(inputs) if f"^x{k}" in waited}
            for name, variable in zip(names, self.weights, strict=True):
                if name in present:
                    mapping[name] = graph.capture(variable.handle)
            return tf.import_graph_def(graph_def, mapping, [f"y{k}:0" for k in range(count)], name="")

        specs = [tf.TensorSpec(s, a.dtype) for a, s in zip(legacy.feeds, legacy.shapes, strict=True)]
        self.f = tf.function(apply, input_signature=specs, autograph=False)


def _replace_handles(graph_def: Any) -> Any:
    """Placeholders for the variables' handles: XLA does not take a VarHandleOp, not even an unused one."""
    result = v1.GraphDef()
    result.CopyFrom(graph_def)
    for node in result.node:
        if node.op == "VarHandleOp":
            node.op = "Placeholder"
            node.ClearField("attr")
            node.attr["dtype"].type = tf.resource.as_datatype_enum
    return result


def raise_legacy(legacy: Legacy, *, keep: Sequence[str] = ()) -> tuple[Any, tuple[Finding, ...]]:
    before = legacy.graph_def.SerializeToString(deterministic=True)
    names = [
        *(f"y{k}" for k in range(len(legacy.outputs))),
        *(f"x{k}" for k in range(len(legacy.feeds))),
        *keep,
    ]
    result = raise_control_flow(legacy.graph_def, keep=names)
    assert legacy.graph_def.SerializeToString(deterministic=True) == before, "the source graph was changed"
    return result


def list_control_flow(graph_def: Any) -> list[str]:
    """Names of the v1 control flow nodes in a graph and its functions."""
    nodes = [
        *graph_def.node,
        *(node for function in graph_def.library.function for node in function.node_def),
    ]
    return [node.name for node in nodes if node.op.removeprefix("Ref") in CONTROL_FLOW]


def count_ops(graph_def: Any, *ops: str) -> int:
    nodes = [
        *graph_def.node,
        *(node for function in graph_def.library.function for node in function.node_def),
    ]
    return sum(node.op in ops for node in nodes)


def differentiate(call: Callable[..., Any], legacy: Legacy, variables: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Outputs, and gradients of the sum of all float ones by float inputs, then by float variables."""
    inputs = [tf.constant(feed) for feed in legacy.feeds]
    sources = [x for x in inputs if x.dtype.is_floating] + [v for v in variables if v.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = list(call(*inputs))
        total = tf.add_n([tf.reduce_sum(y) for y in outputs if y.dtype.is_floating] or [tf.constant(0.0)])
    return outputs, tape.gradient(total, sources)


def compare(legacy: Legacy, outputs: Sequence[Any], gradients: Sequence[Any] | None, rtol: float = RTOL) -> None:
    for want, got in zip(legacy.outputs, outputs, strict=True):
        _assert_same(want, got.numpy(), rtol)
    if gradients is None:
        return
    for want, got in zip(legacy.gradients, gradients, strict=True):
        # A gradient that TF1 calls None may be a zero in TF2, and the other way round.
        got = None if got is None else tf.convert_to_tensor(got).numpy()
        if want is None and got is None:
            continue
        want = np.zeros_like(got) if want is None else want
        _assert_same(want, np.zeros_like(want) if got is None else got, rtol)


def _assert_same(want: Any, got: Any, rtol: float) -> None:
    want, got = np.asarray(want), np.asarray(got)
    assert want.shape == got.shape
    if want.dtype.kind == "f":
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * 1e-2)
    else:
        np.testing.assert_array_equal(got, want)


def check(
    build: Callable[..., Any],
    *feeds: Any,
    directory: Any = None,
    gradients: bool = True,
    jit: bool = False,
    stateful: bool = False,
    keep: Sequence[str] = (),
    **options: Any,
) -> Any:
    """Raise what `build` writes; nothing of v1 may be left and nothing may differ. Returns the raised graph.

    Args:
      directory: where to save; the loaded model is then compared as well.
      jit: compare a jit-compiled call, too.
      stateful: compare the variables after one call.
    """
    extra = [name.partition(":")[0] for name in keep]
    legacy = run_legacy(build, *feeds, gradients=gradients, extra=extra, **options)
    assert list_control_flow(legacy.graph_def), "the test's own graph has no v1 control flow"
    graph_def, findings = raise_legacy(legacy, keep=keep)
    assert not findings
    assert not list_control_flow(graph_def)
    module = Raised(legacy, graph_def)
    if stateful:
        compare(legacy, module.f(*legacy.feeds), None)
        for variable, want in zip(module.weights, legacy.after, strict=True):
            _assert_same(want, variable.numpy(), RTOL)
        return graph_def
    _check_callable(module.f, legacy, module.weights, gradients, jit)
    if directory is not None:
        tf.saved_model.save(module, str(directory))
        loaded = tf.saved_model.load(str(directory))
        _check_callable(loaded.f, legacy, loaded.weights, gradients, jit)
    return graph_def


def _check_callable(call: Any, legacy: Legacy, variables: Any, gradients: bool, jit: bool) -> None:
    if not gradients:
        compare(legacy, call(*legacy.feeds), None)
        return
    compare(legacy, *differentiate(call, legacy, variables))
    nested = tf.function(lambda: differentiate(call, legacy, variables))
    compare(legacy, *nested())
    if jit:
        compiled = tf.function(lambda *inputs: call(*inputs), jit_compile=True)
        compare(legacy, compiled(*(tf.constant(feed) for feed in legacy.feeds)), None)
