"""What a Keras config could do besides describe layers: name code of any module, call any function of TensorFlow, read
files. Keras' own safe mode covers bytecode, and the rest in late versions of Keras 3 only.

A config names objects by {"module", "class_name", "config"} and functions of TensorFlow by TFOpLambda entries;
tf_keras/src/saving/serialization_lib.py imports the former from wherever they say, and layers/core/tf_op_layer.py calls
the latter while it rebuilds the model, with constants that stand in the file.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from typing import Any

from migrate import errors
from migrate.readers.keras import configs, lambdas
from migrate.scan import find_unsafe_call

_KERAS = ("keras", "tf_keras")
# Rooms of Keras that hold layers and what they are made of; others read files, download, or start programs.
_FUNCTIONS = (
    "activations", "backend", "constraints", "initializers", "layers", "losses", "metrics", "ops", "quantizers",
    "random", "regularizers",
)  # fmt: skip
_CLASSES = (
    *_FUNCTIONS, "distribution", "dtype_policies", "engine", "experimental", "mixed_precision", "models", "optimizers",
    "premade_models",
)  # fmt: skip
# Layers that read what a path in their config leads to.
_LOADING = ("TFSMLayer",)
_TABLES = ("IntegerLookup", "StringLookup", "TextVectorization")
# Rooms of TensorFlow whose functions compute, each of them.
_COMPUTING = (
    "__operators__", "bitwise", "dtypes", "image", "linalg", "math", "nn", "quantization", "ragged", "random", "sets",
    "signal", "sparse", "strings",
)  # fmt: skip
_PARSING = ("decode_", "encode_", "parse_", "serialize_", "deserialize_", "extract_", "is_jpeg")
_CHECKING = ("assert_", "check_numerics", "is_numeric_tensor")
# Functions outside any room that do more than compute, or run what they are given; of protos, a file describes them.
_DOING = frozenset({
    "add_to_collection", "add_to_collections", "decode_proto", "delete_session_tensor", "encode_proto", "function",
    "get_logger", "import_graph_def", "load_file_system_library", "load_library", "load_op_library", "matching_files",
    "numpy_function", "print", "py_func", "py_function", "read_file", "register_tensor_conversion_function",
    "reset_default_graph", "set_random_seed", "wrap_function", "write_file",
})  # fmt: skip
_OF_TENSORS = ("RaggedTensor", "SparseTensor", "Tensor", "TensorShape", "IndexedSlices")
_SHOWN = 4
HINT = "if you trust the file: --allow_lambda; layers and functions of your own: --custom_objects=module:name"


def check_config(config: Any, path: str, *, allowed: bool, known: Mapping[str, Any]) -> None:
    """Refuses a config that names what is no part of a model, before Keras sees it.

    Args:
      config: of the model.
      path: of the file, for the error.
      allowed: --allow_lambda: the file's code is trusted.
      known: objects that the user gives, by the names under which configs know them.

    Raises:
      BlockedError: with all that it names, as far as a line holds them.
    """
    if allowed:
        return
    found = list(dict.fromkeys(find_reaching(lambdas.give_functions(config, known), known)))
    if found:
        more = f" (+{len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
        raise errors.BlockedError(
            f"loading the file would run or read what is no part of a model: {'; '.join(found[:_SHOWN])}{more}",
            where=path,
            hint=HINT,
        )


def name_registered(config: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """`known`, also by the names "package>Class" under which the config has them: Keras then asks no module."""
    objects = dict(known)
    for entry in configs.iterate_layers(config):
        registered = entry.get("registered_name")
        if isinstance(registered, str) and entry["class_name"] in known:
            objects.setdefault(registered, known[entry["class_name"]])
    return objects


def find_reaching(config: Any, known: Mapping[str, Any]) -> Iterator[str]:
    """Yields all that a config names besides what a model is made of; code of Lambda layers has a check of its own."""
    for entry in configs.iterate_layers(config):
        kind, inner = entry["class_name"], entry["config"]
        name = configs.name_of(entry)
        where = f" (layer {name})" if name else ""
        if kind == "__lambda__":
            yield f"Python code{where}"
        if isinstance(entry.get("module"), str) and not _is_known(entry, known):
            target = inner if kind == "function" else entry.get("spec_name") if kind == "__typespec__" else kind
            if not _is_part_of_keras(entry["module"], str(target), is_type=kind == "__typespec__"):
                yield f"{entry['module']}.{target}{where}"
        if not isinstance(inner, Mapping):
            continue
        if kind in _LOADING and kind not in known:
            yield f"the model that {kind} loads{where}"
        if kind in _TABLES and isinstance(inner.get("vocabulary"), str):
            yield f"the file {inner['vocabulary']!r}{where}"
        if kind in ("TFOpLambda", "SlicingOpLambda") and not is_computing(str(inner.get("function"))):
            yield f"tf.{inner.get('function')}{where}"
        if kind == "ClassMethod" and str(inner.get("cls_symbol")).rpartition(".")[2] not in _OF_TENSORS:
            yield f"tf.{inner.get('cls_symbol')}.{inner.get('method_name')}{where}"
        for key, value in inner.items():
            # The functions of a Lambda layer have an error of their own.
            is_own = kind == "Lambda" and key.removesuffix("_type") in lambdas.FUNCTIONS
            if key.endswith("_type") and value == "lambda" and not is_own:
                yield f"Python code under {key.removesuffix('_type')}{where}"


def _is_known(entry: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    name = entry["config"] if entry["class_name"] == "function" else entry["class_name"]
    return (isinstance(name, str) and name in known) or entry.get("registered_name") in known


def _is_part_of_keras(module: str, name: str, *, is_type: bool) -> bool:
    """Whether what a module holds under a name is a layer, or what layers are made of."""
    parts = [part for part in module.split(".") if part not in ("src", "_tf_keras", "api", "v1", "v2", "compat")]
    if not name.isidentifier():
        return False
    if is_type:
        return parts[0] in ("tensorflow", *_KERAS) and name.endswith("Spec")
    if module == "builtins":  # what Keras writes for its own functions, and Python's own room
        return not hasattr(builtins, name)
    if parts[0] not in _KERAS:
        return False
    if len(parts) == 1:
        return name[0].isupper()
    return parts[1] in (_CLASSES if name[0].isupper() else _FUNCTIONS)


def is_computing(symbol: str) -> bool:
    """Whether a function of TensorFlow ("math.add", "compat.v1.nn.conv2d") gives tensors and does nothing else."""
    parts = symbol.split(".")
    while parts[0] == "compat" and len(parts) > 2:
        parts = parts[2:]
    room, name = parts[0], parts[-1]
    if name in _DOING:
        return False
    if len(parts) == 1:
        return name[:1].islower() and not name.startswith(("enable_", "disable_"))
    if room == "raw_ops":
        return not find_unsafe_call(name)
    if room in ("io", "debugging"):
        return len(parts) == 2 and name.startswith(_PARSING if room == "io" else _CHECKING)
    if room == "keras":
        return _is_part_of_keras(".".join(parts[:-1]), name, is_type=False)
    return room in _COMPUTING
