"""What the planned calls reach in the original's graph, and calls that reach more: a session that counts.

The graph is a copy with counters in it (`inputs.reach.counters`); what is compared afterwards runs the graph as it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from migrate.inputs import calls as call_files
from migrate.inputs.calls import Call
from migrate.inputs.preview import preview_calls
from migrate.inputs.reach import counters, goals, search
from migrate.inputs.reach.goals import Probe, Survey
from migrate.model import Signature
from migrate.readers import protos, read_model
from migrate.verdict import EMPTY_BATCH, INPUTS, Coverage
from migrate.verify.runners.altered import write_altered
from migrate.verify.runners.baseline import LoadedVariant, name_parts
from migrate.verify.runners.process import prepare_process
from migrate.verify.runners.request import Explored, ExploreRequest
from migrate.verify.runners.session_state import SessionState
from migrate.verify.runners.side import MIGRATED, SESSION
from migrate.verify.signature_defs import read_variants
from migrate.write import provenance

_MOST_LINES = 40
Place = tuple[tuple[str, ...], str]


def explore(wish: ExploreRequest) -> Explored:
    """Job: adds the calls that reach something new to the folders of calls."""
    prepare_process(wish.op_library)
    tf.compat.v1.disable_eager_execution()
    planned = call_files.load_calls(wish.calls)
    with contextlib.ExitStack() as stack:
        graphs = list(_open_session(wish, planned) if wish.kind == SESSION else _open_saved_model(wish, planned))
        for graph in graphs:
            stack.callback(graph.close)
        by_place = {place: graph for graph in graphs for place in graph.signatures}
        usable = [call for call in planned if (call.tags, call.signature) in by_place]
        offsets, total = {}, 0
        for graph in graphs:
            offsets[id(graph)], total = total, total + graph.count

        def attempt(call: Call) -> set[int] | None:
            graph = by_place[call.tags, call.signature]
            got = graph.attempt(call)
            return None if got is None else {offsets[id(graph)] + number for number in got}

        reachable = {
            place: frozenset(offsets[id(graph)] + number for number in graph.find_goals(place))
            for place, graph in by_place.items()
        }
        constants = tuple(dict.fromkeys(value for graph in graphs for value in graph.constants))
        found = search.search_calls(
            usable,
            reachable,
            attempt,
            constants,
            seed=wish.seed,
            most_calls=search.MOST_CALLS if wish.searches else 0,
        )
        lost = sorted({(c.tags, c.signature) for c in planned} - set(by_place))
        coverage = _describe(graphs, offsets, found, [f"{_label(tags)}/{key}" for tags, key in lost])
    answers = _add_calls(wish, planned, found.calls)
    return Explored(
        coverage=tuple(coverage),
        added=tuple(call.id for call in found.calls),
        attempts=found.attempts,
        answers=answers,
        inputs=preview_calls(found.calls),
    )


def _label(tags: tuple[str, ...]) -> str:
    return ",".join(tags) or "(no tags)"


def _add_calls(wish: ExploreRequest, planned: Sequence[Call], found: Sequence[Call]) -> dict[str, str]:
    """Writes both sides' calls; the candidate's own ids of the new ones -> the baseline's."""
    if not found:
        return {}
    call_files.save_calls(wish.calls, _put_before_empty(planned, found))
    if not wish.answering:
        return {}
    theirs = call_files.load_calls(wish.answering)
    models = {call.id.rpartition("/")[0]: call for call in theirs}
    new, answers = [], {}
    for call in found:
        model = models[call.id.rpartition("/")[0]]
        own = Call(tags=model.tags, signature=model.signature, case=call.case, inputs=call.inputs)
        answers[own.id] = call.id
        new.append(Call(tags=own.tags, signature=own.signature, case=own.case, inputs=own.inputs, answers=call.id))
    call_files.save_calls(wish.answering, _put_before_empty(theirs, new))
    return answers


def _put_before_empty(planned: Sequence[Call], found: Sequence[Call]) -> list[Call]:
    """The order of calls is the same on both sides; what has no rows stays last."""
    empty = [call for call in planned if call.case == EMPTY_BATCH]
    return [*(call for call in planned if call.case != EMPTY_BATCH), *found, *empty]


# --- one graph in a session ------------------------------------------------------------------------------


class _Counted:
    """A graph with counters, loaded.

    Attributes:
      signatures: by place, of the calls that are made.
      label: for people, "" where there is one graph only.
      probes: what is counted; side j of probe i has the number starts[i] + j.
      count: of all sides.
    """

    def __init__(self, signatures: Mapping[Place, Signature], surveys: Mapping[Place, Survey], label: str) -> None:
        self.signatures = signatures
        self.label = label
        merged = {probe: None for survey in surveys.values() for probe in survey.probes}
        self.probes: tuple[Probe, ...] = tuple(merged)
        self.constants = [value for survey in surveys.values() for value in survey.constants]
        self.unmeasured = list(dict.fromkeys(line for survey in surveys.values() for line in survey.unmeasured))
        self.starts: list[int] = []
        self.count = 0
        for probe in self.probes:
            self.starts.append(self.count)
            self.count += len(probe.sides)
        self._places = {place: set(survey.probes) for place, survey in surveys.items()}
        self.refused: set[int] = set()
        self._stack = contextlib.ExitStack()
        self._session: Any = None
        self._feed: Any = None

    def change(self, graph_def: Any) -> Any:
        """The graph with counters."""
        for number, reason in counters.add_counters(graph_def, self.probes).items():
            self.refused.add(number)
            self.unmeasured.append(f"{self.probes[number].place}: {reason}")
        return graph_def

    def start(self, session: Any, graph: Any, feed: Any, stack: contextlib.ExitStack) -> None:
        """Takes the session over; `feed` makes a feed_dict of a call."""
        self._session, self._feed, self._stack = session, feed, stack
        self._graph = graph
        with graph.as_default():
            handles = [
                tf.raw_ops.VarHandleOp(
                    dtype=tf.int64, shape=[len(probe.sides)], shared_name=counters.counter_name(number)
                )
                for number, probe in enumerate(self.probes)
            ]
            zeros = [tf.zeros([len(probe.sides)], tf.int64) for probe in self.probes]
            self._clear = tf.group(
                *(
                    tf.raw_ops.AssignVariableOp(resource=handle, value=zero)
                    for handle, zero in zip(handles, zeros, strict=True)
                )
            )
            reads = [tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.int64) for handle in handles]
            self._read = tf.concat(reads, 0) if reads else tf.zeros([0], tf.int64)
            fetched = [name for s in self.signatures.values() for t in s.outputs.values() for name in t.tensor_names]
            self._state = SessionState(session, graph, graph.as_graph_def(), fetched)

    def find_goals(self, place: Place) -> set[int]:
        """Numbers of the sides that a signature can reach."""
        own = self._places[place]
        return {
            self.starts[number] + side
            for number, probe in enumerate(self.probes)
            if probe in own and number not in self.refused
            for side in range(len(probe.sides))
        }

    def attempt(self, call: Call) -> set[int] | None:
        """Numbers of the sides that a call reaches, None where the graph refuses it."""
        signature = self.signatures[call.tags, call.signature]
        fetches = [name for tensor in signature.outputs.values() for name in tensor.tensor_names]
        try:
            feeds = self._feed(signature, call.inputs)
            self._state.restore()
            self._session.run(self._clear)
            answered = self._session.run(fetches, feeds)
            counts = self._session.run(self._read)
        except (tf.errors.OpError, ValueError, TypeError):
            return None
        if not any(_holds_values(value) for value in answered):
            return set()  # a batch without rows goes somewhere, but nothing shows of it
        return {number for number, count in enumerate(counts.tolist()) if count > 0}

    def close(self) -> None:
        self._stack.close()


def _holds_values(value: Any) -> bool:
    return bool(getattr(value, "size", 1))


def _open_session(wish: ExploreRequest, planned: Sequence[Call]) -> Iterator[_Counted]:
    """Each variant of an original that a TF1 session runs."""
    # As the baseline itself runs (`baseline.run`).
    tf.compat.v1.disable_control_flow_v2()
    model = read_model(wish.path, wish.read.of_original)
    wanted = [v for v in model.variants if any(call.tags == v.tags for call in planned)]
    for variant in wanted:
        keys = dict.fromkeys(call.signature for call in planned if call.tags == variant.tags)
        signatures = {(variant.tags, key): variant.signatures[key] for key in keys}
        phase = {name for name, _ in variant.phase}
        surveys = {place: _survey(variant.graph_def, s, phase) for place, s in signatures.items()}
        counted = _Counted(signatures, surveys, variant.label if len(wanted) > 1 else "")
        try:
            loaded = LoadedVariant(model, variant, signatures=list(keys), change=counted.change)
        except Exception:  # what does not load is told by the run that counts
            continue
        stack = contextlib.ExitStack()
        stack.callback(loaded.close)

        def feed(signature: Signature, values: Mapping[str, Any], loaded: LoadedVariant = loaded) -> dict[str, Any]:
            return loaded.make_feeds(signature.inputs, values)

        counted.start(loaded.session, loaded.graph, feed, stack)
        yield counted


def _survey(graph_def: Any, signature: Signature, settled: set[str]) -> Survey:
    """`settled` feeds are the same in each call, so that nothing depends on them."""
    fetches = [name for tensor in signature.outputs.values() for name in tensor.tensor_names]
    feeds = [name for tensor in signature.inputs.values() for name in tensor.tensor_names if name not in settled]
    return goals.survey_graph(graph_def, fetches, feeds)


def _open_saved_model(wish: ExploreRequest, planned: Sequence[Call]) -> Iterator[_Counted]:
    """A TF2 SavedModel by its SignatureDefs: a model that is one, or the graph of a Keras file."""
    saved_model = protos.parse_saved_model(wish.path)
    meta_graph = saved_model.meta_graphs[0]
    known = {s.key: s for v in read_variants(wish.path) for s in v.signatures.values()}
    definitions = _list_definitions(wish, planned)
    signatures = {place: known[key] for place, key in definitions.items() if key in known}
    if not signatures:
        return
    surveys = {place: _survey(meta_graph.graph_def, s, set()) for place, s in signatures.items()}
    counted = _Counted(signatures, surveys, "")
    counted.change(meta_graph.graph_def)
    folder = os.path.join(wish.scratch, "counted")
    write_altered(saved_model, wish.path, folder)
    stack = contextlib.ExitStack()
    graph = tf.Graph()
    session = stack.enter_context(tf.compat.v1.Session(graph=graph))
    with graph.as_default():
        tf.compat.v1.saved_model.load(session, list(meta_graph.meta_info_def.tags), folder)
    counted.start(session, graph, lambda signature, values: name_parts(signature.inputs, values), stack)
    yield counted


def _list_definitions(wish: ExploreRequest, planned: Sequence[Call]) -> dict[Place, str]:
    """Key of the SignatureDef that makes the calls of each place; training modes have none."""
    places = dict.fromkeys((call.tags, call.signature) for call in planned)
    if wish.kind != MIGRATED:
        return {place: wish.names.signature or place[1] for place in places}
    record = provenance.read_record(wish.path)
    assert record is not None, "the model was found to be migrated"
    own = {(tuple(piece["modes"][0]["tags"]), piece["signature"]): piece["signature_def"] for piece in record["pieces"]}
    return {place: own[place] for place in places if place in own}


# --- for people ------------------------------------------------------------------------------------------


def _describe(
    graphs: Sequence[_Counted], offsets: Mapping[int, int], found: search.Found, lost: Sequence[str]
) -> list[Coverage]:
    """One Coverage for each kind of place; what could not be told stands with the first."""
    coverage = []
    for kind in goals.KINDS:
        reached, missed, total = 0, [], 0
        for graph in graphs:
            base = offsets[id(graph)]
            for number, probe in enumerate(graph.probes):
                if probe.kind != kind or number in graph.refused:
                    continue
                for side, name in enumerate(probe.sides):
                    total += 1
                    if base + graph.starts[number] + side in found.reached:
                        reached += 1
                    else:
                        missed.append(f"{f'{graph.label}: ' if graph.label else ''}{probe.place}: {name}")
        coverage.append(Coverage(name=kind, level=INPUTS, reached=reached, total=total, missed=_shorten(missed)))
    unmeasured = [line for graph in graphs for line in graph.unmeasured]
    unmeasured += [f"{place}: nothing of it could be looked into" for place in lost]
    if unmeasured:
        lines = _shorten(unmeasured)
        coverage.append(Coverage(name="not measurable", level=INPUTS, reached=0, total=0, unmeasured=lines))
    return coverage


def _shorten(lines: Sequence[str]) -> tuple[str, ...]:
    more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return (*lines[:_MOST_LINES], *more)
