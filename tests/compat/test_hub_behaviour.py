"""The same script under real tensorflow_hub 0.12 / TF 1.15 (recorded) and under compat.hub.

It runs twice: with TF2 behaviour disabled, as TF1 code is usually run today, in a process of its own because
that cannot be undone; and in this process with TF2 behaviour on, inside `tf.Graph().as_default()`.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GENERATE = ROOT / "testdata" / "generate"
sys.path.insert(0, str(GENERATE))
import compat_behaviour  # noqa: E402

from compat import hub  # noqa: E402
from tests import sharing  # noqa: E402

TRUTH = json.loads((ROOT / "testdata" / "compat" / "behaviour.json").read_text())
CASES = compat_behaviour.collect_cases()
# With TF2 behaviour on, a TensorShape prints None for an unknown dimension; and a body of functional control
# flow reads a reference variable before it enters, so nothing in the body is colocated with it.
TF2_DIFFERENCES = {"spec_signatures_and_infos": "repr", "apply_reference_variables_inside_loops": "groups"}


# Of those with TF2 behaviour disabled, by default; all with --run-slow.
EVERY = 3


@pytest.fixture(scope="module")
def records(tmp_path_factory, request):
    """Records with TF2 behaviour disabled."""
    code = (
        "import json, sys, tensorflow.compat.v1 as tf\n"
        "tf.disable_v2_behavior()\n"
        "import compat_behaviour as b\n"
        "from compat import hub\n"
        "json.dump({n: b.run_case(hub, b.collect_cases()[n]) for n in sys.argv[2:]}, open(sys.argv[1], 'w'))\n"
    )
    path = tmp_path_factory.mktemp("behaviour") / "records.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(GENERATE), str(ROOT)]), "TF_USE_LEGACY_KERAS": "1"}
    names = sorted(CASES)[:: 1 if sharing.runs_slow(request.config) else EVERY]
    command = [sys.executable, "-c", code, str(path), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(path.read_text())


def test_every_case_has_a_truth():
    assert set(CASES) == set(TRUTH)
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", sharing.mark_slow(sorted(CASES), but=EVERY))
def test_with_tf2_behaviour_disabled(name, records):
    assert records[name] == TRUTH[name]


@pytest.mark.parametrize("name", sorted(CASES))
def test_with_tf2_behaviour(name):
    record = json.loads(json.dumps(compat_behaviour.run_case(hub, CASES[name])))
    truth = dict(TRUTH[name]) if isinstance(TRUTH[name], dict) else TRUTH[name]
    if name in TF2_DIFFERENCES:
        assert record.pop(TF2_DIFFERENCES[name]) != truth.pop(TF2_DIFFERENCES[name])
    assert record == truth
