"""A model's folder -> Findings: what in it is unsafe, or no model at all. Executes nothing, loads no TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from migrate import detect, errors
from migrate.model import Finding, Format, Severity, Source
from migrate.scan import bounds, file_names, graphs, sizes, structure
from migrate.scan.files import find_bad_files
from migrate.scan.ops import find_unsafe_call, find_unsafe_use

UNSAFE_OP, INVALID_GRAPH, ABSURD_SIZE, BAD_ASSET = "unsafe-op", "invalid-graph", "absurd-size", "bad-asset"
# Codes of what is no danger, but no model either.
_DAMAGED = (INVALID_GRAPH, "broken-link", "unreadable")
_SHOWN = 3
_SAVED_MODELS = (
    Format.TF1_HUB_MODULE,
    Format.ESTIMATOR_EXPORT,
    Format.TF1_SAVED_MODEL,
    Format.TF2_SAVED_MODEL,
)


def scan_model(path: str | os.PathLike[str], allowed: Collection[str] = ()) -> tuple[Finding, ...]:
    """All that is unsafe or invalid in a model, its folder first; nothing of it runs.

    Args:
      path: whatever `detect_format` takes. Of formats that hold no TensorFlow graph only the files are looked at.
      allowed: names of ops that may do what they do.

    Raises:
      SourceNotFoundError: there is nothing at the path.
      CorruptModelError: the file of the graph cannot be parsed.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise errors.SourceNotFoundError(
            "there is no such file or folder", where=path, hint="check the path of the model"
        )
    found = find_file_findings(path)
    if found:
        # Nothing is opened in a folder that is not what it seems.
        return found
    try:
        return tuple(_scan_graphs(detect.detect_format(path), frozenset(allowed)))
    except (errors.MigrateError, MemoryError, OSError):
        raise
    except Exception as failure:  # what cannot be looked through is not let through
        lines = str(failure).strip().splitlines()
        raise errors.CorruptModelError(
            f"it cannot be looked through ({type(failure).__name__}: {lines[0] if lines else ''})",
            where=path,
            hint="export the model again; if TensorFlow loads it, please report it",
        ) from failure


def find_file_findings(path: str) -> tuple[Finding, ...]:
    """What a folder holds that no model does: links that leave it, pipes, devices."""
    return tuple(
        Finding(
            code=code,
            severity=Severity.ERROR,
            where=where,
            message=message,
            hint="copy the model with what its links lead to (cp -rL), if you trust it" if "link" in code else "",
        )
        for code, where, message in find_bad_files(path)
    )


def check_files(path: str) -> None:
    """Refuses a model by what its folder holds.

    Raises:
      UnsafeModelError: a link leaves the folder, or something in it is neither file nor folder.
    """
    if os.path.exists(path):
        raise_findings(find_file_findings(path), path)


def check_model(path: str, allowed: Collection[str] = ()) -> None:
    """Refuses a model that is unsafe or no valid graph.

    Raises:
      UnsafeModelError: it would do more than compute; each place is named, as far as a line holds them.
      CorruptModelError: its graph is none.
    """
    raise_findings(scan_model(path, allowed), path)


def raise_findings(findings: Sequence[Finding], path: str) -> None:
    """Raises the error that findings amount to, if there are any."""
    if not findings:
        return
    unsafe = [finding for finding in findings if finding.code not in _DAMAGED]
    kind = errors.UnsafeModelError if unsafe else errors.CorruptModelError
    chosen = unsafe or list(findings)
    shown = "; ".join(f"{_relative(finding.where, path)}: {finding.message}" for finding in chosen[:_SHOWN])
    more = f" (+{len(chosen) - _SHOWN} more: migrate-inspect --scan lists them)" if len(chosen) > _SHOWN else ""
    hints = list(dict.fromkeys(finding.hint for finding in chosen if finding.hint))
    raise kind(f"{shown}{more}", where=path, hint=hints[0] if hints else "do not trust the model")


def _relative(where: str, path: str) -> str:
    return os.path.relpath(where, path) if os.path.isabs(where) and where != path else where


def _read_graphs(source: Source) -> Iterator[graphs.MetaGraph]:
    """The graphs of a source, whichever files hold them."""
    if source.format in _SAVED_MODELS:
        for definition in bounds.read_proto(bounds.find_saved_model(source.path)).meta_graphs:
            yield graphs.parse_meta_graph(definition)
    elif source.format is Format.FROZEN_GRAPH:
        yield graphs.parse_bare_graph(bounds.read_proto(source.path, "GraphDef"))
    elif source.format is Format.CHECKPOINT:
        for path in _find_meta_files(source.path):
            yield graphs.parse_meta_graph(bounds.read_proto(path, "MetaGraphDef"))


def _find_meta_files(path: str) -> list[str]:
    """The MetaGraphs that TF1's Saver wrote beside a checkpoint."""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".meta")]


def _scan_graphs(source: Source, allowed: frozenset[str]) -> Iterator[Finding]:
    folder = os.path.join(source.path, "assets")
    unsafe: list[tuple[str, str, str]] = []
    for meta_graph in _read_graphs(source):
        unsafe.extend(_find_unsafe(meta_graph))
        for where, message in find_bad_assets(meta_graph, folder):
            yield Finding(
                code=BAD_ASSET, severity=Severity.ERROR, where=where, message=message, hint="do not trust the model"
            )
        invalid = list(structure.find_invalid(meta_graph))
        for where, message in invalid:
            yield Finding(
                code=INVALID_GRAPH,
                severity=Severity.ERROR,
                where=where,
                message=message,
                hint="TensorFlow cannot load it either: export the model again",
            )
        for where, message in sizes.find_absurd(meta_graph):
            yield Finding(
                code=ABSURD_SIZE, severity=Severity.ERROR, where=where, message=message, hint="do not trust the model"
            )
    refused = [(op, where, message) for op, where, message in unsafe if op not in allowed]
    names = ",".join(sorted({op for op, _, _ in refused}))
    for op, where, message in refused:
        yield Finding(
            code=UNSAFE_OP,
            severity=Severity.ERROR,
            where=where,
            message=f"{op} {message}",
            hint=f"if you trust the model and want this: --allow_unsafe_ops={names}",
        )


def _find_unsafe(meta_graph: graphs.MetaGraph) -> Iterator[tuple[str, str, str]]:
    """(op, where, what it does) of every node and function that reaches beyond the graph."""
    for scope in meta_graph.scopes():
        for position, node in enumerate(scope.nodes):
            does, name = find_unsafe_use(node)
            if does:
                name = name or _name_of_file(scope, node)
                yield node.op, scope.describe(node.name), f"{does}{f': {name!r}' if name else ''}"
            for function in scope.named.get(position, ()):
                if (does := find_unsafe_call(function)) and function not in meta_graph.functions:
                    yield function, scope.describe(node.name), f"{does}; {node.op} calls it"
    for function, where in meta_graph.named:
        if (does := find_unsafe_call(function)) and function not in meta_graph.functions:
            yield function, f"{where} (tags {meta_graph.label})", f"{does}; it is named as a function"
    for scope, node, does, name in file_names.find_foreign_files(meta_graph):
        yield node.op, scope.describe(node.name), f"{does} that are not the model's: {name!r}"


def _name_of_file(scope: graphs.Scope, node: Any) -> str:
    """The constant text that stands nearest: the path or address, in most of these ops the first string input."""
    for text in node.input:
        source = scope.by_name.get(graphs.split_name(text))
        if source is not None and source.op == "Const" and "value" in source.attr:
            values = source.attr["value"].tensor.string_val
            if values:
                return bytes(values[0]).decode("utf-8", "backslashreplace")[:200]
    return ""


def find_bad_assets(meta_graph: graphs.MetaGraph, folder: str) -> Iterator[tuple[str, str]]:
    """(where, what is wrong) of assets that lie elsewhere or are no files; a missing one is the reader's to report."""
    for name in dict.fromkeys(meta_graph.asset_names):
        where = f"asset {name!r} (tags {meta_graph.label})"
        if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
            yield where, f"it lies outside the folder of assets, {folder}"
        elif "\0" in name:
            yield where, "no file is called so, and the system would open what stands before the NUL"
        elif os.path.isdir(os.path.join(folder, name)):
            yield where, "it is a folder, not a file"
