"""What stands in for TensorFlow's registry and messages is what the installed TensorFlow has."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf  # noqa: F401  # the point: here, TensorFlow's own is asked

import migrate
from migrate import errors
from migrate.graph import availability, removed_ops
from migrate.schema import messages, ops

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "migrate" / "schema"
SLUGS = ("hub_ragged", "hub_sparse", "saved_model_pbtxt", "tables_mutable", "variables_v1_checkpoint", "hub_functions")


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("make_schema", ROOT / "testdata" / "generate" / "make_schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_made_from_this_tensorflow(generator):
    assert (FOLDER / "messages.pb").read_bytes() == generator.make_messages().SerializeToString(deterministic=True)
    made = {op.name: op for op in generator.make_ops().op}
    # A test before this one may have loaded an op library.
    kept = messages.find_message("tensorflow.OpList").FromString((FOLDER / "ops.pb").read_bytes())
    assert {op.name: op for op in kept.op}.items() <= made.items()
    lost = set((FOLDER / "without_cpu_kernel.txt").read_text().split())
    assert lost == {op.name for op in kept.op if not ops.has_cpu_kernel(op.name)}


def test_replaced_ops_are_those_that_are_replaced():
    assert set(removed_ops.REWRITES) == availability.REPLACED_OPS


_LIGHT = """
import json, sys, migrate
records = [migrate.inspect_model(path).to_record() for path in sys.argv[1:]]
assert not {"tensorflow", "keras", "tf_keras"} & set(sys.modules)
print(json.dumps(records))
"""


def _inspect_without_tensorflow(paths):
    done = subprocess.run([sys.executable, "-c", _LIGHT, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _plain(record):
    return json.loads(json.dumps(record))


def _check(paths):
    for path, light in zip(paths, _inspect_without_tensorflow(paths), strict=True):
        assert light == _plain(migrate.inspect_model(path).to_record()), path


def test_inspection_says_the_same_without_tensorflow():
    _check([migrate.detect_format(ROOT / "testdata" / "zoo" / slug / "model").path for slug in SLUGS])


@pytest.mark.slow
def test_inspection_says_the_same_without_tensorflow_over_all_models():
    corpus = ROOT.parent / "shared" / "corpus" / "saved_models"
    found = [*(ROOT / "testdata" / "zoo").glob("*/model"), *corpus.glob("*")]
    _check([str(path) for path in sorted(found) if _is_whole(path)])


def _is_whole(path):
    try:
        migrate.inspect_model(path)
    except errors.SourceError:  # The corpus holds damaged files too.
        return False
    return True
