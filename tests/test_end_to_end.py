"""The main job, as a user does it: one command over a zoo, old and new run on the same inputs, reports."""

import json
import pathlib
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import tensorflow as tf

ZOO = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "zoo"
# One of each kind: hub module with both variants, Estimator, tables with assets, a signature that counts, sparse.
SUBSET = ("estimator_linear_regressor", "hub_image_batch_norm", "hub_text_mean", "saved_model_counter", "hub_sparse")


def test_migrate_zoo(tmp_path):
    source, dest = tmp_path / "zoo", tmp_path / "out"
    for slug in SUBSET:
        shutil.copytree(ZOO / slug / "model", source / slug)
    command = [sys.executable, "-m", "migrate.cli.zoo", f"--source={source}", f"--dest={dest}", "--jobs=2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 models: 5 migrated in " in done.stdout

    reports = dest / "_migration"
    report = json.loads((reports / "report.json").read_text(encoding="utf-8"))
    assert report["summary"] == {"migrated": 5}
    for model in report["models"]:
        verification = model["verification"]
        assert verification["verdict"] == "PASS", model["source"]
        assert verification["outputs_compared"] > 0 and verification["problems"] == []
        assert verification["max_absolute"] is None or verification["max_absolute"] < 1e-4
        # Assets, tables and lists of variables count too: equal, they are the same to the bit.
        assert verification["bit_identical"] == all(
            diff["bit_identical"] for diff in verification["diffs"] if diff["level"] != "interface"
        )
        assert verification["bit_identical"] or verification["max_absolute"] > 0, model["source"]
        record = json.loads((pathlib.Path(model["dest"]) / "assets.extra" / "migration.json").read_text("utf-8"))
        assert record["verification"]["verdict"] == "PASS"
        assert hasattr(tf.saved_model.load(model["dest"]), "signatures")
    lines = (reports / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(line)["source"] for line in lines) == sorted(m["source"] for m in report["models"])
    assert ElementTree.parse(reports / "junit.xml").getroot().get("failures") == "0"
    assert (reports / "report.html").read_text(encoding="utf-8").count("PASS") >= 5
    assert [str(path) for path in dest.rglob("*.partial")] == []
