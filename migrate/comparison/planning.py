"""Which calls are made: the job that reads both models' files, pairs their signatures and lays out the inputs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from migrate import errors, readers
from migrate.comparison import naming
from migrate.comparison.batches import plan_training
from migrate.comparison.naming import Reading
from migrate.comparison.plan import Plan, PlanRequest, SideRequest
from migrate.comparison.sides import BASELINE_CALLS, CANDIDATE_CALLS, RECORDED
from migrate.graph import index as graph_index
from migrate.graph import races, randomness
from migrate.inputs import given, recorded
from migrate.inputs.calls import Call, save_calls
from migrate.inputs.cases import is_venture
from migrate.inputs.preview import preview_calls
from migrate.inputs.synthesis import synthesize_cases
from migrate.model import GraphVariant, Signature
from migrate.verdict import EMPTY_BATCH
from migrate.verify.judging.interface import explain_impossible, is_training, match_signatures
from migrate.verify.planning import share_tensors
from migrate.verify.runners.servable import TRAINING_TAGS
from migrate.verify.runners.side import MIGRATED, SERVING, SESSION
from migrate.verify.signature_defs import describe_migrated, describe_signature, describe_variants, read_variants
from migrate.write import provenance

_MOST_GRADIENT_CALLS = 4
_MOST_REWEIGHED = 2
_NOT_ORDINARY = frozenset({EMPTY_BATCH, "defaults_omitted", "unusual", "nonfinite"})


def plan(request: PlanRequest) -> Plan:
    """Job: writes `work`/calls and `work`/calls_candidate, and says what else is run and compared."""
    for path in request.op_library:
        tf.load_op_library(path)
    baseline, candidate = _read_both(request)
    baseline, candidate, names, notes = naming.adopt_names(
        request.baseline.kind, request.candidate.kind, baseline, candidate
    )
    chosen = [entry for entry in baseline.signatures if _is_chosen(entry, request)]
    absent = sorted(set(request.signatures) - {entry["signature"] for entry in baseline.signatures})
    if absent:
        known = ", ".join(sorted({entry["signature"] for entry in baseline.signatures}))
        raise errors.UsageError(f"no signature {', '.join(absent)}", where="--signatures", hint=f"it has: {known}")
    calls = _lay_out_calls(request, baseline, candidate, chosen)
    pairs = match_signatures(chosen, candidate.signatures)
    left_out = [
        f"{','.join(old['tags']) or '(no tags)'}/{old['signature']}: {new['left_out']}"
        for old, new in pairs
        if new is not None and "left_out" in new
    ]
    stands = {(tuple(o["tags"]), o["signature"]): n for o, n in pairs if n is not None and "left_out" not in n}
    impossible = {}
    for old, new in pairs:
        if new is not None and "left_out" not in new and (reason := explain_impossible(old, new)):
            impossible[tuple(old["tags"]), old["signature"]] = reason
    left_out += [
        f"{','.join(tags) or '(no tags)'}/{key}: no call is made, the interfaces do not allow one: {reason}"
        for (tags, key), reason in impossible.items()
    ]
    planned = [
        call
        for call in calls
        if (call.tags, call.signature) in stands and (call.tags, call.signature) not in impossible
    ]
    answering = []
    for call in planned:
        other = stands[call.tags, call.signature]
        same = dataclasses.replace(call, tags=tuple(other["tags"]), signature=other["signature"], answers=call.id)
        answering.append(same)
    for name, listed in ((BASELINE_CALLS, planned), (CANDIDATE_CALLS, answering)):
        os.makedirs(os.path.join(request.work, name))
        save_calls(os.path.join(request.work, name), listed)
    random = sorted({*_find_random(baseline, planned), *_find_random(candidate, answering)})
    racy = _find_racy(baseline, planned) if request.baseline.kind == SESSION else []
    deep = request.level in ("training", "gradients", "trajectory")
    return Plan(
        random=tuple(random),
        racy=tuple(racy),
        not_compared=tuple(left_out),
        inputs=preview_calls(planned),
        loss_tags=(baseline.training_tags or (), candidate.training_tags or ()) if deep else None,
        update_call=_find_update_call(baseline, candidate, planned) if deep else "",
        gradient_calls=_choose_gradient_calls(request, planned, random),
        reweigh_calls=_choose_reweighed(request, planned, [*random, *racy]) if deep else (),
        training=plan_training(baseline, planned) if request.level == "trajectory" else None,
        outputs=tuple(_list_outputs(baseline, candidate, request)),
        answers={dataclasses.replace(call, answers="").id: call.id for call in answering},
        known=(tuple(baseline.signatures), tuple(candidate.signatures)),
        names=names,
        notes=tuple(notes),
    )


def _is_chosen(entry: Mapping[str, Any], request: PlanRequest) -> bool:
    return not request.signatures or entry["signature"] in request.signatures


def _read_both(request: PlanRequest) -> tuple[Reading, Reading]:
    """A recording leaves open what the other side settles, so the model is read first."""
    models = [None if side.kind == RECORDED else _read_model(side, request.work) for side in request.sides]
    known = next(reading for reading in models if reading is not None)
    baseline, candidate = (
        _read_recording(side, known) if reading is None else reading
        for side, reading in zip(request.sides, models, strict=True)
    )
    return baseline, candidate


def _read_recording(side: SideRequest, known: Reading) -> Reading:
    signatures = recorded.describe_recording(recorded.load_recording(side.path), known.signatures)
    return Reading(signatures=signatures, graphs=known.graphs)


def _read_model(side: SideRequest, scratch: str) -> Reading:
    path = side.path
    if side.kind == SESSION:
        variants: Sequence[GraphVariant] = readers.read_model(path, side.read.of_original, scratch).variants
        graphs = {(v.tags, key): (v, s) for v in variants for key, s in v.signatures.items()}
        tag_sets = [variant.tags for variant in variants]
        return Reading(signatures=describe_variants(variants), graphs=graphs, training_tags=_choose_deciding(tag_sets))
    variants = read_variants(path)
    if side.kind == MIGRATED:
        record = provenance.read_record(path)
        assert record is not None, "the subject was found to be migrated"
        definitions = {s.key: (v, s) for v in variants for s in v.signatures.values()}
        graphs = {
            (tuple(mode["tags"]), piece["signature"]): definitions[piece["signature_def"]]
            for piece in record["pieces"]
            for mode in piece["modes"]
            if piece["signature_def"] in definitions
        }
        tag_sets = [tuple(mode["tags"]) for piece in record["pieces"] for mode in piece["modes"]]
        later = [(tuple(m["tags"]), piece["signature"]) for piece in record["pieces"] for m in piece["modes"][1:]]
        return Reading(
            signatures=describe_migrated(path, record),
            graphs=graphs,
            training_tags=_choose_deciding(tag_sets),
            unseen=frozenset(later),
            moving=frozenset(
                (tuple(piece["modes"][-1]["tags"]), piece["signature"])
                for piece in record["pieces"]
                if piece["has_training"]
            ),
        )
    graphs = {(v.tags, key): (v, s) for v in variants for key, s in v.signatures.items()}
    entries = [describe_signature(v.tags, s) for v in variants for s in v.signatures.values()]
    trained = next((found for (_, key), found in graphs.items() if key == side.training), None)
    if trained is None:
        return Reading(signatures=entries, graphs=graphs, training_tags=("serve",))
    # Callable, but no SignatureDef: it takes and gives what the signature does.
    place = TRAINING_TAGS, side.training
    callable_only = {"tags": list(place[0]), "signature": place[1], "method": "", "inputs": None, "outputs": None}
    return Reading(
        signatures=[*entries, callable_only],
        graphs=graphs | {place: trained},
        training_tags=TRAINING_TAGS,
        unseen=frozenset([place]),
    )


def _choose_deciding(tag_sets: Sequence[tuple[str, ...]]) -> tuple[str, ...] | None:
    """The tag set whose collections count: the smallest for training, else the one that serves."""
    training = sorted((tags for tags in tag_sets if "train" in tags), key=lambda tags: (len(tags), tags))
    serving = [tags for tags in ((), ("serve",)) if tags in tag_sets]
    return next(iter((*training, *serving, *tag_sets)), None)


def _lay_out_calls(
    request: PlanRequest, baseline: Reading, candidate: Reading, chosen: Sequence[Mapping[str, Any]]
) -> list[Call]:
    if request.level == "interface":
        return []
    entries = list(chosen)
    if request.level == "inference" and not all(is_training(entry) for entry in entries):
        entries = [entry for entry in entries if not is_training(entry)]
    recorded = next((side for side in request.sides if side.kind == RECORDED), None)
    offers = given.read_offers(request.inputs, entries, request.folder) if request.inputs else []
    if recorded is not None:
        return _recorded_calls(recorded.path, baseline, candidate, offers, entries)
    if offers:
        return _offered_calls(offers, baseline, entries, request.inputs)
    calls: list[Call] = []
    for entry in entries:
        place = tuple(entry["tags"]), entry["signature"]
        variant, signature = baseline.graphs[place]
        calls.extend(
            Call(tags=place[0], signature=place[1], case=case.name, inputs=share_tensors(signature, case))
            for case in synthesize_cases(
                variant,
                signature,
                seed=request.seed,
                batch_sizes=request.batch_sizes,
                nonfinite=request.nonfinite,
            )
        )
    return calls


def _recorded_calls(
    path: str,
    baseline: Reading,
    candidate: Reading,
    offers: Sequence[given.Offer],
    entries: Sequence[Mapping[str, Any]],
) -> list[Call]:
    """The calls that a recording answers, with the inputs that were given for them."""
    wanted = {(tuple(entry["tags"]), entry["signature"]) for entry in entries}
    # Which side is the model: it says what the recording's keys leave open.
    tells = any(entry["outputs"] is not None for entry in candidate.signatures)
    known = candidate.signatures if tells else baseline.signatures
    graphs = baseline.graphs
    calls, lost = [], []
    for _, call in recorded.list_calls(recorded.load_recording(path), known):
        if (call.tags, call.signature) not in wanted:
            continue
        offer = next((o for o in offers if o.place.case == call.case and o.place.fits(call.tags, call.signature)), None)
        place = _find_place(graphs, call.tags, call.signature)
        needs = place is not None and any(t.default is None for t in graphs[place][1].inputs.values())
        if offer is None and needs:
            lost.append(call.id)
            continue
        values = _fit_offer(offer, graphs[place][1], call.id) if offer and place else {}
        calls.append(dataclasses.replace(call, inputs=values or {}))
    if lost and not calls:
        raise errors.UsageError(
            f"there are no inputs for the recorded calls: {', '.join(lost[:3])}",
            where="--inputs",
            hint="give the inputs that the recording was made with",
        )
    return calls


def _find_place(graphs: Mapping[Any, Any], tags: tuple[str, ...], signature: str) -> Any:
    exact = (tags, signature)
    return exact if exact in graphs else next((place for place in graphs if place[1] == signature), None)


def _offered_calls(
    offers: Sequence[given.Offer], baseline: Reading, entries: Sequence[Mapping[str, Any]], where: str
) -> list[Call]:
    calls: list[Call] = []
    used: set[int] = set()
    for entry in entries:
        tags, key = tuple(entry["tags"]), entry["signature"]
        signature = baseline.graphs[tags, key][1]
        for position, offer in enumerate(offers):
            if not offer.place.fits(tags, key):
                continue
            values = _fit_offer(offer, signature, where)
            if values is not None:
                used.add(position)
                calls.append(Call(tags=tags, signature=key, case=offer.place.case, inputs=values))
        if not signature.inputs and not any(call.tags == tags and call.signature == key for call in calls):
            calls.append(Call(tags=tags, signature=key, case="no_inputs", inputs={}))
    unused = [offer for position, offer in enumerate(offers) if position not in used]
    if unused and not used:
        raise errors.UsageError(
            f"no signature takes these inputs: {', '.join(map(repr, unused[0].values)) or 'none'}",
            where=where,
            hint="signatures take: "
            + "; ".join(f"{e['signature']}({', '.join(e['inputs'] or {})})" for e in entries[:5]),
        )
    return calls


def _fit_offer(offer: given.Offer, signature: Signature, where: str) -> dict[str, Any] | None:
    """The offer as this signature's inputs; None where it is for another one."""
    required = [key for key, tensor in signature.inputs.items() if tensor.default is None]
    values = dict(offer.values)
    if offer.key_open:
        strings = [key for key in required if signature.inputs[key].dtype == "string"]
        if len(required) != 1 or (not offer.loose and not strings):
            return None
        values = {required[0]: values[""]}
    if set(values) - set(signature.inputs) or set(required) - set(values):
        return None
    if offer.loose:
        values = {key: given.cast_value(v, signature.inputs[key].dtype, f"{where}[{key}]") for key, v in values.items()}
    return values


def _find_random(side: Reading, calls: Sequence[Call]) -> list[tuple[str, str]]:
    """(tags/signature as the baseline spells it, output key) of outputs that a generator reaches."""
    found: list[tuple[str, str]] = []
    seen = set()
    for call in calls:
        place = call.tags, call.signature
        if place in seen or place not in side.graphs:
            continue
        seen.add(place)
        variant, signature = side.graphs[place]
        label = call.id.rpartition("/")[0]
        if place in side.unseen:
            found.extend((label, key) for key in signature.outputs)
            continue
        index = graph_index.GraphIndex(variant.graph_def)
        feeds = [name for tensor in signature.inputs.values() for name in tensor.tensor_names]
        drawn = randomness.find_random_nodes(index, feeds)
        found.extend(
            (label, key)
            for key, tensor in signature.outputs.items()
            if randomness.is_among(drawn, tensor.tensor_names, feeds)
        )
    return found


def _find_racy(side: Reading, calls: Sequence[Call]) -> list[tuple[str, str]]:
    """(tags/signature, output key) of outputs that a TF1 session computes before or after a write, as it happens."""
    found: list[tuple[str, str]] = []
    for place, label in {(call.tags, call.signature): call.id.rpartition("/")[0] for call in calls}.items():
        if place in side.graphs:
            variant, signature = side.graphs[place]
            outputs = {key: tensor.tensor_names for key, tensor in signature.outputs.items()}
            racing = races.find_racing_outputs(graph_index.GraphIndex(variant.graph_def), outputs)
            found.extend((label, key) for key in sorted(racing))
    return found


def _find_update_call(baseline: Reading, candidate: Reading, planned: Sequence[Call]) -> str:
    """The first call of the variant that trains, or of one that serves and whose update ops run when it trains."""
    ordinary = [call for call in planned if call.tags == baseline.training_tags and call.case != EMPTY_BATCH]
    places = candidate.moving
    return next((c.id for c in ordinary if "train" in c.tags or (c.tags, c.signature) in places), "")


def _choose_gradient_calls(
    request: PlanRequest, planned: Sequence[Call], random: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    """The first calls of each signature with rows, one for each number of them.

    A call that draws at random is among them where both sides can draw the same.
    """
    if request.level not in ("gradients", "trajectory"):
        return ()
    can_share = request.baseline.kind in (SESSION, SERVING) and request.candidate.kind in (MIGRATED, SERVING)
    drawn = set() if can_share else {label for label, _ in random}
    chosen: dict[str, list[str]] = {}
    for call in planned:
        label = call.id.rpartition("/")[0]
        if label not in drawn and call.case not in ("defaults_omitted", EMPTY_BATCH):
            chosen.setdefault(label, []).append(call.id)
    return tuple(call for calls in chosen.values() for call in calls[:_MOST_GRADIENT_CALLS])


def _choose_reweighed(
    request: PlanRequest, planned: Sequence[Call], uncertain: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    """The last calls with ordinary inputs of each signature whose outputs do not depend on chance."""
    if request.baseline.kind not in (SESSION, MIGRATED) or request.candidate.kind != MIGRATED:
        return ()
    left_out = {label for label, _ in uncertain}
    chosen: dict[str, list[str]] = {}
    for call in planned:
        label = call.id.rpartition("/")[0]
        if label not in left_out and call.case not in _NOT_ORDINARY and not is_venture(call.case):
            chosen.setdefault(label, []).append(call.id)
    return tuple(call for calls in chosen.values() for call in calls[-_MOST_REWEIGHED:])


def _list_outputs(baseline: Reading, candidate: Reading, request: PlanRequest) -> list[tuple[str, str]]:
    """(signature, output key) of everything that may be compared, to tell a mistyped tolerance."""
    found = [
        (entry["signature"], key)
        for entry in (*baseline.signatures, *candidate.signatures)
        for key in entry["outputs"] or ()
    ]
    for side in request.sides:
        if side.kind == RECORDED:
            for place, values in recorded.load_recording(side.path).entries.items():
                found.extend((place.signature or "", key) for key in values)
    return list(dict.fromkeys(found))
