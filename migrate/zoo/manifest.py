"""Manifests: a path or handle a line, a table (CSV), or an object a line (JSON lines)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from migrate import errors
from migrate.options import MigrateOptions
from migrate.sources import handles
from migrate.zoo.changes import change_options, get_option
from migrate.zoo.digests import Listing
from migrate.zoo.discovery import Entry

_SOURCE, _DEST, _OPTIONS = "source", "dest", "options"
# NAME_MAX of Linux is 255 bytes, PATH_MAX 4096; a model's own files lie below its place.
_LONGEST_NAME, _LONGEST_PLACE = 255, 2048
# Options that are paths of files; a row's are relative to the manifest's folder, as its source is.
_FILES = ("architecture", "vocab_file")


def _is_part(asked: Sequence[str], given: Sequence[str]) -> bool:
    return set(asked) <= set(given)


def _is_given(asked: str, given: str) -> bool:
    return asked in ("", given)


def _is_at_most(asked: float | None, given: float | None) -> bool:
    """Whether a bound is no wider; None is no bound."""
    return given is None or (asked is not None and asked <= given)


# Options by which a row could load code, let its model reach for more than itself, publish a file of this machine, or
# have it judged and bounded less strictly than the command says -> whether what a row asks for is within the command's.
CONSENTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "allow_lambda": _is_at_most,
    "allow_unsafe_ops": _is_part,
    "builder": _is_given,
    "custom_objects": _is_part,
    "import_paths": _is_part,
    "op_library": _is_part,
    "preprocessing": _is_given,
    "architecture": _is_given,
    "vocab_file": _is_given,
    # A link shares the source's own files, which a job could write to, then.
    "weights": lambda asked, given: asked in ("copy", "rewrite", given),
    "check_weights": lambda asked, given: asked or not given,
    "partial": _is_at_most,
    "publish": lambda asked, given: asked in ("pass", given),
    "target_tensorflow": lambda asked, given: given in ("", asked),
    "verify": lambda asked, given: asked in ("strict", given) or given == "none",
    "relative": _is_at_most,
    "absolute": _is_at_most,
    "ulp": _is_at_most,
    "rtol": _is_at_most,
    "atol": _is_at_most,
    "timeout": _is_at_most,
    "memory_limit": _is_at_most,
    "disk_limit": _is_at_most,
}


def check_consents(entries: Iterable[Entry], options: MigrateOptions, path: str) -> None:
    """Refuses a manifest whose rows ask for what only the command line may give: a list of models is data.

    Args:
      entries: of the manifest.
      options: what the command gives all models.
      path: of the manifest; files in its folder may be named by its rows.

    Raises:
      UsageError: a row reaches for more, or is content with less, than `options`.
    """
    folder = os.path.realpath(os.path.dirname(path)).rstrip(os.sep) + os.sep
    for entry in entries:
        asked = entry.change_options(options)
        for name in entry.options:
            if name in _FILES and os.path.realpath(get_option(asked, name)).startswith(folder):
                continue
            if name in CONSENTS and not CONSENTS[name](get_option(asked, name), get_option(options, name)):
                raise errors.UsageError(
                    f"{entry.relative}: {name} is the command line's to allow, not a manifest's",
                    where=path,
                    hint="give the command its flag, or --trust_manifest if the manifest is your own",
                )


def parse_manifest(path: str) -> list[Entry]:
    """The models that a manifest names; paths, options' too, are relative to its folder, destinations to `--dest`.

    A handle (https://..., gs://..., s3://...) goes to the folder that it names: tfhub.dev/google/nnlm/1.

    By its ending: ".csv" has a heading with `source`, perhaps `dest`, and names of options; ".jsonl" has objects
    {"source": ..., "dest": ..., "options": {...}}; all else has one path a line, with "#" comments.

    Raises:
      UsageError: two lines would have the same destination or one within the other's, a line names nothing, a place
        that is none below `--dest`, or an option that there is not.
    """
    base = os.path.dirname(os.path.abspath(path))
    entries: dict[str, Entry] = {}
    lost = []
    for number, line in _iterate_lines(path):
        text = line[_SOURCE]
        is_handle = handles.is_handle(text)
        full = text if is_handle else os.path.normpath(os.path.join(base, text))
        if not is_handle and not os.path.lexists(full):
            lost.append(f"line {number}: {text}")
            continue
        place = _find_place(text, full, line[_DEST], path, number)
        _check_place(place, path, number)
        if not line[_DEST].isprintable():  # a model's own folder may be named so, nobody chooses it
            raise errors.UsageError(f"line {number}: {place!r} holds characters that cannot be seen", where=path)
        entry = Entry(
            path=full,
            relative=place,
            options=_place_files(line[_OPTIONS], base),
            handle=handles.bare_handle(text) if is_handle else "",
            listing=_list_handle(text) if is_handle else None,
        )
        _check_options(entry, path, number)
        taken = entries.get(entry.relative) or _find_nested(entry.relative, entries)
        if taken is not None:
            raise errors.UsageError(
                f"line {number} would be written over {taken.path}: "
                f"{entry.relative} and {taken.relative} are one place below --dest",
                where=path,
                hint="name them relative to the manifest's folder, or give each its dest",
            )
        entries[entry.relative] = entry
    if lost:
        raise errors.SourceNotFoundError(f"no such models: {'; '.join(lost)}", where=path)
    return list(entries.values())


def _find_place(text: str, full: str, dest: str, path: str, number: int) -> str:
    """Where a line's model goes, relative to --dest."""
    if dest:
        place = os.path.normpath(dest)
        if os.path.isabs(place) or place.split(os.sep)[0] in ("..", "."):
            raise errors.UsageError(f"line {number}: {dest!r} is no path below --dest", where=path)
    elif handles.is_handle(text):
        place = handles.find_place(text)
        if not place:
            raise errors.UsageError(f"line {number}: {text} names no model", where=path)
    else:
        outside = os.path.isabs(text) or os.path.normpath(text).split(os.sep)[0] in ("..", ".")
        place = os.path.basename(full) if outside else os.path.normpath(text)
    return place


def _place_files(options: Mapping[str, Any], base: str) -> dict[str, Any]:
    return {
        name: os.path.join(base, value) if name in _FILES and isinstance(value, str) and value else value
        for name, value in options.items()
    }


def _check_place(place: str, path: str, number: int) -> None:
    """Raises UsageError where no file system can hold such a place."""
    try:
        names = [os.fsencode(name) for name in place.split(os.sep)]
    except UnicodeEncodeError as error:
        raise errors.UsageError(f"line {number}: {place!r} is no text in Unicode", where=path) from error
    if not all(names) or b"\0" in b"".join(names):
        raise errors.UsageError(f"line {number}: {place!r} is no place for a model", where=path, hint="give it a dest")
    longest = max(map(len, names))
    if longest > _LONGEST_NAME or len(os.fsencode(place)) > _LONGEST_PLACE:
        raise errors.UsageError(
            f"line {number}: a place of {len(os.fsencode(place)):,} bytes, the longest name of {longest:,}",
            where=path,
            hint=f"at most {_LONGEST_PLACE:,} and {_LONGEST_NAME}; give it a shorter dest",
        )


def _list_handle(handle: str) -> Listing:
    """What is known of a model before it is here: its handle, which has a version, stands for what it stood for."""
    stamp = hashlib.sha256(handle.encode()).hexdigest()
    return Listing(stamp=stamp, shape="", size=0, regular=False, largest_graph=0)


def _find_nested(relative: str, entries: Mapping[str, Entry]) -> Entry | None:
    """An entry whose place lies above or below `relative`."""
    parts = relative.split(os.sep)
    for length in range(1, len(parts)):
        if above := entries.get(os.sep.join(parts[:length])):
            return above
    return next((entry for name, entry in entries.items() if name.startswith(relative + os.sep)), None)


def _check_options(entry: Entry, path: str, number: int) -> None:
    try:
        change_options(MigrateOptions(), entry.options)
    except errors.UsageError as error:
        raise errors.UsageError(f"line {number}: {error.message}", where=path, hint=error.hint) from error


def _iterate_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, {"source", "dest", "options"}) of each model."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise errors.UsageError("the manifest is no text", where=path, hint="UTF-8, one path a line") from error
    if path.endswith(".csv"):
        yield from _iterate_table(text, path)
    elif path.endswith((".jsonl", ".ndjson")):
        yield from _iterate_objects(text, path)
    else:
        for number, line in enumerate(text.splitlines(), start=1):
            if source := line.partition("#")[0].strip():
                yield number, {_SOURCE: source, _DEST: "", _OPTIONS: {}}


def _iterate_table(text: str, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        if _SOURCE not in (reader.fieldnames or ()):
            raise errors.UsageError(
                f"the table has no column {_SOURCE!r}", where=path, hint="its first line names the columns"
            )
        if len(set(reader.fieldnames or ())) < len(reader.fieldnames or ()):
            raise errors.UsageError("two columns of the table have one name", where=path)
        for row in reader:
            if None in row or None in row.values():
                raise errors.UsageError(f"line {reader.line_num} has not as many cells as the heading", where=path)
            source, dest = (row.pop(_SOURCE) or "").strip(), (row.pop(_DEST, "") or "").strip()
            options = {name.strip(): value.strip() for name, value in row.items() if value and value.strip()}
            if source:
                yield reader.line_num, {_SOURCE: source, _DEST: dest, _OPTIONS: options}
    except csv.Error as error:
        raise errors.UsageError(f"line {reader.line_num}: {error}", where=path) from error


def _iterate_objects(text: str, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise errors.UsageError(f"line {number} is no JSON: {error}", where=path) from error
        if not isinstance(value, dict) or not isinstance(value.get(_SOURCE), str) or not value[_SOURCE]:
            raise errors.UsageError(f"line {number} has no text under {_SOURCE!r}", where=path)
        unknown = set(value) - {_SOURCE, _DEST, _OPTIONS}
        if unknown:
            raise errors.UsageError(
                f"line {number}: {', '.join(sorted(unknown))} is unknown",
                where=path,
                hint='{"source": ..., "dest": ..., "options": {...}}',
            )
        dest, options = value.get(_DEST, ""), value.get(_OPTIONS, {})
        if not isinstance(dest, str) or not isinstance(options, dict):
            raise errors.UsageError(f"line {number}: dest is a text, options an object", where=path)
        yield number, {_SOURCE: value[_SOURCE], _DEST: dest, _OPTIONS: options}
