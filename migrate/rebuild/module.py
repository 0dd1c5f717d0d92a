"""LegacyModel -> Rebuilt: the tf.Module that is saved."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import tensorflow as tf

from migrate import errors, tensorflow_private
from migrate.graph import effects, prepare
from migrate.model import Finding, LegacyModel, Severity
from migrate.options import RebuildOptions
from migrate.readers import checkpoint
from migrate.rebuild import plan
from migrate.rebuild.pieces import Piece, PreparedPiece, prepare_piece, trace_piece
from migrate.rebuild.state import State
from migrate.rebuild.variant_graph import VariantGraph

_LOSSES = "regularization_losses"


class MigratedModule(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
    """The root, and each named piece, of a migrated model (FACTS: the reusable SavedModel interface).

    `variables`, `trainable_variables` and `regularization_losses` are lists set on the instance, exactly what
    TF1's collections say; tf.Module's own properties of these names would collect whatever is tracked.
    """

    variables: Any = ()
    trainable_variables: Any = ()
    non_trainable_variables: Any = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__dict__["__call__"](*args, **kwargs)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rebuilt:
    """A rebuilt model.

    Attributes:
      module: the root object; its variables hold no values yet.
      state: variables, tables, assets.
      graphs: indexed variants by tags.
      pieces: every signature.
      plan: the decisions.
      findings: everything worth knowing.
    """

    module: MigratedModule
    state: State
    graphs: Mapping[tuple[str, ...], VariantGraph]
    pieces: tuple[Piece, ...]
    plan: plan.ModelPlan
    findings: tuple[Finding, ...]

    @property
    def main(self) -> Piece | None:
        """The piece behind the root's `__call__`, None where there is none."""
        return _find_main(self.plan, self.pieces)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedModel:
    """A model whose graphs are prepared: it is settled what its calls compute, nothing is traced.

    Attributes:
      state: variables, tables, assets.
      graphs: indexed variants by tags.
      pieces: every signature that can be rebuilt.
      losses: REGULARIZATION_LOSSES.
      plan: the decisions.
      findings: everything worth knowing so far, but for the signatures' own.
    """

    state: State
    graphs: Mapping[tuple[str, ...], VariantGraph]
    pieces: tuple[PreparedPiece, ...]
    losses: tuple[_PreparedLoss, ...]
    plan: plan.ModelPlan
    findings: tuple[Finding, ...]

    @property
    def main(self) -> PreparedPiece | None:
        """The piece behind the root's `__call__`, None where there is none."""
        return _find_main(self.plan, self.pieces)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _PreparedLoss:
    graph: VariantGraph
    prepared: prepare.Cut
    name: str


_AnyPiece = TypeVar("_AnyPiece", bound=PreparedPiece)


def _find_main(chosen: plan.ModelPlan, pieces: Sequence[_AnyPiece]) -> _AnyPiece | None:
    if chosen.main is None:
        return None
    return next((piece for piece in pieces if piece.plan.serving_key == chosen.main.serving_key), None)


def rebuild_model(
    model: LegacyModel,
    options: RebuildOptions,
    digest: str,
    make_observer: Callable[[str], prepare.Observer] | None = None,
) -> Rebuilt:
    """Rebuilds every signature of every variant: `prepare_model`, then `trace_model`."""
    return trace_model(prepare_model(model, options, digest, make_observer))


def prepare_model(
    model: LegacyModel,
    options: RebuildOptions,
    digest: str,
    make_observer: Callable[[str], prepare.Observer] | None = None,
) -> PreparedModel:
    """Prepares every signature of every variant.

    Args:
      model: what a reader gave.
      options: the user's choices.
      digest: of the source.
      make_observer: gives, for a call, what is shown its graph after each pass.

    Raises:
      BlockedError: signatures need what this TensorFlow lacks; all are named at once.
      UsageError: an option names what the model does not have.
    """
    chosen = plan.plan_model(model, options)
    graphs = {variant.tags: VariantGraph(variant) for variant in model.variants}
    state = State(
        model=model,
        digest=digest,
        trainable=_choose_trainable(model, chosen, options),
        make_observer=make_observer,
        entries=checkpoint.parse_entries(model.checkpoint),
    )
    _make_global_variables(state, graphs, chosen)
    with _traced_as_saved():
        pieces, blocked = _prepare_pieces(state, graphs, chosen, options)
        losses, loss_findings = _prepare_losses(state, graphs[(chosen.training or chosen.inference).tags])
    return PreparedModel(
        state=state,
        graphs=graphs,
        pieces=tuple(pieces),
        losses=tuple(losses),
        plan=chosen,
        findings=(*model.findings, *chosen.findings, *blocked, *loss_findings),
    )


def trace_model(prepared: PreparedModel) -> Rebuilt:
    """Traces what was prepared, and puts it together."""
    state, model = prepared.state, prepared.state.model
    with _traced_as_saved():
        pieces = [trace_piece(state, piece) for piece in prepared.pieces]
        losses = [_trace_loss(state, loss) for loss in prepared.losses]
    main = _find_main(prepared.plan, pieces)
    root = MigratedModule(name="migrated")
    for table in list(state.tables.values()):
        table.trace()
    # What the object graph must hold so that a save finds it: tables and assets are tracked through the root.
    root.tables = list(state.tables.values())
    _attach_tokenization(root, state)
    root.assets = list(state.assets.values())
    everything = list(state.variables)
    if main is not None:
        root.__dict__["__call__"] = main.call
        root.__setattr__("__call__", main.call)
    if model.core and main is not None:
        # A core's parts are found through it, and values through the whole, which has them in the record's order.
        root.whole = MigratedModule(name="whole")
        _fill_interface(root.whole, state, everything, [loss for _, loss in losses])
        _fill_own(root, state, main, losses)
    else:
        _fill_interface(root, state, everything, [loss for _, loss in losses])
    for piece in pieces:
        if piece is not main:
            setattr(root, piece.plan.attribute, _build_sub_object(state, piece, losses))
    return Rebuilt(
        module=root,
        state=state,
        graphs=prepared.graphs,
        pieces=tuple(pieces),
        plan=prepared.plan,
        findings=(
            *prepared.findings,
            *dict.fromkeys(finding for piece in pieces for finding in piece.findings),
            *_layout_findings(pieces),
        ),
    )


def _traced_as_saved() -> contextlib.AbstractContextManager[None]:
    return tensorflow_private.traced_as_saved(tf.saved_model.SaveOptions())


def _attach_tokenization(root: MigratedModule, state: State) -> None:
    """As Model Garden does: an asset, and a variable that is not among those that the model lists."""
    told = state.model.tokenization
    if told.vocab_file:
        if told.vocab_file not in state.assets:
            state.assets[told.vocab_file] = tf.saved_model.Asset(told.vocab_file)
        root.vocab_file = state.assets[told.vocab_file]
    if told.do_lower_case is not None:
        root.do_lower_case = tf.Variable(told.do_lower_case, trainable=False, name="do_lower_case")


def _choose_trainable(model: LegacyModel, chosen: plan.ModelPlan, options: RebuildOptions) -> frozenset[str]:
    """TF1's trainable_variables of the training variant; where there is none, of the inference variant."""
    if options.trainable:
        try:
            pattern = re.compile(options.trainable)
        except re.error as error:
            raise errors.UsageError(f"no regular expression: {error}", where="--trainable") from error
        names = {spec.name for variant in model.variants for spec in variant.variables}
        return frozenset(name for name in names if pattern.search(name))
    variant = chosen.training or chosen.inference
    return frozenset(spec.name for spec in variant.variables if spec.trainable)


def _make_global_variables(
    state: State, graphs: Mapping[tuple[str, ...], VariantGraph], chosen: plan.ModelPlan
) -> None:
    """Variables in TF1's order, those of the training variant first; unused ones of the checkpoint included."""
    for variant in filter(None, (chosen.training, chosen.inference)):
        for spec in variant.variables:
            if spec.checkpoint_key is not None:
                state.find_variable(spec)
    for graph in graphs.values():
        for spec in graph.variant.variables:
            if spec.checkpoint_key is not None:
                state.find_variable(spec)


def _prepare_pieces(
    state: State,
    graphs: Mapping[tuple[str, ...], VariantGraph],
    chosen: plan.ModelPlan,
    options: RebuildOptions,
) -> tuple[list[PreparedPiece], list[Finding]]:
    if not chosen.pieces:
        raise errors.BlockedError(
            "the model has no signatures",
            where=chosen.inference.label,
            hint="name tensors to build one: --signature=KEY(x=in:0)->(y=out:0)",
        )
    ready: list[PreparedPiece] = []
    blocked: dict[str, errors.BlockedError] = {}
    for piece_plan in chosen.pieces:
        try:
            ready.append(prepare_piece(state, graphs, piece_plan))
        except errors.BlockedError as error:
            blocked[piece_plan.serving_key] = error
    serious = {key: e for key, e in blocked.items() if not isinstance(e, errors.UnrunnableError)}
    if blocked and (not ready or (serious and not options.partial)):
        shown = serious or blocked
        left = ", ".join(piece.plan.serving_key for piece in ready)
        raise type(next(iter(shown.values())))(
            "; ".join(dict.fromkeys(error.message for error in shown.values())),
            where=", ".join(f"signature {key}" for key in shown),
            hint=f"--partial migrates the others: {left}" if left else next(iter(shown.values())).hint,
        )
    findings = [
        Finding(
            code="signature-left-out",
            severity=Severity.ERROR if key in serious else Severity.WARNING,
            where=key,
            message=f"left out: {error.message}{'' if key in serious else '; TF1 could not run it either'}",
            hint=error.hint,
        )
        for key, error in blocked.items()
    ]
    return ready, findings


def _prepare_losses(state: State, graph: VariantGraph) -> tuple[list[_PreparedLoss], list[Finding]]:
    """REGULARIZATION_LOSSES, in collection order."""
    losses: list[_PreparedLoss] = []
    findings: list[Finding] = []
    for name in map(str, graph.variant.collections.get(_LOSSES, ())):
        if not graph.index.has_tensor(name):
            continue
        if prepare.find_open_ends(graph.index, [name], []):
            findings.append(
                Finding(
                    code="regularization-loss-needs-input",
                    severity=Severity.WARNING,
                    where=f"{graph.variant.label}/{name}",
                    message="the loss depends on an input, so it cannot be a zero-argument function; it is left out",
                    hint="add it to the training loss by hand",
                )
            )
            continue
        try:
            prepared = state.prepare(graph, [], [name], name)
        except errors.BlockedError as error:
            findings.append(
                Finding(
                    code="regularization-loss-lost",
                    severity=Severity.ERROR,
                    where=name,
                    message=error.message,
                    hint=error.hint,
                )
            )
            continue
        losses.append(_PreparedLoss(graph=graph, prepared=prepared, name=name))
    return losses, findings


def _trace_loss(state: State, loss: _PreparedLoss) -> tuple[set[str], Any]:
    """(variables used, zero-argument tf.function)."""
    traced = state.import_function(loss.graph, loss.prepared, [], [loss.name])
    return loss.graph.find_used_variables(loss.prepared.subgraph.graph_def), _as_loss(traced)


def _as_loss(traced: Any) -> Any:
    def loss() -> tf.Tensor:
        return tf.nest.flatten(traced())[0]

    function = tf.function(loss, input_signature=[], autograph=False)
    function.get_concrete_function()
    return function


def _fill_interface(module: MigratedModule, state: State, names: Sequence[str], losses: Sequence[Any]) -> None:
    module.variables = [state.variables[name] for name in names]
    module.trainable_variables = [state.variables[name] for name in names if state.variables[name].trainable]
    module.non_trainable_variables = [state.variables[name] for name in names if not state.variables[name].trainable]
    if losses:
        module.regularization_losses = list(losses)


def _fill_own(module: MigratedModule, state: State, piece: Piece, losses: Sequence[tuple[set[str], Any]]) -> None:
    """What belongs to a piece: the variables that it uses, and the losses for which they suffice."""
    names = [name for name in state.variables if name in piece.variable_names]
    _fill_interface(module, state, names, [loss for used, loss in losses if used <= piece.variable_names])


def _build_sub_object(state: State, piece: Piece, losses: Sequence[tuple[set[str], Any]]) -> MigratedModule:
    module = MigratedModule(name="piece")
    module.__dict__["__call__"] = piece.call
    module.__setattr__("__call__", piece.call)
    _fill_own(module, state, piece, losses)
    return module


def _layout_findings(built: Sequence[Piece]) -> list[Finding]:
    findings = []
    for piece in built:
        for key, names in piece.arguments.items():
            if len(names) == 1 and names[0] != key:
                findings.append(
                    Finding(
                        code="input-key-renamed",
                        where=f"{piece.plan.serving_key}/{key}",
                        message=f"Python cannot spell the key: `signatures[...]` takes it as {names[0]}; "
                        "the SignatureDef keeps it",
                    )
                )
        tensors: dict[str, str] = {}
        for key, tensor in piece.signature.inputs.items():
            other = tensors.setdefault(tensor.name, key)
            if other != key:
                findings.append(
                    Finding(
                        code="inputs-share-tensor",
                        where=f"{piece.plan.serving_key}/{key}",
                        message=f"feeds the same tensor as {other!r}: the value given for {other!r} counts",
                    )
                )
    return findings


def find_uninitialized(rebuilt: Rebuilt) -> list[str]:
    """Variables without a value in the checkpoint that no op of TF1's loading writes."""
    missing = []
    for name, spec in rebuilt.state.specs.items():
        if spec.checkpoint_key is None:
            holders = [graph for graph in rebuilt.graphs.values() if spec.node in graph.variables]
            if not any(effects.select_writers(graph.index, graph.load_ops, {spec.node}) for graph in holders):
                missing.append(name)
    return missing
