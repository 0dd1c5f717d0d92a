"""path -> Source: what a path holds, told from names and the first bytes. No TensorFlow, no weights."""

from __future__ import annotations

import dataclasses
import json
import os
import re

from migrate import errors, wire
from migrate.model import Format, Source
from migrate.options import ReadOptions

_SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
_HUB_MODULE_FILE = "tfhub_module.pb"
# ModuleDef{format: FORMAT_V3}, the only value that tensorflow_hub ever wrote (tensorflow_hub/module_def.proto).
_HUB_MODULE_BYTES = b"\x08\x03"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# Endings of files that are models by themselves.
MODEL_FILES = (".h5", ".hdf5", ".keras", ".pb", ".pbtxt", ".tflite", ".onnx")
# ... and of a checkpoint's, which lie in a folder together.
_CHECKPOINT_FILES = (".index", ".meta")
# What save_keras_model of TF 1.10 to 1.15 puts beside the graph (keras/saving/saved_model_experimental.py).
KERAS_CONFIG = os.path.join("assets", "saved_model.json")
# What `model.to_json()` and `to_yaml()` are saved as beside weights, and what a name says of weights.
_CONFIG_FILES = (".json", ".yaml", ".yml")
_CONFIG_KEYS = ("class_name", "config")
_CONFIG_BYTES = 64 * 2**20
_OF_WEIGHTS = re.compile(r"(\.h5|\.hdf5|\.index|\.ckpt|[._-]?weights?([._-].*)?)$", re.IGNORECASE)
_SERVING_METHODS = ("tensorflow/serving/classify", "tensorflow/serving/regress")
# Estimator names an export by Unix seconds (tf.estimator get_timestamped_export_dir), always has a global
# step, and its canned heads build their outputs below "head/".
_TIMESTAMP_DIGITS = 10
_ESTIMATOR_NODES = ("global_step", "head/predictions")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What saved_model.pb says of itself without its graphs."""

    tensorflow_version: str
    tag_sets: tuple[tuple[str, ...], ...]
    signatures: tuple[tuple[str, str], ...]
    collections: tuple[str, ...]
    has_object_graph: bool
    estimator_nodes: tuple[str, ...]


def is_saved_model_dir(path: str) -> bool:
    return any(os.path.isfile(os.path.join(path, name)) for name in _SAVED_MODEL_FILES)


def is_checkpoint_dir(path: str) -> bool:
    """Whether TF1's saver wrote into the folder: an index (format V2), a file with a .meta beside it (format V1), or
    the list of what was written."""
    if not os.path.isdir(path):
        return False
    names = set(os.listdir(path))
    values = any(name.endswith(".index") or f"{name}.meta" in names for name in names)
    return values or os.path.isfile(os.path.join(path, "checkpoint"))


def is_model_name(name: str) -> bool:
    """Whether a file of this name may be a model, or the part of one by which it is known."""
    if name in _SAVED_MODEL_FILES or name == _HUB_MODULE_FILE:
        return True
    return name.endswith((*MODEL_FILES, *_CHECKPOINT_FILES))


def parse_saved_model_header(path: str) -> Header:
    """Reads saved_model.pb field by field (saved_model.proto, meta_graph.proto).

    Raises:
      CorruptModelError: the file is empty, truncated or no SavedModel message.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
        if not data:
            raise errors.CorruptModelError("the file is empty")
        meta_graphs = [v for number, v in wire.iterate_fields(data) if number == 2]
        parsed = [_parse_meta_graph(view) for view in meta_graphs if not isinstance(view, int)]
    except errors.CorruptModelError as error:
        raise errors.CorruptModelError(
            error.message, where=path, hint="the file is damaged or truncated: copy the model again"
        ) from error
    if not parsed:
        raise errors.CorruptModelError("the SavedModel holds no MetaGraph", where=path, hint="export the model again")
    return Header(
        tensorflow_version=parsed[0].tensorflow_version,
        tag_sets=tuple(header.tag_sets[0] for header in parsed),
        signatures=tuple(pair for header in parsed for pair in header.signatures),
        collections=tuple(name for header in parsed for name in header.collections),
        has_object_graph=any(header.has_object_graph for header in parsed),
        estimator_nodes=tuple(name for name in _ESTIMATOR_NODES if name.encode() in data),
    )


def _parse_meta_graph(view: memoryview) -> Header:
    version = ""
    tags: list[str] = []
    signatures: list[tuple[str, str]] = []
    collections: list[str] = []
    has_object_graph = False
    for number, value in wire.iterate_fields(view):
        if isinstance(value, int):
            continue
        if number == 1:  # MetaInfoDef: tags = 4, tensorflow_version = 5
            info = wire.parse_fields(value)
            tags = [wire.parse_text(tag) for tag in info.get(4, [])]
            version = wire.parse_text(info[5][-1]) if 5 in info else ""
        elif number == 4:  # map<string, CollectionDef>
            collections.append(wire.parse_text(wire.parse_fields(value).get(1, [0])[0]))
        elif number == 5:  # map<string, SignatureDef>; method_name = 3
            entry = wire.parse_fields(value)
            definition = entry.get(2, [memoryview(b"")])[0]
            method = wire.parse_fields(definition).get(3, [0]) if not isinstance(definition, int) else [0]
            signatures.append((wire.parse_text(entry.get(1, [0])[0]), wire.parse_text(method[-1])))
        elif number == 7:  # SavedObjectGraph: only TF2 writes it
            has_object_graph = len(value) > 0
    return Header(
        tensorflow_version=version,
        tag_sets=(tuple(sorted(tags)),),
        signatures=tuple(signatures),
        collections=tuple(collections),
        has_object_graph=has_object_graph,
        estimator_nodes=(),
    )


def detect_format(path: str | os.PathLike[str]) -> Source:
    """Tells what `path` holds.

    A folder whose only models are in integer subfolders (TF Serving's version folders, Estimator's
    timestamps) stands for the newest of them, as it does in TF Serving.

    Raises:
      SourceNotFoundError: there is nothing at `path`.
      CorruptModelError: saved_model.pb cannot be parsed.
    """
    path = os.fspath(path)
    if not os.path.exists(path) and os.path.isfile(f"{path}.index"):
        path = f"{path}.index"  # a checkpoint is known by its prefix
    if not os.path.exists(path):
        raise errors.SourceNotFoundError(
            "there is no such file or folder", where=path, hint="check the path of the model"
        )
    if os.path.isfile(path):
        return _detect_file(path)
    return _detect_directory(path)


def choose_reading(source: Source, options: ReadOptions) -> Source:
    """The source as the user's options make it: a checkpoint of a Keras model that is given, or whose config lies
    beside it, holds its weights."""
    if source.format is not Format.CHECKPOINT:
        return source
    note = "values for the model of --" + ("builder" if options.builder else "architecture")
    if not (options.architecture or options.builder):
        found = "" if _has_graph(source.path) else find_architecture(source.path)
        if not found:
            return source
        note = f"values for the model of {os.path.basename(found)}"
    return dataclasses.replace(source, format=Format.KERAS_WEIGHTS, evidence=(*source.evidence, note))


def _has_graph(path: str) -> bool:
    """Whether a checkpoint's meta graph lies with it: then it is a training checkpoint of TF1."""
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    return any(name.endswith(".meta") or name == "graph.pbtxt" for name in os.listdir(folder))


def find_architecture(path: str) -> str:
    """The config of Keras that lies beside weights: the one that bears their name ("m.json" beside "m_weights.h5",
    "m.weights.h5" or the folder "m"), else the only one in their folder; "" where there is none, or several."""
    path = os.path.abspath(path)
    folder, name = os.path.split(path)
    named = _list_configs(folder, {name, *_strip_names(name)})
    inside = _list_configs(path if os.path.isdir(path) else folder)
    for found in (named, inside):
        if len(found) == 1:
            return found[0]
    return ""


def bears_name(config: str, path: str) -> bool:
    """Whether a config was found by the name of the weights, not by being the only one."""
    name = os.path.basename(os.path.abspath(path))
    return os.path.splitext(os.path.basename(config))[0] in {name, *_strip_names(name)}


def _strip_names(name: str) -> set[str]:
    """What a name of weights is without what says that they are weights: "m_weights.h5" -> "m_weights", "m"."""
    found: set[str] = set()
    while (shorter := _OF_WEIGHTS.sub("", name)) != name and shorter:
        found.add(shorter)
        name = shorter
    return found


def _list_configs(folder: str, stems: set[str] | None = None) -> list[str]:
    chosen = [name for name in sorted(os.listdir(folder)) if name.endswith(_CONFIG_FILES)]
    paths = [os.path.join(folder, name) for name in chosen if stems is None or os.path.splitext(name)[0] in stems]
    return [path for path in paths if os.path.isfile(path) and _is_config(path)]


def _is_config(path: str) -> bool:
    """Whether a file is a config of a Keras model; another JSON beside weights is somebody's data."""
    if os.path.getsize(path) > _CONFIG_BYTES:
        return False
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if not path.endswith(".json"):
            return all(re.search(rf"^{key}:", text, re.MULTILINE) for key in _CONFIG_KEYS)
        value = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(key in value for key in _CONFIG_KEYS)


def suggest_model(path: str) -> str:
    """ "did you mean PATH/model?": what a person meant who gave the folder above one model; "" where nothing lies one
    level below. Nothing is parsed."""
    below = sorted(entry.path for entry in os.scandir(path) if _is_model(entry)) if os.path.isdir(path) else []
    return f"did you mean {' or '.join(below[:3])}{' or another' if len(below) > 3 else ''}?" if below else ""


def _is_model(entry: os.DirEntry[str]) -> bool:
    if entry.is_file():
        return os.path.splitext(entry.name)[1] in (".h5", ".hdf5", ".keras")
    if not entry.is_dir():
        return False
    try:
        versions = [os.path.join(entry.path, name) for name in os.listdir(entry.path) if name.isdigit()]
    except OSError:  # a folder that may not be read is no one's suggestion
        return False
    return is_saved_model_dir(entry.path) or any(map(is_saved_model_dir, versions))


def _detect_directory(path: str) -> Source:
    names = sorted(os.listdir(path))
    hub = os.path.join(path, _HUB_MODULE_FILE)
    if os.path.isfile(hub):
        return _detect_hub_module(path, hub)
    if is_saved_model_dir(path):
        return _detect_saved_model(path)
    versions = sorted((n for n in names if n.isdigit() and is_saved_model_dir(os.path.join(path, n))), key=int)
    if versions:
        newest = _detect_directory(os.path.join(path, versions[-1]))
        note = f"version folder {versions[-1]}, the newest of {len(versions)}"
        return Source(path=newest.path, format=newest.format, evidence=(note, *newest.evidence))
    if is_checkpoint_dir(path):
        listed = tuple(name for name in names if name.endswith(".index") or f"{name}.meta" in names)
        return Source(path=path, format=Format.CHECKPOINT, evidence=listed or ("checkpoint",))
    if not names:
        return Source(path=path, format=Format.EMPTY_DIRECTORY, evidence=("the folder is empty",))
    inside = [_detect_file(os.path.join(path, name)) for name in names if _may_be_model(path, name)]
    models = [found for found in inside if found.format is not Format.UNKNOWN]
    if len(models) == 1:
        return models[0]
    listing = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return Source(path=path, format=Format.UNKNOWN, evidence=(f"a folder with {listing}",))


def _may_be_model(folder: str, name: str) -> bool:
    return os.path.splitext(name)[1] in MODEL_FILES and os.path.isfile(os.path.join(folder, name))


def _detect_hub_module(path: str, hub: str) -> Source:
    with open(hub, "rb") as file:
        content = file.read(64)
    evidence = [_HUB_MODULE_FILE]
    if content != _HUB_MODULE_BYTES:
        raise errors.CorruptModelError(
            f"{_HUB_MODULE_FILE} holds {content!r}, not the ModuleDef of format V3 ({_HUB_MODULE_BYTES!r})",
            where=path,
            hint="only TF1 Hub format V3 was ever published: copy the module again",
        )
    if not is_saved_model_dir(path):
        raise errors.CorruptModelError(
            f"{_HUB_MODULE_FILE} lies there, but no saved_model.pb", where=path, hint="copy the module again"
        )
    saved_model = os.path.join(path, "saved_model.pb")
    if os.path.isfile(saved_model):
        header = parse_saved_model_header(saved_model)
        evidence.append("tag sets: " + "; ".join(",".join(tags) or "(no tags)" for tags in header.tag_sets))
    return Source(path=path, format=Format.TF1_HUB_MODULE, evidence=tuple(evidence))


def _detect_saved_model(path: str) -> Source:
    saved_model = os.path.join(path, "saved_model.pb")
    if os.path.isfile(os.path.join(path, "saved_model.cpb")):
        return Source(path=path, format=Format.TF2_SAVED_MODEL, evidence=("saved_model.cpb (chunked, TF >= 2.14)",))
    if not os.path.isfile(saved_model):
        return _detect_text_saved_model(path)
    header = parse_saved_model_header(saved_model)
    evidence = ["saved_model.pb", f"written by TensorFlow {header.tensorflow_version or '(unknown)'}"]
    if header.has_object_graph:
        evidence.append("its MetaGraph has an object graph")
        if os.path.isfile(os.path.join(path, "keras_metadata.pb")):
            evidence.append("keras_metadata.pb: Keras wrote it")
        return Source(path=path, format=Format.TF2_SAVED_MODEL, evidence=tuple(evidence))
    return _classify_tf1(path, evidence, [method for _, method in header.signatures], header.estimator_nodes)


def _detect_text_saved_model(path: str) -> Source:
    with open(os.path.join(path, "saved_model.pbtxt"), encoding="utf-8", errors="replace") as file:
        text = file.read()
    evidence = ["saved_model.pbtxt"]
    if "\n  object_graph_def {" in text:
        return Source(path=path, format=Format.TF2_SAVED_MODEL, evidence=(*evidence, "it has an object graph"))
    methods = [method for method in _SERVING_METHODS if f'"{method}"' in text]
    return _classify_tf1(path, evidence, methods, tuple(name for name in _ESTIMATOR_NODES if name in text))


def _classify_tf1(path: str, evidence: list[str], methods: list[str], estimator_nodes: tuple[str, ...]) -> Source:
    """An Estimator export shows at least two of: timestamp folder, serving methods, Estimator's own nodes."""
    if os.path.isfile(os.path.join(path, KERAS_CONFIG)) and is_checkpoint_dir(os.path.join(path, "variables")):
        found = f"{KERAS_CONFIG.replace(os.sep, '/')} (tf.contrib.saved_model.save_keras_model)"
        return Source(path=path, format=Format.KERAS_SAVED_MODEL, evidence=(*evidence, found))
    folder = os.path.basename(os.path.abspath(path))
    signs = [f"signature method {method}" for method in sorted(set(methods) & set(_SERVING_METHODS))][:1]
    signs += [f"node {name}" for name in estimator_nodes]
    if folder.isdigit() and len(folder) == _TIMESTAMP_DIGITS:
        signs.append(f"timestamp folder {folder}")
    if len(signs) > 1:
        return Source(path=path, format=Format.ESTIMATOR_EXPORT, evidence=(*evidence, *signs))
    return Source(path=path, format=Format.TF1_SAVED_MODEL, evidence=(*evidence, "no object graph"))


def _detect_file(path: str) -> Source:
    with open(path, "rb") as file:
        head = file.read(512)
    name = os.path.basename(path)
    if name in _SAVED_MODEL_FILES or name == _HUB_MODULE_FILE:
        return _detect_directory(os.path.dirname(os.path.abspath(path)))
    if head.startswith(_HDF5_MAGIC):
        return Source(path=path, format=Format.KERAS_H5, evidence=("HDF5 magic bytes",))
    if head.startswith(b"PK\x03\x04"):
        kind = Format.KERAS_V3 if name.endswith(".keras") else Format.ARCHIVE
        return Source(path=path, format=kind, evidence=("zip magic bytes",))
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return Source(path=path, format=Format.ARCHIVE, evidence=("gzip or tar magic bytes",))
    if head[4:8] == b"TFL3":
        return Source(path=path, format=Format.TFLITE, evidence=("flatbuffer identifier TFL3",))
    if name.endswith(".onnx"):
        return Source(path=path, format=Format.ONNX, evidence=("file name",))
    is_v1 = os.path.isfile(f"{path}.meta")
    if name.endswith((".index", ".meta")) or ".data-00000-of-" in name or is_v1:
        return Source(path=path, format=Format.CHECKPOINT, evidence=("file name",))
    if name.endswith((".pb", ".pbtxt")):
        return _detect_graph_file(path, head)
    if not head:
        return Source(path=path, format=Format.UNKNOWN, evidence=("the file is empty",))
    return Source(path=path, format=Format.UNKNOWN, evidence=(f"first bytes {head[:8]!r}",))


def _detect_graph_file(path: str, head: bytes) -> Source:
    if path.endswith(".pbtxt"):
        kind = Format.FROZEN_GRAPH if head.lstrip().startswith((b"node", b"versions", b"library")) else Format.UNKNOWN
        return Source(path=path, format=kind, evidence=("text protocol buffer",))
    try:
        with open(path, "rb") as file:
            first = next(iter(wire.iterate_fields(file.read())), None)
    except errors.CorruptModelError:
        return Source(path=path, format=Format.UNKNOWN, evidence=("no protocol buffer",))
    if first is not None and first[0] in (1, 2, 3, 4) and not isinstance(first[1], int):
        return Source(path=path, format=Format.FROZEN_GRAPH, evidence=("a GraphDef message",))
    return Source(path=path, format=Format.UNKNOWN, evidence=("a protocol buffer, but no GraphDef",))
