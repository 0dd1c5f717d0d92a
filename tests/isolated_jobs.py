"""Jobs that misbehave, run by test_isolation.py in processes of their own."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from migrate import errors


def echo(request):
    return request["value"]


def pid(request):
    return os.getpid()


def large(request):
    return "x" * request["size"]


def crash(request):
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(request):
    os._exit(request["code"])


def hang(request):
    subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(60); open({request['mark']!r}, 'w')"])
    with open(request["mark"] + ".started", "w"):
        pass
    time.sleep(60)


def refuse(request):
    raise errors.CorruptModelError("the file is damaged", where="model/x", hint="copy it again")


def stumble(request):
    return {}["missing"]


def hog(request):
    return len(bytearray(request["size"]))


def print_much(request):
    print("y" * 300_000)
    print("the end")
    os._exit(3)


def surroundings(request):
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


def connect(request):
    """Whether a server on the loopback is reached."""
    try:
        socket.create_connection(("127.0.0.1", request["port"]), timeout=5).close()
    except OSError:
        return False
    return True


def kill_parent(request):
    """The process that watches over this job."""
    os.kill(os.getppid(), request["signal"])
    time.sleep(60)


def kill_server(request):
    with open(f"/proc/{os.getppid()}/stat") as file:
        os.kill(int(file.read().rpartition(")")[2].split()[1]), signal.SIGKILL)
    time.sleep(0.2)
    return "done"


def spread(request):
    """Several processes, each within the limit, in sessions of their own; none ends by itself."""
    code = f"import time; x = bytearray(b'x') * {request['size']}; time.sleep(60)  # {request['mark']}"
    for _ in range(request["count"]):
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    if request["wait"]:
        time.sleep(60)


def fill_disk(request):
    folder = request["folder"] or tempfile.gettempdir()
    for number in range(1000):
        with open(os.path.join(folder, str(number)), "wb") as file:
            file.write(b"x" * 2**20)
        time.sleep(0.002)
    time.sleep(60)


def start_threads(request):
    for _ in range(10_000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    time.sleep(60)


def temp_folder(request):
    with tempfile.NamedTemporaryFile(delete=False):
        return tempfile.gettempdir()


def once(request):
    """Kills its watcher the first time."""
    if not os.path.exists(request["mark"]):
        with open(request["mark"], "w"):
            pass
        kill_parent({"signal": signal.SIGKILL})
    return "second"
