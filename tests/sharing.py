"""What several processes of one test run (pytest-xdist) have in common: dear fixtures are made once, and each test goes
where what it needs is loaded already."""

import fcntl
import json
import os

import pytest

# How many parts a catalogue's models are dealt into: each part is loaded by one process only.
_PARTS = 4


def make_once(tmp_path_factory, name, make):
    """Folder `name` of the test run, made by whichever process asks first; the others wait for it.

    Args:
      make: takes the folder, which does not exist yet, fills it and returns a JSON value.

    Returns:
      The folder, and what `make` returned.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # a worker's own folder lies in that of the run
    folder, told = root / name, root / f"{name}.json"
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            value = make(folder)
            told.write_text(json.dumps(value), encoding="utf-8")
    return folder, json.loads(told.read_text(encoding="utf-8"))


def name_group(item):
    """Tests of one group run in one process: those of a module, which share its fixtures; those of a part of a
    catalogue's models, which are loaded once for all properties."""
    truth = getattr(item, "callspec", None) and item.callspec.params.get("truth")
    if isinstance(truth, str):
        return f"{item.path.parent.name}-{sum(truth.encode()) % _PARTS}"
    return str(item.path)


def runs_slow(config):
    """Whether tests that are marked slow run."""
    return config.getoption("--run-slow") or os.environ.get("RUN_SLOW") == "1"


def mark_slow(values, *, but):
    """Parameters, slow but for each `but`-th: what is dear and the same for all is looked at in some by default."""
    return [pytest.param(v, marks=() if k % but == 0 else (pytest.mark.slow,)) for k, v in enumerate(values)]
