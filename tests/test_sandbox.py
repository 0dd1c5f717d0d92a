"""What an isolated process sees: nothing that lies beside the user by chance, no secret, no network."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

import migrate
from migrate import isolation
from migrate.isolation import sandbox
from tests import isolated_jobs

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server started in a folder full of traps, as the folder of a model from a stranger may be."""
    traps = tmp_path_factory.mktemp("traps")
    (traps / "migrate").mkdir()
    for name in ("random.py", "tensorflow.py", "sitecustomize.py", "migrate/__init__.py"):
        (traps / name).write_text(f"open({str(traps / 'sprung')!r}, 'w').close()\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
        patch.chdir(traps)
        running = isolation.Server()
        running.run(isolated_jobs.find("echo"), {"value": 0})
    with running:
        yield running
    assert not (traps / "sprung").exists()


def test_surroundings(server):
    seen = server.run(isolated_jobs.find("surroundings"), {}).value
    assert seen["files"] == [] and seen["temporary"] == seen["folder"]
    assert "AWS_SECRET_ACCESS_KEY" not in seen["environment"] and "PATH" in seen["environment"]
    assert "" not in seen["path"]
    assert pathlib.Path(seen["random"]).parent == pathlib.Path(os.__file__).parent
    assert seen["package"] == os.path.abspath(migrate.__file__)
    assert not os.path.exists(seen["folder"]), "the scratch folder goes with the job"


def test_network(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        request = {"port": listener.getsockname()[1]}
        assert server.run(isolated_jobs.find("connect"), request, network=True).value
        if not may("drop_network()"):
            pytest.skip("this system does not let a process give up its network")
        assert not server.run(isolated_jobs.find("connect"), request).value


def test_environment():
    made = sandbox.make_environment({"TF_X": "1", "GITHUB_TOKEN": "t", "PYTHONPATH": ":rel:", "PATH": "p"})
    assert made["TF_X"] == "1" and made["PATH"] == "p" and "GITHUB_TOKEN" not in made
    assert made["PYTHONPATH"] == os.path.abspath("rel"), "an empty entry is the working directory"
    assert "PYTHONPATH" not in sandbox.make_environment({"PYTHONPATH": ":"})


def test_traps_beside_a_command(tmp_path):
    """The whole command, called where a stranger's Python files lie."""
    for name in ("random.py", "sitecustomize.py", "tensorflow.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()\n", encoding="utf-8")
    model = HERE.parent / "testdata" / "zoo" / "frozen_constants" / "model"
    code = "from migrate.cli import model; model.run()"
    command = [sys.executable, "-P", "-c", code, f"--source={model}", "--dest=out", "--verify=none"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "saved_model.pb").exists() and not (tmp_path / "sprung").exists()


def test_read_only(server, tmp_path):
    """The model cannot be written to, what lies beside it can; a model that holds the results can."""
    model, beside = tmp_path / "model", tmp_path / "beside"
    for folder in (model, beside, model / "results"):
        folder.mkdir()
        (folder / "kept").write_text("", encoding="utf-8")
    ask = isolated_jobs.find("write_beside")
    if not may("protect_paths([sys.argv[1]])", model):
        pytest.skip("this system does not let a process have mounts of its own")
    request = {"folders": [str(model), str(model / "results"), str(beside)]}
    told = server.run(ask, request, read_only=[str(model)], folders=[str(beside)]).value
    assert told == {str(model): False, str(model / "results"): False, str(beside): True}
    assert (model / "kept").read_text(encoding="utf-8") == ""
    told = server.run(ask, request, read_only=[str(model)], folders=[str(model / "results")]).value
    assert all(told.values())
    assert (model / "kept").read_text(encoding="utf-8") == "changed", "nothing is left of the mounts"


def may(call, *arguments):
    code = f"import sys; from migrate.isolation import sandbox; sys.exit(not sandbox.{call})"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=False, cwd=HERE.parent).returncode == 0


_AS_NOBODY = """
import ctypes, encodings.ascii, encodings.idna, os, socket, sys
from migrate.isolation import sandbox
listener = socket.create_server(("127.0.0.1", 0))
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: as after an exec, /proc/self is one's own
if sys.argv[2] == "refused":
    sandbox._unshare = lambda flags: False
dropped = sandbox.drop_network()
guarded = sandbox.protect_paths([sys.argv[1]])
def attempt(action):
    try:
        action()
        return True
    except OSError:
        return False
connects = attempt(lambda: socket.create_connection(listener.getsockname(), 2))
writes = attempt(lambda: open(os.path.join(sys.argv[1], "new"), "w"))
print(os.geteuid(), dropped, guarded, connects, writes)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("system", ["permits", "refused"])
def test_somebody_who_is_not_root(tmp_path, system):
    """Where the system lets users have namespaces, they lose network and write access; where not, nothing fails."""
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents:  # pytest's are root's own
        if os.stat(folder).st_mode & 0o011 == 0:
            folder.chmod(0o711)
    command = [sys.executable, "-c", _AS_NOBODY, str(tmp_path), system]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent)
    assert done.returncode == 0, done.stderr
    user, dropped, guarded, connects, writes = done.stdout.split()
    assert user == "65534"
    assert (connects == "True") == (dropped == "False") and (writes == "True") == (guarded == "False"), done.stdout
    if system == "refused":
        assert dropped == guarded == "False"
