"""Functions that genuine old Pythons compiled (testdata/old_bytecode) give here what they gave there."""

import base64
import builtins
import importlib
import json
import marshal
import operator

import pytest

from migrate.readers.keras import old_bytecode
from tests.catalogue.truth import TESTDATA

RECORDED = {
    (path.stem, name): entry
    for path in sorted((TESTDATA / "old_bytecode").glob("*.json"))
    for name, entry in json.loads(path.read_text(encoding="utf-8"))["functions"].items()
}
AROUND = old_bytecode.Surroundings(names=vars(builtins), load_module=importlib.import_module, divide=operator.floordiv)
# 3.8 and 3.9 cannot be told from 3.10, which counts jumps otherwise.
UNTOLD = {"3.8", "3.9", "3.10"}
BRANCHING = {"branch", "either", "between", "comprehension", "loop", "closed"}


def run(entry):
    code = old_bytecode.parse(base64.b64decode(entry["code"]))
    assert old_bytecode.find_unknown(code) == []
    function = old_bytecode.make_function(code, AROUND, defaults=entry["defaults"], closure=entry["closure"])
    return json.loads(json.dumps(function(entry["argument"])))


@pytest.mark.parametrize("key", RECORDED, ids=lambda key: " ".join(key))
def test_what_it_gave(key):
    version, name = key
    if version in UNTOLD and name in BRANCHING:
        code = old_bytecode.parse(base64.b64decode(RECORDED[key]["code"]))
        assert "branches of Python 3.8 to 3.10" in old_bytecode.find_unknown(code)
        return
    assert run(RECORDED[key]) == RECORDED[key]["result"]


def test_every_version_is_there():
    assert {version for version, _ in RECORDED} == {"2.7", "3.6", "3.7", *UNTOLD} and len(RECORDED) >= 90


def test_what_is_not_run_is_named():
    """A generator, and code of this Python."""
    code = old_bytecode.parse(base64.b64decode(RECORDED["3.7", "arithmetic"]["code"]).replace(b"|\x00", b"V\x00", 1))
    assert old_bytecode.find_unknown(code) == ["opcode 86"]
    assert old_bytecode.parse(marshal.dumps((lambda x: x).__code__)) is None


@pytest.mark.parametrize("key", [("2.7", "inner"), ("3.7", "inner")])
def test_damaged_bytes_are_no_code(key):
    data = base64.b64decode(RECORDED[key]["code"])
    assert all(old_bytecode.parse(data[:end]) is None for end in range(len(data)))
