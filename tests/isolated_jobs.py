"""Jobs that misbehave, run by test_isolation.py in processes of their own."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from migrate import errors, isolation
from migrate.model import Severity


def find(name: str) -> isolation.Job[Any, Any]:
    """The job of that name in this module."""
    return isolation.Job(f"tests.isolated_jobs:{name}", dict[str, Any], Any)


def echo(request: dict[str, Any]) -> Any:
    return request["value"]


def pid(request: dict[str, Any]) -> Any:
    return os.getpid()


def large(request: dict[str, Any]) -> Any:
    return "x" * request["size"]


def crash(request: dict[str, Any]) -> Any:
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(request: dict[str, Any]) -> Any:
    os._exit(request["code"])


def hang(request: dict[str, Any]) -> Any:
    subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(60); open({request['mark']!r}, 'w')"])
    with open(request["mark"] + ".started", "w"):
        pass
    time.sleep(60)


def refuse(request: dict[str, Any]) -> Any:
    raise errors.CorruptModelError("the file is damaged", where="model/x", hint="copy it again")


def stumble(request: dict[str, Any]) -> Any:
    return {}["missing"]


def hog(request: dict[str, Any]) -> Any:
    return len(bytearray(request["size"]))


def print_much(request: dict[str, Any]) -> Any:
    print("y" * 300_000)
    print("the end")
    os._exit(3)


def surroundings(request: dict[str, Any]) -> Any:
    import random  # what lies in the working directory must not come in its place

    return {
        "folder": os.getcwd(),
        "files": os.listdir(),
        "temporary": tempfile.gettempdir(),
        "environment": dict(os.environ),
        "path": sys.path,
        "random": random.__file__,
        "package": sys.modules["migrate"].__file__,
    }


def connect(request: dict[str, Any]) -> Any:
    """Whether a server on the loopback is reached."""
    try:
        socket.create_connection(("127.0.0.1", request["port"]), timeout=5).close()
    except OSError:
        return False
    return True


def kill_parent(request: dict[str, Any]) -> Any:
    """The process that watches over this job."""
    os.kill(os.getppid(), request["signal"])
    time.sleep(60)


def kill_server(request: dict[str, Any]) -> Any:
    with open(f"/proc/{os.getppid()}/stat") as file:
        os.kill(int(file.read().rpartition(")")[2].split()[1]), signal.SIGKILL)
    time.sleep(0.2)
    return "done"


def spread(request: dict[str, Any]) -> Any:
    """Several processes, each within the limit, in sessions of their own; none ends by itself."""
    code = f"import time; x = bytearray(b'x') * {request['size']}; time.sleep(60)  # {request['mark']}"
    for _ in range(request["count"]):
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    if request["wait"]:
        time.sleep(60)


def fill_disk(request: dict[str, Any]) -> Any:
    folder = request["folder"] or tempfile.gettempdir()
    for number in range(1000):
        with open(os.path.join(folder, str(number)), "wb") as file:
            file.write(b"x" * 2**20)
        time.sleep(0.002)
    time.sleep(60)


def start_threads(request: dict[str, Any]) -> Any:
    for _ in range(10_000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    time.sleep(60)


def temp_folder(request: dict[str, Any]) -> Any:
    with tempfile.NamedTemporaryFile(delete=False):
        return tempfile.gettempdir()


def once(request: dict[str, Any]) -> Any:
    """Kills its watcher the first time."""
    if not os.path.exists(request["mark"]):
        with open(request["mark"], "w"):
            pass
        kill_parent({"signal": signal.SIGKILL})
    return "second"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    number: int
    severity: Severity = Severity.INFO
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    question: Question
    kind: str


def answer(question: Question) -> Answer:
    return Answer(question=question, kind=type(question.names).__name__)


def untyped(request):
    return request


ANSWER = isolation.Job("tests.isolated_jobs:answer", Question, Answer)


def loaded(request: dict[str, Any]) -> Any:
    return request["module"] in sys.modules


def write_beside(request: dict[str, Any]) -> Any:
    """Whether a file can be written into each of some folders, or changed."""
    found = {}
    for folder in request["folders"]:
        try:
            with open(os.path.join(folder, "kept"), "a") as file:
                file.write("changed")
            found[folder] = True
        except OSError:
            found[folder] = False
    return found
