"""Which variant plays which part, and which signature becomes which callable. Pure decisions, no TensorFlow."""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections.abc import Mapping, Sequence

from migrate import errors
from migrate.model import Finding, GraphVariant, LegacyModel, Severity
from migrate.options import RebuildOptions, signature_key

_SERVE, _TRAIN = "serve", "train"
UPDATE_OPS = "update_ops"
_DEFAULT_SIGNATURES = ("default", "serving_default")
# Attributes of the reusable SavedModel interface and of tf.Module: a piece cannot bear such a name.
_RESERVED = frozenset(
    {
        "variables",
        "trainable_variables",
        "non_trainable_variables",
        "regularization_losses",
        "signatures",
        "submodules",
        "name",
        "name_scope",
        "pieces",
        "tables",
        "assets",
        "whole",
        "vocab_file",
        "do_lower_case",
        "with_name_scope",
        "graph_debug_info",
        "tensorflow_version",
        "tensorflow_git_version",
    }
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mode:
    """A variant in which a signature exists, and the `training` value that stands for it."""

    variant: GraphVariant
    training: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PiecePlan:
    """One signature as a callable.

    Attributes:
      key: signature key.
      attribute: name of the sub-object, "" for the root.
      serving_key: key of its SignatureDef in the new SavedModel.
      modes: at most one with training=False, at most one with training=True.
    """

    key: str
    attribute: str
    serving_key: str
    modes: tuple[Mode, ...]

    @property
    def variant_modes(self) -> tuple[Mode, ...]:
        """One mode for each variant: where a variant has two, the training one only adds its update ops."""
        return tuple({mode.variant.tags: mode for mode in reversed(self.modes)}.values())[::-1]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelPlan:
    """The whole model.

    Attributes:
      inference: the variant whose collections count unless there is a training variant.
      training: the variant for training=True, None where the source has none.
      main: the piece that `__call__` applies, None where no signature is the obvious one.
      pieces: every signature, the main one included.
    """

    inference: GraphVariant
    training: GraphVariant | None
    main: PiecePlan | None
    pieces: tuple[PiecePlan, ...]
    findings: tuple[Finding, ...]


def plan_model(model: LegacyModel, options: RebuildOptions) -> ModelPlan:
    """Chooses variants and names pieces.

    Raises:
      UsageError: an option names a tag set or signature that the model does not have.
    """
    by_tags = {variant.tags: variant for variant in model.variants}
    inference = _choose_inference(model, by_tags, options)
    training = _choose_training(by_tags, inference, options)
    findings: list[Finding] = []
    pieces = [
        PiecePlan(key=key, attribute="", serving_key=key, modes=_modes(key, inference, training))
        for key in dict.fromkeys((*inference.signatures, *(training.signatures if training else ())))
    ]
    taken = {piece.serving_key for piece in pieces}
    for variant in model.variants:
        if variant is inference or variant is training:
            continue
        for key in variant.signatures:
            serving_key = _free_name(key, f"{'_'.join(variant.tags)}_{key}", taken)
            taken.add(serving_key)
            if serving_key != key:
                findings.append(_renamed(variant, key, serving_key))
            mode = Mode(variant=variant, training=False)
            pieces.append(PiecePlan(key=key, attribute="", serving_key=serving_key, modes=(mode,)))
    main = _choose_main(pieces, inference, options.signature or model.core, findings)
    named = _name_attributes(pieces, main, findings)
    return ModelPlan(
        inference=inference,
        training=training,
        main=named[pieces.index(main)] if main else None,
        pieces=tuple(named),
        findings=tuple(findings),
    )


def _modes(key: str, inference: GraphVariant, training: GraphVariant | None) -> tuple[Mode, ...]:
    modes = [Mode(variant=inference, training=False)] if key in inference.signatures else []
    if training is None and modes and inference.collections.get(UPDATE_OPS):
        # hub.Module(trainable=True) put them into the caller's collection whatever the tags.
        modes.append(Mode(variant=inference, training=True))
    if training is not None and key in training.signatures:
        modes.append(Mode(variant=training, training=True))
    return tuple(modes)


def _choose_inference(
    model: LegacyModel, by_tags: Mapping[tuple[str, ...], GraphVariant], options: RebuildOptions
) -> GraphVariant:
    if options.inference_tags is not None:
        return _find_tags(by_tags, options.inference_tags, "--inference_tags")
    for tags in ((), (_SERVE,)):
        if tags in by_tags:
            return by_tags[tags]
    candidates = sorted(by_tags, key=lambda tags: (_SERVE not in tags, _TRAIN in tags, len(tags), tags))
    return by_tags[candidates[0]] if candidates else model.variants[0]


def _choose_training(
    by_tags: Mapping[tuple[str, ...], GraphVariant], inference: GraphVariant, options: RebuildOptions
) -> GraphVariant | None:
    if options.training_tags is not None:
        found = _find_tags(by_tags, options.training_tags, "--training_tags")
        return None if found is inference else found
    candidates = sorted(
        (tags for tags in by_tags if _TRAIN in tags and by_tags[tags] is not inference),
        key=lambda tags: (len(tags), tags),
    )
    return by_tags[candidates[0]] if candidates else None


def _find_tags(by_tags: Mapping[tuple[str, ...], GraphVariant], wanted: Sequence[str], flag: str) -> GraphVariant:
    tags = tuple(sorted(wanted))
    if tags not in by_tags:
        present = "; ".join(",".join(t) or "(no tags)" for t in by_tags)
        raise errors.UsageError(
            f"the model has no tag set {','.join(tags) or '(no tags)'!r}", where=flag, hint=f"it has: {present}"
        )
    return by_tags[tags]


def _choose_main(
    pieces: Sequence[PiecePlan], inference: GraphVariant, chosen: str, findings: list[Finding]
) -> PiecePlan | None:
    by_key = {piece.serving_key: piece for piece in reversed(pieces)}
    if chosen:
        wanted = signature_key(chosen)
        if wanted not in by_key:
            raise errors.UsageError(
                f"the model has no signature {wanted!r}",
                where="--signature",
                hint=f"it has: {', '.join(sorted(by_key)) or 'none'}",
            )
        return by_key[wanted]
    for key in _DEFAULT_SIGNATURES:
        if key in by_key:
            return by_key[key]
    if len(pieces) == 1:
        return pieces[0]
    if pieces:
        findings.append(
            Finding(
                code="no-default-signature",
                severity=Severity.WARNING,
                where=inference.label,
                message=f"none of the signatures is a default: {', '.join(sorted(by_key))}; "
                "each is a named piece, the root has no __call__",
                hint="choose one with --signature",
            )
        )
    return None


def _free_name(wanted: str, fallback: str, taken: set[str]) -> str:
    name, count = wanted, 1
    while name in taken:
        name = fallback if count == 1 else f"{fallback}_{count}"
        count += 1
    return name


def _name_attributes(pieces: Sequence[PiecePlan], main: PiecePlan | None, findings: list[Finding]) -> list[PiecePlan]:
    """Attribute names of the sub-objects: the key itself wherever Python can spell it."""
    taken: set[str] = set()
    named = []
    for piece in pieces:
        if piece is main:
            named.append(piece)
            continue
        attribute = spell_identifier(piece.serving_key, taken | _RESERVED)
        taken.add(attribute)
        if attribute != piece.serving_key:
            findings.append(
                Finding(
                    code="piece-renamed",
                    where=piece.serving_key,
                    message=f"Python cannot spell the signature key as an attribute: the piece is .{attribute}",
                )
            )
        named.append(dataclasses.replace(piece, attribute=attribute))
    return named


def spell_identifier(key: str, taken: set[str] | frozenset[str]) -> str:
    """`key` as a Python identifier that is not in `taken`, and that TensorFlow takes as a node name.

    Node names of one graph must differ by more than case.
    """
    used = {other.lower() for other in taken}
    name = re.sub(r"\W", "_", key, flags=re.ASCII)
    if not name[:1].isalpha():
        name = f"key_{name.lstrip('_')}".rstrip("_")
    if keyword.iskeyword(name):
        name += "_"
    candidate, count = name, 1
    while candidate.lower() in used:
        count += 1
        candidate = f"{name}_{count}"
    return candidate


def _renamed(variant: GraphVariant, key: str, serving_key: str) -> Finding:
    return Finding(
        code="signature-key-renamed",
        severity=Severity.WARNING,
        where=f"{variant.label}/{key}",
        message=f"another tag set has a signature of this key too: here it is {serving_key!r}",
        hint="a TF2 SavedModel has one MetaGraph; choose the serving variant with --inference_tags",
    )
