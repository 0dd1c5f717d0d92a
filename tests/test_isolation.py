"""What a job does to itself it does to nobody else: crash, hang, error, hunger, long answers."""

import dataclasses
import importlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import typing

import pytest

import migrate
from migrate import building, errors, isolation
from migrate.isolation import client, folders
from migrate.isolation.job import find_function
from migrate.model import Severity
from migrate.options import Limits
from migrate.verify.runners import side
from tests import isolated_jobs


@pytest.fixture(scope="module", autouse=True)
def findable_jobs():
    """A server's jobs can import `tests.isolated_jobs`, wherever pytest was started."""
    path = os.environ.get("PYTHONPATH", "")
    root = str(pathlib.Path(__file__).parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, path]))
    yield
    os.environ["PYTHONPATH"] = path


@pytest.fixture(scope="module")
def server(findable_jobs):
    """Without TensorFlow, which takes seconds to load: it is killed and replaced more than once."""
    with isolation.Server(imports=()) as running:
        yield running


def test_value_comes_back(server):
    value = {"a": [1, 2.5, None, "ä"], "b": {}}
    result = server.run(isolated_jobs.find("echo"), {"value": value})
    assert result.value == value
    assert result.seconds > 0 and result.peak_rss_bytes > 2**20


def test_typed_values_cross(server):
    """Tuples are tuples and enums are enums on both sides."""
    asked = isolated_jobs.Question(number=3, severity=Severity.WARNING, names=("a", "b"))
    answer = server.run(isolated_jobs.ANSWER, asked).value
    assert answer == isolated_jobs.Answer(question=asked, kind="tuple")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Older:
    """A question as a client of another version would ask it."""

    number: int
    colour: str


def test_request_of_another_type_is_refused(server):
    job = isolation.Job("tests.isolated_jobs:answer", Older, isolated_jobs.Answer)
    with pytest.raises(isolation.JobError, match="Question has no field colour"):
        server.run(job, Older(number=1, colour="red"))


def test_function_that_states_no_types_is_no_job(server):
    with pytest.raises(isolation.JobError, match=r"untyped is no job.*stated type"):
        server.run(isolated_jobs.find("untyped"), {})


def _find_jobs():
    """All that the sources make, under whatever name, tables of them included."""
    found = {}
    for path in sorted(pathlib.Path(migrate.__file__).parent.rglob("*.py")):
        if re.search(r"\bJob\(", path.read_text(encoding="utf-8")) and path.parent.name != "isolation":
            parts = path.relative_to(pathlib.Path(migrate.__file__).parent.parent).with_suffix("").parts
            for value in vars(importlib.import_module(".".join(parts))).values():
                for job in value.values() if isinstance(value, dict) else (value,):
                    if isinstance(job, isolation.Job):
                        found[job.target] = job
    return list(found.values())


JOBS = _find_jobs()


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.target)
def test_jobs_say_what_their_functions_take_and_return(job):
    function, taken = find_function(job.target)
    assert taken is job.request
    assert typing.get_type_hints(function)["return"] is job.answer


def test_every_job_is_found():
    assert len(JOBS) >= 15 and building.BUILD in JOBS


def test_each_job_has_a_process(server):
    pids = {server.run(isolated_jobs.find("pid"), {}).value for _ in range(3)}
    assert len(pids) == 3 and os.getpid() not in pids


@pytest.mark.parametrize("size", [2**16, 5 * 2**20])
def test_answer_larger_than_a_pipe(server, size):
    assert len(server.run(isolated_jobs.find("large"), {"size": size}).value) == size


def test_crash_by_signal(server):
    with pytest.raises(isolation.JobError, match=r"signal 11.*last words") as failure:
        server.run(isolated_jobs.find("crash"), {}, where="model/x")
    assert failure.value.state == "died" and failure.value.where == "model/x"
    assert server.run(isolated_jobs.find("echo"), {"value": 1}).value == 1


def test_exit_without_answer(server):
    with pytest.raises(isolation.JobError, match="exit code 7") as failure:
        server.run(isolated_jobs.find("leave"), {"code": 7})
    assert failure.value.state == "died"


def test_hang_is_killed_with_its_children(server, tmp_path):
    mark = tmp_path / "mark"
    started = time.monotonic()
    with pytest.raises(isolation.JobError, match=r"did not finish within 1 s.*--timeout") as failure:
        server.run(isolated_jobs.find("hang"), {"mark": str(mark)}, limits=Limits(timeout=1))
    assert failure.value.state == "timed_out"
    assert time.monotonic() - started < 20
    assert pathlib.Path(f"{mark}.started").exists(), "the job never began"
    assert not _processes_with(str(mark)), "a child of the job still runs"


def _processes_with(text):
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if text.encode() in command:
            found.append(command)
    return found


def test_errors_of_the_toolkit_keep_their_class(server):
    with pytest.raises(errors.CorruptModelError) as failure:
        server.run(isolated_jobs.find("refuse"), {})
    assert str(failure.value) == "model/x: the file is damaged [copy it again]"


def test_other_errors_are_named_with_their_traceback(server):
    with pytest.raises(isolation.JobError, match="KeyError: 'missing'") as failure:
        server.run(isolated_jobs.find("stumble"), {})
    assert failure.value.state == "raised"
    assert "stumble" in failure.value.log


def test_unknown_target(server):
    with pytest.raises(isolation.JobError, match="AttributeError"):
        server.run(isolated_jobs.find("no_such_job"), {})
    with pytest.raises(isolation.JobError, match="ModuleNotFoundError"):
        server.run(isolation.Job("no_such_module:x", dict, dict), {})


def test_memory_limit(server):
    size = 3 * 2**30
    with pytest.raises(isolation.JobError, match=r"(?i)memory"):
        server.run(isolated_jobs.find("hog"), {"size": size}, limits=Limits(memory_limit=2 * 2**30))


def test_memory_limit_is_of_all_processes_together(server):
    """Each of them is within it, and none is a child that the job waits for."""
    request = {"size": 400 * 2**20, "count": 3, "wait": True, "mark": "zoo-spread-1"}
    with pytest.raises(isolation.JobError, match=r"GiB of memory, more than its limit of 0.98 GiB") as failure:
        server.run(isolated_jobs.find("spread"), request, limits=Limits(memory_limit=1000 * 2**20))
    assert failure.value.state == "died"
    assert not _processes_with("zoo-spread-1")


def test_sessions_of_a_job_end_with_it(server):
    server.run(isolated_jobs.find("spread"), {"size": 1, "count": 2, "wait": False, "mark": "zoo-spread-2"})
    assert not _processes_with("zoo-spread-2")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_disk_limit(server, tmp_path, elsewhere):
    folder = str(tmp_path) if elsewhere else ""
    with pytest.raises(isolation.JobError, match=r"limit of 0\.02 GiB on disk"):
        server.run(
            isolated_jobs.find("fill_disk"),
            {"folder": folder},
            limits=Limits(disk_limit=20 * 2**20),
            folders=(str(tmp_path),),
        )


def test_threads_without_end(server):
    with pytest.raises(isolation.JobError, match="threads and processes, more than"):
        server.run(isolated_jobs.find("start_threads"), {})


def test_temporary_folder_is_the_jobs_own(server):
    folders = [server.run(isolated_jobs.find("temp_folder"), {}).value for _ in range(2)]
    assert len(set(folders)) == 2 and not any(os.path.exists(folder) for folder in folders)


def test_server_that_died_is_started_again(server):
    first = server._process.pid
    os.kill(first, signal.SIGKILL)
    server._process.wait()
    assert server.run(isolated_jobs.find("echo"), {"value": 5}).value == 5
    assert server._process.pid != first


def test_server_that_stopped_is_replaced(server, monkeypatch):
    """It accepts connections, since the system does so for it, and never answers."""
    monkeypatch.setattr(client, "_START_SECONDS", 1.0)
    server.run(isolated_jobs.find("echo"), {"value": 5})
    first = server._process.pid
    os.kill(first, signal.SIGSTOP)
    assert server.run(isolated_jobs.find("echo"), {"value": 6}).value == 6
    assert server._process.pid != first


@pytest.mark.parametrize("times", [1, 2])
def test_server_that_is_killed_while_it_starts(monkeypatch, times):
    """Once is nothing of the model's; what keeps dying says that TensorFlow does not load."""
    started, launch = [], subprocess.Popen

    def start(*arguments, **options):
        started.append(launch(*arguments, **options))
        if len(started) <= times:
            started[-1].kill()
        return started[-1]

    monkeypatch.setattr(client.subprocess, "Popen", start)
    with isolation.Server() as fresh:
        if times == 1:
            assert fresh.run(isolated_jobs.find("echo"), {"value": 7}).value == 7
        else:
            with pytest.raises(isolation.JobError, match="TensorFlow could not be loaded"):
                fresh.run(isolated_jobs.find("echo"), {"value": 7})
    assert len(started) == 2


def test_jobs_outlive_their_server(server):
    """One job kills the server that all share; the others have their answers, and it has its own."""
    found = {}

    def ask(number):
        job = isolated_jobs.find("kill_server" if number == 1 else "echo")
        found[number] = server.run(job, {"value": number}).value

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: 0, 1: "done", 2: 2, 3: 3}


def test_who_kills_its_watcher_is_to_blame(server):
    with pytest.raises(isolation.JobError, match="watches over it died twice") as failure:
        server.run(isolated_jobs.find("kill_parent"), {"signal": signal.SIGKILL})
    assert failure.value.state == "died"
    assert server.run(isolated_jobs.find("echo"), {"value": 7}).value == 7


def test_a_job_whose_watcher_was_killed_runs_again(server, tmp_path):
    assert server.run(isolated_jobs.find("once"), {"mark": str(tmp_path / "mark")}).value == "second"


def test_who_stops_its_watcher_is_ended(server, monkeypatch):
    monkeypatch.setattr(client, "_GRACE_SECONDS", 0.5)
    with pytest.raises(isolation.JobError, match="died twice"):
        server.run(isolated_jobs.find("kill_parent"), {"signal": signal.SIGSTOP}, limits=Limits(timeout=0.5))


def test_log_keeps_its_end(server):
    with pytest.raises(isolation.JobError) as failure:
        server.run(isolated_jobs.find("print_much"), {})
    assert failure.value.log.endswith("the end\n") and len(failure.value.log) < 10_000


def test_many_threads(server):
    """Answers reach the thread that asked."""
    found = {}

    def ask(number):
        found[number] = server.run(isolated_jobs.find("echo"), {"value": number}).value

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number for number in range(8)}


def test_kept_log(server, tmp_path):
    with isolation.keep_logs(str(tmp_path / "log")), pytest.raises(isolation.JobError):
        server.run(isolated_jobs.find("print_much"), {}, where="model/x")
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert "isolated_jobs:print_much model/x" in text.splitlines()[0] and text.endswith("the end\n")
    assert len(text) > 300_000


def test_work_beside_its_caller(server):
    with isolation.Aside(lambda _: server.run(isolated_jobs.find("echo"), {"value": 1}).value) as aside:
        assert server.run(isolated_jobs.find("echo"), {"value": 2}).value == 2
        assert aside.get() == 1


def test_what_fails_beside_its_caller_fails_when_it_is_awaited(server):
    with isolation.Aside(lambda _: server.run(isolated_jobs.find("refuse"), {})) as aside:
        assert server.run(isolated_jobs.find("echo"), {"value": 2}).value == 2
        with pytest.raises(errors.MigrateError):
            aside.get()


def test_nothing_goes_on_beside_a_caller_that_has_failed(server, tmp_path):
    """Its job ends, and nobody else's does."""
    marks = {name: tmp_path / name for name in ("mine", "other")}
    ended = []

    def hang(name):
        try:
            server.run(isolated_jobs.find("hang"), {"mark": str(marks[name])}, limits=Limits(timeout=3))
        except isolation.JobError as error:
            ended.append((name, error.state))

    other = threading.Thread(target=hang, args=("other",))
    other.start()
    with pytest.raises(KeyError), isolation.Aside(lambda _: hang("mine")):
        while not all(mark.with_suffix(".started").exists() for mark in marks.values()):
            time.sleep(0.01)
        raise KeyError("the caller's own")
    assert ended == [("mine", "cancelled")]
    other.join()
    assert ended[1:] == [("other", "timed_out")]


def test_interrupted_before_it_began(server):
    began = []

    def wait(interrupt):
        while not interrupt.wait(0.01):
            pass
        began.append(interrupt.is_set)

    with isolation.Aside(wait):
        pass
    assert began == [True]


def test_cancelled(server):
    with isolation.Server(imports=()) as own:
        own.run(isolated_jobs.find("echo"), {"value": 0})
        threading.Timer(0.3, own.cancel).start()
        started = time.monotonic()
        for _ in range(2):
            with pytest.raises(isolation.JobError) as failure:
                own.run(isolated_jobs.find("kill_parent"), {"signal": 0})
            assert failure.value.state == "cancelled"
        assert time.monotonic() - started < 20


def test_killed_client_leaves_nothing(tmp_path):
    """Neither processes nor its folder, nor what it had said it owns."""
    owned, mark = tmp_path / "owned", tmp_path / "mark"
    owned.mkdir()
    code = (
        "import threading, time\nfrom migrate import isolation\nfrom tests import isolated_jobs\n"
        "server = isolation.shared_server()\n"
        f"server.own({str(owned)!r})\n"
        f"work = {{'mark': {str(mark)!r}}}\n"
        "threading.Thread(target=server.run, args=(isolated_jobs.find('hang'), work)).start()\n"
    )
    temp = tmp_path / "temp"
    temp.mkdir()
    environment = {**os.environ, "TMPDIR": str(temp), "PYTHONPATH": str(pathlib.Path(__file__).parent.parent)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    _await(lambda: pathlib.Path(f"{mark}.started").exists(), 120)
    process.kill()
    process.wait()
    _await(lambda: not os.listdir(temp) and not owned.exists() and not _processes_with(str(mark)), 20)


def _await(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_abandoned_folders_are_removed(tmp_path):
    kept = folders.OwnedFolder(prefix="migrate-", parent=str(tmp_path))
    left = folders.OwnedFolder(prefix="migrate-", parent=str(tmp_path))
    os.close(left._lock)  # as its process would by ending
    (tmp_path / "migrate-mine").mkdir()
    folders.remove_abandoned(str(tmp_path), prefix="migrate-")
    assert sorted(os.listdir(tmp_path)) == sorted(["migrate-mine", os.path.basename(kept.path)])
    kept.remove()


def test_closed_server_leaves_nothing(tmp_path):
    """The server process and its folder are gone with it; closing twice is no error."""
    running = isolation.Server(imports=())
    assert running.run(isolated_jobs.find("echo"), {"value": 1}).value == 1
    folder, process = running._folder, running._process
    running.close()
    running.close()
    assert process.poll() is not None
    assert not os.path.exists(folder)


_PREPARED = """
import importlib, os, sys
import tensorflow
from tensorflow.python.eager import context
before = len(os.listdir("/proc/self/task"))
for name in sys.argv[1:]:
    module, _, function = name.partition(":")
    getattr(importlib.import_module(module), function or "__name__")
    function and getattr(importlib.import_module(module), function)()
assert len(os.listdir("/proc/self/task")) == before
assert context.context_safe() is None or not context.context()._initialized
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_what_the_server_imports_runs_nothing(python):
    """A TensorFlow that has run has threads, which no fork survives."""
    jobs = [building.BUILD, *side.RUNNERS.values()]
    names = [name for job in jobs for name in job.needs]
    assert "migrate.rebuild.module" in names and "tensorflow_hub" in names
    done = subprocess.run([python, "-c", _PREPARED, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_job_starts_with_what_was_prepared():
    job = dataclasses.replace(isolated_jobs.find("loaded"), needs=("colorsys", "no_such_module"))
    with isolation.Server(imports=["wave"]) as server:
        assert server.run(isolated_jobs.find("loaded"), {"module": "wave"}).value is True
        assert server.run(isolated_jobs.find("loaded"), {"module": "tensorflow"}).value is False
        assert server.run(isolated_jobs.find("loaded"), {"module": "colorsys"}).value is False
        assert server.run(job, {"module": "colorsys"}).value is True
        server.run(isolated_jobs.find("echo"), {"value": 1}, soon=("chunk",))
        assert server.run(isolated_jobs.find("loaded"), {"module": "colorsys"}).value is True
