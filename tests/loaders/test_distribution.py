"""A migrated model loads under `MirroredStrategy`'s scope and trains on two devices as on one."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

PROGRAM = pathlib.Path(__file__).with_name("distribute.py")


def train(path, shape, mode, tmp_path):
    rows = np.random.default_rng(0).random((8, *shape), np.float32)
    np.save(tmp_path / "rows.npy", rows)
    command = [sys.executable, str(PROGRAM), str(path), str(tmp_path / "rows.npy"), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_two_devices_train_as_one(catalogue, tmp_path):
    """Losses, weights and regularization; saved from the strategy, it is the model that one device trained."""
    told = train(catalogue.path("hub_dense_l2"), (3,), "plain", tmp_path)
    np.testing.assert_allclose(told["replicated"], told["single"], rtol=1e-5)
    assert told["single"][-1] < told["single"][0]
    assert told["weights"] < 1e-6 and told["replicas"] == 0
    np.testing.assert_allclose(told["saved"], told["now"], rtol=1e-5)


@pytest.mark.slow
def test_update_ops_run_on_each_device(catalogue, tmp_path):
    """Batch norm takes each device's own rows, as it does in TF1's towers: losses differ, weights stay one."""
    told = train(catalogue.path("hub_image_batch_norm"), (8, 6, 3), "training", tmp_path)
    assert told["replicated"][-1] < told["replicated"][0]
    assert told["replicas"] == 0


@pytest.mark.slow
def test_reference_variables(catalogue, tmp_path):
    told = train(catalogue.path("tf18_hub_dense"), (3,), "plain", tmp_path)
    np.testing.assert_allclose(told["replicated"], told["single"], rtol=1e-5)
    assert told["weights"] < 1e-6 and told["replicas"] == 0
