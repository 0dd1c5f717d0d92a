"""What all tests share: a quiet TensorFlow, and the catalogue migrated once.

The catalogue is migrated from a copy of `testdata/zoo` that is then deleted, into a folder that is then
renamed: whatever a test finds in a migrated model can lean neither on the source nor on where it was written.
"""

import dataclasses
import gc
import json
import os
import pathlib
import shutil
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import pytest
from absl import flags

from migrate import pipeline, zoo
from migrate.options import WEIGHT_MODES, MigrateOptions, ReadOptions, ZooOptions
from migrate.outcome import Outcome
from tests import sharing

ROOT = pathlib.Path(__file__).resolve().parent.parent
ZOO = ROOT / "testdata" / "zoo"
# pytest makes a parameter's whole value the test's name, and every process holds every name.
LONGEST_NAME = 2_000
LONGEST = {"test_how_tos.py", "test_cluster.py"}


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="also run the tests marked slow (or set RUN_SLOW=1)")
    parser.addoption("--also-slow", action="append", default=[], metavar="PREFIX", help="slow tests that run, too")
    parser.addoption("--weights", default="copy", choices=WEIGHT_MODES, help="how the catalogue's weights travel")


# Before pytest-xdist looks at the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leaves out what takes minutes unless it is asked for; says what belongs in one process."""
    # What takes one process longest goes first: last, it would leave the others idle.
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if len(item.nodeid) > LONGEST_NAME:
            raise pytest.UsageError(f"{item.nodeid[:200]}...: a name of {len(item.nodeid):,} characters; give it an id")
        item.add_marker(pytest.mark.xdist_group(sharing.name_group(item)))
    if sharing.runs_slow(config):
        return
    skip = pytest.mark.skip(reason="slow: --run-slow or RUN_SLOW=1")
    chosen = tuple(config.getoption("--also-slow"))
    for item in items:
        if item.get_closest_marker("slow") and not (chosen and item.nodeid.startswith(chosen)):
            item.add_marker(skip)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    sharing.measure(item.path.relative_to(ROOT / "tests").parts[0])


def pytest_collection_finish():
    """What is imported by now stays: no garbage collection of any test looks through it again."""
    gc.freeze()


def pytest_configure():
    sharing.take_core()
    # Models stay loaded, so that a collection of all has ever more to look through: a twentieth of the time.
    gc.set_threshold(10_000, 10, 100)
    # absl refuses to read a flag before the command line was parsed; pytest's is not absl's.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["pytest"])


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The migrated zoo.

    Attributes:
      source: where the source stood while it was migrated; gone since.
      written: where the migrated models were written; renamed since.
      root: where they are now: `root/<slug>/model[/<timestamp>]`.
      outcomes: by slug.
    """

    source: pathlib.Path
    written: pathlib.Path
    root: pathlib.Path
    outcomes: dict

    def path(self, slug):
        outcome = self.outcomes[slug]
        assert outcome.status.value == "migrated", f"{slug}: {outcome.error}"
        return self.root / pathlib.Path(outcome.dest).relative_to(self.written)


def find_read_options():
    """(slug, what its reader is told) of the models that need telling."""
    for path in sorted(ZOO.glob("*/origin.json")):
        told = json.loads(path.read_text(encoding="utf-8")).get("options")
        if told:
            yield path.parent.name, told


def _migrate_with_options(outcome, source, written, told):
    """Once more, over what the zoo wrote without them."""
    options = MigrateOptions(verify="none", overwrite=True, read=ReadOptions.from_json(told))
    return pipeline.migrate_model(outcome.source, written / pathlib.Path(outcome.source).relative_to(source), options)


@pytest.fixture(autouse=True)
def functional_control_flow():
    """What builds TF1's loops switches them on for the whole process, and some leave it at that."""
    yield
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and hasattr(tensorflow, "compat"):
        tensorflow.compat.v1.enable_control_flow_v2()


@pytest.fixture(scope="session")
def zoo_path():
    return ZOO


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory, request):
    migration = MigrateOptions(verify="none", weights=request.config.getoption("--weights"))

    def make(base):
        source, written = base / "legacy_source", base / "written"
        for model in sorted(ZOO.glob("*/model")):
            shutil.copytree(model, source / model.parent.name / "model")
        with sharing.all_cores():  # the others wait for it
            report = zoo.migrate_zoo(source, written, ZooOptions(jobs=2, migrate=migration))
        outcomes = {pathlib.Path(outcome.source).relative_to(source).parts[0]: outcome for outcome in report.outcomes}
        for slug, told in find_read_options():
            outcomes[slug] = _migrate_with_options(outcomes[slug], source, written, told)
        shutil.rmtree(source)
        (base / "moved").mkdir()
        written.rename(base / "moved" / "models")
        return [outcome.to_record() for outcome in outcomes.values()]

    base, records = sharing.make_once(tmp_path_factory, "catalogue", make)
    source, written = base / "legacy_source", base / "written"
    outcomes = {pathlib.Path(r["source"]).relative_to(source).parts[0]: Outcome.from_record(r) for r in records}
    return Catalogue(source=source, written=written, root=base / "moved" / "models", outcomes=outcomes)


@pytest.fixture(scope="session")
def python():
    """The interpreter for tests that need a process of their own."""
    return sys.executable
