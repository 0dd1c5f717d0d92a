"""The control flow catalogue, migrated once in a session."""

import pytest
import tensorflow as tf

from migrate import zoo
from migrate.options import MigrateOptions, ZooOptions
from tests import sharing
from tests.catalogue.loaded import load_once

from .recorded import FOLDER, SLUGS, load_recorded


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """{slug: folder of the migrated model}."""

    def make(root):
        options = ZooOptions(jobs=2, migrate=MigrateOptions(verify="none"))
        report = zoo.migrate_zoo(FOLDER, root, options)
        return {outcome.source: outcome.error for outcome in report.outcomes if outcome.status.value != "migrated"}

    root, failed = sharing.make_once(tmp_path_factory, "control_flow", make)
    assert not failed, failed
    return {slug: root / slug / "model" for slug in SLUGS}


@pytest.fixture(params=SLUGS)
def truth(request):
    return load_recorded(request.param)


@pytest.fixture
def folder(truth, migrated):
    return migrated[truth.slug]


@pytest.fixture
def loaded(folder):
    """The migrated model, loaded once; tests leave its variables as they found them."""
    return load_once(str(folder))


@pytest.fixture(scope="session")
def saved_again(migrated, tmp_path_factory):
    """A function: slug -> the migrated model after load -> save -> load."""
    root = tmp_path_factory.mktemp("saved_again")

    def save(slug):
        target = root / slug
        if not target.exists():
            first = load_once(str(migrated[slug]))
            tf.saved_model.save(first.object, str(target), signatures=first.object.signatures)
            extra = migrated[slug] / "assets.extra"  # holds the record that says which piece is which
            (target / "assets.extra").mkdir(exist_ok=True)
            for file in extra.iterdir():
                (target / "assets.extra" / file.name).write_bytes(file.read_bytes())
        return load_once(str(target))

    return save
