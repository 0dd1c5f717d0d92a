"""A Keras file, or weights with their config -> Findings: what loading would run, call or open beside the model. Keras
itself is not loaded."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from migrate import detect, errors
from migrate.model import Finding, Format, Severity, Source
from migrate.options import ReadOptions
from migrate.readers.keras import architecture, configs, hdf5, lambdas, numbered_weights, safety
from migrate.sources import archives

CODE, OBJECT, EXTERNAL = "keras-code", "keras-object", "external-file"
_ZIP_MAGIC = b"PK\x03\x04"
_MAX_CONFIG = 2**28


def find_unsafe(source: Source, options: ReadOptions | None = None) -> tuple[Finding, ...]:
    """All that is unsafe in a Keras file: code of Lambda layers, objects and functions that are no part of a model,
    files that its config names, parts that lie in other files. Of weights, the config that they are read with.

    Args:
      source: of a Keras format, as `detect.choose_reading` gives it.
      options: what the reader is told; its `builder` is the user's own code.

    Raises:
      CorruptModelError: it is damaged.
      UnsafeModelError: an archive that holds a name which leads out of it, or more than it should.
      UsageError: the config given for it is none.
    """
    path, options = source.path, options or ReadOptions()
    links, config = _read_own(source)
    found = (*_describe_links(links, path), *_find_in_config(config, path))
    # As `loading` chooses: what the user gives, else the file's own, else what lies beside it.
    given = options.architecture
    if not (given or options.builder or links) and config is None:
        given = detect.find_architecture(path)
    if not given:
        return found
    beside = _find_in_config(architecture.parse_architecture(given), path)
    name = os.path.basename(given)
    return (*found, *(dataclasses.replace(finding, message=f"{name}: {finding.message}") for finding in beside))


def _read_own(source: Source) -> tuple[tuple[str, ...], Mapping[str, Any] | None]:
    """Parts of a file that lie in others, and its config; None where it holds none."""
    path = source.path
    links: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None
    if source.format is Format.KERAS_V3:
        described = read_archive(path, check=False)[1]
        with zipfile.ZipFile(path) as archive:
            if numbered_weights.NAME in archive.namelist():
                with archive.open(numbered_weights.NAME) as weights:
                    links = hdf5.find_links(weights, path)
        # What the model was compiled with is not loaded.
        config = {key: value for key, value in described.items() if key != "compile_config"}
    elif source.format is Format.KERAS_SAVED_MODEL:
        config = _read_beside_graph(path)
    elif hdf5.is_hdf5(path):
        links = hdf5.find_links(path, path)
        config = None if links or numbered_weights.is_numbered(path) else hdf5.parse_hdf5(path).config
    return links, config


def _read_beside_graph(path: str) -> Mapping[str, Any]:
    try:
        with open(os.path.join(path, detect.KERAS_CONFIG), encoding="utf-8") as file:
            config = configs.parse_json(file.read())
    except (OSError, ValueError) as error:
        raise errors.CorruptModelError(
            f"{detect.KERAS_CONFIG} is no config in JSON: {error}", where=path, hint="export the model again"
        ) from error
    return config if isinstance(config, Mapping) else {}


def is_archive(path: str) -> bool:
    """Whether a file starts as a zip does, be it whole or not; a folder does not."""
    if os.path.isdir(path):
        return False
    with open(path, "rb") as file:
        return file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC


def read_archive(path: str, *, check: bool = True) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """metadata.json and config.json of a .keras file (keras/saving/saving_lib.py), a zip of them and model.weights.h5.

    Args:
      path: of the file.
      check: whether weights that lie in another file are refused, too.

    Raises:
      CorruptModelError: it is none.
      UnsafeModelError: a name leads out of it, it unpacks to more than it should, its weights lie in another file.
    """
    try:
        archives.check_archive(path)
        with zipfile.ZipFile(path) as archive:
            metadata, config = (_read_json(archive, name, path) for name in ("metadata.json", "config.json"))
            if check and numbered_weights.NAME in archive.namelist():
                with archive.open(numbered_weights.NAME) as weights:
                    hdf5.check_links(weights, path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise errors.CorruptModelError(
            f"no .keras file, or it is damaged: {error}", where=path, hint="copy the file again"
        ) from error
    return metadata, config


def _read_json(archive: zipfile.ZipFile, name: str, path: str) -> Mapping[str, Any]:
    size = archive.getinfo(name).file_size
    if size > _MAX_CONFIG:
        raise errors.UnsafeModelError(f"{name} claims {size:,} bytes", where=path, hint="do not trust the file")
    value = configs.parse_json(archive.read(name))
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is no JSON object")
    return value


def _describe_links(links: tuple[str, ...], path: str) -> Iterator[Finding]:
    for link in links:
        yield _describe(EXTERNAL, path, f"a part of the file lies in another: {link}", "do not trust the file")


def _find_in_config(config: Any, path: str) -> Iterator[Finding]:
    for entry in configs.iterate_layers(config):
        if lambdas.is_stored_lambda(entry):
            yield _describe(
                CODE,
                path,
                f"Lambda {configs.name_of(entry)}: Python code, which loading would run",
                "if you trust the file: --allow_lambda, or give the function with --custom_objects=module:name",
            )
    for reaching in dict.fromkeys(safety.find_reaching(config, {})):
        yield _describe(OBJECT, path, f"loading would run or read {reaching}", safety.HINT)


def _describe(code: str, where: str, message: str, hint: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, where=where, message=message, hint=hint)
