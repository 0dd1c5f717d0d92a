"""An S3 store on loopback: a real server, whose buckets hold what a test puts there."""

import contextlib
import os
import urllib.request

import pytest

moto_server = pytest.importorskip("moto.server", reason="moto is a development dependency")
pytest.importorskip("s3fs", reason="s3fs is an extra")


@contextlib.contextmanager
def serving_s3(bucket):
    """A server with one empty bucket; the environment names it, for this process and those that it starts."""
    import fsspec

    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()  # its buckets are the process's, not the server's
        fsspec.filesystem("s3").clear_instance_cache()
        fsspec.filesystem("s3").mkdir(bucket)
        try:
            yield
        finally:
            fsspec.filesystem("s3").clear_instance_cache()
            server.stop()


def upload(folder, url):
    """Puts a file, or all files of a folder, below `url`."""
    import fsspec

    system, root = fsspec.core.url_to_fs(url)
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
        if path.is_file():
            relative = os.path.relpath(path, folder)
            system.put_file(str(path), root if relative == "." else f"{root}/{relative}")
