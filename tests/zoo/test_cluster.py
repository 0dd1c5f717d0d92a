"""The same zoo on a cluster of two nodes on the loopback; one of them is killed in the middle."""

import collections
import contextlib
import json
import os
import pathlib
import threading

import pytest

from migrate import zoo
from migrate.options import MigrateOptions, ZooOptions
from tests.zoo.conftest import copy_model, make_different
from tests.zoo.faulty import make_zoo

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


@pytest.fixture
def run_and_kill(cluster, tmp_path):
    """Runs a zoo on the cluster and kills a node when some models are done: (report, folder -> inodes seen there)."""

    def run(source, when):
        dest = tmp_path / "out"
        done = threading.Event()
        inodes = collections.defaultdict(set)

        def look():
            for parent, folders, names in os.walk(dest):
                folders[:] = [name for name in folders if not name.endswith((".partial", ".extra", "_migration"))]
                if any(name.startswith("saved_model.pb") for name in names):
                    with contextlib.suppress(OSError):
                        inodes[os.path.relpath(parent, dest)].add(os.stat(parent).st_ino)

        def keep_looking():
            while not done.wait(0.02):
                look()

        looker = threading.Thread(target=keep_looking)
        looker.start()
        ended = []

        def kill(outcome, total):
            ended.append(outcome.source)
            if len(ended) == when:
                cluster.remove_node(cluster.other, allow_graceful=False)

        try:
            options = ZooOptions(engine="ray", ray_address=cluster.address, migrate=MigrateOptions(verify="none"))
            report = zoo.migrate_zoo(source, dest, options, on_outcome=kill)
        finally:
            done.set()
            looker.join()
        look()
        assert len(ended) > when and not report.stopped
        return report, inodes

    return run


def _check_once(report, inodes, models):
    """Each place showed one folder ever, each model has one record: none was published twice."""
    assert {name: len(found) for name, found in inodes.items()} == dict.fromkeys(inodes, 1)
    lines = pathlib.Path(report.report_dir, "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["source"] for line in lines}) == len(lines) == models


def test_a_node_is_killed(run_and_kill, small, tmp_path):
    for number in range(MODELS - 3):
        make_different(copy_model("frozen_constants", small / f"more{number}"), str(number))
    report, inodes = run_and_kill(small, 1)
    assert report.summary == {"migrated": MODELS} and len(inodes) == MODELS
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*inodes, "_migration"])
    _check_once(report, inodes, MODELS)


@pytest.mark.parametrize("models", [pytest.param(24, id="few"), pytest.param(290, id="many")])
def test_the_zoo_with_faults(run_and_kill, tmp_path, models):
    """Exactly the faulty ones are marked, whatever node they were on."""
    source = tmp_path / "zoo"
    expected = make_zoo(source, models)
    report, inodes = run_and_kill(source, models // 3)
    statuses = {os.path.relpath(outcome.source, source): outcome.status.value for outcome in report.outcomes}
    assert statuses.keys() == expected.keys()
    assert all(statuses[name] in allowed for name, allowed in expected.items()), statuses
    assert {name for name, status in statuses.items() if status == "migrated"} == set(inodes)
    _check_once(report, inodes, len(expected))
    assert not list((tmp_path / "out").rglob("*.partial"))
