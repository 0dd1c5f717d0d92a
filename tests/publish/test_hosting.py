"""Hub hosting: what migrate-serve answers is what tensorflow_hub asks for."""

import contextlib
import http.client
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

import migrate
from migrate import errors
from migrate.publish import hosting

ZOO = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A root with two versions of a model, its archive beside the first, and what nobody may have."""
    root = tmp_path_factory.mktemp("published")
    first = root / "publisher" / "model" / "1"
    outcome = migrate.migrate_model(ZOO / "hub_dense_l2" / "model", first, migrate.MigrateOptions(archive=True))
    assert outcome.status.value == "migrated", outcome.error
    shutil.copytree(first, root / "publisher" / "model" / "10")
    (root / "secret.txt").write_text("secret", encoding="utf-8")
    (root / "publisher" / "out").symlink_to("/etc")
    return root


@contextlib.contextmanager
def running(root, **options):
    with hosting.make_server(str(root), **options) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def address(published):
    with running(published) as found:
        yield found


def test_hub_loads_it(published, address, tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    loaded = hub.load(f"{address}/publisher/model/1")
    local = tf.saved_model.load(str(published / "publisher" / "model" / "1"))
    x = np.float32([[1, -2, 0.5]])
    np.testing.assert_array_equal(loaded(x), local(x))
    layer = hub.KerasLayer(f"{address}/publisher/model/1", trainable=True)
    assert len(layer.trainable_variables) == len(local.trainable_variables) > 0


def test_archive_is_what_the_server_sends(published, address):
    sent = urllib.request.urlopen(f"{address}/publisher/model/1?tf-hub-format=compressed").read()
    assert sent == (published / "publisher" / "model" / "1.tar.gz").read_bytes()


def test_migrates_back_from_its_own_server(address, tmp_path):
    """What is published is TF2: the toolkit leaves it alone, and says where it came from."""
    assert migrate.migrate_model(f"{address}/publisher/model/1", tmp_path / "out").status.value == "already_tf2"


def test_newest_version(address):
    request = urllib.request.Request(f"{address}/publisher/model?tf-hub-format=compressed", method="HEAD")
    with urllib.request.urlopen(request) as response:
        assert response.status == 200 and int(response.headers["Content-Length"]) > 0
    assert hosting.find_model("/nowhere", "/x") is None


def _ask(address, path):
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def test_uncompressed(published, address):
    status, headers, body = _ask(address, "/publisher/model?tf-hub-format=uncompressed")
    assert status == 303 and headers["Location"] == body.decode() == f"{address}/publisher/model/10"
    status, _, body = _ask(address, "/publisher/model/10/saved_model.pb")
    assert status == 200 and body == (published / "publisher" / "model" / "10" / "saved_model.pb").read_bytes()
    with running(published, uncompressed_root="gs://bucket/models/") as other:
        _, headers, _ = _ask(other, "/publisher/model/1?tf-hub-format=uncompressed")
        assert headers["Location"] == "gs://bucket/models/publisher/model/1"


def test_card(address):
    status, headers, body = _ask(address, "/publisher/model/1")
    assert status == 200 and headers["Content-Type"].startswith("text/markdown") and b"## Signatures" in body


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt", "/../secret.txt", "/publisher/../secret.txt", "/publisher/model/1/../../../secret.txt",
        "/publisher/model/1/%2e%2e/%2e%2e/%2e%2e/secret.txt", "/publisher/out/passwd", "/publisher/out",
        "/publisher/model/1/..%5c..%5csecret.txt", "/nothing", "/", "/publisher", "/publisher/model/1/nothing",
        "//etc/passwd", "/publisher/model/1/variables",
    ],
)  # fmt: skip
def test_nothing_else_is_served(address, path):
    assert _ask(address, path)[0] == 404


def test_unknown_format(address):
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"{address}/publisher/model/1?tf-hub-format=zip")


def test_port_that_is_taken(published):
    with hosting.make_server(str(published)) as server, pytest.raises(errors.UsageError, match="cannot listen"):
        hosting.make_server(str(published), port=server.server_address[1])


def test_command(published):
    """Says where it listens, on loopback; stops when told."""
    command = [sys.executable, "-m", "migrate.cli.serve", f"--root={published}", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        assert _ask(found[0], "/publisher/model/1")[0] == 200
        process.terminate()
    done = subprocess.run([*command[:3], "--root=/nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no such folder" in done.stderr
