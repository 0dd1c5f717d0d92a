"""compat.hub.resolve: handles, the cache, downloads that break off, archives that mean harm."""

import contextlib
import hashlib
import http.server
import io
import os
import pathlib
import re
import tarfile
import tempfile
import threading
import time

import pytest
import tensorflow as tf
from absl import flags

from compat import hub
from compat.hub import cache, compressed_module_resolver, file_utils, resolver, storage

MODULE = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "zoo" / "hub_dense_l2" / "model"


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TFHUB_MODEL_LOAD_FORMAT", raising=False)
    return tmp_path / "cache"


def _tar(mode="w:gz", members=()):
    """An archive of the module, or of (TarInfo, content) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(mode=mode, fileobj=buffer) as tar:
        if not members:
            tar.add(MODULE, arcname=".")
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@contextlib.contextmanager
def _serve(respond):
    """An HTTP server whose GET calls `respond(handler)`; yields its URL and the list of requested paths."""
    paths = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            respond(self)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        server.server_close()


def _answer(body, code=200, length=None):
    def respond(handler):
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def test_local_paths_stand_as_they_are():
    assert hub.resolve(str(MODULE)) == str(MODULE)
    assert hub.resolve(MODULE.as_uri()) == str(MODULE)


@pytest.mark.parametrize("handle", ["/no/such/module", "file:///no/such/module", "ram://no/such/module"])
def test_absent_paths_are_named(handle):
    with pytest.raises(OSError, match=handle):
        hub.resolve(handle)


def test_a_file_system_of_tensorflow():
    """A module without variables: TensorFlow's ram:// takes a checkpoint's prefix for a folder."""
    module = MODULE.parents[1] / "hub_no_variables" / "model"
    for source in filter(pathlib.Path.is_file, module.rglob("*")):
        tf.io.gfile.copy(str(source), f"ram://compat/{source.relative_to(module)}", overwrite=True)
    assert hub.resolve("ram://compat") == "ram://compat"
    remote, local = hub.load_module_spec("ram://compat"), hub.load_module_spec(str(module))
    assert repr(remote.get_output_info_dict()) == repr(local.get_output_info_dict())
    with tf.Graph().as_default() as graph:
        hub.Module(remote)
        assert graph.get_operations()


def test_a_module_is_fetched_once_and_cached_by_its_handle(cache_dir):
    with _serve(_answer(_tar())) as (url, paths):
        handle = f"{url}/google/dense/1?key=v"
        path = hub.resolve(handle)
        assert hub.resolve(handle) == path
        assert hub.load_module_spec(handle).get_signature_names() == ["default"]
    assert paths == ["/google/dense/1?key=v&tf-hub-format=compressed"]
    name = hashlib.sha1(handle.encode()).hexdigest()
    assert path == str(cache_dir / name)
    assert sorted(os.listdir(cache_dir)) == [name, f"{name}.descriptor.txt"]
    assert handle in (cache_dir / f"{name}.descriptor.txt").read_text()
    assert (pathlib.Path(path) / "saved_model.pb").read_bytes() == (MODULE / "saved_model.pb").read_bytes()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2"])
def test_kinds_of_archives(mode, tmp_path):
    file_utils.extract_archive(io.BytesIO(_tar(mode)), str(tmp_path / "out"), where="it")
    assert (tmp_path / "out" / "tfhub_module.pb").read_bytes() == b"\x08\x03"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("part", [0.0, 0.4, 0.97])
def test_a_download_that_breaks_off_leaves_nothing(mode, part, cache_dir):
    body = _tar(mode)
    with _serve(_answer(body[: int(len(body) * part)], length=len(body))) as (url, _), pytest.raises(OSError):
        hub.resolve(f"{url}/m/1")
    assert os.listdir(cache_dir) == []


def test_a_server_error_leaves_nothing_and_is_not_remembered(cache_dir):
    answers = [_answer(b"", 503), _answer(_tar())]
    with _serve(lambda handler: answers.pop(0)(handler)) as (url, _):
        with pytest.raises(OSError, match="503"):
            hub.resolve(f"{url}/m/1")
        assert os.listdir(cache_dir) == []
        assert os.listdir(hub.resolve(f"{url}/m/1"))


def _member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "info",
    [
        _member("../evil"),
        _member("assets/../../evil"),
        _member("a\\..\\..\\evil"),
        _member("link", tarfile.SYMTYPE, "/etc"),
        _member("link", tarfile.LNKTYPE, "saved_model.pb"),
        _member("pipe", tarfile.FIFOTYPE),
        _member("device", tarfile.CHRTYPE),
    ],
    ids=lambda info: f"{info.name} {info.type.decode()}",
)
def test_hostile_members_are_refused(info, cache_dir):
    body = _tar(members=[(_member("saved_model.pb"), b"x"), (info, b"evil" if info.isfile() else b"")])
    with _serve(_answer(body)) as (url, _), pytest.raises(ValueError, match=r"link|pipe|device|evil"):
        hub.resolve(f"{url}/m/1")
    assert os.listdir(cache_dir) == []
    assert not (cache_dir / "evil").exists() and not (cache_dir.parent / "evil").exists()


def test_bombs_are_refused(tmp_path):
    body = _tar(members=[(_member(f"f{i}"), bytes(1000)) for i in range(20)])
    with pytest.raises(ValueError, match="9999 bytes"):
        file_utils.extract_archive(io.BytesIO(body), str(tmp_path / "a"), where="it", max_bytes=9999)
    with pytest.raises(ValueError, match="10 files"):
        file_utils.extract_archive(io.BytesIO(body), str(tmp_path / "b"), where="it", max_members=10)
    with pytest.raises(OSError, match="no file"):
        file_utils.extract_archive(
            io.BytesIO(_tar(members=[(_member("d", tarfile.DIRTYPE), b"")])), str(tmp_path / "c"), where="it"
        )


def test_what_is_no_archive_is_named_by_its_handle(cache_dir):
    with _serve(_answer(b"bad_archive")) as (url, _), pytest.raises(OSError) as caught:
        hub.resolve(f"{url}/m.tar.gz")
    assert str(caught.value) == f"{url}/m.tar.gz does not appear to be a valid module."


def test_the_mirror_keeps_archives_under_the_names_of_models():
    """What would be asked for; the mirror itself is elsewhere."""

    class Asked(compressed_module_resolver.HttpCompressedFileResolver):
        def _call_urlopen(self, request):
            raise OSError(request if isinstance(request, str) else request.full_url)

    for handle, url in (
        ("https://hub.tensorflow.google.cn/g/m/1", "https://gcs.tensorflow.google.cn/tfhub-modules/g/m/1.tar.gz"),
        ("https://tfhub.dev/g/m/1?a=b", "https://tfhub.dev/g/m/1?a=b&tf-hub-format=compressed"),
    ):
        with pytest.raises(OSError, match=re.escape(url)):
            Asked()(handle)


@pytest.mark.parametrize(("setting", "mode"), [("", "CERT_REQUIRED"), ("TRUE", "CERT_REQUIRED"), ("true", "CERT_NONE")])
def test_certificates_are_checked_unless_told_otherwise(setting, mode, monkeypatch):
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", setting)
    assert compressed_module_resolver.HttpCompressedFileResolver()._context.verify_mode.name == mode


def test_progress_on_the_console(monkeypatch, capsys):
    monkeypatch.setenv("TFHUB_DOWNLOAD_PROGRESS", "1")
    with _serve(_answer(_tar())) as (url, _):
        hub.resolve(f"{url}/m/1")
    assert re.search(rf"Downloading {url}/m/1: .*MiB\rDownloaded {url}/m/1: 0\.0\d MiB\n$", capsys.readouterr().out)


def test_settings_are_variables_of_the_environment_or_flags(monkeypatch, tmp_path):
    flag = flags.FLAGS["tfhub_cache_dir"]
    monkeypatch.setattr(flag, "value", "/flag")
    monkeypatch.setenv("TFHUB_CACHE_DIR", "/variable")
    assert resolver.tfhub_cache_dir("/default", use_temp=True) == "/variable"
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    assert resolver.tfhub_cache_dir("/default", use_temp=True) == "/flag"
    monkeypatch.setattr(flag, "value", None)
    assert resolver.tfhub_cache_dir("/default", use_temp=True) == "/default"
    assert resolver.tfhub_cache_dir(use_temp=True) == os.path.join(tempfile.gettempdir(), "tfhub_modules")
    assert resolver.tfhub_cache_dir() is None
    chosen = flags.FLAGS["tfhub_model_load_format"]
    monkeypatch.setattr(chosen, "value", "UNCOMPRESSED")  # tensorflow_hub reads the same flag: it is put back
    assert resolver.model_load_format() == "UNCOMPRESSED"
    monkeypatch.setattr(chosen, "value", None)
    assert resolver.model_load_format() == "AUTO"


def test_a_file_system_that_tensorflow_lacks_is_named():
    with pytest.raises(
        tf.errors.UnimplementedError, match=r"nope://bucket/m cannot be opened: .* no file system for nope://"
    ):
        hub.resolve("nope://bucket/m")


def test_uncompressed_handles_name_a_location(monkeypatch):
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    with _serve(_answer(b"/elsewhere", 303)) as (url, paths), pytest.raises(ValueError, match="/elsewhere"):
        hub.resolve(f"{url}/m/1")
    assert paths == ["/m/1?tf-hub-format=uncompressed"]
    with _serve(_answer(b"gs://bucket")) as (url, _), pytest.raises(ValueError, match="200"):
        hub.resolve(f"{url}/m/1")
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "ODD")
    with pytest.raises(ValueError, match="ODD"):
        hub.resolve("http://127.0.0.1:9/m/1")


def _fill(handle, path):
    pathlib.Path(path, "done").write_text("x")


def test_many_at_once_fetch_once(tmp_path):
    target, calls = str(tmp_path / "m"), []

    def fill(handle, path):
        calls.append(handle)
        time.sleep(0.2)
        _fill(handle, path)

    threads = [
        threading.Thread(target=cache.atomic_download, args=("h", fill, target, 60.0), kwargs={"poll_seconds": 0.01})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["h"]
    assert sorted(os.listdir(tmp_path)) == ["m", "m.descriptor.txt"]


def test_a_dead_owner_loses_its_lock(tmp_path):
    target = tmp_path / "m"
    (tmp_path / "m.lock").write_text("host.1.dead")
    (tmp_path / "m.dead.tmp").mkdir()
    started = time.monotonic()
    assert cache.atomic_download("h", _fill, str(target), 0.2, poll_seconds=0.01) == str(target)
    assert 0.4 <= time.monotonic() - started < 10
    assert os.listdir(target) == ["done"]
    assert not (tmp_path / "m.lock").exists()


def test_an_owner_that_makes_progress_keeps_its_lock(tmp_path):
    target, partial = tmp_path / "m", tmp_path / "m.alive.tmp"
    (tmp_path / "m.lock").write_text("host.1.alive")
    partial.mkdir()

    def download():
        # For longer than the lock lasts without progress; a busy machine may well halt this thread for a while.
        for size in range(1, 16):
            (partial / "file").write_bytes(bytes(size))
            time.sleep(0.1)
        partial.rename(target)
        (tmp_path / "m.lock").unlink()

    thread = threading.Thread(target=download)
    thread.start()
    cache.atomic_download("h", lambda *_: pytest.fail("fetched twice"), str(target), 1.0, poll_seconds=0.01)
    thread.join()
    assert os.listdir(target) == ["file"]


def test_a_folder_that_someone_emptied_is_filled_again(tmp_path):
    (tmp_path / "m").mkdir()
    cache.atomic_download("h", _fill, str(tmp_path / "m"))
    assert os.listdir(tmp_path / "m") == ["done"]


def test_someone_who_took_the_lock_and_was_quicker_wins(tmp_path):
    """What stands complete is never taken away: a reader may be at it."""
    target = tmp_path / "m"

    def fill(handle, path):
        target.mkdir()
        (target / "theirs").write_text("x")
        (tmp_path / "m.lock").write_text("host.2.other")
        _fill(handle, path)

    cache.atomic_download("h", fill, str(target))
    assert os.listdir(target) == ["theirs"]
    assert sorted(os.listdir(tmp_path)) == ["m", "m.descriptor.txt", "m.lock"]


def test_a_failed_fill_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        cache.atomic_download("h", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt), str(tmp_path / "m"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", "..", "a/../../b", "/a", "..\\b", "a\0b"])
def test_names_that_lead_elsewhere(name):
    with pytest.raises(ValueError, match="outside"):
        storage.join_inside("/folder", name)


@pytest.mark.parametrize(
    ("name", "path"),
    [("", ""), ("./", ""), ("/", ""), ("./f", "/f"), ("a/../f", "/f"), ("/f", "/f"), ("..f", "/..f")],
)
def test_members_of_archives_stay_below_the_folder(name, path):
    assert file_utils.merge_relative_path("gs://cache/m", name) == f"gs://cache/m{path}"


@pytest.mark.parametrize("name", ["..", "/../", "a/../../f", "a\\..\\f", "f\0"])
def test_members_of_archives_that_lead_elsewhere(name):
    with pytest.raises(ValueError, match="is invalid"):
        file_utils.merge_relative_path("gs://cache/m", name)


def test_names_that_stay():
    assert storage.join_inside("/f", "a/./b") == "/f/a/b"
    assert storage.join_inside("/f", "..a/b..") == "/f/..a/b.."
