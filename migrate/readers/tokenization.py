"""The vocabulary of a text model, and whether it knows lower case only: the source's own, or the user's.

Model Garden exports an encoder with `vocab_file`, an asset, and `do_lower_case`, a variable, on the core
(official/legacy/bert/export_tfhub.py); BERT's modules for TF1 have a signature `tokenization_info` with outputs of
these names, the one a file of the module, the other a constant (bert/create_module.py).
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from migrate import errors
from migrate.graph import index as graph_index
from migrate.model import LegacyModel, SignatureTensor, Tokenization
from migrate.options import ReadOptions

VOCABULARY, LOWER_CASE = "vocab_file", "do_lower_case"


def add_tokenization(model: LegacyModel, options: ReadOptions) -> LegacyModel:
    """The model with what its own signatures say, and what the user says where they say nothing.

    Raises:
      UsageError: there is no such file, or the source says otherwise.
    """
    found = find_tokenization(model)
    if options.vocab_file and not os.path.isfile(options.vocab_file):
        raise errors.UsageError(
            f"there is no file {options.vocab_file}", where=f"--{VOCABULARY}", hint="one token a line"
        )
    if options.do_lower_case not in ("", "true", "false"):
        raise errors.UsageError(f"{options.do_lower_case!r} is neither true nor false", where=f"--{LOWER_CASE}")
    given = options.do_lower_case == "true" if options.do_lower_case else None
    if options.vocab_file and found.vocab_file and not _are_equal(options.vocab_file, found.vocab_file):
        raise errors.UsageError(
            f"the model has a vocabulary of its own, {os.path.basename(found.vocab_file)}, with other tokens",
            where=f"--{VOCABULARY}",
            hint="leave the flag away: the model's own is kept",
        )
    if given is not None and found.do_lower_case not in (None, given):
        raise errors.UsageError(
            f"the model says that do_lower_case is {found.do_lower_case}",
            where=f"--{LOWER_CASE}",
            hint="leave the flag away: what the model says is kept",
        )
    told = Tokenization(
        vocab_file=found.vocab_file or options.vocab_file,
        do_lower_case=given if found.do_lower_case is None else found.do_lower_case,
    )
    return dataclasses.replace(model, tokenization=told)


def _are_equal(one: str, other: str) -> bool:
    with open(one, "rb") as first, open(other, "rb") as second:
        return first.read() == second.read()


def find_tokenization(model: LegacyModel) -> Tokenization:
    """What an output named `vocab_file` of some signature says, and one named `do_lower_case` beside it."""
    for variant in model.variants:
        told = [s for s in variant.signatures.values() if VOCABULARY in s.outputs]
        if not told:
            continue
        index = graph_index.GraphIndex(variant.graph_def)
        files = {graph_index.parse_tensor_name(asset.tensor).node: asset.path for asset in variant.assets}
        for signature in told:
            source = _find_source(index, signature.outputs[VOCABULARY])
            path = files.get(source.name, "") if source is not None else ""
            if os.path.isfile(path):
                lower = _read_bool(_find_source(index, signature.outputs.get(LOWER_CASE)))
                return Tokenization(vocab_file=path, do_lower_case=lower)
    return Tokenization()


def _find_source(index: graph_index.GraphIndex, tensor: SignatureTensor | None) -> Any:
    """The node that a tensor comes from, behind what only hands it on; None where there is none."""
    name = tensor.name if tensor is not None else ""
    while (node := index.nodes.get(graph_index.parse_tensor_name(name).node) if name else None) is not None:
        if node.op not in ("Identity", "StopGradient") or not node.input:
            return node
        name = node.input[0]
    return None


def _read_bool(node: Any) -> bool | None:
    """The value of a boolean constant; None for whatever else it is."""
    if node is None or node.op != "Const" or "value" not in node.attr:
        return None
    value = node.attr["value"].tensor
    if graph_index.dtype_name(value.dtype) != "bool" or value.tensor_shape.dim:
        return None
    return bool(value.bool_val[0]) if value.bool_val else value.tensor_content == b"\x01"
