"""What several processes of one test run (pytest-xdist) have in common: dear fixtures are made once, and each test goes
where what it needs is loaded already."""

import atexit
import contextlib
import fcntl
import json
import os
import pathlib
import tempfile

import coverage
import pytest

from migrate import isolation

# How many parts a catalogue's models are dealt into: each part is loaded by one process only.
_PARTS = 4
# Tests of the rooms whose coverage has a bound (benchmarks/coverage_rooms.py); and those in which only what is forked
# runs these rooms' code.
_MEASURED = {
    "comparison", "faults", "graph", "graph_sources", "inputs", "rebuild", "verify", "write",
    "test_side_by_side.py", "test_staging.py",
}  # fmt: skip
_FORKING = {"catalogue", "control_flow_catalogue", "readers"}
# By what a process is told to measure itself.
_TOLD = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
# A stopped one is no longer the current one.
_coverage = coverage.Coverage.current()
_measuring, _told = [True], {}
_ROOT = pathlib.Path(__file__).resolve().parent.parent
_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def take_core():
    """Each process of a test run has a core of its own: TensorFlow starts a thread for each that it may use, and those
    of several processes get into each other's way (a tenth of the time)."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker and _CORES:
        os.sched_setaffinity(0, {sorted(_CORES)[int(worker) % len(_CORES)]})


@contextlib.contextmanager
def all_cores():
    """What starts within has them all; their number."""
    if not _CORES:
        yield os.cpu_count() or 1
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _CORES)
    try:
        yield len(_CORES)
    finally:
        os.sched_setaffinity(0, own)


def measure(room):
    """Whether coverage counts in a test of `room`, of this process and of those that it starts, where it is measured at
    all: what is traced takes half as long again, and loads TensorFlow in twice the time."""
    if _coverage is None:
        return
    wanted = room in _MEASURED
    if wanted != _measuring[0]:
        (_coverage.start if wanted else _coverage.stop)()
        _measuring[0] = wanted
    alone = room not in _MEASURED | _FORKING
    _start_server(alone)
    for name in _TOLD:
        if alone and name in os.environ:
            _told[name] = os.environ.pop(name)
        elif not alone and name in _told:
            os.environ[name] = _told.pop(name)


def _start_server(idle):
    """The server of isolated jobs, traced; of what it forks, `traced_forks` chooses."""
    if "COVERAGE_IDLE" not in os.environ:
        os.environ["COVERAGE_IDLE"] = os.path.join(tempfile.gettempdir(), f"coverage_idle_{os.getpid()}")
        atexit.register(_forget, os.environ["COVERAGE_IDLE"])
    if idle:
        pathlib.Path(os.environ["COVERAGE_IDLE"]).touch()
    else:
        _forget(os.environ["COVERAGE_IDLE"])
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), path]))
    try:
        with all_cores():  # as where the first test that needs it is one that has them
            server = isolation.shared_server()
            server._start("tests")
            server.prepare(["tests.traced_forks"])
    finally:
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path


def _forget(file):
    with contextlib.suppress(FileNotFoundError):
        os.remove(file)


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
