"""Equal sources give equal files: migrated again, by other processes, from another place, byte for byte."""

import json
import os
import shutil
import subprocess

import pytest
from tensorflow.core.protobuf import fingerprint_pb2

from tests.conftest import find_read_options

from .truth import SLUGS, ZOO, find_model


@pytest.fixture(scope="module")
def second(tmp_path_factory, python):
    """A second migration of the zoo by the command line, with other hash seeds; returns its root."""
    base = tmp_path_factory.mktemp("second")
    for model in sorted(ZOO.glob("*/model")):
        shutil.copytree(model, base / "another" / "source" / model.parent.name / "model")
    command = [python, "-m", "migrate.cli.zoo", f"--source={base / 'another' / 'source'}", f"--dest={base / 'dest'}"]
    environment = {**os.environ, "PYTHONHASHSEED": "4321"}
    done = subprocess.run(
        [*command, "--verify=none", "--jobs=2"], env=environment, capture_output=True, text=True, check=False
    )
    for slug, told in find_read_options():
        flags = [f"--{key}={','.join(value) if isinstance(value, list) else value}" for key, value in told.items()]
        relative = find_model(ZOO / slug).relative_to(ZOO)
        places = [f"--source={base / 'another' / 'source' / relative}", f"--dest={base / 'dest' / relative}"]
        again = [python, "-m", "migrate.cli.model", *places, *flags, "--verify=none", "--overwrite"]
        assert subprocess.run(again, env=environment, capture_output=True, check=False).returncode == 0, slug
    report = json.loads((base / "dest" / "_migration" / "report.json").read_text(encoding="utf-8"))
    assert done.returncode == (0 if set(report["summary"]) == {"migrated"} else 1), done.stderr
    return base / "dest"


def _read(path):
    data = path.read_bytes()
    if path.name != "fingerprint.pb":
        return data
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(data)
    assert fingerprint.uuid, "TensorFlow writes a random uuid"
    fingerprint.uuid = ""
    return fingerprint.SerializeToString(deterministic=True)


@pytest.mark.parametrize("slug", SLUGS)
def test_same_files(slug, second, catalogue):
    first = catalogue.path(slug)
    other = second / first.relative_to(catalogue.root)
    names = [sorted(str(path.relative_to(root)) for path in root.rglob("*")) for root in (first, other)]
    assert names[0] == names[1]
    for name in names[0]:
        if (first / name).is_file():
            assert _read(first / name) == _read(other / name), f"{name} differs"
