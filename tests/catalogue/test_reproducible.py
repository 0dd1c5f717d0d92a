"""Equal sources give equal files: migrated again, by other processes, from another place, byte for byte."""

import json
import os
import shutil
import subprocess

import pytest
from tensorflow.core.protobuf import fingerprint_pb2

from tests import sharing
from tests.conftest import find_read_options

from .truth import SLUGS, ZOO, find_model

EVERY = 9  # by default; all with --run-slow


@pytest.fixture(scope="module")
def second(tmp_path_factory, python, request):
    """A second migration of the zoo by the command line, with other hash seeds; returns its root."""
    base = tmp_path_factory.mktemp("second")
    told = dict(find_read_options())
    rows = []
    for slug in SLUGS if sharing.runs_slow(request.config) else SLUGS[::EVERY]:
        shutil.copytree(ZOO / slug / "model", base / "another" / "source" / slug / "model")
        place = find_model(ZOO / slug).relative_to(ZOO)
        row = {"source": str(base / "another" / "source" / place), "dest": str(place), "options": told.get(slug, {})}
        rows.append(json.dumps(row))
    (base / "zoo.jsonl").write_text("\n".join(rows), encoding="utf-8")
    places = [f"--source={base / 'zoo.jsonl'}", f"--dest={base / 'dest'}"]
    done = subprocess.run(
        [python, "-m", "migrate.cli.zoo", *places, "--verify=none", "--jobs=2"],
        env={**os.environ, "PYTHONHASHSEED": "4321"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return base / "dest"


def _read(path):
    data = path.read_bytes()
    if path.name != "fingerprint.pb":
        return data
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(data)
    assert fingerprint.uuid, "TensorFlow writes a random uuid"
    fingerprint.uuid = ""
    return fingerprint.SerializeToString(deterministic=True)


@pytest.mark.parametrize("slug", sharing.mark_slow(SLUGS, but=EVERY))
def test_same_files(slug, second, catalogue):
    first = catalogue.path(slug)
    other = second / first.relative_to(catalogue.root)
    names = [sorted(str(path.relative_to(root)) for path in root.rglob("*")) for root in (first, other)]
    assert names[0] == names[1]
    for name in names[0]:
        if (first / name).is_file():
            assert _read(first / name) == _read(other / name), f"{name} differs"
