"""The same zoo on a cluster of two nodes on the loopback; one of them is killed in the middle."""

import collections
import json
import pathlib
import threading
import time

import pytest

from migrate import zoo
from migrate.options import MigrateOptions, ZooOptions
from tests.zoo.conftest import copy_model, make_different

ray = pytest.importorskip("ray", reason="Ray is an extra")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.slow]
MODELS = 10


@pytest.fixture
def cluster():
    """Two nodes; the head runs no tasks of its own that could be lost with it."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.other = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_node_is_killed(cluster, small, tmp_path):
    for number in range(MODELS - 3):
        make_different(copy_model("frozen_constants", small / f"more{number}"), str(number))
    dest = tmp_path / "out"
    done = threading.Event()
    inodes = collections.defaultdict(set)

    def look():
        """Each place shows one folder ever: none was published twice."""
        while not done.is_set():
            for path in dest.glob("*/saved_model.pb"):
                inodes[path.parent.name].add(path.parent.stat().st_ino)
            time.sleep(0.02)

    looker = threading.Thread(target=look)
    looker.start()
    killed = []

    def kill(outcome, total):
        if len(killed) == 0:
            killed.append(outcome.source)
            cluster.remove_node(cluster.other, allow_graceful=False)

    try:
        options = ZooOptions(engine="ray", ray_address=cluster.address, migrate=MigrateOptions(verify="none"))
        report = zoo.migrate_zoo(small, dest, options, on_outcome=kill)
    finally:
        done.set()
        looker.join()
    assert killed and report.summary == {"migrated": MODELS} and not report.stopped
    assert {name: len(found) for name, found in inodes.items()} == dict.fromkeys(inodes, 1)
    assert len(inodes) == MODELS and sorted(path.name for path in dest.iterdir()) == sorted([*inodes, "_migration"])
    lines = pathlib.Path(report.report_dir, "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["source"] for line in lines}) == len(lines) == MODELS
