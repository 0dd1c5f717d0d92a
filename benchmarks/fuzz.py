"""Damages files of the sample zoo and has them inspected and scanned, in this process, which loads no TensorFlow.

    python benchmarks/fuzz.py [--count=10000] [--seed=0] [--zoo=testdata/zoo] [--keep=DIR]

Each input is a saved_model.pb, a saved_model.pbtxt or a checkpoint's .index with one to eight faults: bits, bytes,
spans that are cut, doubled or taken from another model; fields of the message that are cleared, doubled, swapped or
given odd values, so that the file still parses; entries of an index likewise, with checksums that fit. Every fourth
saved_model.pb is written as text first, and its text is damaged. Whatever comes
of it, it must be one line, within 5 s, and this process must stay below 500 MB. Exits with 1 when an input does not
keep to this; --keep saves such inputs. `--seed` and the number of an input make it again.
"""

from __future__ import annotations

import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from typing import Any

from absl import app, flags
from google.protobuf import text_format

import migrate
from migrate import errors, scan
from migrate.checkpoint import table
from migrate.schema import messages

_COUNT = flags.DEFINE_integer("count", 10_000, "Inputs.")
_FIRST = flags.DEFINE_integer("first", 0, "Number of the first input.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all.")
_ZOO = flags.DEFINE_string("zoo", "testdata/zoo", "Folder with models in <name>/model.")
_KEEP = flags.DEFINE_string("keep", "", "Folder for inputs that do not keep to the rules.")
_MAX_SECONDS, _MAX_BYTES = 5.0, 500 * 2**20
# Larger files are damaged as well, only slower.
_MAX_FILE, _MAX_TEXT = 160_000, 40_000
_ODD = (0, 1, -1, 2, 7, 127, 128, 255, 999, 2**31 - 1, -(2**31), 2**31, 2**32, 2**53, 2**63 - 1, -(2**63))
_TEXTS = (
    "",
    "x",
    "^x",
    "x:0",
    ":",
    "x:99999999999999999999",
    "^",
    "a" * 5_000,
    "\x1b[31m",
    "../..",
    "\n",
    "\u202e",
    "/",
)


class HangError(Exception):
    pass


def damage_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One fault that knows nothing of the format."""
    if not data:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(64)))
    at = rng.randrange(len(data))
    end = min(len(data), at + rng.choice((1, 2, 8, 64, 1_000)))
    kind = rng.randrange(7)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + bytes([rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + data[end:]
    if kind == 3:
        return data[:end] + data[at:]
    if kind == 4:
        return data[:at]
    if kind == 5:
        start = rng.randrange(len(other))
        return data[:at] + other[start : start + end - at] + data[end:]
    return data[:at] + bytes(rng.choice((b"\xff", b"\x80"))) * rng.randrange(1, 12) + data[at:]


def damage_message(data: bytes, rng: random.Random, name: str = "tensorflow.SavedModel") -> bytes:
    """One fault in a field somewhere in the message, which stays one."""
    whole = messages.find_message(name)()
    try:
        whole.ParseFromString(data)
    except Exception:  # bytes were damaged before: there is no message left
        return data
    current = whole
    for _ in range(rng.randrange(1, 9)):
        inner = _submessages(current)
        if not inner:
            break
        current = rng.choice(inner)
    _change_field(current, rng)
    try:
        encoded: bytes = whole.SerializeToString()
    except Exception:  # a string that is none
        return data
    return encoded


def _submessages(current: Any) -> list[Any]:
    found: list[Any] = []
    for field, value in current.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            found.extend(value[key] for key in value if hasattr(value[key], "ListFields"))
        else:
            found.extend(value if hasattr(value, "__len__") and not hasattr(value, "ListFields") else [value])
    return found


def _change_field(current: Any, rng: random.Random) -> None:
    fields = list(current.DESCRIPTOR.fields)
    if not fields:
        return
    field = rng.choice([field for field, _ in current.ListFields()] or fields)
    kind = rng.randrange(4)
    try:
        value = getattr(current, field.name)
        if kind == 0:
            current.ClearField(field.name)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            keys = sorted(value)
            if keys and kind == 1:
                del value[rng.choice(keys)]
            elif len(keys) > 1:
                source, target = rng.sample(keys, 2)
                value[target].CopyFrom(value[source])
        elif field.message_type is not None and hasattr(value, "add"):
            if value and kind == 1:
                del value[rng.randrange(len(value))]
            elif value:
                value.add().CopyFrom(rng.choice(list(value)))
        elif field.message_type is not None:
            value.Clear()
        elif hasattr(value, "append"):
            value.append(rng.choice(list(value)) if value and kind == 1 else _odd(field, rng))
        else:
            setattr(current, field.name, _odd(field, rng))
    except (ValueError, TypeError, AttributeError, KeyError):
        return  # a value that the field does not take


def _odd(field: Any, rng: random.Random) -> Any:
    if field.type == field.TYPE_STRING:
        return rng.choice(_TEXTS)
    if field.type == field.TYPE_BYTES:
        return rng.choice(_TEXTS).encode() + bytes(rng.randrange(256) for _ in range(rng.randrange(8)))
    if field.type == field.TYPE_BOOL:
        return rng.random() < 0.5
    return rng.choice(_ODD)


def damage_index(data: bytes, rng: random.Random) -> bytes:
    """One fault in an entry, with checksums that fit."""
    try:
        items = table.read_table(data)
    except errors.MigrateError:
        return data
    if not items:
        return data
    at = rng.randrange(len(items))
    key, value = items[at]
    kind = rng.randrange(4)
    if kind == 0:
        del items[at]
    elif kind == 1:
        items[at] = (key, damage_bytes(value, value or b"x", rng))
    elif kind == 2:
        items[at] = (damage_bytes(key, key or b"x", rng), value)
    else:
        items[at] = (key, items[rng.randrange(len(items))][1])
    return table.write_table(sorted(dict(items).items()))


def damage_text(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One fault in a line or a token of a message's text form."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines[at:at] = lines[at : at + rng.choice((1, 5, 50))]
    elif kind == 2:
        lines[at] = rng.choice(other.split(b"\n"))
    elif kind == 3:
        name, colon, _ = lines[at].partition(b":")
        lines[at] = name + colon + b" " + rng.choice([str(value).encode() for value in _ODD] + [b'"\\', b"nan", b"<"])
    elif kind == 4:
        # Deeper than any parser's stack, or merely unbalanced.
        lines[at:at] = [rng.choice((b"node {", b"{", b"}", b"attr { value { list { func {"))] * rng.choice(
            (1, 200, 5_000)
        )
    else:
        lines[at] = lines[at].replace(b'"', rng.choice((b"", b"'", b'\\"', b'"\\377', b'"\\x00')), 1)
    return b"\n".join(lines)


def write_text(data: bytes) -> bytes:
    """The text form of a SavedModel."""
    saved_model = messages.find_message("tensorflow.SavedModel")()
    saved_model.ParseFromString(data)
    return text_format.MessageToString(saved_model).encode()


def damage(file: pathlib.Path, data: bytes, other: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        structured = rng.random() < 0.7
        if structured and file.suffix == ".pb":
            data = damage_message(data, rng)
        elif structured and file.suffix == ".index":
            data = damage_index(data, rng)
        elif structured and file.suffix == ".pbtxt":
            data = damage_text(data, other or b"x", rng)
        else:
            data = damage_bytes(data, other or b"x", rng)
    return data


def try_input(model: pathlib.Path) -> tuple[str, str]:
    """(what came of it, what is against the rules, "" for nothing)."""
    came = []
    for call in (migrate.inspect_model, scan.scan_model):
        try:
            found = call(model)
            came.append(call.__name__)
            text = found.to_text() if isinstance(found, migrate.Inspection) else ""
            if any(ord(character) < 32 and character not in "\n\t" for character in text):
                return "shown", f"{call.__name__}: a control character is shown"
        except migrate.MigrateError as error:
            came.append(type(error).__name__)
            if "\n" in str(error) or not str(error).strip():
                return came[-1], f"{call.__name__}: {len(str(error).splitlines())} lines: {error!s:.200}"
        except HangError:
            return "hang", f"{call.__name__}: longer than {_MAX_SECONDS:g} s"
        except BaseException as error:  # whatever it is, it is against the rules
            return type(error).__name__, f"{call.__name__}: {type(error).__name__}: {error!s:.200}"
    return "/".join(came), ""


def find_files(zoo: pathlib.Path) -> list[pathlib.Path]:
    found = [
        file
        for pattern in ("saved_model.pb", "saved_model.pbtxt", "*.index")
        for file in sorted(zoo.glob(f"*/model/**/{pattern}"))
    ]
    return [file for file in found if file.stat().st_size < _MAX_FILE]


def _raise(*_: object) -> None:
    raise HangError


def main(_: list[str]) -> int:
    zoo = pathlib.Path(_ZOO.value)
    files = find_files(zoo)
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    broken = 0
    slowest = 0.0
    signal.signal(signal.SIGALRM, _raise)
    with tempfile.TemporaryDirectory(prefix="migrate-fuzz-") as scratch:
        for number in range(_FIRST.value, _FIRST.value + _COUNT.value):
            rng = random.Random(f"{_SEED.value}/{number}")
            file = rng.choice(files)
            root = zoo.joinpath(*file.relative_to(zoo).parts[:2])
            model = pathlib.Path(scratch) / root.parent.name / root.name
            if not model.exists():
                shutil.copytree(root, model)
            target = whole = model / file.relative_to(root)
            data = file.read_bytes()
            if file.suffix == ".pb" and len(data) < _MAX_TEXT and rng.random() < 0.25:
                target = whole.with_suffix(".pbtxt")
                whole.unlink()
                data = write_text(data)
            target.write_bytes(damage(target, data, rng.choice(files).read_bytes(), rng))
            kinds[target.suffix] += 1
            started = time.process_time()
            signal.alarm(60)
            came, problem = try_input(model)
            signal.alarm(0)
            seconds = time.process_time() - started
            slowest = max(slowest, seconds)
            if not problem and seconds > _MAX_SECONDS:
                problem = f"{seconds:.1f} s"
            counts[came] += 1
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if not problem and memory > _MAX_BYTES:
                problem = f"{memory >> 20} MB"
            if problem:
                broken += 1
                print(f"{number}: {file}: {problem}", flush=True)
                if _KEEP.value:
                    kept = pathlib.Path(_KEEP.value) / str(number)
                    shutil.rmtree(kept, ignore_errors=True)
                    shutil.copytree(model, kept)
            target.unlink()
            shutil.copyfile(file, whole)
    assert "tensorflow" not in sys.modules
    for came, count in counts.most_common():
        print(f"{count:7,} {came}")
    print(", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common()))
    print(
        f"{_COUNT.value:,} inputs of {len(files)} files, seed {_SEED.value}: {broken} against the rules; slowest "
        f"{slowest:.2f} s of CPU, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB at most"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app.run(main)
