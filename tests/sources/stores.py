"""Stores on loopback, whose buckets hold what a test puts there: a real S3 server, and what Google's answers."""

import contextlib
import datetime
import http.server
import json
import os
import ssl
import threading
import urllib.parse
import urllib.request
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

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


class _Google(http.server.BaseHTTPRequestHandler):
    """What TensorFlow's file system asks Google's stores for (gcs_file_system.cc), behind a proxy that is the store."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    tls: ClassVar[ssl.SSLContext]

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self):
        asked = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(asked.query))
        api, _, name = asked.path.removeprefix("/storage/v1/b/").partition("/o")
        if self.headers["Host"].startswith("storage."):
            self._give_bytes(urllib.parse.unquote(asked.path.lstrip("/")))
        elif name:
            self._give_facts(f"{api}/{urllib.parse.unquote(name.lstrip('/'))}")
        else:
            self._answer(200, json.dumps(self._list(api, query)).encode())

    def _give_bytes(self, name):
        data = self.objects.get(name)
        start, end = (int(part) for part in self.headers.get("Range", "bytes=0-9999999999").split("=")[1].split("-"))
        if data is None or start >= len(data):
            self._answer(404 if data is None else 416, b"")
        else:
            self._answer(206, data[start : end + 1])

    def _give_facts(self, name):
        if name not in self.objects:
            return self._answer(404, b"{}")
        facts = {"size": str(len(self.objects[name])), "generation": "1", "updated": "2018-04-01T12:00:00.000Z"}
        return self._answer(200, json.dumps(facts).encode())

    def _list(self, bucket, query):
        """Objects below a prefix; those behind a further slash as the prefixes that they share."""
        found = {"items": [], "prefixes": []}
        prefix = query.get("prefix", "")
        for name in sorted(name.removeprefix(f"{bucket}/") for name in self.objects):
            inside, slash, _ = name.removeprefix(prefix).partition("/")
            if name.startswith(prefix) and slash and "delimiter" in query:
                if (folder := f"{prefix}{inside}/") not in found["prefixes"]:
                    found["prefixes"].append(folder)
            elif name.startswith(prefix):
                found["items"].append({"name": name})
        return found

    def _answer(self, status, data):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def _make_certificate(folder):
    """A certificate for Google's names, and its key, which only this store has: the path of both."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a store of a test")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(host) for host in ("www.googleapis.com", "storage.googleapis.com")]
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@contextlib.contextmanager
def serving_gcs(objects, folder):
    """Google's store on loopback, which TensorFlow's own gs:// reaches as its proxy.

    Args:
      objects: "bucket/name" -> bytes.
      folder: for its certificate.
    """
    certificate = _make_certificate(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    handler = type("Google", (_Google,), {"objects": dict(objects), "tls": tls})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("https_proxy", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("CURL_CA_BUNDLE", str(certificate))
        patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
