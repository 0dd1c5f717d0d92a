"""Lambda layers: their function lies in the file as marshalled bytecode, which loading runs.

Keras writes `function` as [base64 or latin-1 text of marshal.dumps(code), defaults, closure] with `function_type`
"lambda", or as a name with "function" (keras/utils/generic_utils.py func_dump; keras/layers/core.py). Bytecode belongs
to the Python that made it; marshal says nothing of the version, the layout of the code object does (Python/marshal.c).
What an older one made is run by `old_bytecode`, as far as that goes.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Collection, Mapping
from typing import Any

from migrate import errors
from migrate.readers.keras import configs, old_bytecode

# Keys of a Lambda's config that may hold code; "<key>_type" says whether they do.
FUNCTIONS = ("function", "output_shape", "mask")
_CODE, _BYTES = ord("c"), ord("s")
_FLAG_REF = 0x80
# RESUME is among the first instructions of a function: 151 in Python 3.11 and 3.12, 149 in 3.13.
_FIRST_INSTRUCTIONS = 8


def check_lambdas(config: Any, path: str, *, allowed: bool, known: Collection[str] = ()) -> None:
    """Refuses Lambda layers whose code lies in the file, unless the user allows it and this Python can run it.

    Args:
      config: of the model.
      path: of the file, for the error.
      allowed: --allow_lambda.
      known: layers whose function the user gives (see `give_functions`).

    Raises:
      BlockedError: there are such layers, or, where it is allowed, such that cannot be run; all are named at once.
    """
    stored = {
        configs.name_of(entry): _find_codes(entry)
        for entry in configs.iterate_layers(config)
        if is_stored_lambda(entry) and configs.name_of(entry) not in known
    }
    if not stored:
        return
    names = ", ".join(stored)
    give = f"give the function yourself: --custom_objects=module:{next(iter(stored))} (a function of the layer's name)"
    if not allowed:
        runs = not any(_judge(code) for codes in stored.values() for code in codes)
        raise errors.BlockedError(
            f"the file holds Python code, which loading would run: Lambda {names}",
            where=path,
            hint=f"trust it with --allow_lambda, or {give}" if runs else f"{give}: this Python cannot run the file's",
        )
    mine = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    foreign = {name: reason for name, codes in stored.items() if (reason := next(filter(None, map(_judge, codes)), ""))}
    if foreign:
        origins = ", ".join(f"{name} ({reason})" for name, reason in foreign.items())
        raise errors.BlockedError(
            f"bytecode of another Python than this one ({mine}) cannot be run: Lambda {origins}", where=path, hint=give
        )


def _judge(code: bytes) -> str:
    """Why a marshalled function cannot be run here; "" where it can, by this Python or by `old_bytecode`."""
    origin = describe_bytecode(code)
    if origin == describe_own_python():
        return ""
    old = old_bytecode.parse(code)
    unknown = old_bytecode.find_unknown(old) if old else []
    return f"{origin}: {', '.join(unknown)}" if unknown else "" if old else origin


def is_stored_lambda(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is a Lambda layer with a function that is bytecode."""
    return bool(_find_codes(entry))


def _find_codes(entry: Mapping[str, Any]) -> list[bytes]:
    """The marshalled functions of a Lambda layer; a function that is a name, or a shape that is numbers, is none."""
    config = entry["config"]
    if entry["class_name"] != "Lambda" or not isinstance(config, Mapping):
        return []
    return [parse_code(config.get(key)) for key in FUNCTIONS if _is_code(config, key)]


def _is_code(config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key)
    if isinstance(value, Mapping):
        return value.get("class_name") == "__lambda__"
    kind = config.get(f"{key}_type")
    # Without a type, a function that is no name is none that Keras could have looked up.
    return kind == "lambda" or (key == FUNCTIONS[0] and not isinstance(value, str))


def give_functions(config: Any, objects: Mapping[str, Any]) -> Any:
    """The config with the function of every Lambda layer whose name `objects` has taken from there.

    The file's own `output_shape` goes too, where it is code: TensorFlow infers the shape.
    """

    def change(entry: dict[str, Any]) -> dict[str, Any]:
        name = configs.name_of(entry)
        if entry["class_name"] != "Lambda" or name not in objects:
            return entry
        own = {**entry["config"], "function": name, "function_type": "function", "module": None}
        if own.get("output_shape_type") != "raw":
            own |= {"output_shape": None, "output_shape_type": "raw", "output_shape_module": None}
        return {**entry, "config": own}

    return configs.replace_layers(config, change)


def parse_code(function: Any) -> bytes:
    """The marshalled code of a config's `function`; b"" where it cannot be told."""
    if isinstance(function, Mapping):  # Keras 3: {"class_name": "__lambda__", "config": {"code", ...}}
        function = function.get("config", {}).get("code")
    text = function[0] if isinstance(function, list | tuple) and function else function
    if not isinstance(text, str):
        return b""
    try:
        decoded = base64.b64decode(text, validate=False) if text.isascii() else b""
    except (binascii.Error, ValueError):
        decoded = b""
    # Before Keras 2.0.9 the bytes stood there as latin-1 text.
    return decoded if decoded[:1] in (b"c", b"\xe3") else text.encode("raw_unicode_escape")


def describe_bytecode(code: bytes) -> str:
    """Which Pythons wrote a marshalled code object: "Python 3.0 to 3.7", say, by how many numbers stand before its
    instructions (argument counts, locals, stack, flags) and by its first instructions."""
    if not code or code[0] & ~_FLAG_REF != _CODE:
        return "of unknown origin"
    numbers = 0
    while 1 + 4 * numbers < len(code) and code[1 + 4 * numbers] & ~_FLAG_REF != _BYTES and numbers < 7:
        numbers += 1
    start = 1 + 4 * numbers + 5
    instructions = code[start : start + 2 * _FIRST_INSTRUCTIONS : 2]
    if numbers == 4:
        return "Python 2"
    if numbers == 6:
        return "Python 3.8 to 3.10"
    if numbers == 5 and 151 in instructions:
        return "Python 3.11 or 3.12"
    if numbers == 5 and 149 in instructions:
        return "Python 3.13"
    return "Python 3.0 to 3.7" if numbers == 5 else "of unknown origin"


def describe_own_python() -> str:
    """This Python, as `describe_bytecode` would name it."""
    return "Python 3.13" if sys.version_info >= (3, 13) else "Python 3.11 or 3.12"
