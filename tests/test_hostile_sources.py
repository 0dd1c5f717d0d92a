"""What is broken, or means harm, through the command line: one clear error each, exit code 1, nothing half written."""

import json
import pathlib
import subprocess
import sys
import tarfile

import pytest

from tests.sources.servers import drip, hang, send, serving
from tests.sources.test_archives import make_tar, make_zip, special, zip_link

TESTDATA = pathlib.Path(__file__).resolve().parent.parent / "testdata"
KERAS, ZOO = TESTDATA / "keras", TESTDATA / "zoo"
WEIGHTS = KERAS / "tfkeras_224_weights_h5" / "model" / "model_weights.h5"


def run(folder, source, *flags):
    command = [sys.executable, "-m", "migrate.cli.model", f"--source={source}", f"--dest={folder}/out/model", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def assert_one_error(folder, done, *words):
    """Of a model that is not migrated: said in one line, without a trace of Python, and nothing is left."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for word in words:
        assert word in line, line
    assert "/migrate-" not in line, "what it names is gone by now"
    assert not list(folder.glob("out/**/*")), "something is left"
    assert not [path.name for path in folder.iterdir() if path.name.startswith((".", "tmp"))]


def of_other_architecture(folder):
    config = json.loads((KERAS / "tfkeras_224_weights_h5" / "model.json").read_text(encoding="utf-8"))
    for layer in config["config"]["layers"]:
        if layer["config"]["name"] == "y":
            layer["config"]["units"] = 5
    (folder / "other.json").write_text(json.dumps(config), encoding="utf-8")
    return WEIGHTS, f"--architecture={folder / 'other.json'}"


def with_unknown_layer(folder):
    config = (KERAS / "tfkeras_224_weights_h5" / "model.json").read_text(encoding="utf-8")
    (folder / "m.json").write_text(config.replace('"Dense"', '"Mystery"'), encoding="utf-8")
    return WEIGHTS, f"--architecture={folder / 'm.json'}"


def cut_short(folder, name, share):
    data = (KERAS / name).read_bytes()
    path = folder / f"cut{pathlib.Path(name).suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    return (path,)


def without_shard(folder, source, ending):
    target = folder / "ckpt"
    target.mkdir()
    for path in source.iterdir():
        if not path.name.endswith(ending):
            (target / path.name).write_bytes(path.read_bytes())
    return target


MODELS = {
    "weights for another architecture": (
        of_other_architecture,
        ("do not fit", "[3, 2] in the file, [3, 5] in the model"),
    ),
    "a layer that nobody knows": (with_unknown_layer, ("Mystery", "--custom_objects")),
    "an HDF5 file cut short": (lambda f: cut_short(f, "keras_231_dense/model.h5", 0.7), ("copy it again",)),
    "an HDF5 file that is a head": (lambda f: cut_short(f, "keras_231_dense/model.h5", 0.01), ("copy it again",)),
    "a .keras file cut short": (lambda f: cut_short(f, "archive_3151_dense/model.keras", 0.6), ("cut.keras",)),
    "a checkpoint without a shard": (
        lambda f: (without_shard(f, ZOO / "checkpoint_recorded" / "model", ".data-00001-of-00003"),),
        (".data-00001-of-00003", "copy"),
    ),
    "Keras weights without a shard": (
        lambda f: (
            without_shard(f, KERAS / "tfkeras_224_weights_callback" / "model", "cp-0002.ckpt.data-00001-of-00002"),
            f"--architecture={KERAS / 'tfkeras_224_weights_callback' / 'model.json'}",
        ),
        ("cp-0002.ckpt.data-00001-of-00002", "copy"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_broken_model(name, tmp_path):
    make, words = MODELS[name]
    assert_one_error(tmp_path, run(tmp_path, *make(tmp_path)), *words)


def make_bomb(path):
    """Two hundred megabytes of nothing in two hundred kilobytes."""
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("saved_model.pb")
        info.size = 200 * 2**20
        with open("/dev/zero", "rb") as zeros:
            tar.addfile(info, zeros)
    return path


ARCHIVES = {
    "up.tar.gz": (lambda p: make_tar(p, [("../evil.pb", b"x")]), "leads out"),
    "up.zip": (lambda p: make_zip(p, [("../evil.pb", b"x")]), "leads out"),
    "link.tgz": (lambda p: make_tar(p, [special(tarfile.SYMTYPE)]), "a link"),
    "hard.tgz": (lambda p: make_tar(p, [special(tarfile.LNKTYPE)]), "a link"),
    "link.zip": (lambda p: make_zip(p, [zip_link("saved_model.pb", "/etc/passwd")]), "a link"),
    "device.tgz": (lambda p: make_tar(p, [special(tarfile.CHRTYPE)]), "a device"),
    "damaged.tar.gz": (lambda p: make_tar(p, [("saved_model.pb", b"\x0a")]), "damaged.tar.gz/saved_model.pb"),
    "bomb.tar.gz": (make_bomb, "200 times"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_hostile_archive(name, tmp_path):
    make, word = ARCHIVES[name]
    assert_one_error(tmp_path, run(tmp_path, make(tmp_path / name)), name, word)
    assert not (tmp_path.parent / "evil.pb").exists()


SERVERS = {
    "hangs": (hang, ("is silent", "takes longer")),
    "never ends": (drip, ("takes longer",)),
    "closes early": (send(b"\x1f\x8b" + b"x" * 1000, length=5000), ("broke off",)),
    "says less than it sends": (send(b"\x1f\x8b" + b"x" * 5000, length=100), ("cannot be unpacked",)),
    "says nonsense of its length": (send(b"x", length="many"), ("length of 'many'",)),
    "has nothing": (send(b"gone", status=404), ("answers 404",)),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n == "hangs" else n for n in SERVERS])
def test_server_at_fault(name, tmp_path):
    answer, words = SERVERS[name]
    with serving(answer) as (address, _):
        done = run(tmp_path, f"{address}/publisher/model/1", "--timeout=2")
    assert_one_error(tmp_path, done, address)
    assert any(word in done.stderr for word in words), done.stderr
