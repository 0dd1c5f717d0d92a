"""A model in a bucket as the one source of a command: a real S3 server on loopback."""

import pathlib
import subprocess
import sys

import pytest

import migrate
from migrate import errors
from migrate.sources import acquire_source, buckets
from tests.sources.stores import serving_s3, upload

TESTDATA = pathlib.Path(__file__).resolve().parents[2] / "testdata"
MODULE = TESTDATA / "zoo" / "hub_dense_l2" / "model"
FILE = TESTDATA / "keras" / "keras_231_dense" / "model.h5"


@pytest.fixture(scope="module")
def bucket():
    with serving_s3("models"):
        upload(MODULE, "s3://models/deep/module")
        upload(FILE, "s3://models/m.h5")
        yield "s3://models"


def run(name, *arguments):
    command = [sys.executable, "-m", f"migrate.cli.{name}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_folder_and_object(bucket, tmp_path):
    """A prefix is a folder; an object is a file. The source is called by its handle."""
    found = acquire_source(f"{bucket}/deep/module", str(tmp_path / "a"))
    assert (found.format.value, found.origin) == ("tf1_hub_module", f"{bucket}/deep/module")
    names = [path.relative_to(MODULE) for path in MODULE.rglob("*") if path.is_file()]
    assert all((pathlib.Path(found.path) / name).read_bytes() == (MODULE / name).read_bytes() for name in names)
    assert acquire_source(f"{bucket}/m.h5", str(tmp_path / "b")).format.value == "keras_h5"
    assert migrate.inspect_model(f"{bucket}/deep/module").path == f"{bucket}/deep/module"


def test_nothing_there(bucket, tmp_path):
    for name in ("nothing", "deep/mod", "../deep"):
        with pytest.raises(errors.MigrateError) as raised:
            acquire_source(f"{bucket}/{name}", str(tmp_path / "s"))
        assert f"{bucket}/{name}" in str(raised.value)
    done = run("model", f"--source={bucket}/nothing", f"--dest={tmp_path}/out")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "no such object" in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep/module", "m.h5"])
def test_commands(bucket, tmp_path, name):
    source, dest = f"{bucket}/{name}", str(tmp_path / "out")
    inspected = run("inspect", f"--source={source}")
    assert inspected.returncode == 0 and inspected.stdout.startswith(source), inspected.stdout + inspected.stderr
    migrated = run("model", f"--source={source}", f"--dest={dest}")
    assert migrated.returncode == 0 and ", PASS:" in migrated.stdout, migrated.stdout + migrated.stderr
    compared = run("compare", f"--baseline={source}", f"--candidate={dest}")
    assert compared.returncode == 0, compared.stdout + compared.stderr


def test_google_through_tensorflow(tmp_path):
    """What copies from gs:// where gcsfs is missing, over a file system that TensorFlow has here too."""
    buckets.copy_with_tensorflow(buckets.CopyRequest(url=f"file://{MODULE}", target=str(tmp_path / "module")))
    names = sorted(path.relative_to(MODULE) for path in MODULE.rglob("*") if path.is_file())
    copied = sorted(p.relative_to(tmp_path / "module") for p in (tmp_path / "module").rglob("*") if p.is_file())
    assert copied == names
    with pytest.raises(errors.SourceNotFoundError):
        buckets.copy_with_tensorflow(buckets.CopyRequest(url=f"file://{tmp_path}/no", target=str(tmp_path / "x")))
