"""Jobs that misbehave, run by test_isolation.py in processes of their own."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
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
