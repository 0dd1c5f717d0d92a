"""A model in a bucket as the one source of a command: a real S3 server on loopback."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

import migrate
from migrate import errors
from migrate.sources import acquire_source
from tests.sources.stores import serving_gcs, serving_s3, upload

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


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs then reads gs://, not TensorFlow")
def test_googles_store_by_way_of_tensorflow(tmp_path):
    """With the proxy, certificates and credentials of the caller's environment, in a job that gets them alone."""
    objects = {
        f"models/deep/module/{path.relative_to(MODULE)}": path.read_bytes()
        for path in MODULE.rglob("*")
        if path.is_file()
    }
    with serving_gcs({**objects, "models/m.h5": FILE.read_bytes()}, tmp_path):
        found = acquire_source("gs://models/deep/module", str(tmp_path / "a"))
        assert (found.format.value, found.origin) == ("tf1_hub_module", "gs://models/deep/module")
        copied = {path.relative_to(found.path): path for path in pathlib.Path(found.path).rglob("*") if path.is_file()}
        assert {f"models/deep/module/{name}": path.read_bytes() for name, path in copied.items()} == objects
        assert acquire_source("gs://models/m.h5", str(tmp_path / "b")).format.value == "keras_h5"
        for name in ("nothing", "deep/mod"):
            with pytest.raises(errors.SourceNotFoundError, match=f"gs://models/{name}: there is no such object"):
                acquire_source(f"gs://models/{name}", str(tmp_path / "c"))


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
