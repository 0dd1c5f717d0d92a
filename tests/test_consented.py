"""A hostile model whose unsafe ops were consented to: it runs, and what SECURITY.md promises of where it runs holds."""

import hashlib
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from migrate import compare_models
from migrate.options import CompareOptions
from migrate.verdict import Verdict
from tests.scan.hostile.case import make_meta_graph, plain, write_model
from tests.test_sandbox import may

SECRET = "hush-3f1c"
OPS = "ReadFile,WriteFile,TextLineDataset"
# What a process can be asked about itself (proc(5)). ReadFile takes the size of 0 that these claim for their length.
SEEN = {"environment": "/proc/self/environ", "sockets": "/proc/self/net/tcp", "limits": "/proc/self/limits"}


def read_lines(path):
    lines = tf.data.TextLineDataset(path)
    return lines.reduce(tf.constant(""), lambda text, line: tf.strings.join([text, line], "\n"))


def write_spy(folder, outside):
    """Tells what it sees, both when it is rebuilt (in its init op) and when it is called."""

    def build(x, y):
        def tell(when):
            return [
                tf.raw_ops.WriteFile(filename=f"{outside}/{when}-{name}", contents=read_lines(path))
                for name, path in SEEN.items()
            ] + [tf.raw_ops.WriteFile(filename=f"here-{when}", contents="x")]

        with tf.control_dependencies(tell("rebuilt")):
            tf.no_op(name="hidden")
        with tf.control_dependencies(tell("called")):
            return tf.identity(y)

    write_model(folder, make_meta_graph(build, collections=["legacy_init_op"]))


def write_forger(folder, when, target=None):
    """Writes into its own folder, or another model's, over the graph and beside it."""
    target = target or folder

    def build(x, y):
        targets = (f"{target}/saved_model.pb", f"{target}/assets/planted")
        with tf.control_dependencies([tf.raw_ops.WriteFile(filename=name, contents="forged") for name in targets]):
            if when == "called":
                return tf.identity(y)
            tf.no_op(name="hidden")
        return None

    write_model(folder, make_meta_graph(build, collections=["legacy_init_op"] if when == "rebuilt" else ()))


def migrate(tmp_path, *flags):
    """Migrates `model` into `out` by the command, as somebody who has a secret in the environment."""
    caller = tmp_path / "caller"
    caller.mkdir()
    command = [sys.executable, "-m", "migrate.cli.model", f"--source={tmp_path / 'model'}", f"--dest={tmp_path}/out/m"]
    root = str(pathlib.Path(__file__).resolve().parent.parent)
    environment = os.environ | {"AWS_SECRET_ACCESS_KEY": SECRET, "MIGRATE_TEST_TOKEN": SECRET, "PYTHONPATH": root}
    done = subprocess.run(
        [*command, *flags], env=environment, cwd=caller, capture_output=True, text=True, check=False, timeout=300
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert os.listdir(caller) == [], "something was written into the caller's working directory"
    return done


def digest_files(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.slow
def test_what_it_sees(tmp_path):
    """No word of the caller's environment, no network where that can be taken away, no core files."""
    outside = tmp_path / "outside"
    outside.mkdir()
    write_spy(tmp_path / "model", outside)
    assert migrate(tmp_path).returncode == 1 and os.listdir(outside) == [], "nothing runs without consent"
    (tmp_path / "caller").rmdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = migrate(tmp_path, f"--allow_unsafe_ops={OPS}")
        port = f":{listener.getsockname()[1]:04X} "
        assert port in pathlib.Path("/proc/self/net/tcp").read_text(encoding="ascii")
    assert done.returncode == 0, done.stderr
    for when in ("rebuilt", "called"):
        seen = {name: (outside / f"{when}-{name}").read_text(encoding="utf-8", errors="replace") for name in SEEN}
        assert "PATH=" in seen["environment"] and SECRET not in seen["environment"]
        assert re.search(r"Max core file size +0 +0 ", seen["limits"])
        assert "local_address" in seen["sockets"]
        if may("drop_network()"):
            assert port not in seen["sockets"], "it is in the caller's network"
    assert not list(tmp_path.rglob("here-*")), "its working directory was no scratch folder"
    assert SECRET.encode() not in b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("when", ["rebuilt", "called"])
def test_its_own_folder_stays_as_it_is(tmp_path, when):
    model = tmp_path / "model"
    write_forger(model, when)
    if not may("protect_paths([sys.argv[1]])", model):
        pytest.skip("this system does not let a process have mounts of its own")
    before = digest_files(tmp_path)
    done = migrate(tmp_path, f"--allow_unsafe_ops={OPS}")
    assert "Read-only file system" in done.stdout, done.stdout + done.stderr
    assert digest_files(model) == {"saved_model.pb": before["model/saved_model.pb"]}


@pytest.mark.slow
def test_one_side_does_not_write_to_the_other(tmp_path):
    """Of a comparison: what is judged could make itself the original."""
    plain(tmp_path / "old")
    if not may("protect_paths([sys.argv[1]])", tmp_path / "old"):
        pytest.skip("this system does not let a process have mounts of its own")
    write_forger(tmp_path / "new", "called", target=tmp_path / "old")
    before = digest_files(tmp_path)
    options = CompareOptions(allow_unsafe_ops=("WriteFile",), batch_sizes=(1,))
    verification = compare_models(tmp_path / "old", tmp_path / "new", options)
    assert verification.verdict is Verdict.FAIL and digest_files(tmp_path) == before
