"""The SignatureDefs of a migrated model in a v1 session, as TF Serving and `tf.compat.v1.saved_model.load` run them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from typing import Any

import tensorflow as tf

from migrate.inputs import calls as call_files
from migrate.model import GraphVariant, Signature
from migrate.readers import protos
from migrate.verdict import EMPTY_BATCH, SESSION
from migrate.verify import results as result_files
from migrate.verify.runners.altered import write_altered
from migrate.verify.runners.baseline import join_parts, name_parts
from migrate.verify.signature_defs import read_variants
from migrate.verify.ways import find_piece


def run_session(
    path: str,
    record: Mapping[str, Any],
    planned: list[call_files.Call],
    found: result_files.Results,
    *,
    has_state: bool,
) -> None:
    """Runs each SignatureDef with the first inputs that have rows, and without its optional inputs.

    Where calls move state (`has_state`), all calls of a tag set are made, in order, as on the other routes.
    """
    able = _find_able(record, planned)
    chosen = _choose_calls(able)
    if not chosen:
        return
    variant = next(iter(read_variants(path)))
    with tempfile.TemporaryDirectory() as scratch:
        # Its functions too shall compute what is written; otherwise it is the model as it is.
        written = os.path.join(scratch, "model")
        write_altered(protos.parse_saved_model(path), path, written)
        _run_able(written, variant, able, chosen, found, has_state=has_state)


def _run_able(
    path: str,
    variant: GraphVariant,
    able: list[tuple[call_files.Call, Any]],
    chosen: Collection[str],
    found: result_files.Results,
    *,
    has_state: bool,
) -> None:
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        try:
            meta_graph = tf.compat.v1.saved_model.load(session, list(variant.tags), path)
        except Exception as error:  # What loading raises is an answer to every call.
            for name in chosen:
                found.record_failure(SESSION, name, error)
            return
        tags: tuple[str, ...] | None = None
        for call, piece in able:
            if call.id not in chosen and not has_state:
                continue
            if has_state and (call.tags != tags or piece["modes"][0]["training"]):
                _restore(session, meta_graph, path)
            tags = call.tags
            found.begin_call(SESSION, call.id)
            try:
                outputs = _run_call(session, variant.signatures[piece["signature_def"]], call)
                if call.id in chosen:
                    found.record_outputs(SESSION, call.id, outputs)
            except Exception as error:  # A refusal of these inputs, of whatever type, is a result.
                if call.id in chosen:
                    found.record_failure(SESSION, call.id, error)


def _find_able(
    record: Mapping[str, Any], planned: list[call_files.Call]
) -> list[tuple[call_files.Call, Mapping[str, Any]]]:
    """Calls that a SignatureDef stands for, with their pieces."""
    found = []
    for call in planned:
        piece, _ = find_piece(record, call)
        if piece is not None and list(call.tags) == piece["modes"][0]["tags"]:
            found.append((call, piece))
    return found


def _choose_calls(able: list[tuple[call_files.Call, Mapping[str, Any]]]) -> list[str]:
    """Ids: of each SignatureDef the first call with rows that gives every input, and the first that leaves some out."""
    chosen: dict[tuple[str, bool], str] = {}
    for call, piece in able:
        if call.case != EMPTY_BATCH:
            whole = set(piece["arguments"]) <= set(call.inputs)
            chosen.setdefault((piece["signature_def"], whole), call.id)
    return list(chosen.values())


def _restore(session: Any, meta_graph: Any, path: str) -> None:
    """Variables and contents of tables as they were loaded."""
    saver = meta_graph.saver_def
    if saver.restore_op_name:
        prefix = os.path.join(path, "variables", "variables")
        session.run(saver.restore_op_name, {saver.filename_tensor_name: prefix})


def _run_call(session: Any, signature: Signature, call: call_files.Call) -> dict[str, Any]:
    feeds = name_parts(signature.inputs, call.inputs)
    fetches = {key: list(tensor.tensor_names) for key, tensor in signature.outputs.items()}
    return {key: join_parts(signature.outputs[key], parts) for key, parts in session.run(fetches, feeds).items()}
